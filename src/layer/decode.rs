//! Decompresses a layer and checks size, digest and diff ID before any of its entries is read.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::holes::SparseWriter;
use super::listing::Absent;
use super::pipeline::{ReadAhead, Sink, WriteBehind};
use super::spool::{Spool, Spools};
use super::store::Store;
use super::zeros::{StreamZeros, ZeroFinder};
use crate::cancel::Cancel;
use crate::compression::{Compression, DecodeFault, Decoder, decoder};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Amount, Error, ErrorKind, Fault, ImageProblem, LayerPlace, Place, Result};
use crate::image::{LayerBlob, LayerData};
use crate::limits::{Limit, Limits};
use crate::memory::Memory;
use crate::progress::{NoProgress, Progress};
use crate::read_at::{FileSlice, ReadAt, SliceReader};
use crate::work::{Scratch, WorkDir};

/// Bytes that are decompressed, hashed and written at once.
const BLOCK: usize = 256 << 10;
/// The number of layers for which other threads read, hash and write while one decompresses: each takes memory for
/// blocks that wait, and few are enough to occupy the processors.
const PIPELINES: usize = 4;
/// The size of a blob from which on the work of other threads is worth their start.
const PIPELINE_FROM: u64 = 256 << 10;

/// The window that zstd's levels up to 19 use: 8 MiB. Every decoder may use it; only one decoder at a time may use a
/// larger one.
pub(super) const COMMON_WINDOW_LOG: u32 = 23;

/// The limits that all layers of an image share.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    entries: AtomicU64,
    extents: AtomicU64,
    large_window: Mutex<()>,
    /// The number of layers that may still be decoded by several threads.
    pipelines: AtomicUsize,
    spools: Arc<Spools>,
    memory: Arc<Memory>,
    limits: Limits,
}

impl Budget {
    /// Returns an unused budget.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (bytes, entries) = (AtomicU64::new(limits.total_bytes), AtomicU64::new(limits.entries));
        let extents = AtomicU64::new(limits.sparse_extents);
        let memory = Arc::new(Memory::new(limits.metadata_bytes));
        let (large_window, pipelines, spools) = (Mutex::default(), AtomicUsize::new(0), Arc::default());
        Self { bytes, entries, extents, large_window, pipelines, spools, memory, limits }
    }

    /// Allows several threads for a layer if `jobs` are allowed for all.
    #[must_use]
    pub fn with_jobs(self, jobs: usize) -> Self {
        let pipelines = if jobs > 1 { jobs.min(PIPELINES) } else { 0 };
        Self { pipelines: AtomicUsize::new(pipelines), ..self }
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the budget of memory for metadata.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Returns a store of long values, in files of `scratch`.
    #[must_use]
    pub fn store(&self, scratch: &Scratch) -> Store {
        Store::new(scratch.clone(), Arc::clone(&self.spools))
    }

    /// Maps a file of at least one byte that holds an uncompressed stream.
    ///
    /// # Errors
    ///
    /// The file cannot be mapped.
    pub fn map(&self, file: &File) -> std::io::Result<Arc<Spool>> {
        self.spools.map(file, StreamZeros::default())
    }

    /// Maps a stream of `bytes` bytes in a file of `directory`; an empty one is not mapped.
    pub(super) fn map_stream(
        &self,
        file: &File,
        bytes: u64,
        zeros: StreamZeros,
        directory: &Path,
    ) -> Result<(Bytes, Option<Arc<Spool>>)> {
        let map = || self.spools.map(file, zeros).map_err(Error::io("map a file in", directory));
        let spool = if bytes == 0 { None } else { Some(map()?) };
        Ok((spool.as_ref().map(Spool::bytes).unwrap_or_default(), spool))
    }

    /// Takes bytes from the budget.
    ///
    /// # Errors
    ///
    /// Fewer bytes are left.
    pub fn spend_bytes(&self, amount: u64) -> Result<()> {
        spend(&self.bytes, amount, Limit::TotalBytes, self.limits.total_bytes)
    }

    fn give_bytes_back(&self, amount: u64) {
        self.bytes.fetch_add(amount, Ordering::Relaxed);
    }

    /// Returns the number of extents of sparse files that are left.
    pub(super) fn extents_left(&self) -> u64 {
        self.extents.load(Ordering::Relaxed)
    }

    /// Sets the number of extents that are left; layers are read one after the other.
    pub(super) fn leave_extents(&self, left: u64) {
        self.extents.store(left, Ordering::Relaxed);
    }

    /// Waits until no other decoder holds a large zstd window.
    fn large_window(&self) -> MutexGuard<'_, ()> {
        self.large_window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the turn of a layer to be decoded by several threads, unless others have all of them.
    fn pipeline(&self) -> Option<PipelineTurn<'_>> {
        let taken = self.pipelines.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok().then_some(PipelineTurn(&self.pipelines))
    }

    /// Takes one entry from the budget.
    ///
    /// # Errors
    ///
    /// No entry is left.
    pub fn spend_entry(&self) -> Result<()> {
        spend(&self.entries, 1, Limit::Entries, self.limits.entries)
    }

    /// Returns the error of paths that follow too many or too long symlinks.
    #[must_use]
    pub fn no_symlink_step_left(&self) -> Error {
        over(Limit::SymlinkSteps, self.limits.symlink_steps)
    }

    /// Returns the error of a tree with more inodes than the limit on entries.
    #[must_use]
    pub fn no_entry_left(&self) -> Error {
        over(Limit::Entries, self.limits.entries)
    }
}

