//! Temporary files: every file of the cache is written as one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::file::{TryLock, take};
use super::file::{no_room, open_or_make, unwritable};
use crate::calls;
use crate::error::{CacheProblem, Error, Result};

/// The number of attempts to create a file that no sweep removes.
const TRIES: u32 = 64;

/// A file below `partial`, locked while its owner lives, and removed unless it is published.
#[derive(Debug)]
pub(super) struct TempBlob {
    path: PathBuf,
    file: File,
    published: bool,
}

impl TempBlob {
    /// Creates an empty file with a new name.
    pub(super) fn new(directory: &Path, prefix: &str) -> Result<Self> {
        for _ in 0..TRIES {
            let (file, path) = tempfile::Builder::new()
                .prefix(prefix)
                .make_in(directory, |path| {
                    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
                })
                .and_then(|made| made.keep().map_err(|error| error.error))
                .map_err(|error| unwritable(directory, error))?;
            // A sweep may remove it as an orphan before it is locked.
            if !matches!(take(&file, &path), TryLock::Busy) {
                let draft = Self { path, file, published: false };
                let mode = std::fs::Permissions::from_mode(0o600);
                draft.file.set_permissions(mode).map_err(Error::io("chmod", &draft.path))?;
                return Ok(draft);
            }
            // It belongs to this process: the name was new a moment ago.
            let _ = std::fs::remove_file(&path);
        }
        Err(unwritable(directory, io::ErrorKind::ResourceBusy.into()))
    }

    /// Opens the file of a name, which may have the content written by a killed process; `None` if another process
    /// holds its lock, or if the filesystem has no locks.
    pub(super) fn at(path: &Path) -> Result<Option<Self>> {
        // A sweep locks an orphan only for a moment before it removes it.
        for _ in 0..100 {
            let file = open_or_make(path)?;
            match take(&file, path) {
                TryLock::Acquired => return Ok(Some(Self { path: path.to_owned(), file, published: false })),
                TryLock::Busy => std::thread::sleep(Duration::from_millis(1)),
                TryLock::Unsupported => break,
            }
        }
        Ok(None)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|error| no_room(&self.path, offset, error))
    }

    /// Removes the content.
    pub(super) fn clear(&self) -> Result<()> {
        self.file.set_len(0).map_err(Error::io("truncate", &self.path))
    }

    /// Syncs the file, renames it to `target`, replacing a regular file, and syncs the directory.
    ///
    /// After a power failure at any moment, either the old file or the whole new one exists. Returns the file with a
    /// shared lock.
    pub(super) fn publish(self, target: &Path) -> Result<File> {
        self.file.sync_all().map_err(|error| no_room(&self.path, 0, error))?;
        let file = self.publish_unsynced(target)?;
        sync_parent(target)?;
        Ok(file)
    }

    /// Renames the file to `target` like [`TempBlob::publish`]; after a power failure it may be damaged.
    pub(super) fn publish_unsynced(mut self, target: &Path) -> Result<File> {
        let file = self.file.try_clone().map_err(Error::io("open", &self.path))?;
        if target.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::cache(target, CacheProblem::NotRegular));
        }
        std::fs::rename(&self.path, target).map_err(|error| rename_error(target, error))?;
        self.published = true;
        // Without locks there is no pruning to protect from.
        let _ = calls::flock(&file, FlockOperation::NonBlockingLockShared);
        Ok(file)
    }
}

impl Drop for TempBlob {
    fn drop(&mut self) {
        if !self.published {
            // A failure is ignored: a later run sweeps the file.
            let _ = std::fs::remove_file(&self.path);
            // A child that is being started may keep the descriptor a moment longer.
            let _ = calls::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

fn rename_error(target: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::IsADirectory => Error::cache(target, CacheProblem::NotRegular),
        _ => unwritable(target, error),
    }
}

fn sync_parent(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io("sync", directory))
}
