//! Removes the content of a private directory: relative to descriptors, without following symlinks, without recursion.
//!
//! A subdirectory is moved to the top and emptied there, so that two descriptors suffice for any depth.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::name::WORK_PREFIX;
use crate::calls;
use crate::cancel::Cancel;

/// The bytes that are truncated at a time from a large file if time is short.
const PIECE: u64 = 32 << 20;
const BLOCK: u64 = 512;
/// The name prefix of a directory that was moved to the top; no other file has it.
const RISEN: &str = "planish-removed-";
const TRIES: u32 = 64;

/// The condition that ends a removal early.
#[derive(Debug, Clone, Copy)]
pub(super) enum RemovalDeadline<'a> {
    /// For the run's own files: the time after a signal is over.
    UntilDeadline(&'a Cancel),
    /// For files that others left: the run is cancelled.
    UntilStop(&'a Cancel),
}

/// The treatment of large files if time is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LargeFiles {
    /// They belong to this program only, and are truncated in pieces before they are removed.
    Cut,
    /// They are removed whole: one of them may be the caller's old output, which others may have open.
    Whole,
}

impl LargeFiles {
    /// Returns the treatment in a private directory of this name.
    pub(super) fn of(name: &[u8]) -> Self {
        if name.starts_with(WORK_PREFIX.as_bytes()) { Self::Cut } else { Self::Whole }
    }
}

impl RemovalDeadline<'_> {
    fn is_over(self) -> bool {
        match self {
            Self::UntilDeadline(cancel) => cancel.is_out_of_time(),
            Self::UntilStop(cancel) => cancel.check().is_err(),
        }
    }

    /// Returns true if time is short.
    fn is_short(self) -> bool {
        match self {
            Self::UntilDeadline(cancel) | Self::UntilStop(cancel) => cancel.is_short_of_time(),
        }
    }
}

/// Removes the content of a directory except `kept`. Returns false if something is left: it belongs to another user, it
/// is on another filesystem, the system refuses, or the time is over.
pub(super) fn contents(
    top: BorrowedFd<'_>,
    exception: &CStr,
    large: LargeFiles,
    patience: RemovalDeadline<'_>,
) -> bool {
    let Ok(stat) = rustix::fs::fstat(top) else { return false };
    let mut removal = Removal { top, owner: stat.st_uid, device: stat.st_dev, risen: 0, large, patience };
    let Ok(mut dir) = calls::names_in(top) else { return false };
    removal.empty(&mut dir, top, Some(exception))
}

/// Truncates a file to nothing, in pieces. Returns false if the time is over.
pub(super) fn cut(file: BorrowedFd<'_>, patience: RemovalDeadline<'_>) -> bool {
    let Ok(stat) = rustix::fs::fstat(file) else { return true };
    let mut size = u64::try_from(stat.st_size).unwrap_or(0);
    while size > 0 {
        if patience.is_over() {
            return false;
        }
        size = size.saturating_sub(PIECE);
        if calls::ftruncate(file, size).is_err() {
            return true;
        }
    }
    true
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    owner: u32,
    device: u64,
    risen: u64,
    large: LargeFiles,
    patience: RemovalDeadline<'a>,
}

impl Removal<'_> {
    /// Removes everything in one directory; a subdirectory is moved to the top, or emptied if it is there.
    fn empty(&mut self, dir: &mut Dir, fd: BorrowedFd<'_>, exception: Option<&CStr>) -> bool {
        loop {
            let (mut removed, mut left) = (false, false);
            dir.rewind();
            while let Some(entry) = dir.read() {
                let Ok(entry) = entry else { return false };
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") || exception == Some(name) {
                    continue;
                }
                if self.patience.is_over() {
                    return false;
                }
                match self.remove(fd, name, exception.is_some()) {
                    true => removed = true,
                    false => left = true,
                }
            }
            // Directories moved to the top meanwhile may have been missed.
            if !removed {
                return !left;
            }
        }
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, name: &CStr, at_top: bool) -> bool {
        let Ok(stat) = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
        let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
        if !is_directory {
            let cuts = self.large == LargeFiles::Cut
                && stat.st_nlink == 1
                && self.patience.is_short()
                && u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK > PIECE;
            return (!cuts || self.cut(fd, name)) && rustix::fs::unlinkat(fd, name, AtFlags::empty()).is_ok();
        }
        if stat.st_uid != self.owner || stat.st_dev != self.device {
            return false;
        }
        if at_top { self.remove_directory(name) } else { self.raise(fd, name) }
    }

    fn remove_directory(&mut self, name: &CStr) -> bool {
        if rustix::fs::unlinkat(self.top, name, AtFlags::REMOVEDIR).is_ok() {
            return true;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(opened) = calls::openat(self.top, name, flags, Mode::empty()) else { return false };
        let Ok(mut dir) = calls::names_in(&opened) else { return false };
        self.empty(&mut dir, opened.as_fd(), None) && rustix::fs::unlinkat(self.top, name, AtFlags::REMOVEDIR).is_ok()
    }

    fn raise(&mut self, fd: BorrowedFd<'_>, name: &CStr) -> bool {
        for _ in 0..TRIES {
            let risen = format!("{RISEN}{}-{}", std::process::id(), self.risen);
            self.risen += 1;
            match rustix::fs::renameat_with(fd, name, self.top, &*risen, rustix::fs::RenameFlags::NOREPLACE) {
                Ok(()) => return true,
                // An interrupted removal left it.
                Err(Errno::EXIST) => {}
                // Without the flag, a rename can replace only an empty directory.
                Err(_) => return rustix::fs::renameat(fd, name, self.top, &*risen).is_ok(),
            }
        }
        false
    }

    fn cut(&self, fd: BorrowedFd<'_>, name: &CStr) -> bool {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match calls::openat(fd, name, flags, Mode::empty()) {
            Ok(file) => cut(File::from(file).as_fd(), self.patience),
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Signal;

    fn open(path: &std::path::Path) -> File {
        File::open(path).unwrap()
    }

    #[test]
    fn any_depth_is_removed_with_few_descriptors_and_kept_files_stay() {
        let home = tempfile::tempdir().unwrap();
        let top = open(home.path());
        std::fs::write(home.path().join("kept"), "x").unwrap();
        let mut at = top.try_clone().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::symlinkat("/etc/passwd", &at, "l").unwrap();
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            at = File::from(rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap());
        }
        std::fs::create_dir(home.path().join(format!("{RISEN}0"))).unwrap();
        assert!(contents(top.as_fd(), c"kept", LargeFiles::Cut, RemovalDeadline::UntilStop(&Cancel::default())));
        let left: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
    }

    #[test]
    fn removal_stops_at_its_deadline() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), "x").unwrap();
        let large = File::create(home.path().join("large")).unwrap();
        large.set_len(3 * PIECE + 1).unwrap();
        let cancel = Cancel::default();
        cancel.raise(Signal::Interrupt);
        assert!(!contents(open(home.path()).as_fd(), c"kept", LargeFiles::Cut, RemovalDeadline::UntilStop(&cancel)));
        assert!(!cut(large.as_fd(), RemovalDeadline::UntilStop(&cancel)));
        assert!(home.path().join("a").exists() && large.metadata().unwrap().len() > PIECE);
        assert!(cut(large.as_fd(), RemovalDeadline::UntilDeadline(&cancel)));
        assert_eq!(large.metadata().unwrap().len(), 0);
        assert!(contents(open(home.path()).as_fd(), c"kept", LargeFiles::Cut, RemovalDeadline::UntilDeadline(&cancel)));
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
    }
}