/// A turn that is given back when it is over.
struct PipelineTurn<'a>(&'a AtomicUsize);

impl Drop for PipelineTurn<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn spend(left: &AtomicU64, amount: u64, limit: Limit, allowed: u64) -> Result<()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount))
        .map(drop)
        .map_err(|_| over(limit, allowed))
}

fn over(limit: Limit, allowed: u64) -> Error {
    ErrorKind::Limit { place: Place::Layers, limit, allowed, found: Amount::MoreThan(allowed) }.into()
}

/// A layer whose bytes match the manifest and the config.
#[derive(Debug)]
pub struct Layer {
    /// The position of the layer, and the number of layers.
    pub place: LayerPlace,
    /// The uncompressed tar stream: a mapped, unlinked file; of a listing, without contents.
    pub tar: Bytes,
    /// The size of the whole tar stream in bytes.
    pub tar_bytes: u64,
    /// The contents that are not in `tar`, of a listing; `None` if all are.
    pub absent: Option<Arc<Absent>>,
    /// The mapping that `tar` is part of; an empty stream has none.
    pub spool: Option<Arc<Spool>>,
    /// The compression of the blob; `None` if it was not read.
    pub compression: Option<Compression>,
    /// The size of the blob in bytes.
    pub blob_bytes: u64,
}

/// Decompresses a layer into an unlinked file in `work`, checks size, digest and diff ID, and returns the file as well. After
/// an error of the blob, which may be fetched again, the budget is as before.
///
/// # Errors
///
/// The blob is damaged or does not match the manifest; all layers together exceed a limit; the disk is full; the run
/// was cancelled.
pub fn decode(
    blob: &LayerBlob,
    data: &FileSlice,
    work: &WorkDir,
    budget: &Budget,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(Layer, File)> {
    let decoder = LayerDecoder::new(blob, data, work, budget, progress, cancel);
    let decoded = compression_of(blob, data, work.path()).and_then(|compression| decoder.run(compression));
    decoded.inspect_err(|_| decoder.give_back()).and_then(|(layer, digests, stream)| {
        decoder.check_diff_id(digests.diff_id)?;
        Ok((layer, stream))
    })
}

/// Copies the decoded stream of a layer into an unlinked file in `work` and checks its diff ID. After an error, the budget
/// is as before.
///
/// # Errors
///
/// The stream is another one; all layers together exceed a limit; the disk is full; the run was cancelled.
pub(super) fn copy_stream(
    blob: &LayerBlob,
    stream: &FileSlice,
    work: &WorkDir,
    budget: &Budget,
    cancel: &Cancel,
) -> Result<Layer> {
    let blob = &LayerBlob { digest: None, size: None, ..blob.clone() };
    let decoder = LayerDecoder::new(blob, stream, work, budget, &NoProgress, cancel);
    let copied = decoder.run(Compression::None).and_then(|(layer, digests, _)| {
        decoder.check_diff_id(digests.diff_id)?;
        Ok(layer)
    });
    copied.inspect_err(|_| decoder.give_back())
}

/// Decompresses a tar archive of which no digest is known, like a layer, and returns the digest of its stream as well.
///
/// # Errors
///
/// The errors of [`decode`], but for those of digests.
pub fn decode_unknown(
    place: LayerPlace,
    data: &FileSlice,
    work: &WorkDir,
    budget: &Budget,
    cancel: &Cancel,
) -> Result<(Layer, Digest)> {
    let diff_id = place.digest.clone();
    let local = LayerData::Local(data.clone());
    let blob = &LayerBlob { place, media_type: None, digest: None, size: None, diff_id, data: local };
    let decoder = LayerDecoder::new(blob, data, work, budget, &NoProgress, cancel);
    let (layer, digests, _) = decoder.run(compression_of(blob, data, work.path())?)?;
    Ok((layer, digests.diff_id))
}

struct LayerDecoder<'a> {
    blob: &'a LayerBlob,
    data: &'a FileSlice,
    work: &'a WorkDir,
    directory: &'a Path,
    budget: &'a Budget,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    /// The bytes taken from the budget.
    spent: AtomicU64,
}

