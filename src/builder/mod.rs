//! The [`Builder`], which builds a filesystem of an image, plans one, or compares one with the image.

#[cfg(feature = "registry")]
pub mod artifact;
pub mod build;
pub mod check;
pub mod diff;
pub mod disk;
pub mod explain;
pub mod export;
pub mod layers;
pub mod config;
pub mod host;
pub mod image;
pub mod inspect;
pub mod list;
pub mod key;
mod fetched;
mod inject;
pub mod plan;
pub mod pull;
pub mod reuse;
#[cfg_attr(not(feature = "registry"), path = "no_shared.rs")]
pub mod shared;
pub mod verify;
pub mod verity;
mod write;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::boot::{CheckOptions, CheckReport};
use crate::builder::build::BuildOptions;
use crate::builder::config::ConfigForm;
use crate::builder::disk::DiskFormat;
use crate::builder::export::ExportReport;
use crate::builder::image::{Image, ImageOptions};
use crate::builder::inject::Additions;
use crate::builder::key::KeyReport;
use crate::builder::plan::PlanReport;
use crate::builder::pull::PullReport;
use crate::builder::reuse::ReuseOptions;
use crate::builder::shared::SharedCache;
use crate::builder::verify::Verification;
use crate::builder::verity::{VerityCheck, VerityPlace};
use crate::error::Result;
use crate::image::{ImageReference, OpenImage, PullOptions};
use crate::inject::Injection;
use crate::output::publish::STDIN;
use crate::output::report::Report;
use crate::plan::{EngineChoice, Features, FreeInodes, Headroom, Journal, Label, PlanOptions, Uuid};
use crate::verity::RootHash;
use crate::work::WorkDir;

/// The default directories that are searched for programs.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds, plans and verifies filesystems of one image.
///
/// By default it does what the command line does: it builds a filesystem with 256 MiB of free space, reads it back, and
/// compares every inode and byte with the image before the file is published.
pub struct Builder {
    input: Input,
    additions: Additions,
    configs: Vec<(ConfigForm, PathBuf)>,
    plan: PlanOptions,
    replace: bool,
    strict: bool,
    verify: bool,
    fsck: bool,
    digests: bool,
    format: DiskFormat,
    verity: Option<VerityPlace>,
    root_hash: Option<RootHash>,
    reuse: Option<ReuseOptions>,
    shared: Option<SharedCache>,
    search_path: OsString,
    report_file: Option<PathBuf>,
    #[cfg(feature = "registry")]
    verifying_keys: Vec<artifact::signature::VerifyingKey>,
    before_publish: Option<Hook<Report>>,
    before_export: Option<Hook<ExportReport>>,
    #[cfg(feature = "registry")]
    before_pull: Option<Hook<artifact::ArtifactReport>>,
}

type Hook<R> = Box<dyn Fn(&R) -> Result<()> + Send + Sync>;

/// Calls a hook, if there is one.
fn call<R>(hook: Option<&Hook<R>>, report: &R) -> Result<()> {
    hook.map_or(Ok(()), |hook| hook(report))
}

