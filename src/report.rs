//! What a build says of itself at the end.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::note::{Note, NoteKind};
use crate::path::Escaped;
use crate::plan::{Census, Engine};
use crate::progress::Stage;

/// Everything that a build did; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of planish.
    pub planish: &'static str,
    /// The version of e2fsprogs.
    pub e2fsprogs: String,
    /// The image as it was named.
    pub source: String,
    /// The digest of the image's manifest; docker archives have none.
    pub manifest_digest: Option<Digest>,
    /// The digest of the image's config.
    pub config_digest: Digest,
    /// The image's platform.
    pub platform: String,
    /// The layers, from the lowest.
    pub layers: Vec<LayerReport>,
    /// Entries of all layers, markers not counted.
    pub entries: u64,
    /// Markers of all layers.
    pub whiteouts: u64,
    /// What the flattened tree holds.
    pub tree: Census,
    /// The digest of the flattened tree (see [`crate::fingerprint`]), if digests were asked for.
    pub tree_digest: Option<Digest>,
    /// What wrote the filesystem.
    pub engine: EngineReport,
    /// The finished filesystem.
    pub filesystem: FilesystemReport,
    /// What was verified; `None` with `--verify=none`.
    pub verified: Option<Verified>,
    /// What was adapted or dropped.
    pub notes: Vec<NoteReport>,
    /// Seconds of each stage, in order.
    pub seconds: Vec<StageSeconds>,
}

/// One layer.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    /// The digest of the blob; layers of old docker archives have none.
    pub digest: Option<Digest>,
    /// The digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// How the blob is compressed.
    pub compression: String,
    /// The blob's size in bytes.
    pub blob_bytes: u64,
    /// The size of the uncompressed stream in bytes.
    pub bytes: u64,
    /// Its entries, markers not counted.
    pub entries: u64,
    /// Its markers.
    pub whiteouts: u64,
}

/// What wrote a filesystem, and why that.
#[derive(Debug, Serialize)]
pub struct EngineReport {
    /// The engine.
    pub name: Engine,
    /// Why it was taken, as a person reads it.
    pub reason: String,
}

/// A filesystem, as its own superblock describes it.
#[derive(Debug, Serialize)]
pub struct FilesystemReport {
    /// The path of the file, escaped.
    pub path: String,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The digest of the file, if digests were asked for.
    pub digest: Option<Digest>,
    /// The bytes of a block.
    pub block_bytes: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes that are free.
    pub free_inodes: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// The UUID.
    pub uuid: String,
    /// The time of its making, in seconds since 1970.
    pub clock: u32,
}

/// What was read back and found equal.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Names.
    pub names: u64,
    /// Inodes, in every attribute.
    pub inodes: u64,
    /// Extended attributes.
    pub xattrs: u64,
    /// Bytes of files, holes counted.
    pub bytes: u64,
    /// What was asked of e2fsck, which found nothing.
    pub fsck: &'static str,
}

/// A note as JSON.
#[derive(Debug, Serialize)]
pub struct NoteReport {
    /// What happened.
    pub kind: NoteKind,
    /// Whether information is lost.
    pub loss: bool,
    /// The layer's number from 1.
    pub layer: Option<usize>,
    /// The path, with a leading `/`; bytes that are not printable ASCII, backslashes and quotes as `\xNN`.
    pub path: Option<String>,
    /// What else is to be said, escaped alike.
    pub detail: Option<String>,
    /// The note as a person reads it.
    pub text: String,
}

impl NoteReport {
    /// Returns a note with its bytes escaped.
    #[must_use]
    pub fn of(note: &Note) -> Self {
        let shown = |bytes: &[u8]| (!bytes.is_empty()).then(|| Escaped(bytes).to_string());
        Self {
            kind: note.kind,
            loss: note.kind.is_loss(),
            layer: note.layer,
            path: shown(&note.path).map(|path| format!("/{path}")),
            detail: shown(&note.detail),
            text: note.to_string(),
        }
    }
}

/// How long a stage took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StageSeconds {
    /// The stage.
    pub stage: Stage,
    /// Its wall time.
    #[serde(serialize_with = "seconds")]
    pub seconds: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    serializer.serialize_f64(f64::from(milliseconds) / 1000.0)
}
