//! A partial file beside the path at which it will be published.

use std::fs::{File, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::descriptor::has_descriptors;
use super::name::BESIDE_PREFIX;
use super::private::Private;
use super::sweep;
use crate::calls;
use crate::cancel::Cancel;
use crate::error::{Error, OutputProblem, Result};
use crate::sync;

/// The name of a file that was withdrawn or replaced.
const TAKEN: &str = "taken";
/// The number of attempts if others create and remove the name meanwhile.
const TRIES: u32 = 16;

/// The system call that gives a file its name in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamingMethod {
    /// A rename that fails if the name exists.
    Rename,
    /// A hard link, which fails if the name exists.
    Link,
    /// A rename that replaces any file of the name.
    Over,
}

/// A partial file in a private directory beside its final path, removed unless it is published.
///
/// No other user can enter the directory, so the file that is written is the one that is checked and published.
#[derive(Debug)]
pub struct PartialFile {
    private: Private,
    path: PathBuf,
    file: File,
    mode: u32,
    way: NamingMethod,
    exchanges: bool,
    placed: bool,
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Ok(file) = self.file.try_clone()
            && !self.placed
        {
            // A large file is truncated in pieces.
            self.private.scratch().keep(file);
        }
    }
}

impl PartialFile {
    /// The file's name in its private directory.
    pub const NAME: &'static str = "image";
    /// The name under which a program in the private directory opens its standard input.
    pub const SOURCE: &'static str = "source";

