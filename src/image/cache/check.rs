//! Verifies all blobs of a cache.

use std::path::{Path, PathBuf};

use super::Cache;
use super::derived::Derived;
use super::file::open;
use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::read_at::{FileSlice, ReadAt};

/// The result of hashing every blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The number of blobs that were hashed.
    pub blobs: usize,
    /// The size of these blobs in bytes.
    pub bytes: u64,
    /// The blobs whose content does not match their digest.
    pub damaged: Vec<CorruptBlob>,
    /// The records of finished filesystems that are damaged.
    pub damaged_records: Vec<PathBuf>,
    /// The listings of layers that are damaged.
    pub damaged_listings: Vec<PathBuf>,
    /// The decoded layers that are damaged.
    pub damaged_layers: Vec<PathBuf>,
    /// The files below `blobs`, `listings` and `layers` that the cache did not write.
    pub foreign_files: Vec<PathBuf>,
}

/// A blob whose content does not match its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorruptBlob {
    /// The digest in its name.
    pub expected: Digest,
    /// The digest of its content.
    pub actual: Digest,
    /// The size in bytes.
    pub bytes: u64,
}

impl Cache {
    /// Hashes every blob, listing and decoded layer.
    ///
    /// # Errors
    ///
    /// The directory is no cache; a file cannot be read; a stop was asked for.
    pub fn verify(&self, progress: &dyn Progress, cancel: &Cancel) -> Result<CheckReport> {
        if !self.is_there()? {
            return Ok(CheckReport::default());
        }
        let found = self.blob_files()?;
        let mut checked = CheckReport { foreign_files: found.foreign_files, ..CheckReport::default() };
        let layers: u64 = self.derived_files(Derived::Decoded)?.named.iter().map(|layer| layer.bytes).sum();
        progress.begin(Stage::Cache, Some(layers + found.blobs.iter().map(|blob| blob.size).sum::<u64>()));
        for expected in found.blobs.into_iter().map(|blob| blob.digest) {
            let path = self.blob_path(&expected);
            // Another process may have pruned it meanwhile.
            let Some((file, _)) = open(&path)? else { continue };
            let blob = FileSlice::whole(file).map_err(Error::io("read", &path))?;
            let actual = hash(&blob, &path, expected.algorithm(), cancel, &|count| progress.advance(count))?;
            checked.blobs += 1;
            checked.bytes += blob.size();
            if actual != expected {
                checked.damaged.push(CorruptBlob { expected, actual, bytes: blob.size() });
            }
        }
        checked.damaged_layers = self.damaged_decoded(progress, cancel)?;
        progress.end();
        checked.damaged_records = self.records()?.damaged;
        checked.damaged_listings = self.damaged_listings()?;
        for kind in Derived::ALL {
            checked.foreign_files.extend(self.derived_files(kind)?.strangers);
        }
        Ok(checked)
    }
}

/// Returns the digest of a file's bytes, and reports the progress after each block.
pub(super) fn hash(
    blob: &FileSlice,
    path: &Path,
    algorithm: Algorithm,
    cancel: &Cancel,
    advance: &dyn Fn(u64),
) -> Result<Digest> {
    let (mut hasher, mut buf, mut offset) = (Hasher::new(algorithm), vec![0; 256 << 10], 0);
    loop {
        cancel.check()?;
        let count = blob.read_at(offset, &mut buf).map_err(Error::io("read", path))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buf[..count]);
        offset += count as u64;
        advance(count as u64);
    }
}
