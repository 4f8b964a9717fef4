//! OCI layouts: from an `index.json` to the manifest of one image.

use std::sync::Arc;

use super::document::{self, Descriptor, Document, Manifest};
use super::platform::Platform;
use super::registry::Remote;
use super::store::Store;
use super::{Image, LayerBlob, OpenOptions, config};
use crate::cache::Entry;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Found, ImageProblem, LayerPlace, Place, Result};
use crate::limits::Limit;
use crate::note::{Note, NoteKind};
use crate::shown::{listed, shown};

/// Opens the image of a layout that `wanted` names, by tag or digest; `name` is what messages call the layout.
pub(super) fn open(store: &Store, name: &str, wanted: Option<&str>, options: &OpenOptions<'_>) -> Result<Image> {
    let source = Place::Source(name.to_owned());
    let index = store.open("index.json")?.ok_or_else(|| Error::image(source.clone(), ImageProblem::NoIndex))?;
    let place = Place::File(format!("{name}: index.json"));
    let bytes = store.read(&index, &place, options.limits)?;
    let entries = match Document::parse(&bytes, None).map_err(|problem| Error::image(place.clone(), problem))? {
        Document::Index(entries) => entries,
        Document::Manifest(_) => {
            return Err(Error::image(place, ImageProblem::Json("it has no manifests".into())));
        }
    };
    let entries = of_name(entries, wanted).map_err(|problem| Error::image(source, problem))?;
    let platform = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let found = Search { store, options, platform: &platform }.manifest(entries, place)?;
    image(store, name, found, &platform, options)
}

/// Opens the image of a registry that a document leads to: the image's manifest, or an index.
pub(super) fn open_document(
    remote: &Arc<Remote>,
    name: &str,
    (bytes, digest): (Vec<u8>, Digest),
    options: &OpenOptions<'_>,
) -> Result<Image> {
    let store = Store::Remote(Arc::clone(remote));
    let platform = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let refused = |problem| Error::image(Place::Manifest(digest.clone()), problem);
    let document = Document::parse(&bytes, None).map_err(refused)?;
    let media_type = document.media_type().to_owned();
    let found = match document {
        Document::Manifest(manifest) => (digest.clone(), manifest),
        Document::Index(entries) => {
            Search { store: &store, options, platform: &platform }.manifest(entries, Place::Index(digest.clone()))?
        }
    };
    let image = image(&store, name, found, &platform, options)?;
    remote.remember(&Entry { digest, size: bytes.len() as u64, media_type }, options.progress);
    Ok(image)
}

/// Leaves the entries of one image: those that the user's word names, or all, where they are one image's.
fn of_name(entries: Vec<Descriptor>, wanted: Option<&str>) -> std::result::Result<Vec<Descriptor>, ImageProblem> {
    let images = || entries.iter().filter(|entry| !entry.is_attestation());
    let names = listed(images().map(|entry| entry.name().map_or_else(|| entry.shown_digest(), shown)));
    let Some(first) = images().next() else { return Err(ImageProblem::Empty) };
    let Some(wanted) = wanted else {
        let one_name = images().all(|entry| entry.name() == first.name());
        let one_blob = images().all(|entry| entry.shown_digest() == first.shown_digest());
        return if one_name || one_blob { Ok(entries) } else { Err(ImageProblem::SeveralImages(names)) };
    };
    let bare = wanted.strip_prefix('@').unwrap_or(wanted);
    let called: Vec<_> = entries.into_iter().filter(|entry| entry.is_called(bare)).collect();
    if called.is_empty() {
        return Err(ImageProblem::NoSuchTag { wanted: shown(wanted), there: names });
    }
    Ok(called)
}

struct Search<'a> {
    store: &'a Store,
    options: &'a OpenOptions<'a>,
    platform: &'a Platform,
}

