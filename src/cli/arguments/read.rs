//! The arguments and environment variables of commands that read an image.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use planish::ImageReference;
use planish::Timestamp;
use planish::progress::{Event, Progress, Stage};
use planish::{Builder, CacheRepository, Cancel, Error, Image, ImageOptions};

use super::cache::{self, CacheArguments};
use super::{limits, remote, size};
use crate::cli::exit::Failure;
use crate::cli::{environment, progress, signals, stdout};

/// The image and the options for reading it.
#[derive(Debug, clap::Args)]
pub struct ReadArguments {
    /// The image: docker://REF or REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], tar:FILE, the
    /// path of a layout or an archive, or - for an archive on stdin
    #[arg(help_heading = clap::builder::Resettable::Reset)]
    pub source: OsString,
    /// Platform to select, with /VARIANT if needed [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH", help_heading = "Image")]
    platform: Option<String>,
    /// Keep SELinux labels, which belong to the machine that made the image
    #[arg(long, help_heading = "Image")]
    keep_selinux: bool,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    remote: remote::RemoteArguments,
    #[command(flatten)]
    limits: limits::LimitArguments,
}

/// The options of a run, whatever it reads.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Run")]
struct RunArguments {
    /// Directory for temporary files [default: TMPDIR, else beside the output, else /tmp]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Layers and files to work on at a time [default: one a processor, 4 for fetching]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Size on disk of the decoded layers in the cache, which spare fetching and decoding a layer that several images or
    /// builds share; 0 keeps none
    #[arg(long, hide_short_help = true, value_name = "N", default_value = "0", value_parser = size::bytes)]
    layer_cache_bytes: u64,
    /// Seconds after which the run is cancelled [default: none]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    deadline: Option<u64>,
    /// Form of progress on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: progress::Form,
    /// Print nothing but warnings and errors on stderr
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: seconds of each stage, tools, sources of credentials, cached blobs
    #[arg(long, short)]
    verbose: bool,
}

impl ReadArguments {
    /// Adds the options for registries; a given login is for the one at `host`.
    fn remote(
        &self,
        options: ImageOptions,
        host: Option<&str>,
        observer: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<ImageOptions, Failure> {
        let (options, warnings) = self.remote.apply(options, host, cancel)?;
        warnings.iter().for_each(|warning| observer.event(&Event::Warning(warning)));
        Ok(options)
    }

    /// Returns true if a platform is given.
    pub fn has_platform(&self) -> bool {
        self.platform.is_some()
    }
}

/// A command that is about to begin.
pub struct Job {
    /// The image.
    pub source: ImageReference,
    /// The options for reading the image.
    pub options: ImageOptions,
    /// The creation time of the filesystem, if not the image's.
    pub clock: Option<i64>,
    /// The observer of the run.
    pub observer: Arc<dyn Progress>,
    /// The flag that a signal raises.
    pub cancel: Cancel,
    /// The amount of text at the end.
    pub summary: Summary,
}

/// The amount of text at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    /// None: `--quiet`.
    None,
    /// The usual lines.
    Usual,
    /// Also the seconds of each stage: `--verbose`.
    Stages,
}

impl ReadArguments {
    /// Installs signal handlers, and returns the flag that they and the deadline raise.
    pub fn cancel(&self) -> Result<Cancel, Failure> {
        let cancel = signals::cancel()?;
        Ok(match self.run.deadline {
            Some(seconds) => cancel.within(seconds),
            None => cancel,
        })
    }
}

impl RunArguments {
    fn form(&self) -> progress::Form {
        if self.quiet && self.progress != progress::Form::Json { progress::Form::None } else { self.progress }
    }

    fn summary(&self) -> Summary {
        match (self.quiet || self.progress == progress::Form::Json, self.verbose) {
            (true, _) => Summary::None,
            (_, true) => Summary::Stages,
            _ => Summary::Usual,
        }
    }
}

impl ReadArguments {
    /// Returns the choice of the cache.
    pub fn cache(&self) -> &CacheArguments {
        self.remote.cache()
    }
}

impl Job {
    /// Reads arguments and environment, and installs signal handlers.
    pub fn of(arguments: &ReadArguments) -> Result<Self, Failure> {
        let source = ImageReference::parse(&arguments.source).map_err(Error::from)?;
        Self::of_sources(arguments, &[source], &[], arguments.cancel()?)
    }

