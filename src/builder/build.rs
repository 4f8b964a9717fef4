//! Builds a filesystem of an image and verifies it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::builder::Input;
use crate::builder::config::{ConfigFile, ConfigForm};
use crate::builder::disk::{DiskFormat, Packing};
use crate::builder::image::ImageOptions;
use crate::builder::inject::{Additions, Injected};
use crate::builder::key;
use crate::builder::reuse::{self, Reuse, ReuseOptions};
use crate::builder::verity::{Finished, VerityOutput, VerityPlace};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, ShownPath, Signal, ToolProblem};
use crate::ext4::Filesystem;
use crate::image::OpenImage;
use crate::note::Notes;
use crate::output::publish::{Output, SyncedFile, publish};
use crate::output::report::{EngineReport, FilesystemReport, Report, VerifyReport};
use crate::output::report_file::ReportFile;
use crate::plan::constants::BLOCK_SIZE;
use crate::plan::{Plan, PlanOptions};
use crate::program::{Tasks, Tools};
use crate::progress::{Event, Progress, Stage};
use crate::runtime::RuntimeConfig;
use crate::tree::Tree;
use crate::tree::flatten::{FlatImage, ReadOptions};
use crate::verify;
use crate::verify::fingerprint;
use crate::work::{PartialFile, WorkDir};
use crate::workers;

use crate::engine;
use crate::engine::timing::StageTimer;

/// Options of a build.
#[derive(Debug, Clone)]
pub(crate) struct BuildOptions {
    /// The filesystem's size, free space and clock.
    pub plan: PlanOptions,
    /// Replaces an output that exists, and whatever file is at the report's path.
    pub force: bool,
    /// True to make a loss an error.
    pub strict: bool,
    /// True to read the result and compare it with the image.
    pub verify: bool,
    /// True to run e2fsck on a result that is read.
    pub fsck: bool,
    /// True to add the digests of the tree and of the finished file to the report.
    pub digests: bool,
    /// The format of the published file.
    pub format: DiskFormat,
    /// The place of a dm-verity tree.
    pub verity: Option<VerityPlace>,
    /// The cache of finished filesystems.
    pub reuse: Option<ReuseOptions>,
    /// The directories that are searched first for programs, in the form of `PATH`.
    pub search_path: OsString,
    /// All that is put into the tree.
    pub additions: Additions,
    /// The files of the runtime configuration.
    pub configs: Vec<(ConfigForm, PathBuf)>,
    /// The path of the report.
    pub report_file: Option<PathBuf>,
}

/// Builds the filesystem of an image at `output`. `before_publish` is called with the report before anything is
/// published.
///
/// # Errors
///
/// Any error leaves `output` unchanged.
pub(crate) fn build(
    input: &Input,
    output: &Path,
    options: &BuildOptions,
    before_publish: &dyn Fn(&Report) -> Result<()>,
) -> Result<Report> {
    let ImageOptions { work_dir, progress, cancel, .. } = input.options();
    let progress = &**progress;
    let read: Vec<&Path> = input.paths().into_iter().chain(options.additions.reads()).collect();
    let report_file = match &options.report_file {
        None => None,
        Some(path) => {
            let file = Output::check_report(path, options.force, &read)?;
            file.require_unread(&input.files())?;
            Some(ReportFile::prepare(file, path, output, cancel)?)
        }
    };
    let output = Output::check(output, options.force, &read).or_else(|error| {
        // A directory that is no image must not be taken for one.
        input.require_layout()?;
        Err(error)
    })?;
    output.require_unread(&input.files())?;
    let verity = match &options.verity {
        None => None,
        Some(place) => {
            let others: Vec<&Path> =
                [output.path()].into_iter().chain(report_file.as_ref().map(ReportFile::path)).collect();
            let read = (&*input.paths(), &*input.files());
            Some(VerityOutput::prepare(place, options.force, read, &others, cancel)?)
        }
    };
    let configs = {
        let tree = verity.as_ref().and_then(VerityOutput::path);
        let report = report_file.as_ref().map(ReportFile::path);
        let others: Vec<&Path> = [output.path()].into_iter().chain(report).chain(tree).collect();
        ConfigFile::prepare(&options.configs, options.force, (&read, &input.files()), &others, cancel)?
    };
    let tasks = Tasks { check: options.verify && options.fsck, ..key::writing(&options.plan) };
    let tools = Tools::find(&options.search_path, tasks, progress, cancel)?;
    let packing = Packing::find(options.format, &options.search_path, progress, cancel)?;
    let work = WorkDir::create(work_dir.as_deref().unwrap_or(output.directory()), cancel)?;
    let partial = output.begin(cancel)?;
    if !work.is_locked() || !partial.is_locked() {
        progress.event(&Event::Remark("there are no locks here, so what killed runs left is not removed"));
    }
    work.adopt_partial(&partial)?;
    let places =
        BuildFiles { work: &work, partial: &partial, verity: verity.as_ref(), configs: &configs, tools: &tools };
    let (mut report, mut timer) = match make(input, &output, options, places, progress, cancel) {
        Ok(made) => made,
        Err(error) => {
            // Removing both may take long, and a cancelled run has little time.
            let partial = Mutex::new(Some(partial));
            workers::both(|| drop(partial.lock().map(|mut file| file.take())), || drop(work));
            return Err(error);
        }
    };
    let partial = match packing {
        None => partial,
        Some(packing) => {
            let (packed, description) =
                packing.pack(&partial, &output, (options.verify, options.digests), &mut timer, cancel)?;
            report.packed = Some(description);
            packed
        }
    };
    // The stage's time in the report is that of the sync.
    let ready = timer.run(Stage::Publish, None, || SyncedFile::settle(output, partial, cancel))?;
    report.seconds = timer.seconds();
    let mut files = Vec::new();
    if let Some(file) = report_file {
        files.push(file.write(&report, cancel)?);
    }
    for config in configs {
        files.push(config.settle(cancel)?);
    }
    files.extend(verity.map(|verity| verity.settle(cancel)).transpose()?.flatten());
    before_publish(&report)?;
    // The filesystem is published last: it tells that everything is complete.
    files.push(ready);
    publish(files, progress, cancel)?;
    Ok(report)
}

