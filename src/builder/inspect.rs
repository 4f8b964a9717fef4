//! Describes an image by its manifest and config. No layer is read.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;
use crate::image::history::{self, HistoryEntry};
use crate::image::{LayerBlob, ListedImage, ManifestDocument, OpenImage};
use crate::note::Notes;
use crate::time::DateTime;

/// The schema of an inspection in JSON.
const SCHEMA: &str = "planish.inspect.v1";

/// The description of an image, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The name and version of this form.
    pub schema: &'static str,
    /// The image reference, as given.
    pub source: String,
    /// The manifest; docker archives have none.
    pub manifest: Option<ManifestReport>,
    /// The config.
    pub config: ConfigReport,
    /// The platform of the image.
    pub platform: String,
    /// The images of the index that lists this one; empty without an index.
    pub platforms: Vec<PlatformReport>,
    /// The creation time in RFC 3339, if the config has one.
    pub created: Option<String>,
    /// The size of all layers as stored, in bytes.
    pub bytes: u64,
    /// The layers, the lowest first.
    pub layers: Vec<LayerDescription>,
    /// The history, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The notes: what was adapted while opening.
    pub notes: Notes,
}

/// The descriptor of a manifest, with its annotations.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ManifestReport {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The digest of the index that the reference names, if it names one.
    pub index: Option<Digest>,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// The annotations of its descriptor in the index.
    pub descriptor_annotations: BTreeMap<String, String>,
}

/// The descriptor of a config.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ConfigReport {
    /// The media type, if a manifest has one for it.
    pub media_type: Option<String>,
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
}

/// An image of an index.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PlatformReport {
    /// The platform; `None` if its descriptor has none.
    pub platform: Option<String>,
    /// The media type.
    pub media_type: Option<String>,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The size of its manifest in bytes.
    pub size: u64,
}

/// A layer as the manifest and the config describe it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct LayerDescription {
    /// The media type; docker archives have none.
    pub media_type: Option<String>,
    /// The digest of the blob; layers of old docker archives have none.
    pub digest: Option<Digest>,
    /// The digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// The size of the blob in bytes.
    pub size: u64,
    /// The instruction that made it, if the history has one for each layer.
    pub instruction: Option<String>,
}

/// Describes an open image.
pub(crate) fn inspect(image: &OpenImage) -> Inspection {
    let history = history::of(&image.config, image.layers.len());
    let instructions = history::instructions(&history, image.layers.len());
    let notes = Notes::default();
    image.notes.iter().for_each(|note| notes.add(note.clone()));
    let manifest = image.manifest.as_ref();
    Inspection {
        schema: SCHEMA,
        source: image.source.clone(),
        manifest: manifest.map(describe),
        config: ConfigReport {
            media_type: manifest.and_then(|manifest| manifest.config_media_type.clone()),
            digest: image.config_digest.clone(),
            size: image.config.len() as u64,
        },
        platform: image.platform.to_string(),
        platforms: manifest.map(|manifest| platforms(image, manifest)).unwrap_or_default(),
        created: image.created.map(|time| DateTime::from(time).to_string()),
        bytes: image.blob_bytes(),
        layers: image.layers.iter().zip(instructions).map(|(blob, instruction)| layer(blob, instruction)).collect(),
        history,
        notes,
    }
}

fn describe(manifest: &ManifestDocument) -> ManifestReport {
    ManifestReport {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.clone(),
        size: manifest.bytes.len() as u64,
        index: manifest.index.as_ref().map(|(digest, _)| digest.clone()),
        annotations: manifest.annotations.iter().cloned().collect(),
        descriptor_annotations: manifest.descriptor_annotations.iter().cloned().collect(),
    }
}

/// Returns the images of the index; this one has the platform of its config if its descriptor has none.
fn platforms(image: &OpenImage, manifest: &ManifestDocument) -> Vec<PlatformReport> {
    let report = |listed: &ListedImage| {
        let own = || (listed.digest == manifest.digest).then(|| image.platform.to_string());
        PlatformReport {
            platform: listed.platform.as_ref().map(ToString::to_string).or_else(own),
            media_type: listed.media_type.clone(),
            digest: listed.digest.clone(),
            size: listed.size,
        }
    };
    manifest.listed.iter().map(report).collect()
}

fn layer(blob: &LayerBlob, instruction: Option<String>) -> LayerDescription {
    LayerDescription {
        media_type: blob.media_type.clone(),
        digest: blob.digest.clone(),
        diff_id: blob.diff_id.clone(),
        size: blob.data.size(),
        instruction,
    }
}