    /// Returns the private directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.private.directory()
    }

    /// Makes another unfinished file, which is beside the same output, available to programs in the private directory
    /// as [`PartialFile::SOURCE`].
    ///
    /// # Errors
    ///
    /// The link cannot be created.
    pub(crate) fn adopt(&self, other: &Self) -> Result<()> {
        if !has_descriptors() {
            return other.link(self.directory(), Self::SOURCE);
        }
        rustix::fs::symlinkat("/proc/self/fd/0", self.directory(), Self::SOURCE).map_err(Error::io("link", &self.path))
    }

    /// Creates an empty file, with mode 0600 until it is settled, in a private directory below `parent`, after removing
    /// directories that killed runs left there. `path` is the parent's, for messages; `replace` is true if the name may
    /// exist.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or its filesystem cannot name a file without replacing another.
    pub(crate) fn below(parent: &Arc<OwnedFd>, path: &Path, replace: bool, cancel: &Cancel) -> Result<Self> {
        sweep::sweep(parent.as_fd(), cancel);
        let private = Private::create(parent, path, BESIDE_PREFIX, cancel)?;
        let path = private.path().join(Self::NAME);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = calls::openat(private.directory(), Self::NAME, flags, Mode::from_raw_mode(0o666));
        let file = File::from(file.map_err(Error::io("make", &path))?);
        let mode = file.metadata().map_err(Error::io("examine", &path))?.mode() & 0o777;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(Error::io("chmod", &path))?;
        let (way, exchanges) = ways(&private);
        let way = match way {
            Some(way) => way,
            None if replace => NamingMethod::Over,
            None => return Err(Error::output(&path, OutputProblem::NoFreeName)),
        };
        Ok(Self { private, path, file, mode, way, exchanges, placed: false })
    }

    /// Returns the path at which the file was created. It may have been moved: use the path in messages only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns false if the filesystem has no locks.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.private.is_locked()
    }

    /// Creates a hard link to the image in another directory of the same filesystem.
    pub(super) fn link(&self, directory: BorrowedFd<'_>, name: &str) -> Result<()> {
        rustix::fs::linkat(self.private.directory(), Self::NAME, directory, name, AtFlags::empty())
            .map_err(Error::io("link", &self.path))
    }

    /// Sets the mode that a new file has under the caller's umask, and syncs the file.
    ///
    /// # Errors
    ///
    /// The file cannot be synced; the run was cancelled.
    pub fn settle(&self, cancel: &Cancel) -> Result<()> {
        self.file.set_permissions(Permissions::from_mode(self.mode)).map_err(Error::io("chmod", &self.path))?;
        sync::file(&self.file, &self.path, cancel)
    }

    /// Gives the file its final name in one step. With `replace`, an existing regular file of the name is replaced and
    /// can be restored.
    pub(crate) fn place(mut self, target: Target<'_>, replace: bool) -> Result<PublishedFile> {
        for _ in 0..TRIES {
            let there = target.stat();
            let placed = match there {
                Err(Errno::NOENT) => self.give_name(target).map(|()| PriorFile::Nothing),
                Ok(_) if !replace => Err(Errno::EXIST),
                Ok(_) => self.replace(target)?,
                Err(error) => Err(error),
            };
            match placed {
                Ok(before) => {
                    self.placed = true;
                    return Ok(PublishedFile { partial: self, before });
                }
                // The name is created and removed by others meanwhile.
                Err(Errno::EXIST | Errno::NOENT) if replace => {}
                Err(Errno::EXIST) => return Err(Error::output(target.path, OutputProblem::Exists)),
                Err(Errno::NOENT | Errno::INTR) => {}
                Err(error) => return Err(Error::io("rename to", target.path)(error)),
            }
        }
        Err(Error::io("rename to", target.path)(Errno::AGAIN))
    }

    fn give_name(&self, target: Target<'_>) -> std::result::Result<(), Errno> {
        let from = self.private.directory();
        if self.way == NamingMethod::Over {
            return rustix::fs::renameat(from, Self::NAME, target.directory, target.name);
        }
        if self.way == NamingMethod::Rename {
            match rustix::fs::renameat_with(from, Self::NAME, target.directory, target.name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV | Errno::PERM) => {}
                done => return done,
            }
        }
        rustix::fs::linkat(from, Self::NAME, target.directory, target.name, AtFlags::empty())?;
        // If this fails, the name is removed with the directory.
        let _ = rustix::fs::unlinkat(from, Self::NAME, AtFlags::empty());
        Ok(())
    }

    /// Replaces a regular file, which is moved into the private directory if the filesystem supports that.
    fn replace(&self, target: Target<'_>) -> Result<std::result::Result<PriorFile, Errno>> {
        let from = self.private.directory();
        if self.exchanges {
            match target.exchange(from) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(self.replace_for_good(target)),
                Err(error) => return Ok(Err(error)),
            }
            let old = rustix::fs::statat(from, Self::NAME, AtFlags::SYMLINK_NOFOLLOW);
            return match old.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
                Ok(FileType::RegularFile) => Ok(Ok(PriorFile::Exchanged)),
                // It was created after the first check.
                Ok(kind) => {
                    target.exchange(from).map_err(Error::io("rename back", target.path))?;
                    Err(Error::output(target.path, problem(kind)))
                }
                // Its kind is unknown, so it is not replaced.
                Err(error) => {
                    target.exchange(from).map_err(Error::io("rename back", target.path))?;
                    Err(Error::io("examine", target.path)(error))
                }
            };
        }
        Ok(self.replace_for_good(target))
    }

    fn replace_for_good(&self, target: Target<'_>) -> std::result::Result<PriorFile, Errno> {
        let from = self.private.directory();
        let linked = rustix::fs::linkat(target.directory, target.name, from, TAKEN, AtFlags::empty()).is_ok();
        rustix::fs::renameat(from, Self::NAME, target.directory, target.name)?;
        Ok(if linked { PriorFile::Linked } else { PriorFile::Lost })
    }
}

/// Returns the reason why a file that is not regular cannot be replaced.
fn problem(kind: FileType) -> OutputProblem {
    match kind {
        FileType::Directory => OutputProblem::Directory,
        FileType::Symlink => OutputProblem::Symlink,
        _ => OutputProblem::Special,
    }
}