/// The digests, sizes and zeros seen while decompressing.
struct StreamDigests {
    diff_id: Digest,
    blob_digest: Digest,
    bytes: u64,
    zeros: StreamZeros,
}

impl<'a> LayerDecoder<'a> {
    fn new(
        blob: &'a LayerBlob,
        data: &'a FileSlice,
        work: &'a WorkDir,
        budget: &'a Budget,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> Self {
        Self { blob, data, work, directory: work.path(), budget, progress, cancel, spent: AtomicU64::default() }
    }

    /// Checks the digest; the caller checks the diff ID.
    fn run(&self, compression: Compression) -> Result<(Layer, StreamDigests, File)> {
        let blob = self.blob;
        let blob_bytes = self.data.size();
        let spool = self.work.scratch().make().map_err(Error::io("make a file in", self.directory))?;
        let mut digests = match self.spool(compression, &spool) {
            // Damaged bytes that also have the wrong digest were damaged in transit: the digest mismatch says more.
            Err(error) if error.fault() == Fault::Image => {
                self.check_digest(&self.hash()?)?;
                return Err(error);
            }
            other => other?,
        };
        self.check_digest(&digests.blob_digest)?;
        self.work.scratch().note_written(&spool);
        let zeros = std::mem::take(&mut digests.zeros);
        let (tar, map) = self.budget.map_stream(&spool, digests.bytes, zeros, self.directory)?;
        let (place, tar_bytes, compression) = (blob.place.clone(), digests.bytes, Some(compression));
        let layer = Layer { place, tar, tar_bytes, absent: None, spool: map, compression, blob_bytes };
        Ok((layer, digests, spool))
    }

    /// Decompresses into `spool`; a zstd stream that needs a large window waits for its turn.
    fn spool(&self, compression: Compression, spool: &File) -> Result<StreamDigests> {
        let limit = self.budget.limits().zstd_window_log;
        if compression == Compression::Zstd && limit > COMMON_WINDOW_LOG {
            match self.spool_within(compression, spool, COMMON_WINDOW_LOG) {
                Err(error) if matches!(error.kind(), ErrorKind::Limit { limit: Limit::ZstdWindow, .. }) => {}
                other => return other,
            }
            let again = |error| Error::io("rewrite a file in", self.directory)(error);
            self.give_back();
            spool.set_len(0).map_err(again)?;
            let _turn = self.budget.large_window();
            return self.spool_within(compression, spool, limit);
        }
        self.spool_within(compression, spool, limit)
    }

    fn spool_within(&self, compression: Compression, spool: &File, zstd_window_log: u32) -> Result<StreamDigests> {
        let turn = if self.data.size() < PIPELINE_FROM { None } else { self.budget.pipeline() };
        let beside = turn.is_some();
        std::thread::scope(|scope| {
            let raw = ReadAhead::new(scope, beside, || self.raw(compression));
            let mut decoder = decoder(compression, raw, zstd_window_log).map_err(Error::io("read", self.directory))?;
            let mut sink = WriteBehind::new(scope, beside, || SpoolWriter::new(self, spool));
            let decoded = self.pump(&mut decoder, &mut sink);
            // A block that could not be written came before any damage found since.
            let SpoolWriter { hasher, file, zeros, .. } = sink.finish()?;
            let bytes = file.length();
            let holes = file.finish().map_err(|error| Error::write(self.directory, bytes, error))?;
            decoded?;
            let diff_id = hasher.finish();
            let blob_digest = match decoder.into_inner().and_then(|raw| raw.into_inner().hasher) {
                Some(hasher) => hasher.finish(),
                None => diff_id.clone(),
            };
            Ok(StreamDigests { diff_id, blob_digest, bytes, zeros: StreamZeros { map: zeros.finish(), holes } })
        })
    }

