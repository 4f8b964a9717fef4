//! Writes and verifies a filesystem, or verifies one that was fetched.

use crate::builder::build::{BuildFiles, BuildOptions};
use crate::builder::config::ConfigFile;
use crate::builder::fetched::FetchedFilesystem;
use crate::builder::inject::Injected;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::engine;
use crate::engine::timing::StageTimer;
use crate::error::{Error, ErrorKind, Result, ShownPath, Signal, ToolProblem};
use crate::ext4::{Filesystem, Superblock};
use crate::image::OpenImage;
use crate::note::Notes;
use crate::output::publish::Output;
use crate::output::report::{EngineReport, FetchReport, FilesystemReport, Report, VerifyReport};
use crate::plan::constants::BLOCK_SIZE;
use crate::plan::{Identity, Label, Plan, Uuid};
use crate::progress::{Event, Stage};
use crate::runtime::RuntimeConfig;
use crate::tree::Tree;
use crate::tree::flatten::{FlatImage, ReadOptions};
use crate::verify;
use crate::verify::fingerprint;
use crate::work::PartialFile;
use crate::workers;

/// Writes the files of the runtime configuration.
pub(super) fn write_configs(configs: &[ConfigFile], image: &OpenImage, tree: &Tree) -> Result<()> {
    if configs.is_empty() {
        return Ok(());
    }
    let config = RuntimeConfig::of(&image.config, &image.config_digest, tree)?;
    configs.iter().try_for_each(|file| file.write(&config))
}

/// The image and the options of a filesystem to write.
pub(super) struct WriteJob<'a> {
    pub image: &'a OpenImage,
    pub injected: &'a Injected<'a>,
    pub key: &'a Digest,
    pub read: &'a ReadOptions,
    pub output: &'a Output,
    pub options: &'a BuildOptions,
    pub places: BuildFiles<'a>,
}

impl WriteJob<'_> {
    /// Writes and verifies the filesystem, and returns the report. One that was fetched to the same file, and equals the
    /// image, is not written again.
    pub fn run(
        &self,
        fetched: Option<FetchedFilesystem>,
        timer: &mut StageTimer<'_>,
        cancel: &Cancel,
    ) -> Result<Report> {
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
        let proved = match fetched {
            Some(fetched) => self.prove_fetched(fetched, (&tree, &plan), timer, cancel)?,
            None => None,
        };
        let (verified, fetched) = match proved {
            Some((verified, origin)) => (Some(verified), Some(origin)),
            None => {
                engine::chosen(&plan, tools, work, read.jobs).write(&tree, &plan, partial, timer, cancel)?;
                let fsck = options.fsck;
                let proof = || prove(&tree, &plan, places, fsck, read.jobs, timer, cancel);
                (options.verify.then(proof).transpose()?, None)
            }
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
            reused: fetched.is_some(),
            fetched,
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

    /// Compares a filesystem that was fetched with the image. One that differs is a warning, and the file is empty again.
    fn prove_fetched(
        &self,
        fetched: FetchedFilesystem,
        (tree, plan): (&Tree, &Plan),
        timer: &mut StageTimer<'_>,
        cancel: &Cancel,
    ) -> Result<Option<(VerifyReport, FetchReport)>> {
        let Self { read, options, places, .. } = *self;
        let (partial, FetchedFilesystem { report, origin }) = (places.partial, fetched);
        let mut compare = || {
            let refused = |problem: String| ErrorKind::SharedCache { repository: origin.repository.clone(), problem };
            let bytes = partial.file().metadata().map_err(Error::io("examine", partial.path()))?.len();
            let filesystem = Filesystem::open(partial.file()).map_err(unreadable)?;
            if bytes != plan.file_bytes || !is_planned(filesystem.superblock(), plan) {
                return Err(refused("its size, label, UUID or time is not that of the build".into()).into());
            }
            if let Some(digest) = &report.tree_digest
                && *digest != fingerprint::of_tree(tree, read.jobs, cancel)?
            {
                return Err(refused("its report has the digest of another tree".into()).into());
            }
            prove(tree, plan, places, options.verify && options.fsck, read.jobs, timer, cancel)
        };
        match compare() {
            Ok(verified) => Ok(Some((verified, origin))),
            Err(error) if error.ends_the_run() => Err(error),
            Err(error) => {
                let text = format!("--cache-from {}: {error}: the filesystem is built", origin.repository);
                timer.progress().event(&Event::Warning(&text));
                partial.file().set_len(0).map_err(Error::io("truncate", partial.path()))?;
                Ok(None)
            }
        }
    }
}

/// Returns true if a superblock has the size and identity of a plan.
fn is_planned(superblock: &Superblock, plan: &Plan) -> bool {
    let Identity { uuid, hash_seed, clock } = &plan.identity;
    let label = plan.label.as_ref().map_or("", Label::as_str);
    superblock.block_count.checked_mul(superblock.block_size.into()) == Some(plan.geometry.bytes())
        && superblock.label.as_ref() == label.as_bytes()
        && [superblock.uuid, superblock.hash_seed].map(Uuid::from_bytes) == [*uuid, *hash_seed]
        && superblock.made == clock.seconds()
}

pub(super) fn refuse_losses(notes: &Notes) -> Result<()> {
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
