//! Files of a cache: safe opening, locking, and the errors of both.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::calls;
use crate::error::{CacheProblem, Error, Result};
use crate::work::is_at;

/// Opens a regular file of the cache for reading; `None` if there is no file of that name.
pub(super) fn open(path: &Path) -> Result<Option<(File, Metadata)>> {
    match open_with(path, OFlags::RDONLY) {
        Ok(opened) => Ok(Some(opened)),
        Err(OpenError::System(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(OpenError::System(error)) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_directory(path)),
        Err(OpenError::System(error)) => Err(Error::io("open", path)(error)),
        Err(OpenError::NotRegular) => Err(Error::cache(path, CacheProblem::NotRegular)),
    }
}

/// Opens a regular file of the cache for writing, and creates it (0600) if it is missing.
pub(super) fn open_or_make(path: &Path) -> Result<File> {
    match open_with(path, OFlags::RDWR | OFlags::CREATE) {
        Ok((file, _)) => {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(Error::io("chmod", path))?;
            Ok(file)
        }
        Err(OpenError::System(error)) => Err(unwritable(path, error)),
        Err(OpenError::NotRegular) => Err(Error::cache(path, CacheProblem::NotRegular)),
    }
}

enum OpenError {
    NotRegular,
    System(io::Error),
}

fn open_with(path: &Path, flags: OFlags) -> std::result::Result<(File, Metadata), OpenError> {
    let file = match calls::open(path, flags | CAREFUL, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        // A symlink, a socket, or a directory opened for writing.
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Err(OpenError::NotRegular),
        Err(error) => return Err(OpenError::System(error.into())),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok((file, metadata)),
        Ok(_) => Err(OpenError::NotRegular),
        Err(error) => Err(OpenError::System(error)),
    }
}

/// Returns the error of a file that could not be created.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::cache_io(path, CacheProblem::NotWritable)(error)
        }
        io::ErrorKind::NotADirectory => not_a_directory(path),
        _ => no_room(path, 0, error),
    }
}

/// Returns the error of a write that failed after `written` bytes.
pub(super) fn no_room(path: &Path, written: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::cache_io(path, CacheProblem::NoSpace { written })(error)
        }
        _ => Error::io("write", path)(error),
    }
}

/// Returns the error of the ancestor that is not a directory.
fn not_a_directory(path: &Path) -> Error {
    let is_other = |path: &&Path| path.metadata().is_ok_and(|metadata| !metadata.is_dir());
    let culprit = path.ancestors().skip(1).find(is_other).unwrap_or(path);
    Error::cache(culprit, CacheProblem::NotDirectory)
}

/// The flags for opening any file of a cache: no symlinks, and no waiting for the other end of a fifo.
const CAREFUL: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The result of trying to lock an open file.
pub(super) enum TryLock {
    /// The file is locked and still has its name.
    Acquired,
    /// Another process holds the lock or has removed the file.
    Busy,
    /// The filesystem has no locks.
    Unsupported,
}

pub(super) fn take(file: &File, path: &Path) -> TryLock {
    match calls::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_at(file, path) => TryLock::Acquired,
        Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => TryLock::Busy,
        Err(_) => TryLock::Unsupported,
    }
}