impl Builder {
    /// Returns a builder for an open image.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self::of(Input::Image(image))
    }

    /// Returns a builder that opens its image later: after it has checked the output and found its tools.
    ///
    /// # Errors
    ///
    /// The text is not an image reference.
    pub fn from_source<S>(source: S, options: ImageOptions) -> Result<Self>
    where
        S: TryInto<ImageReference>,
        crate::Error: From<S::Error>,
    {
        Ok(Self::of(Input::Source(source.try_into()?, Box::new(options))))
    }

    fn of(input: Input) -> Self {
        Self {
            input,
            additions: Additions::default(),
            configs: Vec::new(),
            plan: PlanOptions::default(),
            replace: false,
            strict: false,
            verify: true,
            fsck: true,
            digests: false,
            format: DiskFormat::Raw,
            verity: None,
            root_hash: None,
            reuse: None,
            shared: None,
            search_path: SEARCH_PATH.into(),
            report_file: None,
            #[cfg(feature = "registry")]
            verifying_keys: Vec::new(),
            before_publish: None,
            before_export: None,
            #[cfg(feature = "registry")]
            before_pull: None,
        }
    }

    /// Puts a file, directory, text or archive of the caller into the tree, above the layers and earlier injections.
    /// Default: none.
    #[must_use]
    pub fn inject(mut self, injection: Injection) -> Self {
        self.additions.injections.push(injection);
        self
    }

    /// Puts the runtime configuration of the image into a directory of it, as `config.json` and `config.env`. Default: none.
    ///
    /// # Errors
    ///
    /// The path is not one of an image.
    pub fn config_inside(mut self, directory: impl AsRef<[u8]>) -> Result<Self> {
        self.additions.config = Some(Injection::directory(directory)?.into_destination());
        Ok(self)
    }

    /// Writes the runtime configuration of the image to a file, which appears together with the filesystem. Default: none.
    #[must_use]
    pub fn config_file(mut self, form: ConfigForm, path: impl Into<PathBuf>) -> Self {
        self.configs.push((form, path.into()));
        self
    }

    /// Sets the exact size of the filesystem in bytes. Default: the size of the tree and the free space.
    #[must_use]
    pub fn size_bytes(mut self, bytes: u64) -> Self {
        self.plan.size = Some(bytes);
        self
    }

    /// Sets the number of free bytes. Default: 256 MiB; the file is sparse.
    #[must_use]
    pub fn free_bytes(self, bytes: u64) -> Self {
        self.free(Headroom::Bytes(bytes))
    }

    /// Sets the free space, in bytes or as a percentage of what the tree needs.
    #[must_use]
    pub fn free(mut self, free: Headroom) -> Self {
        self.plan.free = free;
        self
    }

    /// Sets the number of free inodes. Default: a fifth of those in use.
    #[must_use]
    pub fn free_inodes(mut self, free: FreeInodes) -> Self {
        self.plan.free_inodes = Some(free);
        self
    }

    /// Sets the journal. Default: the size that `mke2fs` chooses.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.plan.journal = journal;
        self
    }

    /// Sets the label. Default: none.
    #[must_use]
    pub fn label(mut self, label: Label) -> Self {
        self.plan.label = Some(label);
        self
    }

    /// Sets the UUID. Default: derived from the image and the options.
    #[must_use]
    pub fn uuid(mut self, uuid: Uuid) -> Self {
        self.plan.uuid = Some(uuid);
        self
    }

    /// Sets the filesystem's features.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.plan.features = features;
        self
    }

    /// Sets the creation time of the filesystem, in seconds since 1970. Default: that of the image.
    #[must_use]
    pub fn clock(mut self, seconds: i64) -> Self {
        self.plan.clock = Some(seconds);
        self
    }

    /// Sets the engine. Default: e2fsprogs, or the direct engine if e2fsprogs cannot write the image.
    #[must_use]
    pub fn engine(mut self, engine: EngineChoice) -> Self {
        self.plan.engine = engine;
        self
    }

    /// Replaces an output that exists, and whatever file is at the report's path. Default: it is an error.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Refuses an image that cannot be converted without a loss. Default: losses are in the report's notes.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Builds without verification. The report then has no counts of what was compared.
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.verify = false;
        self
    }

    /// Verifies without running e2fsck: the direct engine then needs no program.
    #[must_use]
    pub fn without_fsck(mut self) -> Self {
        self.fsck = false;
        self
    }

    /// Adds the digests of the tree and of the finished file to the report. Default: they are not computed.
    #[must_use]
    pub fn digests(mut self, digests: bool) -> Self {
        self.digests = digests;
        self
    }

    /// Sets the format of the published file, which is proved to hold the bytes of the filesystem, unless nothing is
    /// verified. Default: the filesystem itself.
    #[must_use]
    pub fn format(mut self, format: DiskFormat) -> Self {
        self.format = format;
        self
    }

    /// Adds a dm-verity tree, so that Linux checks each block as it reads it: behind the filesystem, or in a file that
    /// appears together with it. [`Builder::verify`] looks for the tree there. Default: none.
    #[must_use]
    pub fn verity(mut self, place: VerityPlace) -> Self {
        self.verity = Some(place);
        self
    }

    /// Takes a filesystem of the same build key from a cache, if there is one, and keeps a new one there. What is taken is
    /// a copy that was hashed; what is kept was verified. The digests are in the report. Default: no cache.
    ///
    /// The finished filesystems of the cache take at most `bytes_max` on disk; `None` means 10 GiB.
    #[must_use]
    pub fn reuse(mut self, cache_dir: impl Into<PathBuf>, bytes_max: Option<u64>) -> Self {
        let bytes_max = bytes_max.unwrap_or(reuse::BYTES_MAX);
        self.reuse = Some(ReuseOptions { directory: cache_dir.into(), bytes_max });
        self
    }

    /// Takes a filesystem of the same build key from repositories of registries, and pushes a new one there. What they hold
    /// or do fails no build. Default: none.
    #[cfg(feature = "registry")]
    #[must_use]
    pub fn shared_cache(mut self, shared: SharedCache) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Sets the root hash with which [`Builder::verify`] checks the dm-verity tree and every block. Default: none.
    #[must_use]
    pub fn root_hash(mut self, root: RootHash) -> Self {
        self.root_hash = Some(root);
        self
    }

    /// Sets the directories that are searched for e2fsprogs, in the form of `PATH`. Default: those of the system.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.search_path = path.into();
        self
    }

    /// Writes the report as JSON to a file, which appears together with the filesystem and replaces an older report.
    #[must_use]
    pub fn report_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.report_file = Some(path.into());
        self.digests = true;
        self
    }

    /// Calls `hook` with the report before the filesystem is published. An error of the hook fails the build, which
    /// then leaves no file.
    #[must_use]
    pub fn before_publish(mut self, hook: impl Fn(&Report) -> Result<()> + Send + Sync + 'static) -> Self {
        self.before_publish = Some(Box::new(hook));
        self
    }

    /// Calls `hook` with the report before an exported tree is published in a file. An error of the hook leaves no file.
    #[must_use]
    pub fn before_export(mut self, hook: impl Fn(&ExportReport) -> Result<()> + Send + Sync + 'static) -> Self {
        self.before_export = Some(Box::new(hook));
        self
    }

    /// Calls `hook` with the report before a filesystem that was pulled is published. An error of the hook leaves no file.
    #[cfg(feature = "registry")]
    #[must_use]
    pub fn before_pull(
        mut self,
        hook: impl Fn(&artifact::ArtifactReport) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.before_pull = Some(Box::new(hook));
        self
    }

    /// Builds the filesystem at `output`.
    ///
    /// # Errors
    ///
    /// The image, a registry, the machine, a limit, or a difference between filesystem and image: see
    /// [`Fault`](crate::Fault). An error leaves `output` unchanged.
    pub fn build(&self, output: impl AsRef<Path>) -> Result<Report> {
        let options = BuildOptions {
            plan: self.plan.clone(),
            force: self.replace,
            strict: self.strict,
            verify: self.verify,
            fsck: self.fsck,
            digests: self.digests,
            format: self.format,
            verity: self.verity.clone(),
            reuse: self.reuse.clone(),
            shared: self.shared.clone(),
            search_path: self.search_path.clone(),
            additions: self.additions.clone(),
            configs: self.configs.clone(),
            report_file: self.report_file.clone(),
        };
        build::build(&self.input, output.as_ref(), &options, &|report| call(self.before_publish.as_ref(), report))
    }

    /// Plans the filesystem: reads the image and writes no filesystem.
    ///
    /// # Errors
    ///
    /// The errors of a build that can be detected before anything is written.
    pub fn plan(&self) -> Result<PlanReport> {
        plan::plan(&self.input, &self.additions, &self.plan, &self.search_path)
    }

    /// Computes the build key: the name of the bytes that [`Builder::build`] would write. No layer is read.
    ///
    /// # Errors
    ///
    /// The image cannot be opened; a program of e2fsprogs that may write the filesystem is missing or too old.
    pub fn key(&self) -> Result<KeyReport> {
        key::key(&self.input, &self.additions, &self.plan, &self.search_path)
    }

    /// Compares the filesystem in `file`, from any builder, with the image and its injections. A difference is not an error.
    ///
    /// # Errors
    ///
    /// The image or the file cannot be read; the run was cancelled.
    pub fn verify(&self, file: impl AsRef<Path>) -> Result<Verification> {
        let place = self.verity.as_ref().unwrap_or(&VerityPlace::Append);
        let jobs = self.input.options().read.jobs;
        let verity = self.root_hash.map(|root| VerityCheck { place, root, jobs });
        let additions = (&self.additions, self.plan.clock);
        verify::verify(&self.input, file.as_ref(), additions, verity, self.digests, &self.search_path)
    }

    /// Writes the flattened tree of the image, with what is put into it, as a tar stream with PAX headers to `output`,
    /// which is published when it is complete. The same image gives the same bytes.
    ///
    /// # Errors
    ///
    /// The image cannot be read; the file cannot be written; the run was cancelled.
    pub fn export(&self, output: impl AsRef<Path>) -> Result<ExportReport> {
        let hook = |report: &ExportReport| call(self.before_export.as_ref(), report);
        export::to_file(&self.input, (&self.additions, self.plan.clock), output.as_ref(), self.replace, &hook)
    }

    /// Writes the same stream to a writer.
    ///
    /// # Errors
    ///
    /// The image cannot be read; an error of the writer; the run was cancelled.
    pub fn export_to(&self, out: &mut dyn Write) -> Result<ExportReport> {
        export::to_writer(&self.input, (&self.additions, self.plan.clock), out)
    }

    /// Checks if the image, with what is put into it, would boot. That it would not is no error.
    ///
    /// # Errors
    ///
    /// The image cannot be read; the run was cancelled.
    pub fn check(&self, options: &CheckOptions) -> Result<CheckReport> {
        check::image(&self.input, (&self.additions, self.plan.clock), options)
    }

    /// Pushes the filesystem in `file` to the registry under the image's reference.
    ///
    /// # Errors
    ///
    /// The file is no ext4 filesystem, or not that of the report; the reference is not one of a registry; the registry,
    /// the network or the credentials fail; the run was cancelled.
    #[cfg(feature = "registry")]
    pub fn push_filesystem(
        &self,
        file: impl AsRef<Path>,
        options: &artifact::PushOptions,
    ) -> Result<artifact::ArtifactReport> {
        artifact::push(&self.input, file.as_ref(), options)
    }

    /// Pulls only a filesystem that is signed by this key, or by one of those named before. Default: a signature is not
    /// required.
    #[cfg(feature = "registry")]
    #[must_use]
    pub fn verifying_key(mut self, key: artifact::signature::VerifyingKey) -> Self {
        self.verifying_keys.push(key);
        self
    }

    /// Pulls the filesystem that was pushed under the image's reference to `output`; its digest is checked. The report of
    /// its build goes to [`Builder::report_file`].
    ///
    /// # Errors
    ///
    /// The reference is no filesystem, or has no report; the registry, the network or the credentials fail; the run was
    /// cancelled. An error leaves `output` unchanged.
    #[cfg(feature = "registry")]
    pub fn pull_filesystem(&self, output: impl AsRef<Path>) -> Result<artifact::ArtifactReport> {
        let (report, keys) = (self.report_file.as_deref(), &self.verifying_keys);
        let hook = |report: &artifact::ArtifactReport| call(self.before_pull.as_ref(), report);
        artifact::pull(&self.input, output.as_ref(), report, keys, self.replace, &hook)
    }

    /// Fetches the layers that the cache does not have, and verifies the digests of all.
    ///
    /// # Errors
    ///
    /// The image cannot be fetched, or does not match its digests; the run was cancelled.
    pub fn pull(&self) -> Result<PullReport> {
        pull::pull(&self.input)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("input", &self.input).field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// The image of a builder.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// An open image.
    Image(Image),
    /// One that a job opens.
    Source(ImageReference, Box<ImageOptions>),
}

