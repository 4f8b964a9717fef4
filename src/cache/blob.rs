//! Looking blobs up, and reading and keeping small ones.

use std::fs::{File, Metadata};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, flock, futimens};

use super::Cache;
use super::layout::open;
use super::partial::Partial;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::read_at::{FileSlice, ReadAt};

/// What the cache has under a digest.
#[derive(Debug)]
pub enum Found {
    /// A regular file of the promised size, open. Its content was not looked at: whoever reads it hashes it.
    Blob(FileSlice),
    /// A file of another size, in bytes.
    Damaged(u64),
    /// Nothing.
    Missing,
}

/// What the cache has under the digest of a small blob, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The blob; size and digest are right.
    Bytes(Vec<u8>),
    /// A file of another size than promised, in bytes.
    Damaged(u64),
    /// A file whose bytes have this digest.
    DamagedDigest(Digest),
    /// A file that is larger than allowed, in bytes. It was not read.
    TooLarge(u64),
    /// Nothing.
    Missing,
}

impl Cache {
    /// Looks a blob up. `size` is what its descriptor promises, where there is one. The blob counts as used.
    ///
    /// # Errors
    ///
    /// Something else than a regular file has the name: it is neither followed nor read nor removed. The system
    /// refuses.
    pub fn find(&self, digest: &Digest, size: Option<u64>) -> Result<Found> {
        let path = self.blob_path(digest);
        let Some((file, metadata)) = open(&path)? else { return Ok(Found::Missing) };
        if size.is_some_and(|promised| promised != metadata.len()) {
            return Ok(Found::Damaged(metadata.len()));
        }
        mark_used(&file);
        FileSlice::whole(file).map(Found::Blob).map_err(Error::io("read", path))
    }

    /// Reads a blob of at most `max` bytes, and checks it. `size` is what its descriptor promises, where there is one.
    /// The blob counts as used.
    ///
    /// # Errors
    ///
    /// As for [`Cache::find`].
    pub fn read(&self, digest: &Digest, size: Option<u64>, max: u64) -> Result<Kept> {
        let (kept, file) = self.load(digest, size, max)?;
        if let (Kept::Bytes(_), Some(file)) = (&kept, &file) {
            mark_used(file);
        }
        Ok(kept)
    }

    /// Like [`Cache::read`]; the blob does not count as used.
    pub(super) fn peek(&self, digest: &Digest, size: u64, max: u64) -> Result<Kept> {
        self.load(digest, Some(size), max).map(|(kept, _)| kept)
    }

    fn load(&self, digest: &Digest, size: Option<u64>, max: u64) -> Result<(Kept, Option<File>)> {
        let path = self.blob_path(digest);
        let Some((file, metadata)) = open(&path)? else { return Ok((Kept::Missing, None)) };
        let actual = metadata.len();
        if size.is_some_and(|promised| promised != actual) {
            return Ok((Kept::Damaged(actual), None));
        }
        let Some(length) = usize::try_from(actual).ok().filter(|_| actual <= max) else {
            return Ok((Kept::TooLarge(actual), None));
        };
        let mut bytes = vec![0; length];
        let keep = file.try_clone().map_err(Error::io("open", &path))?;
        let slice = FileSlice::whole(file).map_err(Error::io("read", &path))?;
        let count = slice.read_at(0, &mut bytes).map_err(Error::io("read", &path))?;
        bytes.truncate(count);
        let found = Digest::of(digest.algorithm(), &bytes);
        Ok((if found == *digest { Kept::Bytes(bytes) } else { Kept::DamagedDigest(found) }, Some(keep)))
    }

    /// Returns whether a regular file of that size has the blob's name.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        let is_it = |metadata: Metadata| metadata.is_file() && metadata.len() == size;
        self.blob_path(digest).symlink_metadata().is_ok_and(is_it)
    }

    /// Keeps a small blob (a manifest) that is in memory. Its SHA-256 is computed here.
    ///
    /// # Errors
    ///
    /// The cache cannot be written and does not have the blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let size = bytes.len() as u64;
        if matches!(self.read(&digest, Some(size), size)?, Kept::Bytes(_)) {
            return Ok(digest);
        }
        self.make_writable()?;
        let mut partial = Partial::private(self, &digest, size, None)?;
        partial.write(bytes)?;
        match partial.commit()? {
            Ok(_) => Ok(digest),
            Err(_) => Err(ErrorKind::Bug("bytes have another digest than a moment ago").into()),
        }
    }
}

/// Notes that a blob is used now, for pruning, and keeps it from being pruned while it is open.
///
/// In a cache that cannot be written neither is needed.
fn mark_used(file: &File) {
    let never = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let _ = futimens(file, &Timestamps { last_access: never, last_modification: now });
    let _ = flock(file, FlockOperation::NonBlockingLockShared);
}
