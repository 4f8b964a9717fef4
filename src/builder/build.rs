//! Builds a filesystem of an image and verifies it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::builder::Input;
use crate::builder::config::{ConfigFile, ConfigForm};
use crate::builder::disk::{DiskFormat, Packing};
use crate::builder::image::ImageOptions;
use crate::builder::inject::Additions;
use crate::builder::key;
use crate::builder::reuse::{self, Reuse, ReuseOptions};
use crate::builder::shared::{Shared, SharedCache};
use crate::builder::verity::{Finished, VerityOutput, VerityPlace};
use crate::builder::write::{WriteJob, refuse_losses, write_configs};
use crate::cancel::Cancel;
use crate::engine::timing::StageTimer;
use crate::error::{Result, ShownPath};
use crate::output::publish::{Output, SyncedFile, publish};
use crate::output::report::Report;
use crate::output::report_file::ReportFile;
use crate::plan::PlanOptions;
use crate::program::{Tasks, Tools};
use crate::progress::{Event, Progress, Stage};
use crate::work::{PartialFile, WorkDir};
use crate::workers;

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
    /// The repositories that share finished filesystems.
    pub shared: Option<SharedCache>,
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
pub(super) struct BuildFiles<'a> {
    pub work: &'a WorkDir,
    pub partial: &'a PartialFile,
    pub verity: Option<&'a VerityOutput>,
    pub configs: &'a [ConfigFile],
    pub tools: &'a Tools,
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
    let shared =
        options.shared.as_ref().map(|cache| Shared::new(cache, &key, (&image, &injected), read, progress, cancel));
    let mut reuse =
        options.reuse.as_ref().and_then(|reuse| Reuse::new(reuse, keeps, &key, read.jobs, progress, cancel));
    let accept = |report: &Report| if options.strict { refuse_losses(&report.notes) } else { Ok(()) };
    let permits = |report: &Report| Shared::permits(options.shared.as_ref(), report);
    let taken = reuse.as_mut().map(|reuse| reuse.take(partial, &permits, &accept, &mut timer)).transpose()?.flatten();
    let is_new = taken.is_none();
    let (earlier, fetched) = match (taken, &shared) {
        (None, Some(shared)) => match shared.fetch(partial, &accept, &mut timer)? {
            Some(fetched) if !fetched.is_unproved() => (Some(fetched.into_report()), None),
            fetched => (None, fetched),
        },
        (taken, _) => (taken, None),
    };
    let mut report = match earlier {
        Some(report) => {
            if !configs.is_empty() {
                // Users are looked up in the tree.
                let flattened = timer.run(Stage::Layers, Some(image.blob_bytes()), || injected.flatten());
                write_configs(configs, &image, &flattened?.0.tree)?;
            }
            reuse::adapt(report, &image, &injected, ShownPath(output.path()).to_string())
        }
        None => {
            let is_pushed = options.shared.as_ref().is_some_and(SharedCache::pushes);
            let digests = options.digests || (reuse.is_some() || is_pushed) && keeps;
            let options = &BuildOptions { digests, plan, ..options.clone() };
            let job = WriteJob { image: &image, injected: &injected, key: &key, read, output, options, places };
            job.run(fetched, &mut timer, cancel)?
        }
    };
    if let Some(reuse) = reuse.filter(|_| is_new) {
        reuse.keep(&report, partial, &mut timer)?;
    }
    if let Some(shared) = shared {
        shared.push(&report, partial, &mut timer)?;
    }
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
