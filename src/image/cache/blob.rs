//! Looks up blobs, and reads and stores small ones.

use std::fs::{File, Metadata};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

use super::Cache;
use super::file::open;
use super::partial::Partial;
use crate::calls;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::read_at::{FileSlice, ReadAt};

/// The result of looking up a blob by digest.
#[derive(Debug)]
pub enum Lookup {
    /// A regular file of the promised size, open. Its content is not verified: the reader hashes it.
    Hit(FileSlice),
    /// A file of another size, in bytes.
    WrongSize(u64),
    /// No file.
    Miss,
}

/// The result of reading a small blob by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmallBlob {
    /// The blob; size and digest match.
    Bytes(Vec<u8>),
    /// A file of another size than promised, in bytes.
    WrongSize(u64),
    /// A file whose bytes have this digest.
    WrongDigest(Digest),
    /// A file that is larger than allowed, in bytes. It was not read.
    TooLarge(u64),
    /// No file.
    Missing,
}

impl Cache {
    /// Looks up a blob and marks it as used. `size` is the size in its descriptor, if there is one.
    ///
    /// # Errors
    ///
    /// The path is not a regular file: it is not followed, read or removed. The file cannot be opened.
    pub fn find(&self, digest: &Digest, size: Option<u64>) -> Result<Lookup> {
        let path = self.blob_path(digest);
        let Some((file, metadata)) = open(&path)? else { return Ok(Lookup::Miss) };
        if size.is_some_and(|promised| promised != metadata.len()) {
            return Ok(Lookup::WrongSize(metadata.len()));
        }
        mark_used(&file);
        FileSlice::whole(file).map(Lookup::Hit).map_err(Error::io("read", path))
    }

    /// Reads a blob of at most `max` bytes, verifies it, and marks it as used. `size` is the size in its descriptor, if
    /// there is one.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::find`].
    pub fn read(&self, digest: &Digest, size: Option<u64>, max: u64) -> Result<SmallBlob> {
        let (kept, file) = self.load(digest, size, max)?;
        if let (SmallBlob::Bytes(_), Some(file)) = (&kept, &file) {
            mark_used(file);
        }
        Ok(kept)
    }

    /// Reads a blob like [`Cache::read`] without marking it as used.
    pub(super) fn peek(&self, digest: &Digest, size: u64, max: u64) -> Result<SmallBlob> {
        self.load(digest, Some(size), max).map(|(kept, _)| kept)
    }

    fn load(&self, digest: &Digest, size: Option<u64>, max: u64) -> Result<(SmallBlob, Option<File>)> {
        let path = self.blob_path(digest);
        let Some((file, metadata)) = open(&path)? else { return Ok((SmallBlob::Missing, None)) };
        let actual = metadata.len();
        if size.is_some_and(|promised| promised != actual) {
            return Ok((SmallBlob::WrongSize(actual), None));
        }
        let Some(length) = usize::try_from(actual).ok().filter(|_| actual <= max) else {
            return Ok((SmallBlob::TooLarge(actual), None));
        };
        let mut bytes = vec![0; length];
        let keep = file.try_clone().map_err(Error::io("open", &path))?;
        let slice = FileSlice::whole(file).map_err(Error::io("read", &path))?;
        let count = slice.read_at(0, &mut bytes).map_err(Error::io("read", &path))?;
        bytes.truncate(count);
        let found = Digest::of(digest.algorithm(), &bytes);
        Ok((if found == *digest { SmallBlob::Bytes(bytes) } else { SmallBlob::WrongDigest(found) }, Some(keep)))
    }

    /// Returns true if the blob's path is a regular file of that size.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        let is_it = |metadata: Metadata| metadata.is_file() && metadata.len() == size;
        self.blob_path(digest).symlink_metadata().is_ok_and(is_it)
    }

    /// Stores a small blob (a manifest) from memory under its SHA-256.
    ///
    /// # Errors
    ///
    /// The cache does not have the blob and cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let size = bytes.len() as u64;
        if matches!(self.read(&digest, Some(size), size)?, SmallBlob::Bytes(_)) {
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

/// Marks a blob as used now, for pruning, and protects it from pruning while it is open.
///
/// A cache that cannot be written needs neither.
pub(super) fn mark_used(file: &File) {
    let never = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let _ = futimens(file, &Timestamps { last_access: never, last_modification: now });
    let _ = calls::flock(file, FlockOperation::NonBlockingLockShared);
}
