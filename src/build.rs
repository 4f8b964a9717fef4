//! The main job, end to end: an image becomes a filesystem that is proven to equal it.

mod clock;
mod engine;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, ShownPath, ToolProblem};
use crate::ext4::Filesystem;
use crate::fingerprint;
use crate::flatten::{Flattened, ReadOptions, flatten};
use crate::note::Note;
use crate::plan::geometry::BLOCK_SIZE;
use crate::plan::{Plan, PlanOptions};
use crate::program::Tools;
use crate::progress::{Progress, Stage};
use crate::publish::Output;
use crate::report::{EngineReport, FilesystemReport, NoteReport, Report, Verified};
use crate::source::SourceName;
use crate::verify;
use crate::work::{Unfinished, WorkDir};

use clock::Clocked;
use engine::Making;

/// What the caller may choose about a build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// How the image is read.
    pub read: ReadOptions,
    /// The filesystem's size, free space and clock.
    pub plan: PlanOptions,
    /// Where layers and the tree are kept while working; `None`: beside the output.
    pub work_dir: Option<PathBuf>,
    /// Whether an output that exists is replaced.
    pub force: bool,
    /// Whether a loss is an error.
    pub strict: bool,
    /// Whether the result is read back and compared.
    pub verify: bool,
    /// Whether the report has the digests of the tree and of the finished file.
    pub digests: bool,
    /// Where programs are looked for first, as `PATH` spells it.
    pub search_path: OsString,
}

/// Builds the filesystem of an image at `output`.
///
/// # Errors
///
/// Whatever goes wrong; then nothing is at `output` that was not there before.
pub fn build(
    name: &SourceName,
    output: &Path,
    options: &BuildOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Report> {
    let mut clocked = Clocked::new(progress);
    let cache = options.read.remote.as_ref().and_then(|remote| remote.cache.as_deref());
    let output = Output::check(output, options.force, &Vec::from_iter(name.path().into_iter().chain(cache)))?;
    let tools = Tools::find(&options.search_path, cancel)?;
    let work = WorkDir::create(options.work_dir.as_deref().unwrap_or(output.directory()))?;
    let unfinished = Unfinished::beside(output.path())?;
    work.adopt(unfinished.path())?;

    let image = clocked.run(Stage::Open, None, || options.read.open(name, work.path(), progress, cancel))?;
    let Flattened { tree, layers, mut notes } = clocked.run(Stage::Layers, Some(image.blob_bytes()), || {
        flatten(&image, work.path(), &options.read, progress, cancel)
    })?;
    notes.extend(image.notes);
    if options.strict {
        refuse_losses(&notes)?;
    }
    let created = image.created.map(|time| time.seconds);
    let plan = clocked.run(Stage::Plan, None, || {
        Plan::new(&tree, &image.config_digest, created, &options.plan, &options.read.limits)
    })?;
    let making = Making { tree: &tree, plan: &plan, unfinished: &unfinished, tools: &tools, work: &work, cancel };
    making.write(options.read.jobs, &mut clocked)?;
    let verified = if options.verify { Some(prove(&making, options.read.jobs, &mut clocked)?) } else { None };
    let digests = if options.digests { Some(digests(&making, options.read.jobs, &mut clocked)?) } else { None };
    let (tree_digest, digest) = digests.unzip();
    let filesystem = describe(&unfinished, &output, &plan, digest)?;
    cancel.check()?;
    clocked.run(Stage::Publish, None, || output.publish(unfinished))?;
    Ok(Report {
        planish: env!("CARGO_PKG_VERSION"),
        e2fsprogs: tools.version,
        source: image.source,
        manifest_digest: image.manifest_digest,
        config_digest: image.config_digest,
        platform: image.platform.to_string(),
        entries: layers.iter().map(|layer| layer.entries).sum(),
        whiteouts: layers.iter().map(|layer| layer.whiteouts).sum(),
        layers,
        tree: plan.census,
        tree_digest,
        engine: EngineReport { name: plan.engine, reason: plan.reason.to_string() },
        filesystem,
        verified,
        notes: notes.iter().map(NoteReport::of).collect(),
        seconds: clocked.seconds(),
    })
}

fn refuse_losses(notes: &[Note]) -> Result<()> {
    let losses: Vec<&Note> = notes.iter().filter(|note| note.kind.is_loss()).collect();
    match losses.first() {
        None => Ok(()),
        Some(first) => Err(ErrorKind::Strict { count: losses.len() as u64, first: first.to_string() }.into()),
    }
}

/// Reads the filesystem back and requires it to equal the tree, then asks e2fsck.
fn prove(making: &Making<'_>, jobs: usize, clocked: &mut Clocked<'_>) -> Result<Verified> {
    let Making { tree, plan, unfinished, tools, work, cancel } = *making;
    let progress = clocked.progress();
    let compared = clocked.run(Stage::Verify, Some(plan.census.inodes), || {
        let filesystem = Filesystem::open(unfinished.file()).map_err(unreadable)?;
        verify::compare(&filesystem, tree, jobs, progress, cancel)
    })?;
    if let Some(first) = compared.mismatches.kept().first() {
        let count = compared.mismatches.count();
        return Err(ErrorKind::Proof { count, first: first.to_string() }.into());
    }
    clocked.run(Stage::Fsck, None, || verify::fsck(tools, work, cancel))?;
    let verify::Comparison { names, inodes, xattrs, bytes, .. } = compared;
    Ok(Verified { names, inodes, xattrs, bytes, fsck: "e2fsck -fn" })
}

fn unreadable(fault: crate::ext4::ReadError) -> Error {
    Error::tool("debugfs", ToolProblem::Unreadable(fault.to_string()))
}

/// Hashes the tree and the finished file, one beside the other.
fn digests(making: &Making<'_>, jobs: usize, clocked: &mut Clocked<'_>) -> Result<(Digest, Digest)> {
    let Making { tree, unfinished, cancel, .. } = *making;
    clocked.run(Stage::Digest, None, || {
        std::thread::scope(|scope| {
            let file = scope.spawn(|| fingerprint::of_file(unfinished.file(), unfinished.path(), cancel));
            let tree = fingerprint::of_tree(tree, jobs, cancel);
            let file = file.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((tree?, file?))
        })
    })
}

fn describe(unfinished: &Unfinished, output: &Output, plan: &Plan, digest: Option<Digest>) -> Result<FilesystemReport> {
    let filesystem = Filesystem::open(unfinished.file()).map_err(unreadable)?;
    let superblock = filesystem.superblock();
    let block_bytes = u64::from(superblock.block_size);
    Ok(FilesystemReport {
        path: ShownPath(output.path()).to_string(),
        bytes: plan.file_bytes,
        digest,
        block_bytes,
        blocks: superblock.block_count,
        free_blocks: superblock.free_blocks,
        free_bytes: superblock.free_blocks * block_bytes,
        inodes: superblock.inode_count.into(),
        free_inodes: superblock.free_inodes.into(),
        journal_bytes: plan.geometry.journal_blocks * BLOCK_SIZE,
        uuid: plan.identity.uuid.to_string(),
        clock: plan.identity.clock.seconds(),
    })
}
