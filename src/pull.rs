//! Fills the cache with an image, and checks what is there.

use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::cancel::Cancel;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, ErrorKind, ImageProblem, Place, Result};
use crate::fetch::Fetches;
use crate::flatten::ReadOptions;
use crate::progress::{Progress, Stage};
use crate::read_at::FileSlice;
use crate::report::NoteReport;
use crate::source::{Image, LayerBlob, SourceName};
use crate::work::WorkDir;

/// What was hashed at once.
const BLOCK: usize = 256 << 10;

/// An image that is complete in the cache; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub struct Pulled {
    /// The image as it was named.
    pub source: String,
    /// The digest of its manifest.
    pub manifest_digest: Option<Digest>,
    /// The digest of its config.
    pub config_digest: Digest,
    /// Its platform.
    pub platform: String,
    /// How many layers it has.
    pub layers: usize,
    /// The bytes of all layers, as they are kept.
    pub bytes: u64,
    /// What was adapted on the way.
    pub notes: Vec<NoteReport>,
}

/// Fetches an image's layers that the cache does not have, and hashes those that it has.
///
/// # Errors
///
/// The image cannot be had, or is not what it says; a stop was asked for.
pub fn pull(
    name: &SourceName,
    options: &ReadOptions,
    work_dir: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Pulled> {
    let work = WorkDir::create(work_dir)?;
    progress.begin(Stage::Open, None);
    let image = options.open(name, work.path(), progress, cancel)?;
    progress.begin(Stage::Fetch, Some(image.blob_bytes()));
    fetch(&image, options, progress, cancel)?;
    Ok(Pulled {
        bytes: image.blob_bytes(),
        source: image.source,
        manifest_digest: image.manifest_digest,
        config_digest: image.config_digest,
        platform: image.platform.to_string(),
        layers: image.layers.len(),
        notes: image.notes.iter().map(NoteReport::of).collect(),
    })
}

fn fetch(image: &Image, options: &ReadOptions, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
    let fetches = Fetches::of(&image.layers, cancel);
    std::thread::scope(|scope| {
        for _ in 0..fetches.workers(options.downloads) {
            scope.spawn(|| fetches.work(progress));
        }
        for (index, layer) in image.layers.iter().enumerate() {
            if let Err(error) = check(&fetches, index, layer, progress) {
                fetches.give_up();
                return Err(fetches.failure().unwrap_or(error));
            }
        }
        Ok(())
    })
}

/// Hashes a layer that is here; a damaged one is fetched again, once.
fn check(fetches: &Fetches<'_>, index: usize, layer: &LayerBlob, progress: &dyn Progress) -> Result<()> {
    let stop = fetches.stop();
    let refused = |found| Error::image(Place::Layer(layer.place.clone()), ImageProblem::DigestMismatch(found));
    let matches = |data: &FileSlice| match hash(data, &layer.place.digest, progress, stop)? {
        found if found == layer.place.digest => Ok(()),
        found => Err(refused(found)),
    };
    match matches(&fetches.take(index)?) {
        Err(error) if matches!(error.kind(), ErrorKind::Image { .. }) => {
            match layer.data.again(&error, progress, stop)? {
                Some(data) => matches(&data),
                None => Err(error),
            }
        }
        checked => checked,
    }
}

fn hash(data: &FileSlice, like: &Digest, progress: &dyn Progress, cancel: &Cancel) -> Result<Digest> {
    let mut reader = data.reader();
    let mut hasher = Hasher::new(like.algorithm());
    let mut block = vec![0; BLOCK];
    loop {
        cancel.check()?;
        match reader.read(&mut block).map_err(Error::io("read", "the cache"))? {
            0 => return Ok(hasher.finish()),
            n => {
                hasher.update(&block[..n]);
                progress.advance(n as u64);
            }
        }
    }
}
