//! System calls, repeated while a signal interrupts them. Ground floor.
//!
//! The standard library does the same for its own calls; POSIX lists the calls that can fail this way. Local Linux
//! filesystems never interrupt these calls, network and user-space filesystems can.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::{Result, retry_on_intr};
use rustix::path::Arg;

/// Opens a path.
pub(crate) fn open(path: impl Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::open(path, flags, mode))
}

/// Opens a path below a directory.
pub(crate) fn openat(directory: impl AsFd, path: impl Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat(&directory, path, flags, mode))
}

/// Opens a path below a directory, which it cannot leave, without following a symlink.
pub(crate) fn open_beneath(directory: impl AsFd, path: impl Arg + Copy, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    retry_on_intr(|| rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve))
}

/// Sets the mode of a name in a directory.
pub(crate) fn chmodat(directory: impl AsFd, name: impl Arg + Copy, mode: Mode) -> Result<()> {
    retry_on_intr(|| rustix::fs::chmodat(&directory, name, mode, AtFlags::empty()))
}

/// Locks an open file, or unlocks it.
pub(crate) fn flock(file: impl AsFd, operation: FlockOperation) -> Result<()> {
    retry_on_intr(|| rustix::fs::flock(&file, operation))
}

/// Sets an open file's mode.
pub(crate) fn fchmod(file: impl AsFd, mode: Mode) -> Result<()> {
    retry_on_intr(|| rustix::fs::fchmod(&file, mode))
}

/// Syncs an open file.
pub(crate) fn fsync(file: impl AsFd) -> Result<()> {
    retry_on_intr(|| rustix::fs::fsync(&file))
}

/// Truncates an open file.
pub(crate) fn ftruncate(file: impl AsFd, length: u64) -> Result<()> {
    retry_on_intr(|| rustix::fs::ftruncate(&file, length))
}

/// Reads at a position of an open file.
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
    loop {
        match file.read_at(buf, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Returns a reader of the names in an open directory, with a position of its own.
pub(crate) fn names_in(directory: impl AsFd) -> Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, ".", flags, Mode::empty()).and_then(Dir::new)
}

/// Returns the paths of all names in a directory.
///
/// The standard library's reader of directories panics if closing one fails, which a filesystem may let happen.
pub(crate) fn paths_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut paths = Vec::new();
    for entry in Dir::new(open(directory, flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            paths.push(directory.join(OsStr::from_bytes(name)));
        }
    }
    Ok(paths)
}
