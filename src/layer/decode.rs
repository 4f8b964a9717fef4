//! Decompresses a layer and checks it to its last byte, before anyone looks at what it says.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::spool::{Spool, Spools};
use crate::cancel::Cancel;
use crate::compression::{Compression, DecodeFault, decoder};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, ErrorKind, Fault, Found, ImageProblem, LayerPlace, Place, Result};
use crate::limits::{Limit, Limits};
use crate::progress::Progress;
use crate::read_at::{FileSlice, ReadAt};
use crate::source::LayerBlob;

/// How much is decompressed, hashed and written at once.
const BLOCK: usize = 256 << 10;

/// The window that zstd's levels up to 19 use: 8 MiB. Each decoder may have it; only one at a time has a larger one.
const COMMON_WINDOW_LOG: u32 = 23;

/// What all layers of an image may use together.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    entries: AtomicU64,
    large_window: Mutex<()>,
    spools: Arc<Spools>,
    limits: Limits,
}

impl Budget {
    /// Returns the whole budget.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (bytes, entries) = (AtomicU64::new(limits.total_bytes), AtomicU64::new(limits.entries));
        Self { bytes, entries, large_window: Mutex::default(), spools: Arc::default(), limits }
    }

    /// Returns the limits that it enforces.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn spend_bytes(&self, amount: u64) -> Result<()> {
        spend(&self.bytes, amount, Limit::TotalBytes, self.limits.total_bytes)
    }

    fn give_bytes_back(&self, amount: u64) {
        self.bytes.fetch_add(amount, Ordering::Relaxed);
    }

    /// Waits until no other decoder holds a large zstd window.
    fn large_window(&self) -> MutexGuard<'_, ()> {
        self.large_window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one entry off.
    ///
    /// # Errors
    ///
    /// None is left.
    pub fn spend_entry(&self) -> Result<()> {
        spend(&self.entries, 1, Limit::Entries, self.limits.entries)
    }

    /// Returns the error of a tree that has more inodes than there may be entries.
    #[must_use]
    pub fn no_entry_left(&self) -> Error {
        over(Limit::Entries, self.limits.entries)
    }
}

fn spend(left: &AtomicU64, amount: u64, limit: Limit, allowed: u64) -> Result<()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount))
        .map(drop)
        .map_err(|_| over(limit, allowed))
}

