//! The private places of one run: its work directory and its unfinished output.
//!
//! Each is locked while its owner lives. What a killed run left behind is found by the next one, whose lock succeeds,
//! and removed.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock};
use rustix::io::Errno;

use crate::error::{Error, OutputProblem, Result};

const DIRECTORY_PREFIX: &str = "planish-work-";
const FILE_MARK: &str = ".planish-";

/// A private directory (0700) that is removed with all it holds when it is dropped.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    _lock: File,
}

impl WorkDir {
    /// Makes a directory below `parent`, after removing what killed runs of the same user left there.
    ///
    /// # Errors
    ///
    /// `parent` cannot be used.
    pub fn create(parent: &Path) -> Result<Self> {
        let parent = parent.canonicalize().map_err(Error::io("use work directory", parent))?;
        sweep(&parent, |name| name.starts_with(DIRECTORY_PREFIX.as_bytes()));
        loop {
            let path = tempfile::Builder::new()
                .prefix(DIRECTORY_PREFIX)
                .make_in(&parent, |path| std::fs::DirBuilder::new().mode(0o700).create(path))
                .and_then(|made| made.into_temp_path().keep().map_err(|e| e.error))
                .map_err(Error::io("make a work directory in", &parent))?;
            let opened =
                std::fs::set_permissions(&path, Permissions::from_mode(0o700)).and_then(|()| File::open(&path));
            let lock = match opened {
                // Another run took it for what a killed one left, before it was locked.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Error::io("open", &path))?,
            };
            if lock_alive(&lock, &path) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Returns the directory's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory (0700) in it and returns its absolute path.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn make_directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir(&path).map_err(Error::io("make", &path))?;
        set_mode(&path, 0o700)?;
        Ok(path)
    }
}

impl WorkDir {
    /// The name by which programs that run in the directory call the image.
    pub const IMAGE: &'static str = "image";

    /// Gives an image its name in the directory.
    ///
    /// e2fsprogs takes what follows a `?` in a path for options, so no path of the caller's choice reaches it.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn adopt(&self, image: &Path) -> Result<()> {
        let link = self.path.join(Self::IMAGE);
        std::os::unix::fs::symlink(image, &link).map_err(Error::io("make", &link))
    }

    /// Makes a file (0600) in it and returns it with its absolute path.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn make_file(&self, name: &str) -> Result<(File, PathBuf)> {
        let path = self.path.join(name);
        let file = File::create_new(&path).map_err(Error::io("make", &path))?;
        set_mode(&path, 0o600)?;
        Ok((file, path))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next run sweeps.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An unfinished file beside the path it will have, removed unless it is published.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    file: File,
    mode: u32,
    published: bool,
}

impl Unfinished {
    /// Makes an empty file, 0600 until it is settled, in the directory of `target`, after removing what killed runs left of this target.
    ///
    /// # Errors
    ///
    /// The directory cannot be used.
    pub fn beside(target: &Path) -> Result<Self> {
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err(Error::io("use", target)(std::io::Error::from(ErrorKind::InvalidInput)));
        };
        // A name of up to 255 bytes must leave room for the mark and the random part.
        let name = &name.as_bytes()[..name.len().min(200)];
        let prefix = [b".", name, FILE_MARK.as_bytes()].concat();
        sweep(parent, |found| found.starts_with(&prefix) && found.ends_with(b".tmp"));
        loop {
            let (file, path) = tempfile::Builder::new()
                .prefix(std::ffi::OsStr::from_bytes(&prefix))
                .suffix(".tmp")
                .make_in(parent, |path| File::options().read(true).write(true).create_new(true).mode(0o666).open(path))
                .and_then(|made| made.keep().map_err(|e| e.error))
                .map_err(Error::io("make a file in", parent))?;
            let mode = file.metadata().map_err(Error::io("examine", &path))?.mode() & 0o777;
            file.set_permissions(Permissions::from_mode(0o600)).map_err(Error::io("chmod", &path))?;
            if lock_alive(&file, &path) {
                return Ok(Self { path, file, mode, published: false });
            }
        }
    }

    /// Returns where the file is now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the file and gives it the mode that the caller's umask gives a new file.
    ///
    /// # Errors
    ///
    /// What was written does not reach the disk.
    pub fn settle(&self) -> Result<()> {
        set_mode(&self.path, self.mode)?;
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }

    /// Gives the file its final name in one step; `flags` say what becomes of a file that has it.
    ///
    /// # Errors
    ///
    /// Something has the name and must not be replaced; the rename fails. The file is removed.
    pub fn rename(mut self, target: &Path, flags: RenameFlags) -> Result<()> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, target, flags) {
            Ok(()) => self.published = true,
            Err(Errno::EXIST) => {
                return Err(Error::output(target, OutputProblem::Exists));
            }
            Err(error) => return Err(Error::io("rename to", target)(error)),
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            // Nothing can be done about a failure here, and the next run sweeps.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Sets a mode whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("chmod", path))
}

