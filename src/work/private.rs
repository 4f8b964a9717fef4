//! A private directory, accessed by descriptor only, with a marker file that identifies its owner.

use std::ffi::CStr;
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::descriptor::{descriptor, open};
use super::marker::{self, Owner, OwnerFile};
use super::name::fresh_name;
use super::remove::{self, LargeFiles, RemovalDeadline};
use super::scratch::Scratch;
use crate::calls;
use crate::cancel::{Cancel, Remain};
use crate::error::{Error, Result, ShownPath};

pub(super) const MARKER: &CStr = c"planish-owner";
/// The number of attempts to create a directory with a new name while others interfere.
const TRIES: u32 = 64;

/// A directory (0700), removed with its content when dropped.
///
/// Its marker is locked while its owner lives, so that a later run recognizes a directory left by a killed one.
#[derive(Debug)]
pub(super) struct Private {
    parent: Arc<OwnedFd>,
    name: String,
    scratch: Scratch,
    marker: Option<File>,
    locked: bool,
    cancel: Cancel,
    remain: Option<Remain>,
    large: LargeFiles,
}

impl Private {
    /// Creates a directory whose name begins with `prefix`; `path` is the parent's, for messages.
    pub(super) fn create(parent: &Arc<OwnedFd>, path: &Path, prefix: &str, cancel: &Cancel) -> Result<Self> {
        let failed = |error: Errno| Error::io("make a directory in", path)(error);
        for _ in 0..TRIES {
            let name = fresh_name(prefix);
            match rustix::fs::mkdirat(parent, &*name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST | Errno::INTR) => continue,
                Err(error) => return Err(failed(error)),
            }
            let path = path.join(&name);
            let directory = match open(parent.as_fd(), &name) {
                Ok(directory) => directory,
                // Another process removed or replaced the directory.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => {
                    // It is empty, or not ours.
                    let _ = rustix::fs::unlinkat(parent, &*name, AtFlags::REMOVEDIR);
                    return Err(Error::io("open", path)(error));
                }
            };
            let mut made = Self {
                parent: Arc::clone(parent),
                scratch: Scratch::new(directory, path),
                marker: None,
                locked: false,
                cancel: cancel.clone(),
                remain: None,
                large: LargeFiles::of(name.as_bytes()),
                name,
            };
            if made.mark()? {
                made.remain = cancel.remember(&ShownPath(made.path()).to_string(), made.locked);
                return Ok(made);
            }
        }
        Err(failed(Errno::EXIST))
    }

    /// Writes and locks the marker; returns false if the directory may not be this process's own.
    fn mark(&mut self) -> Result<bool> {
        let inode = self.metadata(self.directory())?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let marker = match calls::openat(self.directory(), MARKER, flags, Mode::RUSR | Mode::WUSR) {
            Ok(marker) => File::from(marker),
            // Another directory was moved to the new one's path, or another run removed the empty one.
            Err(Errno::EXIST | Errno::NOENT) => return Ok(false),
            Err(error) => return Err(Error::write(self.path(), 0, error.into())),
        };
        // A filesystem may map owners; then all files of this process have the same owner.
        let owner = self.metadata(&marker).map(|stat| stat.st_uid);
        if !matches!(owner, Ok(uid) if uid == inode.st_uid) {
            let _ = rustix::fs::unlinkat(self.directory(), MARKER, AtFlags::empty());
            return owner.map(|_| false);
        }
        let marker = self.marker.insert(marker);
        // The umask may have removed the owner's permissions. Some filesystems have no modes.
        let _ = marker.set_permissions(Permissions::from_mode(0o600));
        if inode.st_mode & 0o777 != 0o700 {
            let mode = Mode::from_raw_mode(inode.st_mode & 0o7000 | 0o700);
            calls::fchmod(self.scratch.directory(), mode).map_err(Error::io("chmod", self.scratch.path()))?;
        }
        // Locked before the marker has content that could prove the directory abandoned.
        self.locked = match calls::flock(&*marker, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(Errno::WOULDBLOCK) => return Ok(false),
            // The filesystem has no locks, so nothing is swept on it.
            Err(_) => false,
        };
        let found = rustix::fs::statat(self.scratch.directory(), MARKER, AtFlags::SYMLINK_NOFOLLOW);
        if matches!(found, Err(Errno::NOENT)) {
            // Another run locked the empty marker first, and removed it.
            return Ok(false);
        }
        let text = OwnerFile { owner: Owner::this(), inode: inode.st_ino }.to_string();
        marker.write_all_at(text.as_bytes(), 0).map_err(|error| Error::write(self.scratch.path(), 0, error))?;
        Ok(true)
    }

    fn metadata(&self, file: impl AsFd) -> Result<rustix::fs::Stat> {
        rustix::fs::fstat(file).map_err(Error::io("examine", self.path()))
    }

    /// Returns the directory for unlinked files, which are truncated before the directory is removed.
    pub(super) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Returns the directory.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.scratch.directory()
    }

    /// Returns the path at which the directory was created. It may have been moved: use the path in messages only.
    pub(super) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns false if the filesystem has no locks.
    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Leaves the directory in place, as a killed process does.
    #[cfg(test)]
    pub(super) fn abandon(mut self) {
        self.marker = None;
        self.name.push_str("-abandoned");
    }

    /// Removes the directory with its content. Returns false if files are left to the next run.
    pub(super) fn remove(&mut self) -> bool {
        let removed = self.remove_all();
        if removed && let Some(remain) = self.remain.take() {
            self.cancel.forget(remain);
        }
        removed
    }

    fn remove_all(&mut self) -> bool {
        if self.marker.take().is_none() {
            // The directory has no content.
            return twice(|| rustix::fs::unlinkat(&self.parent, &*self.name, AtFlags::REMOVEDIR).is_ok());
        }
        // Taking the marker closed it, which frees a descriptor that the removal may need; no other run takes the
        // directory while this process lives.
        let cancel = self.cancel.clone();
        let patience = RemovalDeadline::UntilDeadline(&cancel);
        self.cut_nameless(patience);
        twice(|| remove::contents(self.directory(), MARKER, self.large, patience))
            // The marker is removed last: without it, the rest could not be attributed.
            && twice(|| rustix::fs::unlinkat(self.directory(), MARKER, AtFlags::empty()).is_ok())
            && twice(|| self.remove_name())
    }

    /// Truncates the unlinked files; a file for which there is no time is linked again, for the next run to find.
    fn cut_nameless(&self, patience: RemovalDeadline<'_>) {
        for (n, file) in self.scratch.take_kept().into_iter().enumerate() {
            if !self.cancel.is_short_of_time() || remove::cut(file.as_fd(), patience) {
                continue;
            }
            if file.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
                let (from, to) = (descriptor(&file), format!("left-{n}"));
                // If the link fails, the end of the process takes longer.
                let _ = rustix::fs::linkat(rustix::fs::CWD, &*from, self.directory(), &*to, AtFlags::SYMLINK_FOLLOW);
            }
        }
    }

    /// Removes the empty directory, at its current name in its parent.
    fn remove_name(&self) -> bool {
        let Ok(own) = rustix::fs::fstat(self.directory()) else { return false };
        let is_own = |name: &[u8]| {
            let stat = rustix::fs::statat(&self.parent, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino))
        };
        let remove = |name: &[u8]| is_own(name) && rustix::fs::unlinkat(&self.parent, name, AtFlags::REMOVEDIR).is_ok();
        // Another run may have removed the empty directory already.
        if remove(self.name.as_bytes()) || own.st_nlink == 0 {
            return true;
        }
        // The owner of the parent may have renamed the directory.
        let Ok(now) = std::fs::read_link(descriptor(self.directory())) else { return false };
        now.file_name().is_some_and(|name| remove(name.as_bytes()))
    }
}

/// Repeats an attempt that may have failed temporarily.
fn twice(attempt: impl Fn() -> bool) -> bool {
    attempt() || attempt()
}

impl Drop for Private {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Returns the content of a directory's marker, if it is valid.
pub(super) fn read_marker(file: &File) -> Option<OwnerFile> {
    let mut bytes = [0; marker::BYTES_MAX];
    let count = calls::read_at(file, &mut bytes, 0).ok()?;
    OwnerFile::parse(&bytes[..count])
}

/// Returns true if a marker is empty: its writer was killed before the one call that fills it.
pub(super) fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() == 0)
}