/// The files and tools for writing a filesystem.
#[derive(Clone, Copy)]
struct BuildFiles<'a> {
    work: &'a WorkDir,
    partial: &'a PartialFile,
    verity: Option<&'a VerityOutput>,
    configs: &'a [ConfigFile],
    tools: &'a Tools,
}

/// Writes and verifies the filesystem, and returns the report.
fn make<'a>(
    input: &Input,
    output: &Output,
    options: &BuildOptions,
    places: BuildFiles<'_>,
    progress: &'a dyn Progress,
    cancel: &Cancel,
) -> Result<(Report, StageTimer<'a>)> {
    let BuildFiles { work, partial, verity, configs, tools } = places;
    let mut timer = StageTimer::new(progress);
    let read = &input.options().read;
    let image = timer.run(Stage::Open, None, || input.open(work))?;
    let injected = options.additions.read(&image, options.plan.clock, work, input.options())?;
    let plan = PlanOptions { mkfs_fault: tools.fault(), injected: injected.digest(), ..options.plan.clone() };
    let key = key::of(&image, &plan, read, tools).digest;
    let keeps = options.verify && options.fsck;
    let mut reuse = options.reuse.as_ref().and_then(|reuse| Reuse::new(reuse, keeps, &key, progress, cancel));
    let accept = |report: &Report| if options.strict { refuse_losses(&report.notes) } else { Ok(()) };
    let taken = reuse.as_mut().map(|reuse| reuse.take(partial, &accept, &mut timer)).transpose()?.flatten();
    let mut report = match taken {
        Some(report) => {
            if !configs.is_empty() {
                // Users are looked up in the tree.
                let flattened = timer.run(Stage::Layers, Some(image.blob_bytes()), || injected.flatten());
                write_configs(configs, &image, &flattened?.0.tree)?;
            }
            reuse::adapt(report, &image, &injected, ShownPath(output.path()).to_string())
        }
        None => {
            let digests = options.digests || reuse.is_some() && keeps;
            let options = &BuildOptions { digests, plan, ..options.clone() };
            let job = WriteJob { image: &image, injected: &injected, key: &key, read, output, options, places };
            let report = job.run(&mut timer, cancel)?;
            reuse.map(|reuse| reuse.keep(&report, partial, &mut timer)).transpose()?;
            report
        }
    };
    let finished = Finished {
        filesystem: partial,
        output,
        bytes: report.filesystem.bytes,
        key: &key,
        digests: options.digests,
        jobs: read.jobs,
    };
    report.verity = verity.map(|verity| verity.write(&finished, &mut timer, cancel)).transpose()?;
    Ok((report, timer))
}

/// Writes the files of the runtime configuration.
fn write_configs(configs: &[ConfigFile], image: &OpenImage, tree: &Tree) -> Result<()> {
    if configs.is_empty() {
        return Ok(());
    }
    let config = RuntimeConfig::of(&image.config, &image.config_digest, tree)?;
    configs.iter().try_for_each(|file| file.write(&config))
}

/// The image and the options of a filesystem to write.
struct WriteJob<'a> {
    image: &'a OpenImage,
    injected: &'a Injected<'a>,
    key: &'a Digest,
    read: &'a ReadOptions,
    output: &'a Output,
    options: &'a BuildOptions,
    places: BuildFiles<'a>,
}

