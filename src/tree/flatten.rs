//! Flattens an image: decodes its layers in parallel and applies them in order.

use std::fs::File;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{EntryPlace, Error, ErrorKind, Fault as ErrorFault, ImageProblem, Place, Result};
use crate::image::download::{DecodeTurn, Fetches};
use crate::image::{LayerBlob, OpenImage, Platform, PullOptions};
use crate::inject::{InjectedLayer, Placing};
use crate::layer::decoded::{DecodedLayers, LayerCacheOptions};
use crate::layer::entry::{Action, Change, Existing};
use crate::layer::listing::Listings;
use crate::layer::{Budget, Layer, decode};
use crate::limits::Limits;
use crate::note::{Note, NoteKind, Notes};

use crate::progress::Progress;
use crate::read_at::FileSlice;
use crate::time::Timestamp;
use crate::tree::observe::Observer;
use crate::tree::{ApplyFault, ApplyReport, LayerId, Tree};
use crate::work::WorkDir;
use crate::workers;

/// Options for reading an image.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The platform; `None`: Linux on this machine's architecture.
    pub platform: Option<Platform>,
    /// The mtime of directories that no layer describes.
    pub implied_mtime: i64,
    /// True if SELinux labels are kept.
    pub keep_selinux: bool,
    /// The number of layers decoded, or files compared, at a time.
    pub jobs: usize,
    /// The number of layers fetched at a time.
    pub downloads: usize,
    /// Options for pulling images from a registry; `None`: registries are not used.
    pub remote: Option<PullOptions>,
    /// The cache of decoded layers; `None`: there is none.
    pub(crate) layer_cache: Option<LayerCacheOptions>,
    /// The limits on the image.
    pub limits: Limits,
}

/// The default number of concurrent downloads: more do not raise the throughput, and registries limit connections.
const DOWNLOADS: usize = 4;

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            platform: None,
            implied_mtime: 0,
            keep_selinux: false,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            downloads: DOWNLOADS,
            remote: None,
            layer_cache: None,
            limits: Limits::default(),
        }
    }
}

/// A flattened image.
#[derive(Debug)]
#[non_exhaustive]
pub struct FlatImage {
    /// The names and inodes.
    pub tree: Tree,
    /// The report of each layer.
    pub layers: Vec<LayerReport>,
    /// The notes: what was adapted or dropped.
    pub notes: Notes,
}

/// Flattens an image, and applies injections, which were read with the same budget, as layers above it. Layers are fetched
/// and decoded in parallel; each is applied after those below it.
///
/// Uncompressed layers are kept as unlinked files in `work`.
///
/// # Errors
///
/// A layer does not match the manifest or cannot be applied; a limit is exceeded; the disk is full; the run was
/// cancelled.
pub fn flatten_with(
    image: &OpenImage,
    work: &WorkDir,
    options: &ReadOptions,
    layers: (&Budget, &[InjectedLayer]),
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<FlatImage> {
    observed(image, work, options, layers, &mut View::default(), progress, cancel)
}

/// A view of an image by who looks at its names.
#[derive(Default)]
pub(crate) struct View<'a> {
    /// An observer of what the layers do.
    pub observer: Option<Observer>,
    /// The listings of layers; `None`: all layers are decoded.
    pub listings: Option<&'a Listings<'a>>,
}