/// Tests, before any work, which calls the filesystem supports, with empty files in the private directory.
fn ways(private: &Private) -> (Option<NamingMethod>, bool) {
    let top = private.directory();
    let [directory, first, second] = ["try", "try-1", "try-2"];
    // The umask may remove permissions from the mode of a new directory.
    let made =
        rustix::fs::mkdirat(top, directory, Mode::RWXU).and_then(|()| calls::chmodat(top, directory, Mode::RWXU));
    if made.is_err() || private.scratch().make_named(first).is_err() {
        return (Some(NamingMethod::Rename), true);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(inner) = calls::openat(top, directory, flags, Mode::empty()) else {
        return (Some(NamingMethod::Rename), true);
    };
    // From one directory to another: some systems support only renames within a directory.
    let renames = rustix::fs::renameat_with(top, first, &inner, second, RenameFlags::NOREPLACE).is_ok();
    let (at, name) = if renames { (inner.as_fd(), second) } else { (top, first) };
    let way = match renames {
        true => Some(NamingMethod::Rename),
        false => rustix::fs::linkat(at, name, &inner, second, AtFlags::empty()).is_ok().then_some(NamingMethod::Link),
    };
    let exchanges = private.scratch().make_named("try-3").is_ok()
        && rustix::fs::renameat_with(top, "try-3", at, name, RenameFlags::EXCHANGE).is_ok();
    // The rest is removed with the directory.
    for (at, name) in [(top, first), (top, "try-3"), (inner.as_fd(), second)] {
        let _ = rustix::fs::unlinkat(at, name, AtFlags::empty());
    }
    let _ = rustix::fs::unlinkat(top, directory, AtFlags::REMOVEDIR);
    (way, exchanges)
}

/// A name in an open directory, with its path for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub directory: BorrowedFd<'a>,
    pub name: &'a [u8],
    pub path: &'a Path,
}

impl Target<'_> {
    fn stat(self) -> std::result::Result<Stat, Errno> {
        rustix::fs::statat(self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn exchange(self, private: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
        rustix::fs::renameat_with(private, PartialFile::NAME, self.directory, self.name, RenameFlags::EXCHANGE)
    }

    /// Returns true if the name leads to this open file.
    fn is(self, file: &File) -> bool {
        is_same(file, self.stat())
    }
}

fn is_same(file: &File, stat: std::result::Result<Stat, Errno>) -> bool {
    matches!((rustix::fs::fstat(file), stat), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// The file that had the name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PriorFile {
    Nothing,
    /// It is in the private directory, under the name of the partial file.
    Exchanged,
    /// It has a second name in the private directory.
    Linked,
    /// It is lost: the filesystem supports neither exchange nor hard links.
    Lost,
}

/// A file with its final name, which can be withdrawn until this value is dropped.
#[derive(Debug)]
pub(crate) struct PublishedFile {
    partial: PartialFile,
    before: PriorFile,
}

impl PublishedFile {
    /// Requires that the name, and the caller's path, lead to the file that was checked.
    pub fn require_in_place(&self, target: Target<'_>) -> Result<()> {
        let file = &self.partial.file;
        let by_path = rustix::fs::statat(rustix::fs::CWD, target.path, AtFlags::SYMLINK_NOFOLLOW);
        if target.is(file) && is_same(file, by_path) {
            return Ok(());
        }
        Err(Error::output(target.path, OutputProblem::Replaced))
    }

    /// Syncs the directory of the name; `directory` is its path, for messages.
    pub fn sync_name(&self, target: Target<'_>, directory: &Path) -> Result<()> {
        sync::directory(target.directory, &self.partial.file, directory)
    }

    /// Withdraws the file and restores the file that had the name before. Returns false if that is impossible.
    pub fn take_back(&self, target: Target<'_>) -> bool {
        let private = self.partial.private.directory();
        if self.before == PriorFile::Lost || !target.is(&self.partial.file) {
            return self.before != PriorFile::Lost;
        }
        match self.before {
            PriorFile::Exchanged if target.exchange(private).is_ok() => return true,
            PriorFile::Exchanged => {
                return rustix::fs::renameat(private, PartialFile::NAME, target.directory, target.name).is_ok();
            }
            PriorFile::Linked => return rustix::fs::renameat(private, TAKEN, target.directory, target.name).is_ok(),
            PriorFile::Nothing | PriorFile::Lost => {}
        }
        if rustix::fs::renameat(target.directory, target.name, private, TAKEN).is_err() {
            return rustix::fs::unlinkat(target.directory, target.name, AtFlags::empty()).is_ok();
        }
        let taken = rustix::fs::statat(private, TAKEN, AtFlags::SYMLINK_NOFOLLOW);
        if !is_same(&self.partial.file, taken) {
            // Another file was created between the check and the rename.
            let flags = RenameFlags::NOREPLACE;
            let _ = rustix::fs::renameat_with(private, TAKEN, target.directory, target.name, flags);
        }
        true
    }
}