    /// Prepares a run for several images, which `cancel` ends, and returns the job for the first. `repositories` share
    /// finished filesystems.
    pub fn of_sources(
        arguments: &ReadArguments,
        sources: &[ImageReference],
        repositories: &[&CacheRepository],
        cancel: Cancel,
    ) -> Result<Self, Failure> {
        let clock = source_date_epoch()?;
        let observer = progress::observer(arguments.run.form(), arguments.run.verbose);
        let mut options = Image::options()
            .implied_mtime(clock.unwrap_or(0))
            .keep_selinux(arguments.keep_selinux)
            .limits(arguments.limits.limits())
            .progress(Arc::clone(&observer))
            .cancel(cancel.clone());
        if let Some(text) = &arguments.platform {
            let platform = text.parse().map_err(|fault| Failure::Usage(format!("--platform: {fault}")))?;
            options = options.platform(platform);
        }
        if let Some(jobs) = arguments.run.jobs.map(usize::from) {
            options = options.jobs(jobs).downloads(jobs);
        }
        if let Some(directory) = arguments.run.work_dir.clone().or_else(|| environment("TMPDIR").map(PathBuf::from)) {
            options = options.work_dir(directory);
        }
        if !repositories.is_empty() || sources.iter().any(|source| registry(source).is_some()) {
            options = arguments.remote(options, login_host(sources, repositories), &*observer, &cancel)?;
        }
        if arguments.run.layer_cache_bytes > 0
            && let Some(directory) = cache::directory(arguments.cache())?
        {
            options = options.decoded_layers(directory, arguments.run.layer_cache_bytes);
        }
        // A part of a list may be empty.
        let source = sources.first().cloned().unwrap_or(ImageReference::Stdin);
        Ok(Self { source, options, clock, observer, cancel, summary: arguments.run.summary() })
    }

    /// Opens the image.
    pub fn open(&self) -> Result<Image, Failure> {
        self.observer.begin(Stage::Open, None);
        let opened = self.options.open(self.source.clone());
        self.observer.end();
        Ok(opened?)
    }

    /// Returns another image with its options, which are the same.
    pub fn other(&self, arguments: &ReadArguments, text: &OsStr) -> Result<(ImageReference, ImageOptions), Failure> {
        if text == "-" && arguments.source == "-" {
            return Err(Failure::Usage("only one image can be read from standard input".into()));
        }
        let source = ImageReference::parse(text).map_err(Error::from)?;
        let options = self.options.clone();
        let options = match registry(&source).filter(|_| registry(&self.source).is_none()) {
            Some(host) => arguments.remote(options, Some(host), &*self.observer, &self.cancel)?,
            None => options,
        };
        Ok((source, options))
    }

    /// Opens another image.
    pub fn open_other(&self, (source, options): (ImageReference, ImageOptions)) -> Result<Image, Failure> {
        self.observer.begin(Stage::Open, None);
        let opened = options.open(source);
        self.observer.end();
        Ok(opened?)
    }

    /// Returns the result of writing to stdout, which ends early in a cancelled run.
    pub fn printed(&self, result: std::io::Result<()>) -> Result<(), Failure> {
        self.cancel.check()?;
        stdout::printed(result)
    }

    /// Returns a builder for the image, which is not opened yet.
    pub fn builder(&self) -> Result<Builder, Failure> {
        self.builder_of(self.source.clone())
    }

    /// Returns a builder for one of the images, which is not opened yet.
    pub fn builder_of(&self, source: ImageReference) -> Result<Builder, Failure> {
        let builder = Builder::from_source(source, self.options.clone())?;
        Ok(builder.search_path(environment("PATH").unwrap_or_default()))
    }
}

/// Returns the registry of an image.
fn registry(source: &ImageReference) -> Option<&str> {
    match source {
        ImageReference::Docker(reference) => Some(reference.registry()),
        _ => None,
    }
}

/// Returns the registry that a given login is for: that of the first image in one, else that of all repositories.
fn login_host<'a>(sources: &'a [ImageReference], repositories: &[&'a CacheRepository]) -> Option<&'a str> {
    let mut hosts = repositories.iter().map(|repository| repository.registry());
    let of_all = hosts.next().filter(|first| hosts.all(|host| host == *first));
    sources.iter().find_map(registry).or(of_all)
}

/// Returns the seconds in `SOURCE_DATE_EPOCH`.
fn source_date_epoch() -> Result<Option<i64>, Failure> {
    let Some(value) = environment("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.parse().ok());
    let held = seconds.filter(|seconds| (0..=Timestamp::MAX_SECONDS).contains(seconds));
    held.map(Some)
        .ok_or_else(|| Failure::Usage("SOURCE_DATE_EPOCH is not a number of seconds from 1970 to 2446".into()))
}
