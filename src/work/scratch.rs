//! Unlinked files in a private directory.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::descriptor::{descriptor, has_descriptors};
use super::name::fresh_name;
use crate::calls;

/// The size from which on the kernel needs noticeable time to free an unlinked file.
const LARGE: u64 = 16 << 20;

/// A directory accessed by descriptor only: it may be moved. Clones share it.
#[derive(Debug, Clone)]
pub struct Scratch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: OwnedFd,
    path: PathBuf,
    /// Large files that are truncated before the directory is removed.
    large: Mutex<Vec<File>>,
}

impl Scratch {
    /// Opens a directory, private or not; it is never removed.
    ///
    /// # Errors
    ///
    /// There is no directory at the path, or it cannot be entered.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::new(super::descriptor::open_place(path)?, path.to_owned()))
    }

    pub(super) fn new(directory: OwnedFd, path: PathBuf) -> Self {
        Self(Arc::new(Shared { directory, path, large: Mutex::default() }))
    }

    /// Returns the path at which the directory was opened. It may have been moved: use the path in messages only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.0.directory.as_fd()
    }

    /// Returns a path to a name in the directory, wherever it is now, valid while this process has the directory open.
    ///
    /// Without `/proc`, it is below the path at which the directory was opened.
    #[must_use]
    pub fn reach(&self, name: &str) -> PathBuf {
        if has_descriptors() { Path::new(&descriptor(self.directory())).join(name) } else { self.path().join(name) }
    }

    /// Creates an unlinked file on the directory's filesystem: it is removed with the process, however that ends.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn make(&self) -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match calls::openat(self.directory(), ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(file.into()),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let name = fresh_name("nameless-");
                let file = self.make_named(&name)?;
                rustix::fs::unlinkat(self.directory(), &*name, AtFlags::empty())?;
                Ok(file)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a file (0600) with a name.
    pub(super) fn make_named(&self, name: &str) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(calls::openat(self.directory(), name, flags, mode)?);
        if file.metadata()?.mode() & 0o777 != 0o600 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }

    /// Records that a file of [`Scratch::make`] has been written: freeing a large one takes time, which a cancelled run
    /// may not have.
    pub fn note_written(&self, file: &File) {
        if file.metadata().is_ok_and(|metadata| metadata.size() >= LARGE)
            && let Ok(file) = file.try_clone()
        {
            self.keep(file);
        }
    }

    /// Keeps a file until the directory is removed, so that cancellation need not wait until the kernel has freed it.
    pub(super) fn keep(&self, file: File) {
        self.0.large.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// Takes the kept files.
    pub(super) fn take_kept(&self) -> Vec<File> {
        std::mem::take(&mut self.0.large.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
