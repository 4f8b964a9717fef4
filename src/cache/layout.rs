//! The directories of a cache: where things are, who may write them, and how its files are opened.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Cache;
use super::draft::Draft;
use crate::digest::{Algorithm, Digest};
use crate::error::{CacheProblem, Error, Result};

const LAYOUT: &str = "oci-layout";
const LAYOUT_VERSION: &str = "1.0.0";
/// What a file `oci-layout` can need at most.
const LAYOUT_MAX: u64 = 4096;

/// How every file of a cache is opened: never through a symlink, and never waiting for the other end of a fifo.
const CAREFUL: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

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

    /// Makes the directories that are missing, and sees to it that nobody else may write the cache.
    pub(super) fn make_writable(&self) -> Result<()> {
        make(&self.directory)?;
        self.require_own()?;
        let inner = Algorithm::ALL.map(|algorithm| self.blob_directory(algorithm));
        for path in [self.blobs(), self.locks(), self.partials()].iter().chain(&inner) {
            make(path)?;
            let metadata = path.symlink_metadata().map_err(Error::io("examine", path))?;
            require_own(path, &metadata)?;
        }
        let layout = self.directory.join(LAYOUT);
        if is_layout(&layout)? { Ok(()) } else { self.replace(LAYOUT, layout_text().as_bytes()) }
    }

    /// Sees to it that the directory is this user's and nobody else may write it. It may be reached by a symlink.
    pub(super) fn require_own(&self) -> Result<()> {
        let metadata = self.directory.metadata().map_err(Error::io("examine", &self.directory))?;
        require_own(&self.directory, &metadata)
    }

    /// Gives a file at the top of the cache new content, in one step.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let draft = Draft::new(&self.partials(), &format!("{name}-"))?;
        draft.write_at(0, bytes)?;
        draft.publish(&self.directory.join(name)).map(drop)
    }
}

/// Returns a name for a file about a blob that does not lie below `blobs`.
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

/// Opens a regular file of the cache for reading; `None` when there is none of that name.
pub(super) fn open(path: &Path) -> Result<Option<(File, Metadata)>> {
    match open_with(path, OFlags::RDONLY) {
        Ok(opened) => Ok(Some(opened)),
        Err(Refused::System(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(Refused::System(error)) if error.kind() == io::ErrorKind::NotADirectory => Err(not_a_directory(path)),
        Err(Refused::System(error)) => Err(Error::io("open", path)(error)),
        Err(Refused::NotRegular) => Err(Error::cache(path, CacheProblem::NotRegular)),
    }
}

/// Opens a regular file of the cache for writing, and makes it (0600) where it is missing.
pub(super) fn open_or_make(path: &Path) -> Result<File> {
    match open_with(path, OFlags::RDWR | OFlags::CREATE) {
        Ok((file, _)) => {
            file.set_permissions(Permissions::from_mode(0o600)).map_err(Error::io("chmod", path))?;
            Ok(file)
        }
        Err(Refused::System(error)) => Err(unwritable(path, error)),
        Err(Refused::NotRegular) => Err(Error::cache(path, CacheProblem::NotRegular)),
    }
}

enum Refused {
    NotRegular,
    System(io::Error),
}

fn open_with(path: &Path, flags: OFlags) -> std::result::Result<(File, Metadata), Refused> {
    let file = match rustix::fs::open(path, flags | CAREFUL, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        // A symlink; a socket; a directory that was to be written.
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Err(Refused::NotRegular),
        Err(error) => return Err(Refused::System(error.into())),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok((file, metadata)),
        Ok(_) => Err(Refused::NotRegular),
        Err(error) => Err(Refused::System(error)),
    }
}

/// Returns the error of a file that could not be made.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::cache_io(path, CacheProblem::NotWritable)(error)
        }
        io::ErrorKind::NotADirectory => not_a_directory(path),
        _ => no_room(path, 0, error),
    }
}

/// Returns the error of a write that failed after so many bytes.
pub(super) fn no_room(path: &Path, written: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::cache_io(path, CacheProblem::NoSpace { written })(error)
        }
        _ => Error::io("write", path)(error),
    }
}

/// Returns the error about the ancestor that keeps a path from being looked up.
fn not_a_directory(path: &Path) -> Error {
    let is_other = |path: &&Path| path.metadata().is_ok_and(|metadata| !metadata.is_dir());
    let culprit = path.ancestors().skip(1).find(is_other).unwrap_or(path);
    Error::cache(culprit, CacheProblem::NotDirectory)
}

/// Makes a directory (0700) and those above it, unless it is there.
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
    // The umask may have taken the owner's own rights.
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(Error::io("chmod", path))
}

/// Another process may make the same directories.
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
        // A filesystem without modes takes every change and makes none.
        if path.metadata().map_or(true, |metadata| others(metadata.mode())) {
            return Err(Error::cache(path, CacheProblem::Mode));
        }
    }
    Ok(())
}
