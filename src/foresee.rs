//! The plan alone: what a build would make of an image, before anything but the layers is written.

use std::path::PathBuf;

use serde::Serialize;

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::Result;
use crate::flatten::{Flattened, ReadOptions, flatten};
use crate::plan::geometry::BLOCK_SIZE;
use crate::plan::{Census, Plan, PlanOptions};
use crate::progress::{Progress, Stage};
use crate::report::{EngineReport, NoteReport};
use crate::source::SourceName;
use crate::work::WorkDir;

/// What the caller may choose about a plan.
#[derive(Debug, Clone)]
pub struct ForeseeOptions {
    /// How the image is read.
    pub read: ReadOptions,
    /// The filesystem's size, free space, clock and engine.
    pub plan: PlanOptions,
    /// Where layers are kept while working.
    pub work_dir: PathBuf,
}

/// What a build would make; `--json` prints it as it is.
#[derive(Debug, Serialize)]
pub struct Foreseen {
    /// The image as it was named.
    pub source: String,
    /// The digest of the image's config.
    pub config_digest: Digest,
    /// The image's platform.
    pub platform: String,
    /// What the flattened tree holds.
    pub tree: Census,
    /// What would write the filesystem, and why.
    pub engine: EngineReport,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// Bytes of files, directories, long symlinks and xattrs, in whole blocks.
    pub content_bytes: u64,
    /// Bytes of superblocks, group descriptors, bitmaps and inode tables.
    pub metadata_bytes: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Bytes that stay free.
    pub free_bytes: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes that stay free.
    pub free_inodes: u64,
    /// The UUID.
    pub uuid: String,
    /// The time of its making, in seconds since 1970.
    pub clock: u32,
    /// What would be adapted or dropped.
    pub notes: Vec<NoteReport>,
}

/// Plans the filesystem of an image.
///
/// # Errors
///
/// What would make the build fail as well, as far as it can be known before anything is written.
pub fn foresee(
    name: &SourceName,
    options: &ForeseeOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Foreseen> {
    let work = WorkDir::create(&options.work_dir)?;
    progress.begin(Stage::Open, None);
    let image = options.read.open(name, work.path(), progress, cancel)?;
    progress.begin(Stage::Layers, Some(image.blob_bytes()));
    let Flattened { tree, notes, .. } = flatten(&image, work.path(), &options.read, progress, cancel)?;
    progress.begin(Stage::Plan, None);
    let created = image.created.map(|time| time.seconds);
    let plan = Plan::new(&tree, &image.config_digest, created, &options.plan, &options.read.limits)?;
    let Plan { geometry, census, identity, .. } = &plan;
    Ok(Foreseen {
        source: image.source,
        config_digest: image.config_digest,
        platform: image.platform.to_string(),
        tree: *census,
        engine: EngineReport { name: plan.engine, reason: plan.reason.to_string() },
        bytes: plan.file_bytes,
        content_bytes: census.blocks * BLOCK_SIZE,
        metadata_bytes: geometry.metadata_blocks * BLOCK_SIZE,
        journal_bytes: geometry.journal_blocks * BLOCK_SIZE,
        free_bytes: plan.free_blocks() * BLOCK_SIZE,
        inodes: geometry.inodes,
        free_inodes: plan.free_inodes(),
        uuid: identity.uuid.to_string(),
        clock: identity.clock.seconds(),
        notes: image.notes.iter().chain(&notes).map(NoteReport::of).collect(),
    })
}