    /// Returns a reader of the blob, which hashes it unless the blob is the stream.
    fn raw(&self, compression: Compression) -> HashingReader<'_, SliceReader> {
        let same_bytes = compression == Compression::None && self.algorithm() == self.blob.diff_id.algorithm();
        let hasher = (!same_bytes).then(|| Hasher::new(self.algorithm()));
        HashingReader { reader: self.data.reader(), hasher, progress: self.progress }
    }

    /// Passes the decoded stream to a sink, until its end or until the sink fails.
    fn pump<'s, R: Read, S: Sink + Send + 's>(
        &self,
        decoder: &mut Decoder<R>,
        sink: &mut WriteBehind<'s, S>,
    ) -> Result<()> {
        let mut block = vec![0; BLOCK];
        loop {
            let (count, end) = self.fill(decoder, &mut block);
            self.budget.spend_bytes(count as u64)?;
            self.spent.fetch_add(count as u64, Ordering::Relaxed);
            let taken = count == 0 || sink.pass(&mut block, count)?;
            match end {
                None if taken => {}
                None => return Ok(()),
                Some(end) => return end,
            }
        }
    }

    /// Fills a block with decoded bytes; returns their number, and the result of the whole stream if it has ended.
    fn fill<R: Read>(&self, decoder: &mut Decoder<R>, block: &mut [u8]) -> (usize, Option<Result<()>>) {
        let mut count = 0;
        while count < block.len() {
            if let Err(stop) = self.cancel.check() {
                return (count, Some(Err(stop)));
            }
            match decoder.read(&mut block[count..]) {
                Ok(0) => return (count, Some(Ok(()))),
                Ok(more) => count += more,
                Err(error) => {
                    let fault = DecodeFault::of(&error).map(|fault| fault.at(Place::Layer(self.blob.place.clone())));
                    let error = fault.unwrap_or_else(|| Error::io("read", self.directory)(error));
                    return (count, Some(Err(error)));
                }
            }
        }
        (count, None)
    }

    /// Returns the algorithm of the blob's digest; without a digest, the cheapest one, whose result is ignored.
    fn algorithm(&self) -> Algorithm {
        self.blob.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm)
    }

    fn check_digest(&self, actual: &Digest) -> Result<()> {
        match &self.blob.digest {
            Some(promised) if promised != actual => Err(self.refusal(ImageProblem::DigestMismatch(actual.clone()))),
            _ => Ok(()),
        }
    }

    /// Gives back what was taken from the budget, for another attempt.
    fn give_back(&self) {
        self.budget.give_bytes_back(self.spent.swap(0, Ordering::Relaxed));
    }

    fn check_diff_id(&self, actual: Digest) -> Result<()> {
        if actual == self.blob.diff_id {
            return Ok(());
        }
        Err(self.refusal(ImageProblem::DiffIdMismatch { promised: self.blob.diff_id.clone(), actual }))
    }

    /// Hashes the blob as it is stored.
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

/// Checks the size of a blob, and returns its compression.
pub(super) fn compression_of(blob: &LayerBlob, data: &FileSlice, directory: &Path) -> Result<Compression> {
    let refusal = |problem| Error::image(Place::Layer(blob.place.clone()), problem);
    let actual = data.size();
    if let Some(promised) = blob.size.filter(|size| *size != actual) {
        return Err(refusal(ImageProblem::SizeMismatch { promised, actual }));
    }
    let mut head = [0; Compression::MAGIC_LEN];
    let head_len = data.read_at(0, &mut head).map_err(Error::io("read", directory))?;
    Compression::of(&head[..head_len]).map_err(refusal)
}

/// Hashes the compressed bytes that pass and reports progress.
struct HashingReader<'a, R> {
    reader: R,
    hasher: Option<Hasher>,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for HashingReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.reader.read(buf)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..n]);
        }
        self.progress.advance(n as u64);
        Ok(n)
    }
}

/// Hashes the decoded stream, finds its zeros, and writes it to the spool.
struct SpoolWriter<'a> {
    file: SparseWriter<'a>,
    directory: &'a Path,
    hasher: Hasher,
    zeros: ZeroFinder,
}

impl<'a> SpoolWriter<'a> {
    fn new(decoder: &LayerDecoder<'a>, spool: &'a File) -> Self {
        let file = SparseWriter::new(spool, decoder.budget.spools.holes_left());
        let hasher = Hasher::new(decoder.blob.diff_id.algorithm());
        Self { file, directory: decoder.directory, hasher, zeros: ZeroFinder::default() }
    }
}

impl Sink for SpoolWriter<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.zeros.add(bytes);
        self.file.write(bytes).map_err(|error| Error::write(self.directory, self.file.length(), error))
    }
}

#[cfg(test)]
mod tests;
