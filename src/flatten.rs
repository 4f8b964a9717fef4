//! Decodes layers in parallel and applies them strictly in order.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use std::path::Path;

use crate::cancel::Cancel;
use crate::error::{EntryPlace, Error, ErrorKind, ImageProblem, Place, Result};
use crate::fetch::Fetches;
use crate::layer::{Budget, Layer, decode};
use crate::limits::Limits;
use crate::note::{Note, NoteKind};
use crate::progress::Progress;
use crate::report::LayerReport;
use crate::source::{self, Image, LayerBlob, OpenOptions, Platform, RemoteOptions, SourceName};
use crate::time::Timestamp;
use crate::tree::{ApplyFault, LayerId, Tree};

/// How an image is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The platform to take; `None`: Linux on this machine's architecture.
    pub platform: Option<Platform>,
    /// The mtime of directories that no layer describes.
    pub implied_mtime: i64,
    /// Whether SELinux labels are kept.
    pub keep_selinux: bool,
    /// How many layers are decoded, and files compared, at a time.
    pub jobs: usize,
    /// How many layers are fetched at a time.
    pub downloads: usize,
    /// How images of registries are had; `None`: not at all.
    pub remote: Option<RemoteOptions>,
    /// The bounds within which an image is taken.
    pub limits: Limits,
}

impl ReadOptions {
    /// Opens an image; archives that must be unpacked are unpacked in `work_dir`.
    ///
    /// # Errors
    ///
    /// As for [`source::open`].
    pub fn open(&self, name: &SourceName, work_dir: &Path, progress: &dyn Progress, cancel: &Cancel) -> Result<Image> {
        let (platform, remote) = (self.platform.clone(), self.remote.as_ref());
        source::open(name, &OpenOptions { platform, limits: &self.limits, work_dir, remote, progress, cancel })
    }
}

/// A flattened image.
#[derive(Debug)]
pub struct Flattened {
    /// Names and inodes.
    pub tree: Tree,
    /// What each layer brought.
    pub layers: Vec<LayerReport>,
    /// What was adapted or dropped.
    pub notes: Vec<Note>,
}

/// Flattens an image. Layers are fetched and decoded in parallel; each is applied when those below it are.
///
/// Uncompressed layers are kept as nameless files in `directory`.
///
/// # Errors
///
/// A layer is not what was promised, or cannot be applied; a limit; the disk is full; a stop was asked for.
pub fn flatten(
    image: &Image,
    directory: &Path,
    options: &ReadOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Flattened> {
    let budget = Budget::new(options.limits.clone());
    let fetches = Fetches::of(&image.layers, cancel);
    let reading = Reading { fetches: &fetches, directory, budget: &budget, progress };
    let (senders, receivers): (Vec<_>, Vec<_>) = image.layers.iter().map(|_| mpsc::channel()).unzip();
    // A worker owns its layer's sender, so that a receiver never waits for one that is gone.
    let queue: Queue<'_> = Mutex::new(image.layers.iter().enumerate().zip(senders).collect());
    let read_next = || {
        while let Some(((index, blob), sender)) = next_layer(&queue) {
            // Nobody listens any more when a lower layer failed; then the queue is empty, too.
            let _ = sender.send(reading.read(index, blob));
        }
    };
    let tree = Tree::new(Timestamp::from_seconds(options.implied_mtime)).with_inodes_max(options.limits.entries);
    let mut flattened = Flattened { tree, layers: vec![], notes: vec![] };
    std::thread::scope(|scope| {
        for _ in 0..fetches.workers(options.downloads) {
            scope.spawn(|| fetches.work(progress));
        }
        for _ in 0..options.jobs.clamp(1, image.layers.len().max(1)) {
            scope.spawn(read_next);
        }
        for ((id, blob), receiver) in (0..).zip(&image.layers).zip(receivers) {
            let applied = match receiver.recv() {
                Ok(decoded) => decoded.and_then(|layer| {
                    flattened.apply(LayerId(id), blob, &layer, &budget, options.keep_selinux, cancel)
                }),
                Err(_) => Err(ErrorKind::Bug("a layer was not decoded").into()),
            };
            if let Err(error) = applied {
                fetches.give_up();
                lock(&queue).clear();
                return Err(fetches.failure().unwrap_or(error));
            }
        }
        Ok(())
    })?;
    flattened.tree = flattened.tree.finish();
    Ok(flattened)
}

type Sender = mpsc::Sender<Result<Layer>>;
type Queue<'a> = Mutex<VecDeque<((usize, &'a LayerBlob), Sender)>>;

fn next_layer<'a>(queue: &Queue<'a>) -> Option<((usize, &'a LayerBlob), Sender)> {
    lock(queue).pop_front()
}

fn lock<'a, 'b>(queue: &'b Queue<'a>) -> MutexGuard<'b, VecDeque<((usize, &'a LayerBlob), Sender)>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every layer is read with.
struct Reading<'a> {
    fetches: &'a Fetches<'a>,
    directory: &'a Path,
    budget: &'a Budget,
    progress: &'a dyn Progress,
}

impl Reading<'_> {
    /// Waits for a layer's bytes and decodes them; damaged ones from the cache are fetched again, once.
    fn read(&self, index: usize, blob: &LayerBlob) -> Result<Layer> {
        let Self { fetches, directory, budget, progress } = *self;
        let stop = fetches.stop();
        let read = |data| decode(blob, &data, directory, budget, progress, stop);
        match read(fetches.take(index)?) {
            Err(error) => match blob.data.again(&error, progress, stop)? {
                Some(data) => read(data),
                None => Err(error),
            },
            decoded => decoded,
        }
    }
}

/// An error of reading a layer or of applying it.
enum Fault {
    Read(Error),
    Apply(ApplyFault),
}

impl From<ApplyFault> for Fault {
    fn from(fault: ApplyFault) -> Self {
        Self::Apply(fault)
    }
}

impl Flattened {
    fn apply(
        &mut self,
        id: LayerId,
        blob: &LayerBlob,
        layer: &Layer,
        budget: &Budget,
        keep_selinux: bool,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut notes = Vec::new();
        let changes = layer.changes(budget, keep_selinux, &mut notes).map(|change| {
            cancel.check().map_err(Fault::Read)?;
            change.map_err(Fault::Read)
        });
        let applied = self.tree.apply(id, changes).map_err(|fault| match fault {
            Fault::Read(error) => error,
            Fault::Apply(ApplyFault { problem: ImageProblem::TooManyInodes, .. }) => budget.no_entry_left(),
            Fault::Apply(ApplyFault { number, path, problem }) => {
                let entry = EntryPlace { number, name: path.as_bytes().into() };
                Error::image(Place::Entry(layer.place.clone(), entry), problem)
            }
        })?;
        if let Some(media_type) = blob.media_type.as_deref().filter(|said| !layer.compression.is_said_by(said)) {
            notes.push(Note {
                kind: NoteKind::MediaType,
                layer: Some(layer.place.number),
                path: Box::default(),
                detail: media_type.as_bytes().into(),
            });
        }
        self.notes.extend(notes);
        self.notes.extend(applied.notes);
        self.layers.push(LayerReport {
            digest: blob.digest.clone(),
            diff_id: blob.diff_id.clone(),
            compression: layer.compression.to_string(),
            blob_bytes: layer.blob_bytes,
            bytes: layer.tar.len() as u64,
            entries: applied.entries,
            whiteouts: applied.whiteouts,
        });
        Ok(())
    }
}
