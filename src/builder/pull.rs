//! Fetches an image into the cache and verifies its blobs.

use std::io::Read;

use serde::Serialize;

use crate::builder::Input;
use crate::builder::image::ImageOptions;
use crate::cancel::Cancel;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, ErrorKind, ImageProblem, Place, Result};
use crate::image::download::Fetches;
use crate::image::{LayerBlob, OpenImage};
use crate::note::Notes;
use crate::progress::{Progress, Stage};
use crate::read_at::FileSlice;
use crate::tree::flatten::ReadOptions;

/// Bytes that are hashed at once.
const BLOCK: usize = 256 << 10;

/// An image whose blobs are all in the cache, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PullReport {
    /// The image reference, as given.
    pub source: String,
    /// The digest of the manifest.
    pub manifest_digest: Option<Digest>,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform.
    pub platform: String,
    /// The number of layers.
    pub layers: usize,
    /// The size of all layers as stored, in bytes.
    pub bytes: u64,
    /// The notes: what was adapted while opening.
    pub notes: Notes,
}

/// Fetches the layers that the cache does not have, and hashes the others.
///
/// # Errors
///
/// The image cannot be fetched, or does not match its digests; the run was cancelled.
pub(crate) fn pull(input: &Input) -> Result<PullReport> {
    let ImageOptions { read, progress, cancel, .. } = input.options();
    let work = input.options().make_work_dir()?;
    progress.begin(Stage::Open, None);
    let image = input.open(&work)?;
    progress.begin(Stage::Fetch, Some(image.blob_bytes()));
    fetch(&image, read, &**progress, cancel)?;
    progress.end();
    let (notes, bytes) = (Notes::default(), image.blob_bytes());
    image.notes.iter().for_each(|note| notes.add(note.clone()));
    Ok(PullReport {
        bytes,
        source: image.source.clone(),
        manifest_digest: image.manifest_digest.clone(),
        config_digest: image.config_digest.clone(),
        platform: image.platform.to_string(),
        layers: image.layers.len(),
        notes,
    })
}

fn fetch(image: &OpenImage, options: &ReadOptions, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
    let fetches = Fetches::of(&image.layers, &|_| false, cancel);
    std::thread::scope(|scope| {
        fetches.start(scope, options.downloads, progress);
        for (index, layer) in image.layers.iter().enumerate() {
            if let Err(error) = check(&fetches, index, layer, progress) {
                fetches.give_up();
                return Err(fetches.failure().unwrap_or(error));
            }
        }
        Ok(())
    })
}

/// Hashes a layer in the cache; a damaged one is fetched again, once.
fn check(fetches: &Fetches<'_>, index: usize, layer: &LayerBlob, progress: &dyn Progress) -> Result<()> {
    let stop = fetches.stop();
    let refused = |found| Error::image(Place::Layer(layer.place.clone()), ImageProblem::DigestMismatch(found));
    let matches = |data: &FileSlice| match hash(data, &layer.place.digest, progress, stop)? {
        found if found == layer.place.digest => Ok(()),
        found => Err(refused(found)),
    };
    match matches(&fetches.take(index, progress)?) {
        Err(error) if matches!(error.kind(), ErrorKind::Image { .. }) => {
            match layer.data.refetch(&error, progress, stop)? {
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
