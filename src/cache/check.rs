//! Hashing everything again.

use std::path::{Path, PathBuf};

use super::Cache;
use super::layout::open;
use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::progress::{Progress, Stage};
use crate::read_at::{FileSlice, ReadAt};

/// What hashing every blob found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many blobs were hashed.
    pub blobs: usize,
    /// How many bytes these have.
    pub bytes: u64,
    /// Those that are not what their name says.
    pub damaged: Vec<DamagedBlob>,
    /// What lies among the blobs and is none.
    pub strangers: Vec<PathBuf>,
}

/// A blob that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlob {
    /// The digest that is its name.
    pub expected: Digest,
    /// The digest that it has.
    pub actual: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

impl Cache {
    /// Hashes every blob.
    ///
    /// # Errors
    ///
    /// A file cannot be read; a stop was asked for.
    pub fn verify(&self, progress: &dyn Progress, cancel: &Cancel) -> Result<Checked> {
        let stock = self.stock()?;
        let mut checked = Checked { strangers: stock.strangers, ..Checked::default() };
        progress.begin(Stage::Cache, Some(stock.blobs.iter().map(|blob| blob.size).sum()));
        for expected in stock.blobs.into_iter().map(|blob| blob.digest) {
            let path = self.blob_path(&expected);
            // Someone may have pruned it meanwhile.
            let Some((file, _)) = open(&path)? else { continue };
            let blob = FileSlice::whole(file).map_err(Error::io("read", &path))?;
            let actual = hash(&blob, &path, expected.algorithm(), cancel, &|count| progress.advance(count))?;
            checked.blobs += 1;
            checked.bytes += blob.size();
            if actual != expected {
                checked.damaged.push(DamagedBlob { expected, actual, bytes: blob.size() });
            }
        }
        progress.end();
        Ok(checked)
    }
}

/// Returns the digest of a file's bytes, and tells of each block of them.
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
