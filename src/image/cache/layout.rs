//! The directories of a cache: their paths and permissions.

use std::ffi::OsString;
use std::fs::{DirBuilder, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Cache;
use super::file::{open, unwritable};
use super::index::INDEX;
use super::scan::children;
use super::temporary::TempBlob;
use crate::digest::{Algorithm, Digest};
use crate::error::{CacheProblem, Error, Result};

/// The names in a directory in which a cache may be created, beside hidden ones: those that a cache creates first, and
/// that of `mkfs`.
const NOTHING_YET: [&str; 3] = ["locks", "partial", "lost+found"];
const LAYOUT: &str = "oci-layout";
const LAYOUT_VERSION: &str = "1.0.0";
/// The largest file `oci-layout`.
const LAYOUT_MAX: u64 = 4096;

impl Cache {
    pub(super) fn blobs(&self) -> PathBuf {
        self.directory.join("blobs")
    }

    pub(super) fn blob_directory(&self, algorithm: Algorithm) -> PathBuf {
        self.blobs().join(algorithm.name())
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blob_directory(digest.algorithm()).join(digest.hex())
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.directory.join("partial")
    }

    pub(super) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.partials().join(flat_name(digest))
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.directory.join("locks")
    }

    pub(super) fn lock_path(&self, digest: &Digest) -> PathBuf {
        self.locks().join(flat_name(digest))
    }

    /// Returns true if the directory has what only a cache of planish has: `locks` and `partial`, which are created
    /// first.
    fn is_marked(&self) -> bool {
        [self.locks(), self.partials()].iter().all(|path| path.symlink_metadata().is_ok())
    }

    /// Returns true if there is a cache, false if one could be created here.
    ///
    /// # Errors
    ///
    /// The directory is used for something else, and must not be changed.
    pub(super) fn is_there(&self) -> Result<bool> {
        let metadata = match self.directory.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Opening a file in it reports the error.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(true),
            Err(error) => return Err(Error::io("examine", &self.directory)(error)),
        };
        if !metadata.is_dir() {
            return Err(Error::cache(&self.directory, CacheProblem::NotDirectory));
        }
        // Another process may create the rest meanwhile, so the mark is checked last.
        let mut files = children(&self.directory)?.into_iter().filter_map(|path| Some(path.file_name()?.to_owned()));
        let strange =
            |name: OsString| !name.as_bytes().starts_with(b".") && !NOTHING_YET.iter().any(|own| *own == name);
        match (files.any(strange), self.is_marked()) {
            (_, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => Err(Error::cache(&self.directory, CacheProblem::Foreign)),
        }
    }

    /// Creates missing directories, and ensures that no other user may write the cache.
    ///
    /// A directory with other blobs or another index is not used: pruning would empty it one day.
    pub(super) fn make_writable(&self) -> Result<()> {
        make(&self.directory)?;
        self.require_own()?;
        let others = [self.blobs(), self.directory.join(LAYOUT), self.directory.join(INDEX)];
        if others.iter().any(|path| path.symlink_metadata().is_ok()) && !self.is_marked() {
            return Err(Error::cache(&self.directory, CacheProblem::Foreign));
        }
        let inner = Algorithm::ALL.map(|algorithm| self.blob_directory(algorithm));
        for path in [self.locks(), self.partials(), self.blobs()].iter().chain(&inner) {
            make(path)?;
            let metadata = path.symlink_metadata().map_err(Error::io("examine", path))?;
            require_own(path, &metadata)?;
        }
        let layout = self.directory.join(LAYOUT);
        if is_layout(&layout)? { Ok(()) } else { self.replace(LAYOUT, layout_text().as_bytes()) }
    }

    /// Creates a directory for records or files made from layers, and ensures that no other user may write it.
    pub(super) fn make_own(&self, path: &Path) -> Result<()> {
        self.make_writable()?;
        make(path)?;
        require_own(path, &path.symlink_metadata().map_err(Error::io("examine", path))?)
    }

    /// Returns true if such a directory is there, and no other user may write it.
    pub(super) fn is_own(path: &Path) -> bool {
        let own = |metadata: Metadata| {
            metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
        };
        path.symlink_metadata().is_ok_and(own)
    }

    /// Ensures that the directory belongs to this user and no other user may write it. Its path may be a symlink.
    pub(super) fn require_own(&self) -> Result<()> {
        let metadata = self.directory.metadata().map_err(Error::io("examine", &self.directory))?;
        require_own(&self.directory, &metadata)
    }

    /// Replaces a file at the top of the cache in one step.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let draft = TempBlob::new(&self.partials(), &format!("{name}-"))?;
        draft.write_at(0, bytes)?;
        draft.publish(&self.directory.join(name)).map(drop)
    }
}

/// Returns the name of a file about a blob outside `blobs`.
pub(super) fn flat_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm_name(), digest.hex())
}

fn layout_text() -> String {
    serde_json::json!({ "imageLayoutVersion": LAYOUT_VERSION }).to_string()
}

fn is_layout(path: &Path) -> Result<bool> {
    let Some((file, _)) = open(path)? else { return Ok(false) };
    let mut text = Vec::new();
    file.take(LAYOUT_MAX).read_to_end(&mut text).map_err(Error::io("read", path))?;
    let value: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    Ok(value.is_some_and(|value| value["imageLayoutVersion"] == LAYOUT_VERSION))
}

/// Creates a directory (0700) and its parents if they are missing.
fn make(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            make(parent.ok_or_else(|| unwritable(path, error))?)?;
            DirBuilder::new().mode(0o700).create(path).or_else(already).map_err(|error| unwritable(path, error))?;
        }
        Err(error) => return Err(unwritable(path, error)),
    }
    // The umask may have removed the owner's permissions.
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(Error::io("chmod", path))
}

/// Another process may create the same directories.
fn already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn require_own(path: &Path, metadata: &Metadata) -> Result<()> {
    if !metadata.is_dir() {
        return Err(Error::cache(path, CacheProblem::NotDirectory));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::cache(path, CacheProblem::Owner));
    }
    let others = |mode: u32| mode & 0o022 != 0;
    if others(metadata.mode()) {
        let tight = Permissions::from_mode(metadata.mode() & 0o7755);
        std::fs::set_permissions(path, tight).map_err(Error::cache_io(path, CacheProblem::Mode))?;
        // A filesystem without modes accepts every change without effect.
        if path.metadata().map_or(true, |metadata| others(metadata.mode())) {
            return Err(Error::cache(path, CacheProblem::Mode));
        }
    }
    Ok(())
}
