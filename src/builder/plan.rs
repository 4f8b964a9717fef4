//! Plans a build without writing a filesystem.

use std::ffi::OsStr;

use serde::Serialize;

use crate::builder::Input;
use crate::builder::image::ImageOptions;
use crate::builder::inject::Additions;
use crate::builder::key;
use crate::digest::Digest;
use crate::error::Result;
use crate::inject::InjectionReport;
use crate::note::Notes;
use crate::output::report::EngineReport;
use crate::plan::constants::BLOCK_SIZE;
use crate::plan::{Plan, PlanOptions, TreeStats};
use crate::program::Tools;
use crate::progress::{NoProgress, Stage};
use crate::tree::flatten::FlatImage;

/// The plan of a build, in the form that `--json` prints.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// The image reference, as given.
    pub source: String,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The platform of the image.
    pub platform: String,
    /// The build key (see `planish key`); `None` if e2fsprogs, whose version is a part of it, is not there.
    pub key: Option<Digest>,
    /// The injections, in order.
    pub injections: Vec<InjectionReport>,
    /// The counts of the flattened tree.
    pub tree: TreeStats,
    /// The engine, and the reason for the choice.
    pub engine: EngineReport,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The size of files, directories, long symlinks and xattrs in whole blocks, in bytes.
    pub content_bytes: u64,
    /// The size of superblocks, group descriptors, bitmaps and inode tables, in bytes.
    pub metadata_bytes: u64,
    /// The size of the journal in bytes.
    pub journal_bytes: u64,
    /// The number of free bytes.
    pub free_bytes: u64,
    /// The number of inodes.
    pub inodes: u64,
    /// The number of free inodes.
    pub free_inodes: u64,
    /// The UUID.
    pub uuid: String,
    /// The creation time, in seconds since 1970.
    pub clock: u32,
    /// The notes: what would be adapted or dropped.
    pub notes: Notes,
}

/// Plans the filesystem of an image.
///
/// # Errors
///
/// The errors of a build that can be detected before anything is written.
pub(crate) fn plan(
    input: &Input,
    additions: &Additions,
    options: &PlanOptions,
    search_path: &OsStr,
) -> Result<PlanReport> {
    let ImageOptions { read, progress, cancel, .. } = input.options();
    let work = input.options().make_work_dir()?;
    progress.begin(Stage::Open, None);
    let image = input.open(&work)?;
    progress.begin(Stage::Layers, Some(image.blob_bytes()));
    let injected = additions.read(&image, options.clock, &work, input.options())?;
    let (FlatImage { tree, notes, .. }, injections) = injected.flatten()?;
    progress.begin(Stage::Plan, None);
    let created = image.created.map(|time| time.seconds);
    // A plan needs no tools; without them there is no key, because their version is a part of it.
    let tools = Tools::find(search_path, key::writing(options), &NoProgress, cancel).ok();
    let mkfs_fault = tools.as_ref().and_then(Tools::fault);
    let plan_options = PlanOptions { mkfs_fault, injected: injected.digest(), ..options.clone() };
    let plan = Plan::new(&tree, &image.config_digest, created, &plan_options, &read.limits, cancel)?;
    plan.notes().for_each(|note| notes.add(note));
    progress.end();
    let Plan { geometry, stats, identity, .. } = &plan;
    Ok(PlanReport {
        source: image.source.clone(),
        config_digest: image.config_digest.clone(),
        platform: image.platform.to_string(),
        key: tools.map(|tools| key::of(&image, &plan_options, read, &tools).digest),
        injections,
        tree: *stats,
        engine: EngineReport { name: plan.engine, reason: plan.reason.to_string() },
        bytes: plan.file_bytes,
        content_bytes: stats.blocks * BLOCK_SIZE,
        metadata_bytes: geometry.metadata_blocks * BLOCK_SIZE,
        journal_bytes: geometry.journal_blocks * BLOCK_SIZE,
        free_bytes: plan.free_blocks() * BLOCK_SIZE,
        inodes: geometry.inodes,
        free_inodes: plan.free_inodes(),
        uuid: identity.uuid.to_string(),
        clock: identity.clock.seconds(),
        notes,
    })
}
