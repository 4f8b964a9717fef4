//! OCI layouts: finds the manifest of one image through `index.json`.

use super::choose::{PlatformManifest, Search};
use super::document::Document;
use super::platform::Platform;
use super::store::{BlobStore, FileStore};
use super::{LayerBlob, ManifestDocument, OpenImage, OpenOptions, config, media_type};
use crate::error::{Error, ImageProblem, LayerPlace, Place, Result};
use crate::note::{Note, NoteKind};

/// The media type of a manifest that does not say its own.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Opens the image `requested` of a layout, by tag or digest; `name` is the name of the layout in messages.
pub(super) fn open(
    store: &impl FileStore,
    name: &str,
    requested: Option<&str>,
    options: &OpenOptions<'_>,
) -> Result<OpenImage> {
    let source = Place::Source(name.to_owned());
    let index =
        store.open("index.json", options)?.ok_or_else(|| Error::image(source.clone(), ImageProblem::NoIndex))?;
    let place = Place::File(format!("{name}: index.json"));
    let bytes = store.read(&index, &place, options.limits)?;
    let entries = Document::parse_layout(&bytes).map_err(|problem| Error::image(place.clone(), problem))?;
    let platform = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let chosen = Search { store, options, platform: &platform, order_counts: false }
        .in_layout(entries, requested, &source, place)?;
    image(store, name, chosen, &platform, options)
}

/// Returns the image of a manifest: reads its config, and finds its layers.
pub(super) fn image(
    store: &impl BlobStore,
    name: &str,
    chosen: PlatformManifest,
    platform: &Platform,
    options: &OpenOptions<'_>,
) -> Result<OpenImage> {
    let PlatformManifest { digest, manifest, platform: described, bytes: document, annotations, index, listed } =
        chosen;
    let holder = Place::Manifest(digest.clone());
    let count = manifest.layers.len();
    options.check_layers(&holder, count)?;
    let config_digest = manifest.config.digest(&holder)?;
    let place = Place::Config(config_digest.clone());
    manifest.check_config_type().map_err(|problem| Error::image(place.clone(), problem))?;
    let config_media_type = manifest.config.media_type.clone();
    let bytes = store.config(&manifest.config, &config_digest, &place, options)?;
    let checked = config::check(&bytes, &config_digest, (&holder, count), described.as_ref(), platform)?;
    let mut layers = Vec::with_capacity(count);
    let mut notes = checked.notes;
    for ((number, layer), diff_id) in (1..).zip(manifest.layers).zip(checked.diff_ids) {
        let digest = layer.digest(&holder)?;
        let place = LayerPlace { number, count, digest: digest.clone(), injection: None };
        let refused = |problem| Error::image(Place::Layer(place.clone()), problem);
        let foreign = media_type::check_layer(layer.media_type.as_deref()).map_err(refused)?;
        let missing = if foreign { ImageProblem::ForeignLayer } else { ImageProblem::Missing };
        let data = store.layer(&layer, &digest, &place, foreign, options)?.ok_or_else(|| refused(missing))?;
        if foreign {
            let (kind, layer) = (NoteKind::ForeignLayer, Some(number));
            notes.push(Note { kind, layer, path: Box::default(), detail: Box::default() });
        }
        let (media_type, size) = (layer.media_type, Some(layer.size));
        layers.push(LayerBlob { place, media_type, digest: Some(digest), size, diff_id, data });
    }
    let manifest = ManifestDocument {
        media_type: manifest.media_type.unwrap_or_else(|| MANIFEST.to_owned()),
        digest: digest.clone(),
        bytes: document,
        config_media_type,
        annotations: manifest.annotations,
        descriptor_annotations: annotations,
        index,
        listed,
    };
    Ok(OpenImage {
        path: None,
        manifest: Some(manifest),
        source: name.to_owned(),
        manifest_digest: Some(digest),
        config_digest,
        platform: checked.platform,
        created: checked.created,
        config: bytes,
        layers,
        notes,
    })
}