impl WriteJob<'_> {
    /// Writes and verifies the filesystem, and returns the report.
    fn run(&self, timer: &mut StageTimer<'_>, cancel: &Cancel) -> Result<Report> {
        let Self { image, injected, key, read, output, options, places } = *self;
        let BuildFiles { work, partial, configs, tools, .. } = places;
        let (FlatImage { tree, layers, notes }, injections) =
            timer.run(Stage::Layers, Some(image.blob_bytes()), || injected.flatten())?;
        write_configs(configs, image, &tree)?;
        if options.strict {
            refuse_losses(&notes)?;
        }
        let created = image.created.map(|time| time.seconds);
        let plan = timer.run(Stage::Plan, None, || {
            Plan::new(&tree, &image.config_digest, created, &options.plan, &read.limits, cancel)
        })?;
        plan.notes().for_each(|note| notes.add(note));
        engine::chosen(&plan, tools, work, read.jobs).write(&tree, &plan, partial, timer, cancel)?;
        let verified = if options.verify {
            Some(prove(&tree, &plan, places, options.fsck, read.jobs, timer, cancel)?)
        } else {
            None
        };
        let digests = if options.digests { Some(digests(&tree, partial, read.jobs, timer, cancel)?) } else { None };
        let (tree_digest, digest) = digests.unzip();
        Ok(Report {
            planish: env!("CARGO_PKG_VERSION").into(),
            e2fsprogs: tools.version().map(str::to_owned),
            source: image.source.clone(),
            manifest_digest: image.manifest_digest.clone(),
            config_digest: image.config_digest.clone(),
            platform: image.platform.to_string(),
            key: key.clone(),
            reused: false,
            entries: layers.iter().map(|layer| layer.entries).sum(),
            whiteouts: layers.iter().map(|layer| layer.whiteouts).sum(),
            layers,
            injections,
            tree: plan.stats,
            tree_digest,
            engine: EngineReport { name: plan.engine, reason: plan.reason.to_string() },
            filesystem: describe(partial, output, &plan, digest)?,
            verity: None,
            packed: None,
            verified,
            notes,
            seconds: Vec::new(),
        })
    }
}

fn refuse_losses(notes: &Notes) -> Result<()> {
    match notes.losses() {
        (_, None) => Ok(()),
        (count, Some(first)) => Err(ErrorKind::Strict { count, first: first.to_string() }.into()),
    }
}

/// Reads the filesystem back and requires it to equal the tree; e2fsck runs beside, and its result counts afterwards.
fn prove(
    tree: &Tree,
    plan: &Plan,
    places: BuildFiles<'_>,
    fsck: bool,
    jobs: usize,
    timer: &mut StageTimer<'_>,
    cancel: &Cancel,
) -> Result<VerifyReport> {
    let BuildFiles { work, partial, tools, .. } = places;
    let beside = cancel.part();
    let e2fsck = || verify::fsck(tools, partial.file(), work, &beside);
    std::thread::scope(|scope| {
        let started = if fsck && jobs > 1 { workers::start(scope, e2fsck) } else { None };
        let compared = compare(tree, plan, partial, jobs, timer, cancel).inspect_err(|_| {
            // The scope waits for e2fsck, whose result no longer matters.
            beside.raise(Signal::Terminate);
        })?;
        if fsck {
            timer
                .run(Stage::Fsck, None, || cancel.check().and_then(|()| started.map_or_else(e2fsck, workers::join)))?;
        }
        let verify::Comparison { names, inodes, xattrs, bytes, .. } = compared;
        Ok(VerifyReport { names, inodes, xattrs, bytes, fsck: fsck.then_some("e2fsck -fn") })
    })
}

/// Compares the filesystem with the tree; a difference is an error.
fn compare(
    tree: &Tree,
    plan: &Plan,
    partial: &PartialFile,
    jobs: usize,
    timer: &mut StageTimer<'_>,
    cancel: &Cancel,
) -> Result<verify::Comparison> {
    let progress = timer.progress();
    let compared = timer.run(Stage::Verify, Some(plan.stats.inodes), || {
        let filesystem = Filesystem::open(partial.file()).map_err(unreadable)?;
        verify::compare(&filesystem, tree, jobs, progress, cancel)
    })?;
    match compared.mismatches.kept().first() {
        None => Ok(compared),
        Some(first) => {
            let count = compared.mismatches.count();
            Err(ErrorKind::Proof { count, first: first.to_string() }.into())
        }
    }
}

fn unreadable(fault: crate::ext4::ReadError) -> Error {
    Error::tool("debugfs", ToolProblem::Unreadable(fault.to_string()))
}

/// Hashes the tree and the finished file, one beside the other.
fn digests(
    tree: &Tree,
    partial: &PartialFile,
    jobs: usize,
    timer: &mut StageTimer<'_>,
    cancel: &Cancel,
) -> Result<(Digest, Digest)> {
    timer.run(Stage::Digest, None, || {
        let (file, tree) = workers::both(
            || fingerprint::of_file(partial.file(), partial.path(), cancel),
            || fingerprint::of_tree(tree, jobs, cancel),
        );
        Ok((tree?, file?))
    })
}

fn describe(partial: &PartialFile, output: &Output, plan: &Plan, digest: Option<Digest>) -> Result<FilesystemReport> {
    let filesystem = Filesystem::open(partial.file()).map_err(unreadable)?;
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
