//! Access by descriptor: directories that are opened once, and the paths of open files.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::calls;

/// Returns true if a program can open its own descriptors by path.
pub(super) fn has_descriptors() -> bool {
    Path::new("/proc/self/fd").exists()
}

/// Returns a path that leads to an open file, in this process.
pub(super) fn descriptor(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Opens a new directory, even if the umask removed the owner's permissions.
pub(super) fn open(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match calls::openat(parent, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let place = calls::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            rustix::fs::chmod(descriptor(&place), Mode::RWXU)?;
            calls::openat(&place, ".", flags | OFlags::RDONLY, Mode::empty())
        }
        opened => opened,
    }
}

/// Opens a directory with `O_PATH`, which needs no permission to read it.
pub(crate) fn open_place(path: &Path) -> Result<OwnedFd, Errno> {
    calls::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Returns true if an open file is still the one at the path.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), path.symlink_metadata()), (Ok(a), Ok(b)) if same(&a, &b))
}
