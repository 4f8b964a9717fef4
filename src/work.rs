//! The private directories of one run: its work directory and the directory of its partial output.
//!
//! No other user can enter such a directory, and it is accessed by descriptor only, so it does not matter who may write
//! to its parent. It has a marker file, which is locked while its owner lives; the next run finds and removes what a
//! killed run left.

mod descriptor;
mod marker;
mod name;
mod partial_file;
mod private;
mod remove;
mod scratch;
mod sweep;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::error::{Error, Result};

pub(crate) use descriptor::{is_at, open_place};
pub use partial_file::PartialFile;
pub use scratch::Scratch;

pub(crate) use partial_file::{PublishedFile, Target};

use descriptor::has_descriptors;
use name::WORK_PREFIX;
use private::Private;
use remove::RemovalDeadline;

/// A private directory (0700), removed with its content when dropped.
#[derive(Debug)]
pub struct WorkDir(Private);

impl WorkDir {
    /// The name of the image for programs that run in the directory.
    pub const IMAGE: &'static str = "image";

    /// Creates a directory below `parent`, after removing directories that killed runs of the same user left there.
    ///
    /// # Errors
    ///
    /// `parent` cannot be used.
    pub fn create(parent: &Path, cancel: &Cancel) -> Result<Self> {
        let path = parent.canonicalize().map_err(Error::io("use work directory", parent))?;
        let parent = Arc::new(open_place(&path).map_err(Error::io("use work directory", parent))?);
        sweep::sweep(parent.as_fd(), cancel);
        Private::create(&parent, &path, WORK_PREFIX, cancel).map(Self)
    }

    /// Returns the absolute path at which the directory was created. It may have been moved: use the path in messages
    /// only.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the directory, open.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.0.directory()
    }

    /// Returns false if the filesystem has no locks, so that nothing can be swept.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Creates a subdirectory (0700) and returns it, open.
    ///
    /// # Errors
    ///
    /// The subdirectory cannot be created or opened.
    pub fn make_directory(&self, name: &str) -> Result<OwnedFd> {
        let path = || self.path().join(name);
        rustix::fs::mkdirat(self.directory(), name, Mode::RWXU).map_err(|error| Error::io("make", path())(error))?;
        descriptor::open(self.directory(), name).map_err(|error| Error::io("open", path())(error))
    }

    /// Creates a file (0600) and returns it with its path, for messages.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn make_file(&self, name: &str) -> Result<(File, PathBuf)> {
        let path = self.path().join(name);
        let file = self.0.scratch().make_named(name).map_err(|error| Error::write(&path, 0, error))?;
        Ok((file, path))
    }

    /// Returns the directory for unlinked files.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        self.0.scratch()
    }

    /// Removes a subdirectory with its content.
    ///
    /// # Errors
    ///
    /// A file cannot be removed; the run was cancelled.
    pub fn remove_directory(&self, name: &str, directory: BorrowedFd<'_>, cancel: &Cancel) -> Result<()> {
        let removed = remove::contents(directory, c"", remove::LargeFiles::Cut, RemovalDeadline::UntilStop(cancel));
        cancel.check()?;
        if removed {
            let flags = rustix::fs::AtFlags::REMOVEDIR;
            return rustix::fs::unlinkat(self.directory(), name, flags)
                .map_err(Error::io("remove", self.path().join(name)));
        }
        Err(Error::io("remove", self.path().join(name))(Errno::NOTEMPTY))
    }

    /// Links the image into the directory, for programs that have it as their standard input. `path` is the image's own
    /// path, which is used only without `/proc`.
    ///
    /// e2fsprogs parses options after a `?` in a path, so no path chosen by the caller reaches it; the path may also
    /// lead elsewhere by now.
    ///
    /// # Errors
    ///
    /// The link cannot be created.
    pub fn adopt(&self, path: &Path) -> Result<()> {
        let target = if has_descriptors() { Path::new("/proc/self/fd/0") } else { path };
        rustix::fs::symlinkat(target, self.directory(), Self::IMAGE)
            .map_err(Error::io("make", self.path().join(Self::IMAGE)))
    }

    /// Links a partial file like [`WorkDir::adopt`]; without `/proc`, as a hard link.
    ///
    /// # Errors
    ///
    /// The link cannot be created.
    pub fn adopt_partial(&self, file: &PartialFile) -> Result<()> {
        if has_descriptors() { self.adopt(file.path()) } else { file.link(self.directory(), Self::IMAGE) }
    }

    /// Removes the directory. Returns false if files are left to the next run because a cancelled run has no time.
    #[cfg(test)]
    pub fn remove(mut self) -> bool {
        self.0.remove()
    }
}

#[cfg(test)]
mod tests;