/// Flattens an image like [`flatten_with`], by the listings of its layers where there are some. The contents of files may be
/// absent: see [`Listings::want_more`].
///
/// # Errors
///
/// The errors of [`flatten_with`].
pub(crate) fn flatten_for(
    image: &OpenImage,
    work: &WorkDir,
    options: &ReadOptions,
    view: &mut View<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<FlatImage> {
    let budget = Budget::new(options.limits.clone()).with_jobs(options.jobs);
    observed(image, work, options, (&budget, &[]), view, progress, cancel)
}

fn observed(
    image: &OpenImage,
    work: &WorkDir,
    options: &ReadOptions,
    (budget, injected): (&Budget, &[InjectedLayer]),
    view: &mut View<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<FlatImage> {
    let decoded = DecodedLayers::of(options.layer_cache.as_ref(), progress, cancel);
    let is_spared = |blob: &LayerBlob| decoded.as_ref().is_some_and(|decoded| decoded.has(blob, &options.limits));
    let fetches = Fetches::of(&image.layers, &is_spared, cancel);
    let (listings, decoded) = (view.listings, decoded.as_ref());
    let reading = LayerReader { fetches: &fetches, work, budget, listings, decoded, progress };
    let (senders, receivers): (Vec<_>, Vec<_>) =
        image.layers.iter().map(|_| mpsc::channel()).map(|(sender, receiver)| (Some(sender), receiver)).unzip();
    // A decoder owns its layer's sender, so that a receiver never waits for a sender that was dropped.
    let senders = Mutex::new(senders);
    let read_next = || {
        let Some((turn, data)) = fetches.next(options.jobs, progress) else { return false };
        let sender = senders.lock().unwrap_or_else(PoisonError::into_inner)[turn.index].take();
        let decoded = data.and_then(|data| reading.read(&turn, &image.layers[turn.index], data));
        drop(turn);
        // The receiver is dropped when a lower layer failed.
        sender.is_some_and(|sender| sender.send(decoded).is_ok())
    };
    let tree = Tree::new(Timestamp::from_seconds(options.implied_mtime))
        .with_inodes_max(options.limits.entries)
        .with_link_steps_max(options.limits.symlink_steps)
        .with_memory(Arc::clone(budget.memory()), budget.store(work.scratch()))
        .with_observer(view.observer.take());
    let notes = Notes::new(work.scratch().clone(), options.limits.note_bytes);
    let mut flattened = FlatImage { tree, layers: vec![], notes };
    std::thread::scope(|scope| {
        fetches.start(scope, options.downloads, progress);
        let decoders =
            (0..fetches.decoders(options.jobs)).map_while(|_| workers::start(scope, || while read_next() {})).count();
        for ((id, blob), receiver) in (0..).zip(&image.layers).zip(receivers) {
            let mut decoded = receiver.try_recv();
            // Without threads, layers are read here until this one has been.
            while decoders == 0 && matches!(decoded, Err(TryRecvError::Empty)) && read_next() {
                decoded = receiver.try_recv();
            }
            let applied = match decoded.or_else(|_| receiver.recv()) {
                Ok(decoded) => decoded
                    .and_then(|layer| flattened.apply(LayerId(id), blob, &layer, budget, options.keep_selinux, cancel))
                    .and_then(|()| flattened.tree.observe_end(LayerId(id), cancel)),
                Err(_) => Err(ErrorKind::Bug("a layer was not decoded").into()),
            };
            if let Err(error) = applied {
                fetches.give_up();
                return Err(fetches.failure().unwrap_or(error));
            }
        }
        fetches.finish(progress)
    })?;
    view.observer = flattened.tree.take_observer();
    for injection in injected {
        flattened.inject(injection, budget, options.keep_selinux, cancel)?;
    }
    flattened.tree = flattened.tree.finish();
    let resolved = flattened.tree.resolve_acls(&flattened.notes);
    if let Err((path, problem)) = resolved {
        return Err(flattened.tree.take_failure().unwrap_or_else(|| Error::image(Place::Path(path), problem)));
    }
    Ok(flattened)
}

/// The context in which every layer is read.
struct LayerReader<'a> {
    fetches: &'a Fetches<'a>,
    work: &'a WorkDir,
    budget: &'a Budget,
    listings: Option<&'a Listings<'a>>,
    decoded: Option<&'a DecodedLayers<'a>>,
    progress: &'a dyn Progress,
}

impl LayerReader<'_> {
    /// Takes a layer from its listing or decoded from the cache, or decodes it. `arrived` are its bytes unless it is spared.
    fn read(&self, turn: &DecodeTurn<'_>, blob: &LayerBlob, arrived: Option<FileSlice>) -> Result<Layer> {
        let Self { fetches, work, budget, progress, .. } = *self;
        let here = arrived.clone().or_else(|| blob.data.here());
        let (listings, decoded) = (self.listings, self.decoded);
        let listed = listings.map(|listings| listings.take(blob, here.as_ref(), work, budget)).transpose()?;
        if let Some(listed) = listed.flatten() {
            return Ok(listed);
        }
        let taken = decoded.map(|decoded| decoded.take(blob, here.as_ref(), work, budget)).transpose()?;
        let layer = match taken.flatten() {
            Some(layer) => layer,
            None => {
                let data = arrived.map_or_else(|| fetches.take_in(turn, progress), Ok)?;
                let (layer, stream) = self.decode(turn, blob, &data)?;
                decoded.map(|decoded| decoded.keep(blob, &layer, &stream, budget)).transpose()?;
                layer
            }
        };
        listings.map(|listings| listings.keep(blob, &layer, budget)).transpose()?;
        Ok(layer)
    }

    /// Decodes a layer, be it still arriving, and returns the file of its stream as well; damaged bytes from the cache are
    /// fetched again, once.
    fn decode(&self, turn: &DecodeTurn<'_>, blob: &LayerBlob, data: &FileSlice) -> Result<(Layer, File)> {
        let Self { fetches, work, budget, progress, .. } = *self;
        let stop = fetches.stop();
        let read = |data: &FileSlice| decode(blob, data, work, budget, progress, stop);
        let mut decoded = read(data);
        if let Err(error) = &decoded
            && data.is_growing()
            && (data.is_cut_off() || matches!(error.fault(), ErrorFault::Image | ErrorFault::Limit))
        {
            // Bytes that turn out to be wrong are the fault of who sent them.
            let whole = fetches.take_in(turn, progress)?;
            if data.is_void() {
                decoded = read(&whole);
            }
        }
        match decoded {
            Err(error) => match blob.data.refetch(&error, progress, stop)? {
                Some(data) => read(&data),
                None => Err(error),
            },
            decoded => decoded,
        }
    }
}

