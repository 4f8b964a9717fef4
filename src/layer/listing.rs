//! Listings of layers in a cache: for a command that looks at names, a layer is decoded once.
//!
//! The body of a listing is the layer's tar stream without the contents of its files, compressed. It goes through the same
//! code as a layer: entries, notes and limits are those of the layer. A content that is asked for all the same is recorded,
//! and the caller reads the image again, with this layer decoded.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::decode::{Budget, COMMON_WINDOW_LOG, Layer};
use super::decoded::{BlobForm, may_be_kept};
use super::zeros::StreamZeros;
use crate::cancel::Cancel;
use crate::compression::{Compression, decoder};
use crate::digest::Digest;
use crate::error::{Error, Result, ShownPath};
use crate::image::LayerBlob;
use crate::image::cache::{Cache, LISTING_BYTES_MAX, Listing, ListingLookup};
use crate::progress::{Event, Progress};
use crate::read_at::FileSlice;
use crate::tar::{self, BareFault};
use crate::work::WorkDir;

/// The level of zstd: headers compress well with every one.
const LEVEL: i32 = 1;
/// Bytes that are decompressed and written at once.
const BLOCK: usize = 256 << 10;

/// The contents of a layer that comes from its listing.
#[derive(Debug, Default)]
pub struct Absent(AtomicBool);

impl Absent {
    /// Records that a content was asked for.
    pub(super) fn want(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A cache of listings.
#[derive(Debug, Clone)]
pub(crate) struct ListingOptions {
    /// The cache.
    pub cache: Cache,
    /// The number of bytes on disk that its listings may take.
    pub bytes_max: u64,
}

impl ListingOptions {
    /// Returns the options for a cache in a directory. `bytes_max`: `None` for the default.
    pub fn new(directory: &Path, bytes_max: Option<u64>) -> Self {
        Self { cache: Cache::at(directory), bytes_max: bytes_max.unwrap_or(LISTING_BYTES_MAX) }
    }
}

/// The listings that one job uses.
pub(crate) struct Listings<'a> {
    options: &'a ListingOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    /// The layers that must be decoded, by diff ID.
    decoded: BTreeSet<Digest>,
    /// The layers that came from their listings.
    listed: Mutex<Vec<(Digest, Arc<Absent>)>>,
}

impl<'a> Listings<'a> {
    /// Returns the listings of a cache; `None` if there are to be none, or if others can write the cache, whose
    /// listings would be theirs.
    pub fn of(options: &'a ListingOptions, progress: &'a dyn Progress, cancel: &'a Cancel) -> Option<Self> {
        if options.bytes_max == 0 {
            return None;
        }
        let why = match options.cache.other_writer() {
            Ok(None) => {
                return Some(Self { options, progress, cancel, decoded: BTreeSet::new(), listed: Mutex::default() });
            }
            Ok(Some(writer)) => format!("cache: {writer}"),
            Err(error) => error.to_string(),
        };
        progress.event(&Event::Remark(&format!("{why}: no listing is taken from the cache or kept there")));
        None
    }

    /// Ends a reading of the image. Returns true if it asked for a content that was not there: its result is void, and the
    /// next reading decodes the layer.
    pub fn want_more(&mut self) -> bool {
        let listed = std::mem::take(&mut *self.listed());
        let wanted = listed.into_iter().filter(|(_, absent)| absent.0.load(Ordering::Relaxed));
        let before = self.decoded.len();
        self.decoded.extend(wanted.map(|(diff_id, _)| diff_id));
        self.decoded.len() > before
    }

