//! A file that is being written: the only way into the cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::layout::{no_room, open_or_make, unwritable};
use super::lock::{Taken, take};
use crate::error::{CacheProblem, Error, Result};

/// A file below `partial`, locked while its owner lives, and removed unless it is published.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Draft {
    /// Makes an empty file of a new name.
    pub(super) fn new(directory: &Path, prefix: &str) -> Result<Self> {
        loop {
            let (file, path) = tempfile::Builder::new()
                .prefix(prefix)
                .make_in(directory, |path| {
                    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
                })
                .and_then(|made| made.keep().map_err(|error| error.error))
                .map_err(|error| unwritable(directory, error))?;
            // A sweep may take it for an orphan before it is locked.
            if !matches!(take(&file, &path), Taken::Busy) {
                let draft = Self { path, file, published: false };
                let mode = std::fs::Permissions::from_mode(0o600);
                draft.file.set_permissions(mode).map_err(Error::io("chmod", &draft.path))?;
                return Ok(draft);
            }
        }
    }

    /// Opens the file of a name, which may hold what a killed process left; `None` when someone else holds it, or the
    /// system has no locks.
    pub(super) fn at(path: &Path) -> Result<Option<Self>> {
        // A sweep holds an orphan for a moment, and then it is gone.
        for _ in 0..100 {
            let file = open_or_make(path)?;
            match take(&file, path) {
                Taken::Yes => return Ok(Some(Self { path: path.to_owned(), file, published: false })),
                Taken::Busy => std::thread::sleep(Duration::from_millis(1)),
                Taken::Unsupported => break,
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

    /// Syncs the file, gives it its name, whatever regular file has that, and syncs the directory.
    ///
    /// A power failure at any moment leaves the old file or the whole new one. The file comes back with a shared lock.
    pub(super) fn publish(mut self, target: &Path) -> Result<File> {
        let file = self.file.try_clone().map_err(Error::io("open", &self.path))?;
        file.sync_all().map_err(|error| no_room(&self.path, 0, error))?;
        if target.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::cache(target, CacheProblem::NotRegular));
        }
        std::fs::rename(&self.path, target).map_err(|error| rename_error(target, error))?;
        self.published = true;
        sync_parent(target)?;
        // Without locks there is nothing that they would protect from.
        let _ = flock(&file, FlockOperation::NonBlockingLockShared);
        Ok(file)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // Nothing can be done about a failure here, and a later run sweeps.
            let _ = std::fs::remove_file(&self.path);
            // A child that is just being started may have the descriptor a moment longer.
            let _ = flock(&self.file, FlockOperation::Unlock);
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
