//! Decoded layers in a cache: one that several images or builds share is decoded once, and not fetched again.
//!
//! A decoded layer is copied into the work directory, like a blob that is not compressed, and hashed on the way: the file
//! in the cache has a name, and only a file without one is mapped.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::decode::{Budget, Layer, compression_of, copy_stream};
use crate::cancel::Cancel;
use crate::compression::Compression;
use crate::error::{Fault, Result, ShownPath};
use crate::image::LayerBlob;
use crate::image::cache::Cache;
use crate::limits::Limits;
use crate::progress::{Event, Progress};
use crate::read_at::{FileSlice, ReadAt};
use crate::work::WorkDir;

/// A cache of decoded layers.
#[derive(Debug, Clone)]
pub(crate) struct LayerCacheOptions {
    /// The cache.
    pub cache: Cache,
    /// The number of bytes on disk that its decoded layers may take.
    pub bytes_max: u64,
}

impl LayerCacheOptions {
    /// Returns the options for a cache in a directory.
    pub fn new(directory: &Path, bytes_max: u64) -> Self {
        Self { cache: Cache::at(directory), bytes_max }
    }
}

/// The decoded layers that one job uses.
pub(crate) struct DecodedLayers<'a> {
    options: &'a LayerCacheOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    /// True if the cache cannot be used, which was said once.
    failed: AtomicBool,
}

/// The form in which a layer is stored, as far as it is known.
pub(super) struct BlobForm {
    /// The compression; `None` if the blob is not here.
    pub compression: Option<Compression>,
    pub bytes: u64,
}

impl BlobForm {
    /// Returns the form of a blob whose bytes are `here`, unless they are to be fetched. `None` if the blob has to be
    /// decoded, even if its stream is known: one of another size or compression than it should have is refused, and so may
    /// be a window of zstd, if the limit is smaller than usual.
    pub fn of(blob: &LayerBlob, here: Option<&FileSlice>, limits: &Limits, directory: &Path) -> Option<Self> {
        let compression = here.map(|data| compression_of(blob, data, directory)).transpose().ok()?;
        let has_window = compression.is_none_or(|compression| compression == Compression::Zstd);
        let bytes = here.map_or_else(|| blob.data.size(), FileSlice::size);
        let may_be_refused = has_window && limits.zstd_window_log < Limits::default().zstd_window_log;
        (!may_be_refused).then_some(Self { compression, bytes })
    }
}

/// Returns true if what was decoded from a blob may be kept: another run, with the usual limits, would not refuse it.
pub(super) fn may_be_kept(layer: &Layer, limits: &Limits) -> bool {
    layer.compression != Some(Compression::Zstd) || limits.zstd_window_log <= Limits::default().zstd_window_log
}

impl<'a> DecodedLayers<'a> {
    /// Returns the decoded layers of a cache; `None` if there are to be none, or if others can write the cache, whose
    /// layers would be theirs to change.
    pub fn of(options: Option<&'a LayerCacheOptions>, progress: &'a dyn Progress, cancel: &'a Cancel) -> Option<Self> {
        let options = options.filter(|options| options.bytes_max > 0)?;
        let why = match options.cache.other_writer() {
            Ok(None) => return Some(Self { options, progress, cancel, failed: AtomicBool::default() }),
            Ok(Some(writer)) => format!("cache: {writer}"),
            Err(error) => error.to_string(),
        };
        progress.event(&Event::Warning(&format!("{why}: no decoded layer is taken from the cache or kept there")));
        None
    }

    /// Returns true if a layer need not be fetched.
    pub fn has(&self, blob: &LayerBlob, limits: &Limits) -> bool {
        let here = || blob.data.here();
        self.options.cache.has_decoded(&blob.diff_id)
            && BlobForm::of(blob, here().as_ref(), limits, self.options.cache.directory()).is_some()
    }

    /// Returns a layer that is decoded in the cache; `None` if it must be decoded. `here` is the blob, if it was fetched.
    ///
    /// # Errors
    ///
    /// The run was cancelled. A cache that cannot be used is a warning, as is a damaged file of it.
    pub fn take(
        &self,
        blob: &LayerBlob,
        here: Option<&FileSlice>,
        work: &WorkDir,
        budget: &Budget,
    ) -> Result<Option<Layer>> {
        let cache = &self.options.cache;
        let Some(Some(stream)) = self.tolerate(cache.decoded(&blob.diff_id))? else { return Ok(None) };
        let Some(BlobForm { compression, bytes }) = BlobForm::of(blob, here, budget.limits(), work.path()) else {
            return Ok(None);
        };
        match copy_stream(blob, &stream, work, budget, self.cancel) {
            Ok(layer) => {
                let text = format!("layer {}: taken from the cache, where it is decoded", blob.diff_id);
                self.progress.event(&Event::Remark(&text));
                self.progress.advance(bytes);
                Ok(Some(Layer { compression, blob_bytes: bytes, ..layer }))
            }
            Err(error) if error.ends_the_run() => Err(error),
            // Too many bytes are a limit, whether they are the layer's or not.
            Err(error) if matches!(error.fault(), Fault::Image | Fault::Limit) => {
                let path = cache.decoded_path(&blob.diff_id);
                let text = format!("cache: {} is damaged: the layer is decoded again", ShownPath(&path));
                if error.fault() == Fault::Image {
                    self.progress.event(&Event::Warning(&text));
                    cache.forget_decoded(&blob.diff_id);
                }
                Ok(None)
            }
            Err(error) => self.tolerate(Err(error)),
        }
    }

    /// Keeps a layer that was decoded, whose stream is a file.
    ///
    /// # Errors
    ///
    /// The run was cancelled. A cache that cannot be used is a warning.
    pub fn keep(&self, blob: &LayerBlob, layer: &Layer, stream: &File, budget: &Budget) -> Result<()> {
        let LayerCacheOptions { cache, bytes_max } = self.options;
        // One that is not compressed is copied like one from the cache.
        let is_compressed = layer.compression.is_some_and(|compression| compression != Compression::None);
        let is_useful = is_compressed && may_be_kept(layer, budget.limits());
        if !is_useful || self.failed.load(Ordering::Relaxed) || cache.has_decoded(&blob.diff_id) {
            return Ok(());
        }
        self.tolerate(cache.keep_decoded(&blob.diff_id, stream, *bytes_max, self.cancel)).map(drop)
    }

    /// Turns an error of the cache into a warning, the first one; an error that ends the run stays one.
    fn tolerate<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.ends_the_run() => Err(error),
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    let text = format!("without the cache's decoded layers: {error}");
                    self.progress.event(&Event::Warning(&text));
                }
                Ok(None)
            }
        }
    }
}

impl Layer {
    /// Returns the compression of the blob, for reports.
    pub(crate) fn compression_name(&self) -> String {
        self.compression.map_or_else(|| NOT_READ.into(), |compression| compression.to_string())
    }
}

/// The compression of a blob that was not read, in reports.
pub(crate) const NOT_READ: &str = "not read";