fn over(limit: Limit, allowed: u64) -> Error {
    ErrorKind::Limit { place: Place::Layers, limit, allowed, found: Found::MoreThan(allowed) }.into()
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

/// Decompresses a layer's bytes into a nameless file in `directory` and checks its size, its digest and its diff ID.
///
/// # Errors
///
/// The blob is damaged or not what was promised; all layers together pass a limit; the disk is full; a stop was asked
/// for.
pub fn decode(
    blob: &LayerBlob,
    data: &FileSlice,
    directory: &Path,
    budget: &Budget,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Layer> {
    Decoding { blob, data, directory, budget, progress, cancel }.run()
}

struct Decoding<'a> {
    blob: &'a LayerBlob,
    data: &'a FileSlice,
    directory: &'a Path,
    budget: &'a Budget,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

/// What was seen while decompressing.
struct Decoded {
    diff_id: Digest,
    blob_digest: Digest,
    bytes: u64,
}

impl Decoding<'_> {
    fn run(&self) -> Result<Layer> {
        let blob = self.blob;
        let blob_bytes = self.data.size();
        if let Some(promised) = blob.size.filter(|size| *size != blob_bytes) {
            return Err(self.refusal(ImageProblem::SizeMismatch { promised, actual: blob_bytes }));
        }
        let mut head = [0; Compression::MAGIC_LEN];
        let head_len = self.data.read_at(0, &mut head).map_err(Error::io("read", self.directory))?;
        let compression = Compression::of(&head[..head_len]).map_err(|problem| self.refusal(problem))?;
        let spool = tempfile::tempfile_in(self.directory).map_err(Error::io("make a file in", self.directory))?;
        let Decoded { diff_id, blob_digest, bytes } = match self.spool(compression, &spool) {
            // Damaged bytes that are not the promised ones were damaged on the way: that says more.
            Err(error) if error.fault() == Fault::Image => {
                self.check_digest(&self.hash()?)?;
                return Err(error);
            }
            other => other?,
        };
        self.check_digest(&blob_digest)?;
        if diff_id != blob.diff_id {
            let promised = blob.diff_id.clone();
            return Err(self.refusal(ImageProblem::DiffIdMismatch { promised, actual: diff_id }));
        }
        // Nothing can be mapped of an empty file.
        let map = || self.budget.spools.map(&spool).map_err(Error::io("map a file in", self.directory));
        let spool = if bytes == 0 { None } else { Some(map()?) };
        let tar = spool.as_ref().map(Spool::bytes).unwrap_or_default();
        Ok(Layer { place: blob.place.clone(), tar, spool, compression, blob_bytes })
    }

    /// Decompresses into `spool`; a zstd stream that needs a large window waits for its turn.
    fn spool(&self, compression: Compression, spool: &File) -> Result<Decoded> {
        let limit = self.budget.limits().zstd_window_log;
        if compression == Compression::Zstd && limit > COMMON_WINDOW_LOG {
            match self.spool_within(compression, spool, COMMON_WINDOW_LOG) {
                Err(error) if matches!(error.kind(), ErrorKind::Limit { limit: Limit::ZstdWindow, .. }) => {}
                other => return other,
            }
            let again = |error| Error::io("rewrite a file in", self.directory)(error);
            self.budget.give_bytes_back(spool.metadata().map_err(again)?.len());
            spool.set_len(0).and_then(|()| { spool }.rewind()).map_err(again)?;
            let _turn = self.budget.large_window();
            return self.spool_within(compression, spool, limit);
        }
        self.spool_within(compression, spool, limit)
    }

    fn spool_within(&self, compression: Compression, mut spool: &File, zstd_window_log: u32) -> Result<Decoded> {
        let Self { blob, directory, .. } = self;
        let same_bytes = compression == Compression::None && self.algorithm() == blob.diff_id.algorithm();
        let hasher = (!same_bytes).then(|| Hasher::new(self.algorithm()));
        let raw = Watched { reader: self.data.reader(), hasher, progress: self.progress };
        let mut decoder = decoder(compression, raw, zstd_window_log).map_err(Error::io("read", directory))?;
        let mut diff_hasher = Hasher::new(blob.diff_id.algorithm());
        let mut block = vec![0; BLOCK];
        let mut bytes = 0;
        loop {
            self.cancel.check()?;
            let n = match decoder.read(&mut block) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => {
                    let fault = DecodeFault::of(&error).map(|fault| fault.at(Place::Layer(blob.place.clone())));
                    return Err(fault.unwrap_or_else(|| Error::io("read", directory)(error)));
                }
            };
            self.budget.spend_bytes(n as u64)?;
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
    fn algorithm(&self) -> Algorithm {
        self.blob.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm)
    }

    fn check_digest(&self, actual: &Digest) -> Result<()> {
        match &self.blob.digest {
            Some(promised) if promised != actual => Err(self.refusal(ImageProblem::DigestMismatch(actual.clone()))),
            _ => Ok(()),
        }
    }

    /// Hashes the blob as it is kept.
    fn hash(&self) -> Result<Digest> {
        let mut reader = self.data.reader();
        let mut hasher = Hasher::new(self.algorithm());
        let mut block = vec![0; BLOCK];
        loop {
            self.cancel.check()?;
            match reader.read(&mut block).map_err(Error::io("read", self.directory))? {
                0 => return Ok(hasher.finish()),
                n => hasher.update(&block[..n]),
            }
        }
    }

    fn refusal(&self, problem: ImageProblem) -> Error {
        Error::image(Place::Layer(self.blob.place.clone()), problem)
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

#[cfg(test)]
mod tests;
