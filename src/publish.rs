//! The place where the result appears: looked at before any work, taken in one step after all of it.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use crate::error::{Error, ErrorKind, OutputProblem, Result};
use crate::work::Unfinished;

/// A path at which a file may be made or replaced.
#[derive(Debug, Clone)]
pub struct Output {
    path: PathBuf,
    replace: bool,
}

impl Output {
    /// Looks at an output path: a file that exists must be regular, and is only replaced with `replace`.
    ///
    /// `read` are the paths that the image is read from: the result must not appear inside one of them.
    ///
    /// # Errors
    ///
    /// The path cannot take the result.
    pub fn check(path: &Path, replace: bool, read: &[&Path]) -> Result<Self> {
        let refuse = |problem| Error::output(path, problem);
        let unusable = |source| {
            let problem = OutputProblem::Parent;
            Error::from(ErrorKind::Output { path: path.to_owned(), problem, source: Some(source) })
        };
        let name = path.file_name().filter(|_| !ends_in_slash(path)).ok_or_else(|| refuse(OutputProblem::NoName))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = parent.canonicalize().map_err(unusable)?;
        let writable = rustix::fs::access(&parent, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        let absolute = parent.join(name);
        if let Ok(there) = absolute.symlink_metadata() {
            let kind = there.file_type();
            if kind.is_dir() {
                return Err(refuse(OutputProblem::Directory));
            } else if kind.is_symlink() {
                return Err(refuse(OutputProblem::Symlink));
            } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() || kind.is_socket() {
                return Err(refuse(OutputProblem::Special));
            } else if !replace {
                return Err(refuse(OutputProblem::Exists));
            }
        }
        writable.map_err(|e| unusable(e.into()))?;
        let inside = |read: &&Path| read.canonicalize().is_ok_and(|read| absolute.starts_with(read));
        if read.iter().any(inside) {
            return Err(refuse(OutputProblem::InsideSource));
        }
        Ok(Self { path: absolute, replace })
    }

    /// Returns the absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory that holds the path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Syncs the finished file, gives it its name in one step, and syncs the directory.
    ///
    /// # Errors
    ///
    /// The disk is full or fails; something took the name meanwhile.
    pub fn publish(&self, finished: Unfinished) -> Result<()> {
        finished.settle()?;
        finished.rename(&self.path, if self.replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE })?;
        let directory = self.directory();
        std::fs::File::open(directory).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", directory))
    }
}

fn ends_in_slash(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, replace: bool, read: &[&Path]) -> (String, u8) {
        let error = Output::check(path, replace, read).unwrap_err();
        let text = error.to_string();
        (text.rsplit_once(": ").unwrap().1.to_owned(), error.fault().exit_code())
    }

    #[test]
    fn paths_that_cannot_take_a_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "old").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        let refuse = |name: &str, replace| refused(&at(name), replace, &[]);
        assert_eq!(refuse("file", false), ("exists already".into(), 2));
        for replace in [false, true] {
            assert_eq!(refuse("dir", replace), ("is a directory".into(), 2));
            assert_eq!(refuse("dir/", replace), ("has no file name".into(), 2));
            let symlink = "is a symlink, and planish does not write through one".to_owned();
            assert_eq!(refuse("link", replace), (symlink.clone(), 2));
            assert_eq!(refuse("dangling", replace), (symlink, 2));
            assert_eq!(refused(Path::new("/dev/null"), replace, &[]), ("is not a regular file".into(), 2));
            assert_eq!(refuse("no/file", replace), ("its directory cannot be used".into(), 6));
        }
        let inside = refused(&at("dir/new"), false, &[&at("dir")]);
        assert_eq!(inside, ("lies inside the image that is read".into(), 2));
        assert_eq!(refused(&at("file"), true, &[&at("file")]), inside);
        assert!(Output::check(&at("file"), true, &[]).is_ok());
    }

    #[test]
    fn what_appears_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let output = Output::check(&path, false, &[]).unwrap();
        let unfinished = Unfinished::beside(output.path()).unwrap();
        std::fs::write(&path, "theirs").unwrap();
        assert_eq!(output.publish(unfinished).unwrap_err().fault().exit_code(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }
}
