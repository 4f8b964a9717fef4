//! Decompresses a layer and checks it to its last byte, before anyone looks at what it says.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::spool::Spool;
use crate::cancel::Cancel;
use crate::compression::{Compression, DecodeFault, decoder};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, ErrorKind, Found, ImageProblem, LayerPlace, Place, Result};
use crate::limits::{Limit, Limits};
use crate::progress::Progress;
use crate::read_at::{FileSlice, ReadAt};
use crate::source::LayerBlob;

/// How much is decompressed, hashed and written at once.
const BLOCK: usize = 256 << 10;

/// What all layers of an image may use together.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    entries: AtomicU64,
    limits: Limits,
}

impl Budget {
    /// Returns the whole budget.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (bytes, entries) = (AtomicU64::new(limits.total_bytes), AtomicU64::new(limits.entries));
        Self { bytes, entries, limits }
    }

    /// Returns the limits that it enforces.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn spend_bytes(&self, amount: u64) -> Result<()> {
        spend(&self.bytes, amount, Limit::TotalBytes, self.limits.total_bytes)
    }

    /// Takes one entry off.
    ///
    /// # Errors
    ///
    /// None is left.
    pub fn spend_entry(&self) -> Result<()> {
        spend(&self.entries, 1, Limit::Entries, self.limits.entries)
    }
}

fn spend(left: &AtomicU64, amount: u64, limit: Limit, allowed: u64) -> Result<()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount))
        .map(drop)
        .map_err(|_| ErrorKind::Limit { place: Place::Layers, limit, allowed, found: Found::MoreThan(allowed) }.into())
}

/// A layer whose bytes are what manifest and config promise.
#[derive(Debug)]
pub struct Layer {
    /// Which of how many.
    pub place: LayerPlace,
    /// The uncompressed tar stream: a mapped file that has no name any more.
    pub tar: Bytes,
    /// The mapping that `tar` is; an empty stream has none.
    pub spool: Option<Arc<Spool>>,
    /// How the blob is compressed.
    pub compression: Compression,
    /// The blob's size in bytes.
    pub blob_bytes: u64,
}

/// Decompresses a layer into a nameless file in `directory` and checks its size, its digest and its diff ID.
///
/// # Errors
///
/// The blob is damaged or not what was promised; all layers together pass a limit; the disk is full; a stop was asked
/// for.
pub fn decode(
    blob: &LayerBlob,
    directory: &Path,
    budget: &Budget,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Layer> {
    let place = || Place::Layer(blob.place.clone());
    let blob_bytes = blob.data.size();
    if let Some(promised) = blob.size.filter(|size| *size != blob_bytes) {
        return Err(Error::image(place(), ImageProblem::SizeMismatch { promised, actual: blob_bytes }));
    }
    let mut head = [0; Compression::MAGIC_LEN];
    let head_len = blob.data.read_at(0, &mut head).map_err(Error::io("read", directory))?;
    let compression = Compression::of(&head[..head_len]).map_err(|problem| Error::image(place(), problem))?;

    let spool = tempfile::tempfile_in(directory).map_err(Error::io("make a file in", directory))?;
    let decoded = spool_decoded(blob, compression, &spool, directory, budget, progress, cancel);
    let Decoded { diff_id, blob_digest, bytes } = match decoded {
        // Damaged bytes that are not the promised ones were damaged on the way: that says more.
        Err(error) if error.fault() == crate::Fault::Image => {
            check_digest(blob, &hash(&blob.data, algorithm(blob), directory, cancel)?)?;
            return Err(error);
        }
        other => other?,
    };
    check_digest(blob, &blob_digest)?;
    if diff_id != blob.diff_id {
        let promised = blob.diff_id.clone();
        return Err(Error::image(place(), ImageProblem::DiffIdMismatch { promised, actual: diff_id }));
    }
    // Nothing can be mapped of an empty file.
    let spool =
        if bytes == 0 { None } else { Some(Spool::map(&spool).map_err(Error::io("map a file in", directory))?) };
    let tar = spool.as_ref().map(Spool::bytes).unwrap_or_default();
    Ok(Layer { place: blob.place.clone(), tar, spool, compression, blob_bytes })
}

/// What was seen while decompressing.
struct Decoded {
    diff_id: Digest,
    blob_digest: Digest,
    bytes: u64,
}

fn spool_decoded(
    blob: &LayerBlob,
    compression: Compression,
    mut spool: &File,
    directory: &Path,
    budget: &Budget,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Decoded> {
    let same_bytes = compression == Compression::None && algorithm(blob) == blob.diff_id.algorithm();
    let raw =
        Watched { reader: blob.data.reader(), hasher: (!same_bytes).then(|| Hasher::new(algorithm(blob))), progress };
    let mut decoder =
        decoder(compression, raw, budget.limits().zstd_window_log).map_err(Error::io("read", directory))?;
    let mut diff_hasher = Hasher::new(blob.diff_id.algorithm());
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        cancel.check()?;
        let n = match decoder.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => {
                let fault = DecodeFault::of(&error).map(|fault| fault.at(Place::Layer(blob.place.clone())));
                return Err(fault.unwrap_or_else(|| Error::io("read", directory)(error)));
            }
        };
        budget.spend_bytes(n as u64)?;
        diff_hasher.update(&block[..n]);
        spool.write_all(&block[..n]).map_err(|error| Error::write(directory, bytes, error))?;
        bytes += n as u64;
    }
    let diff_id = diff_hasher.finish();
    let blob_digest = match decoder.into_inner().and_then(|raw| raw.hasher) {
        Some(hasher) => hasher.finish(),
        None => diff_id.clone(),
    };
    Ok(Decoded { diff_id, blob_digest, bytes })
}

/// Returns the algorithm of the blob's digest; where none was promised, the cheapest to be ignored.
fn algorithm(blob: &LayerBlob) -> Algorithm {
    blob.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm)
}

fn check_digest(blob: &LayerBlob, actual: &Digest) -> Result<()> {
    match &blob.digest {
        Some(promised) if promised != actual => {
            let problem = ImageProblem::DigestMismatch(actual.clone());
            Err(Error::image(Place::Layer(blob.place.clone()), problem))
        }
        _ => Ok(()),
    }
}

fn hash(data: &FileSlice, algorithm: Algorithm, directory: &Path, cancel: &Cancel) -> Result<Digest> {
    let mut reader = data.reader();
    let mut hasher = Hasher::new(algorithm);
    let mut block = vec![0; BLOCK];
    loop {
        cancel.check()?;
        match reader.read(&mut block).map_err(Error::io("read", directory))? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&block[..n]),
        }
    }
}

/// Hashes and reports the compressed bytes as they pass.
struct Watched<'a, R> {
    reader: R,
    hasher: Option<Hasher>,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.reader.read(buf)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..n]);
        }
        self.progress.advance(n as u64);
        Ok(n)
    }
}