impl Input {
    /// Returns the options with which the image is read.
    pub fn options(&self) -> &ImageOptions {
        match self {
            Self::Image(image) => image.opened_with(),
            Self::Source(_, options) => options,
        }
    }

    /// Returns the paths from which the image is read; `-` is standard input.
    pub fn paths(&self) -> Vec<&Path> {
        let cache = self.options().read.remote.as_ref().and_then(PullOptions::cache_dir);
        let source = match self {
            Self::Image(image) => image.path(),
            Self::Source(ImageReference::Stdin, _) => Some(Path::new(STDIN)),
            Self::Source(source, _) => source.path(),
        };
        source.into_iter().chain(cache).collect()
    }

    /// Returns the files of credentials and certificates that may be read.
    #[cfg(feature = "registry")]
    pub fn files(&self) -> Vec<&Path> {
        let Some(remote) = &self.options().read.remote else { return Vec::new() };
        let (credentials, tls) = (&remote.registry.credentials, &remote.registry.tls);
        let files = credentials.authfile.iter().chain(&credentials.files).chain(&tls.ca_files);
        files.map(PathBuf::as_path).collect()
    }

    /// Returns the files of credentials and certificates that may be read: without registries, none.
    #[cfg(not(feature = "registry"))]
    pub fn files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Refuses a directory that holds no layout.
    pub fn require_layout(&self) -> Result<()> {
        match self {
            Self::Source(source, _) => source.require_layout(),
            Self::Image(_) => Ok(()),
        }
    }

    /// Returns the image, opened in `work` unless it is open.
    pub fn open(&self, work: &WorkDir) -> Result<Arc<OpenImage>> {
        match self {
            Self::Image(image) => Ok(image.parts()),
            Self::Source(source, options) => options.open_parts(source, work).map(Arc::new),
        }
    }
}
