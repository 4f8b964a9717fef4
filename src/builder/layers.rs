//! The additions, hidden files and waste of each layer of an image.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::builder::image::Image;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::history;
use crate::note::{NoteKind, Notes};
use crate::tree::flatten::LayerReport;
use crate::tree::observe::{LayerUsage, Observer};

/// The schema of layers in JSON.
const SCHEMA: &str = "planish.layers.v1";

/// The layers of an image, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct LayersReport {
    /// The name and version of this form.
    pub schema: &'static str,
    /// The image reference, as given.
    pub source: String,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform of the image.
    pub platform: String,
    /// The layers, the lowest first.
    pub layers: Vec<LayerSummary>,
    /// The bytes of files in all layers that the final tree does not have.
    pub wasted_bytes: u64,
    /// The notes: what was adapted or dropped.
    pub notes: Notes,
}

/// The effects of a layer. Bytes are the sizes of files, holes included.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct LayerSummary {
    /// The number, from 1.
    pub number: usize,
    /// Its digests, sizes and counts.
    #[serde(flatten)]
    pub report: LayerReport,
    /// The instruction that made it, if the history has one for each.
    pub instruction: Option<String>,
    /// The bytes of the files that it adds.
    pub added_bytes: u64,
    /// The bytes of files of lower layers that its entries replace.
    pub overridden_bytes: u64,
    /// The bytes of files of lower layers that its markers hide.
    pub hidden_bytes: u64,
    /// The bytes of its own files that it or a layer above replaces or hides.
    pub wasted_bytes: u64,
    /// The number of opaque markers among its whiteouts.
    pub opaque: u64,
    /// The number of whiteouts that hide nothing, or nothing more than another one.
    pub idle_whiteouts: u64,
    /// The number of entries for paths that it wrote before.
    pub duplicates: u64,
    /// The number of notes about it, by kind.
    pub note_counts: BTreeMap<NoteKind, u64>,
}

impl Image {
    /// Returns what each layer adds, hides and wastes.
    ///
    /// # Errors
    ///
    /// The image cannot be read; the run was cancelled.
    pub fn layers(&self) -> Result<LayersReport> {
        let (flat, observer) = self.observe(&Observer::default)?;
        let parts = self.parts();
        let instructions = history::instructions(&history::of(&parts.config, parts.layers.len()), parts.layers.len());
        let mut counts = vec![BTreeMap::new(); flat.layers.len()];
        flat.notes
            .each(|note| -> std::io::Result<()> {
                if let Some(counts) = note.layer.and_then(|number| counts.get_mut(number - 1)) {
                    *counts.entry(note.kind).or_default() += 1;
                }
                Ok(())
            })
            .map_err(Error::io("read", "the notes"))?;
        let usages = observer.layers().iter().copied().chain(std::iter::repeat(LayerUsage::default()));
        let parts = flat.layers.into_iter().zip(usages).zip(instructions).zip(counts);
        let summary = |(number, (((report, usage), instruction), note_counts)): (usize, _)| {
            let LayerUsage {
                added_bytes,
                overridden_bytes,
                hidden_bytes,
                wasted_bytes,
                opaque,
                idle_whiteouts,
                duplicates,
            } = usage;
            LayerSummary {
                number,
                report,
                instruction,
                added_bytes,
                overridden_bytes,
                hidden_bytes,
                wasted_bytes,
                opaque,
                idle_whiteouts,
                duplicates,
                note_counts,
            }
        };
        let layers: Vec<LayerSummary> = (1..).zip(parts).map(summary).collect();
        Ok(LayersReport {
            schema: SCHEMA,
            source: self.source().to_owned(),
            config_digest: self.config_digest().clone(),
            platform: self.platform().to_string(),
            wasted_bytes: layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.wasted_bytes)),
            layers,
            notes: flat.notes,
        })
    }
}
