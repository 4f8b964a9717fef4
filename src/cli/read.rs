//! What every command that reads an image takes from the command line and the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use planish::Cancel;
use planish::flatten::ReadOptions;
use planish::progress::{News, Progress};
use planish::source::{Platform, SourceName};
use planish::time::Timestamp;

use super::exit::Failure;
use super::{environment, limits, progress, remote, signals};

/// How many layers are fetched at a time: more do not make a line faster, and registries count.
const DOWNLOADS: usize = 4;

/// The image, and how it is read.
#[derive(Debug, clap::Args)]
pub struct ReadArguments {
    /// The image: docker://REF or REF, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], or - for an
    /// archive on stdin
    #[arg(allow_hyphen_values = true)]
    source: OsString,
    /// Platform to take [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Directory for layers and the staged tree [default: TMPDIR, else the output's directory]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Keep SELinux labels (security.selinux), which belong to the machine that made the image
    #[arg(long)]
    keep_selinux: bool,
    /// How progress is shown on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: progress::Form,
    /// Tell more: which credentials were used (never what they are), what was cached
    #[arg(long, short)]
    verbose: bool,
    /// Layers fetched and decoded, and files compared, at a time [default: the number of processors, 4 for fetching]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    remote: remote::RemoteArguments,
    #[command(flatten)]
    limits: limits::LimitArguments,
}

/// A command that is about to begin.
pub struct Job {
    /// The image.
    pub source: SourceName,
    /// How it is read.
    pub read: ReadOptions,
    /// The time of the filesystem, if not the image's.
    pub clock: Option<i64>,
    /// Where to work, if anything says so.
    pub work_dir: Option<PathBuf>,
    /// Where programs are looked for first.
    pub search_path: OsString,
    /// Who is told how far it is.
    pub observer: Box<dyn Progress + Send>,
    /// What a signal raises.
    pub cancel: Cancel,
}

impl Job {
    /// Reads arguments and environment, and begins to listen to signals.
    pub fn of(arguments: &ReadArguments) -> Result<Self, Failure> {
        let source = SourceName::parse(&arguments.source)?;
        let platform = match &arguments.platform {
            None => None,
            Some(text) => {
                Some(text.parse::<Platform>().map_err(|fault| Failure::Usage(format!("--platform: {fault}")))?)
            }
        };
        let clock = source_date_epoch()?;
        let cancel = signals::cancel()?;
        let observer = progress::observer(arguments.progress, arguments.verbose);
        let remote = match &source {
            SourceName::Docker(_) => {
                let (options, warnings) = arguments.remote.options()?;
                warnings.iter().for_each(|warning| observer.tell(&News::Warning(warning)));
                Some(options)
            }
            _ => None,
        };
        let read = ReadOptions {
            platform,
            implied_mtime: clock.unwrap_or(0),
            keep_selinux: arguments.keep_selinux,
            jobs: arguments.jobs.map_or_else(processors, usize::from),
            downloads: arguments.jobs.map_or(DOWNLOADS, usize::from),
            remote,
            limits: arguments.limits.limits(),
        };
        Ok(Self {
            source,
            read,
            clock,
            work_dir: arguments.work_dir.clone().or_else(|| environment("TMPDIR").map(PathBuf::from)),
            search_path: environment("PATH").unwrap_or_default(),
            observer,
            cancel,
        })
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the seconds that `SOURCE_DATE_EPOCH` sets.
fn source_date_epoch() -> Result<Option<i64>, Failure> {
    let Some(value) = environment("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.parse().ok());
    let held = seconds.filter(|seconds| (0..=Timestamp::MAX_SECONDS).contains(seconds));
    held.map(Some)
        .ok_or_else(|| Failure::Usage("SOURCE_DATE_EPOCH is not a number of seconds from 1970 to 2446".into()))
}