impl Search<'_> {
    /// Goes down from an index that `holder` calls, through nested ones, to the manifest for the platform.
    fn manifest(&self, mut entries: Vec<Descriptor>, mut holder: Place) -> Result<(Digest, Manifest)> {
        let allowed = self.options.limits.index_depth;
        for _ in 0..=allowed {
            let entry = self.choose(entries).map_err(|problem| Error::image(holder.clone(), problem))?;
            let digest = entry.digest(&holder)?;
            holder = entry.place(digest.clone());
            let bytes = self.store.document(&entry, &digest, &holder, self.options)?;
            let refused = |problem| Error::image(holder.clone(), problem);
            match Document::parse(&bytes, entry.media_type.as_deref()).map_err(refused)? {
                Document::Manifest(manifest) => return Ok((digest, manifest)),
                Document::Index(nested) => entries = nested,
            }
            holder = Place::Index(digest);
        }
        let found = Found::MoreThan(allowed);
        Err(ErrorKind::Limit { place: holder, limit: Limit::IndexDepth, allowed, found }.into())
    }

    /// Chooses the entry for the platform: the nearest of those that say theirs, else the only one that does not say it,
    /// whose config will.
    fn choose(&self, entries: Vec<Descriptor>) -> std::result::Result<Descriptor, ImageProblem> {
        let entries: Vec<_> = entries.into_iter().filter(|entry| !entry.is_attestation()).collect();
        let distance = |entry: &Descriptor| self.platform.distance(&entry.platform()?);
        let nearest = entries.iter().filter(|entry| distance(entry).is_some()).min_by_key(|entry| distance(entry));
        if let Some(entry) = nearest {
            return Ok(entry.clone());
        }
        let silent: Vec<_> = entries.iter().filter(|entry| entry.platform().is_none()).collect();
        match silent[..] {
            [] if entries.is_empty() => Err(ImageProblem::Empty),
            [] => {
                let there = entries.iter().filter_map(Descriptor::platform).map(|platform| platform.to_string());
                Err(ImageProblem::NoSuchPlatform { wanted: self.platform.to_string(), there: listed(there) })
            }
            [entry, ref others @ ..] if others.iter().all(|other| other.shown_digest() == entry.shown_digest()) => {
                Ok(entry.clone())
            }
            _ => Err(ImageProblem::SeveralImages(listed(silent.iter().map(|entry| entry.shown_digest())))),
        }
    }
}

fn image(
    store: &Store,
    name: &str,
    (digest, manifest): (Digest, Manifest),
    platform: &Platform,
    options: &OpenOptions<'_>,
) -> Result<Image> {
    let holder = Place::Manifest(digest.clone());
    let count = manifest.layers.len();
    options.check_layers(&holder, count)?;
    let config_digest = manifest.config.digest(&holder)?;
    let place = Place::Config(config_digest.clone());
    document::check_config_type(manifest.config.media_type.as_deref())
        .map_err(|problem| Error::image(place.clone(), problem))?;
    let bytes = store.config(&manifest.config, &config_digest, &place, options)?;
    let checked = config::check(&bytes, &config_digest, (&holder, count), platform)?;
    let mut layers = Vec::with_capacity(count);
    let mut notes = checked.notes;
    for ((number, layer), diff_id) in (1..).zip(manifest.layers).zip(checked.diff_ids) {
        let digest = layer.digest(&holder)?;
        let place = LayerPlace { number, count, digest: digest.clone() };
        let refused = |problem| Error::image(Place::Layer(place.clone()), problem);
        let foreign = document::check_layer_type(layer.media_type.as_deref()).map_err(refused)?;
        let missing = if foreign { ImageProblem::ForeignLayer } else { ImageProblem::Missing };
        let data = store.layer(&layer, &digest, &place, foreign)?.ok_or_else(|| refused(missing))?;
        if foreign {
            let (kind, layer) = (NoteKind::ForeignLayer, Some(number));
            notes.push(Note { kind, layer, path: Box::default(), detail: Box::default() });
        }
        let (media_type, size) = (layer.media_type, Some(layer.size));
        layers.push(LayerBlob { place, media_type, digest: Some(digest), size, diff_id, data });
    }
    Ok(Image {
        source: name.to_owned(),
        manifest_digest: Some(digest),
        config_digest,
        platform: checked.platform,
        created: checked.created,
        config: checked.config,
        layers,
        notes,
    })
}