/// Locks what was just made; false when a sweeping run took it for an orphan in between.
fn lock_alive(file: &File, path: &Path) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() && is_at(file, path)
}

/// Returns whether an open file is still the one that has the name.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), path.symlink_metadata()), (Ok(a), Ok(b)) if same(&a, &b))
}

/// Removes what matches, belongs to this user and is not locked.
fn sweep(parent: &Path, is_ours: impl Fn(&[u8]) -> bool) {
    let Ok(entries) = parent.read_dir() else { return };
    for entry in entries.flatten().filter(|entry| is_ours(entry.file_name().as_bytes())) {
        let path = entry.path();
        let plain = File::options().read(true).custom_flags(NO_FOLLOW_NO_WAIT).open(&path);
        let Ok(file) = plain else { continue };
        let Ok(metadata) = file.metadata() else { continue };
        if metadata.uid() != rustix::process::geteuid().as_raw()
            || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            continue;
        }
        // Another run may sweep the same orphan; whoever is second finds nothing.
        let _ = if metadata.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}

const NO_FOLLOW_NO_WAIT: i32 =
    (rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits()).cast_signed();

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_work_directory_is_private_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDir::create(parent.path()).unwrap();
        assert_eq!(work.path().metadata().unwrap().mode() & 0o7777, 0o700);
        std::fs::write(work.path().join("x"), "x").unwrap();
        drop(work);
        assert_eq!(names(parent.path()), [""; 0]);
    }

    #[test]
    fn orphans_are_swept_and_the_living_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let orphan = parent.path().join("planish-work-orphan");
        std::fs::create_dir(&orphan).unwrap();
        std::fs::write(orphan.join("x"), "x").unwrap();
        std::fs::write(parent.path().join(".out.planish-dead.tmp"), "x").unwrap();
        std::fs::write(parent.path().join(".other.planish-dead.tmp"), "x").unwrap();
        let first = WorkDir::create(parent.path()).unwrap();
        let second = WorkDir::create(parent.path()).unwrap();
        let file = Unfinished::beside(&parent.path().join("out")).unwrap();
        let again = Unfinished::beside(&parent.path().join("out")).unwrap();
        assert!(first.path().exists() && second.path().exists() && !orphan.exists());
        assert!(file.path().exists() && again.path().exists());
        drop((first, second, file, again));
        assert_eq!(names(parent.path()), [".other.planish-dead.tmp"]);
    }

    #[test]
    fn what_is_not_published_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("out");
        drop(Unfinished::beside(&target).unwrap());
        assert_eq!(names(parent.path()), [""; 0]);
        Unfinished::beside(&target).unwrap().rename(&target, RenameFlags::NOREPLACE).unwrap();
        let second = Unfinished::beside(&target).unwrap().rename(&target, RenameFlags::NOREPLACE).unwrap_err();
        assert!(second.to_string().ends_with("out: exists already"));
        Unfinished::beside(&target).unwrap().rename(&target, RenameFlags::empty()).unwrap();
        assert_eq!(names(parent.path()), ["out"]);
    }
}
