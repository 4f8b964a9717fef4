//! Removes the private directories that killed runs left.
//!
//! Neither a name nor a free lock is proof. A directory is removed if its name has planish's checksum, it belongs to
//! this user and no other user can enter it, its marker names this directory, and the process that made it no longer
//! exists and holds no lock.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, DirEntry, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::name::{PREFIXES, is_fresh_name};
use super::private::{MARKER, is_empty, read_marker};
use super::remove::{self, LargeFiles, RemovalDeadline};
use crate::calls;
use crate::cancel::Cancel;

/// Removes the abandoned directories in a directory. A directory that cannot be read or removed stays.
pub(super) fn sweep(parent: BorrowedFd<'_>, cancel: &Cancel) {
    let Ok(entries) = calls::names_in(parent) else { return };
    for entry in entries {
        let Ok(entry) = entry else { return };
        if cancel.check().is_err() {
            return;
        }
        let name = entry.file_name();
        if PREFIXES.iter().any(|prefix| is_fresh_name(name.to_bytes(), prefix))
            && consider(parent, name, cancel).is_err()
        {
            return;
        }
    }
}

/// The filesystem has no locks, so no directory can be proven abandoned.
struct NoLocks;

fn consider(parent: BorrowedFd<'_>, name: &CStr, cancel: &Cancel) -> Result<(), NoLocks> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = calls::openat(parent, name, flags, Mode::empty()) else { return Ok(()) };
    let Ok(stat) = rustix::fs::fstat(&directory) else { return Ok(()) };
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o777 != 0o700 {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let marker = match calls::openat(&directory, MARKER, flags, Mode::empty()) {
        Ok(marker) => File::from(marker),
        Err(Errno::NOENT) => {
            // The run was killed between creating the directory and the marker, or between removing the marker and the
            // directory: the directory is empty, or stays. A run that is just between the two makes another one.
            let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    let is_plain = rustix::fs::fstat(&marker).is_ok_and(|found| {
        FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && (found.st_uid, found.st_nlink) == (stat.st_uid, 1)
    });
    if !is_plain {
        return Ok(());
    }
    match calls::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(()),
        Err(_) => return Err(NoLocks),
    }
    // Another run may have swept it meanwhile; the marker is unlinked then.
    if rustix::fs::fstat(&marker).is_ok_and(|found| found.st_nlink == 1)
        && is_abandoned(&marker, &directory, stat.st_ino)
        && remove::contents(
            directory.as_fd(),
            MARKER,
            LargeFiles::of(name.to_bytes()),
            RemovalDeadline::UntilStop(cancel),
        )
        && rustix::fs::unlinkat(&directory, MARKER, AtFlags::empty()).is_ok()
    {
        // Removes only an empty directory, whatever has the name now.
        let _ = rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
    }
    Ok(())
}

/// Returns true if a locked marker proves it: its process is gone, or was killed before it wrote the marker.
fn is_abandoned(marker: &File, directory: &OwnedFd, inode: u64) -> bool {
    match read_marker(marker) {
        Some(found) => found.inode == inode && found.owner.is_some_and(|owner| owner.is_gone()),
        None => is_empty(marker) && holds_marker_alone(directory),
    }
}

fn holds_marker_alone(directory: &OwnedFd) -> bool {
    let is_known = |entry: rustix::io::Result<DirEntry>| {
        entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..") || entry.file_name() == MARKER)
    };
    calls::names_in(directory).is_ok_and(|entries| entries.into_iter().all(is_known))
}
