//! Syncs files and directories so that cancellation is not delayed longer than necessary by a slow disk.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::calls;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// The number of bytes written back at a time.
const PIECE: i64 = 8 << 20;

/// Syncs a file; its bytes are written back in pieces first, because the sync itself cannot be cancelled.
///
/// # Errors
///
/// The file cannot be synced; the run was cancelled.
pub(crate) fn file(file: &File, path: &Path, cancel: &Cancel) -> Result<()> {
    let length = file.metadata().map_err(Error::io("examine", path))?.len();
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    write_back(file, length, cancel)?;
    cancel.check()?;
    file.sync_all().map_err(Error::io("sync", path))
}

/// Writes back the pages of a file. The sync reports any error again.
fn write_back(file: &File, length: i64, cancel: &Cancel) -> Result<()> {
    let mut offset = 0;
    while offset < length {
        cancel.check()?;
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        // SAFETY: the call accesses no memory of this process, and the descriptor is open.
        if unsafe { libc::sync_file_range(file.as_raw_fd(), offset, PIECE, flags) } != 0 {
            break;
        }
        offset = offset.saturating_add(PIECE);
    }
    Ok(())
}

/// Syncs a directory opened with `O_PATH`; `inside` is a file on its filesystem. The whole filesystem is synced if the
/// directory cannot be read, or if its filesystem does not sync directories.
pub(crate) fn directory(directory: BorrowedFd<'_>, inside: &File, path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = calls::openat(directory, ".", flags, Mode::empty()).and_then(calls::fsync);
    match synced {
        Err(Errno::ACCESS | Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::syncfs(inside).map_err(Error::io("sync", path))
        }
        synced => synced.map_err(Error::io("sync", path)),
    }
}