    fn listed(&self) -> MutexGuard<'_, Vec<(Digest, Arc<Absent>)>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a layer from its listing; `None` if it must be decoded. `here` is the blob, if it was fetched.
    ///
    /// # Errors
    ///
    /// All layers together exceed a limit; the disk is full; the run was cancelled. A cache that cannot be used is a
    /// remark.
    pub fn take(
        &self,
        blob: &LayerBlob,
        here: Option<&FileSlice>,
        work: &WorkDir,
        budget: &Budget,
    ) -> Result<Option<Layer>> {
        if self.decoded.contains(&blob.diff_id) {
            return Ok(None);
        }
        let damaged = |path: &Path| {
            let text = format!("cache: {} is damaged: the layer is decoded again", ShownPath(path));
            self.progress.event(&Event::Warning(&text));
        };
        let listing = match self.tolerate(self.options.cache.listing(&blob.diff_id))? {
            Some(ListingLookup::Found(listing)) => listing,
            Some(ListingLookup::Damaged(path)) => {
                damaged(&path);
                return Ok(None);
            }
            Some(ListingLookup::Missing) | None => return Ok(None),
        };
        let Some(form) = BlobForm::of(blob, here, budget.limits(), work.path()) else { return Ok(None) };
        let BlobForm { compression, bytes: blob_bytes } = form;
        let tar_bytes = listing.bytes;
        let scratch = work.scratch();
        let file = scratch.make().map_err(Error::io("make a file in", work.path()))?;
        let Some(bytes) = self.unpack(listing, &file, work.path())? else {
            damaged(&self.options.cache.listing_path(&blob.diff_id));
            return Ok(None);
        };
        budget.spend_bytes(tar_bytes)?;
        scratch.note_written(&file);
        let (tar, spool) = budget.map_stream(&file, bytes, StreamZeros::default(), work.path())?;
        let absent = Arc::<Absent>::default();
        self.listed().push((blob.diff_id.clone(), Arc::clone(&absent)));
        self.progress.advance(blob_bytes);
        let (place, absent) = (blob.place.clone(), Some(absent));
        Ok(Some(Layer { place, tar, tar_bytes, absent, spool, compression, blob_bytes }))
    }

    /// Decompresses a listing into a file, and returns the number of bytes; `None` if it is damaged.
    fn unpack(&self, listing: Box<Listing>, mut file: &std::fs::File, directory: &Path) -> Result<Option<u64>> {
        let max = listing.bytes;
        let mut body = decoder(Compression::Zstd, listing, COMMON_WINDOW_LOG).map_err(Error::io("read", directory))?;
        let (mut block, mut bytes) = (vec![0; BLOCK], 0);
        loop {
            self.cancel.check()?;
            let count = match body.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    return Err(Error::io("read", directory)(error));
                }
                Err(_) => return Ok(None),
            };
            // It is a part of the stream.
            if bytes + count as u64 > max {
                return Ok(None);
            }
            file.write_all(&block[..count]).map_err(|error| Error::write(directory, bytes, error))?;
            bytes += count as u64;
        }
        let whole = body.into_inner().is_some_and(|listing| listing.verify().unwrap_or(false));
        Ok(whole.then_some(bytes))
    }

    /// Keeps the listing of a layer that was decoded.
    ///
    /// # Errors
    ///
    /// The run was cancelled. A cache that cannot be used is a remark.
    pub fn keep(&self, blob: &LayerBlob, layer: &Layer, budget: &Budget) -> Result<()> {
        if self.decoded.contains(&blob.diff_id) || !may_be_kept(layer, budget.limits()) {
            return Ok(());
        }
        let ListingOptions { cache, bytes_max } = self.options;
        let mut is_tar = true;
        let kept = cache.keep_listing(&blob.diff_id, layer.tar_bytes, *bytes_max, &mut |out| {
            let members = tar::Reader::new(layer.tar.clone(), budget.limits());
            let write = |error| Error::io("write", "a listing")(error);
            let mut out = zstd::Encoder::new(BufWriter::with_capacity(BLOCK, out), LEVEL).map_err(write)?;
            let stop = || {
                layer.spool.iter().for_each(|spool| spool.touch(0));
                self.cancel.check().map_err(|_| io::ErrorKind::Interrupted.into())
            };
            let written = tar::without_contents(members, &mut out, &stop);
            self.cancel.check()?;
            match written {
                Ok(_) => {}
                Err(BareFault::Io(error)) => return Err(write(error)),
                // Who applies the layer says what is wrong with it.
                Err(BareFault::Tar(fault)) => {
                    is_tar = false;
                    return Err(fault.in_layer(&layer.place, "the layer's spool".as_ref()));
                }
            }
            out.finish().and_then(|mut out| out.flush()).map_err(write)
        });
        if is_tar { self.tolerate(kept).map(drop) } else { Ok(()) }
    }

    /// Turns an error of the cache into a remark; an error that ends the run stays one.
    fn tolerate<T>(&self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.ends_the_run() => Err(error),
            Err(error) => {
                self.progress.event(&Event::Remark(&format!("without the cache's listings: {error}")));
                Ok(None)
            }
        }
    }
}