/// An error of reading or applying a layer.
enum Fault {
    Read(Error),
    Apply(ApplyFault),
}

impl From<ApplyFault> for Fault {
    fn from(fault: ApplyFault) -> Self {
        Self::Apply(fault)
    }
}

impl FlatImage {
    /// Applies the changes of an injection.
    pub(crate) fn inject(
        &mut self,
        injection: &InjectedLayer,
        budget: &Budget,
        keep_selinux: bool,
        cancel: &Cancel,
    ) -> Result<()> {
        let InjectedLayer { layer, placing, .. } = injection;
        let existing = match placing {
            Placing::Layer => None,
            Placing::Keep => Some(Existing::Keep),
            Placing::Set => Some(Existing::Set),
            Placing::Fill => Some(Existing::Fill),
        };
        let id = u16::try_from(layer.place.number - 1).map_err(|_| ErrorKind::Bug("there are too many layers"))?;
        let placed = |change: Change| match (change.action, existing) {
            (Action::Add(entry), Some(existing)) => Change { action: Action::Put(entry, existing), ..change },
            (action, _) => Change { action, ..change },
        };
        self.change(LayerId(id), layer, budget, keep_selinux, &placed, cancel).map(drop)
    }

    /// Applies the changes of a layer, each as `placed` returns it.
    fn change(
        &mut self,
        id: LayerId,
        layer: &Layer,
        budget: &Budget,
        keep_selinux: bool,
        placed: &dyn Fn(Change) -> Change,
        cancel: &Cancel,
    ) -> Result<ApplyReport> {
        let Self { tree, notes, .. } = self;
        let changes = layer.changes(budget, keep_selinux, notes).map(|change| {
            cancel.check().and_then(|()| notes.check()).map_err(Fault::Read)?;
            change.map(placed).map_err(Fault::Read)
        });
        let stop = || cancel.check().map_err(Fault::Read);
        let applied = tree.apply(id, changes, notes, &stop).map_err(|fault| match fault {
            Fault::Read(error) => error,
            Fault::Apply(ApplyFault { problem: ImageProblem::TooManyInodes, .. }) => {
                tree.take_failure().unwrap_or_else(|| budget.no_entry_left())
            }
            Fault::Apply(ApplyFault { problem: ImageProblem::TooManySymlinkSteps, .. }) => {
                budget.no_symlink_step_left()
            }
            Fault::Apply(ApplyFault { number, path, problem }) => {
                let entry = EntryPlace { number, name: path.as_bytes().into() };
                Error::image(Place::Entry(layer.place.clone(), entry), problem)
            }
        })?;
        notes.check()?;
        Ok(applied)
    }

    fn apply(
        &mut self,
        id: LayerId,
        blob: &LayerBlob,
        layer: &Layer,
        budget: &Budget,
        keep_selinux: bool,
        cancel: &Cancel,
    ) -> Result<()> {
        let applied = self.change(id, layer, budget, keep_selinux, &|change| change, cancel)?;
        let notes = &self.notes;
        let is_consistent =
            |media_type: &&str| layer.compression.is_none_or(|compression| compression.is_consistent_with(media_type));
        if let Some(media_type) = blob.media_type.as_deref().filter(|media_type| !is_consistent(media_type)) {
            notes.add(Note {
                kind: NoteKind::MediaType,
                layer: Some(layer.place.number),
                path: Box::default(),
                detail: media_type.as_bytes().into(),
            });
        }
        notes.check()?;
        self.layers.push(LayerReport {
            digest: blob.digest.clone(),
            diff_id: blob.diff_id.clone(),
            compression: layer.compression_name(),
            blob_bytes: layer.blob_bytes,
            bytes: layer.tar_bytes,
            entries: applied.entries,
            whiteouts: applied.whiteouts,
        });
        Ok(())
    }
}

/// The report of one layer.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// The digest of the blob; layers of old docker archives have none.
    pub digest: Option<Digest>,
    /// The digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// The compression of the blob, or `not read`.
    pub compression: String,
    /// The size of the blob in bytes.
    pub blob_bytes: u64,
    /// The size of the uncompressed stream in bytes.
    pub bytes: u64,
    /// The number of entries, without markers.
    pub entries: u64,
    /// The number of markers.
    pub whiteouts: u64,
}

#[cfg(test)]
mod tests;
