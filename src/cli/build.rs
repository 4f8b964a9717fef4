//! `planish build`.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use planish::build::BuildOptions;
use planish::plan::{Engine, EngineChoice, Headroom, PlanOptions};
use planish::source::{Platform, SourceName};
use planish::{Cancel, ErrorKind};

use super::exit::Failure;
use super::{environment, limits, progress, signals, size, summary};

/// Builds the ext4 filesystem of an image and proves that it equals the image
///
/// As an ordinary user; needs mkfs.ext4, debugfs and e2fsck of e2fsprogs.
#[derive(Debug, clap::Args)]
pub struct BuildArguments {
    /// The image: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], or - for an archive on stdin
    #[arg(allow_hyphen_values = true)]
    source: OsString,
    /// Where the filesystem appears when it is finished
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Platform to take [default: linux on this machine's architecture]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Exact size of the filesystem: bytes, or with K, M, G, T
    #[arg(long, value_name = "N", value_parser = size::bytes, conflicts_with = "free")]
    size: Option<u64>,
    /// Space that stays free: bytes, or a percentage of what the tree needs
    #[arg(long, value_name = "N|N%", default_value = "256M", value_parser = size::headroom)]
    free: Headroom,
    /// What writes the filesystem
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: EngineArgument,
    /// Directory for layers and the staged tree [default: TMPDIR, else the output's directory]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Replace an output that exists
    #[arg(long)]
    force: bool,
    /// Refuse an image that cannot be carried without a loss
    #[arg(long)]
    strict: bool,
    /// Print the whole report as JSON on stdout
    #[arg(long)]
    json: bool,
    /// Keep SELinux labels (security.selinux), which belong to the machine that made the image
    #[arg(long)]
    keep_selinux: bool,
    /// How the result is proven before it appears
    #[arg(long, value_name = "HOW", default_value = "full")]
    verify: Verify,
    /// How progress is shown on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: progress::Form,
    /// Layers decoded, and files compared, at a time [default: the number of processors]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    limits: limits::LimitArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EngineArgument {
    /// e2fsprogs; direct where the image holds what e2fsprogs cannot write, or not in time
    Auto,
    /// mkfs.ext4 and debugfs: the reference
    E2fsprogs,
    /// planish itself, in one pass and with indexed directories
    Direct,
}

impl From<EngineArgument> for EngineChoice {
    fn from(argument: EngineArgument) -> Self {
        match argument {
            EngineArgument::Auto => Self::Auto,
            EngineArgument::E2fsprogs => Self::Only(Engine::E2fsprogs),
            EngineArgument::Direct => Self::Only(Engine::Direct),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Verify {
    /// Every inode and every byte, then e2fsck
    Full,
    /// Not at all
    None,
}

/// Runs the command.
pub fn run(arguments: &BuildArguments) -> Result<(), Failure> {
    let source = SourceName::parse(&arguments.source)?;
    let platform = match &arguments.platform {
        None => None,
        Some(text) => Some(text.parse::<Platform>().map_err(|fault| usage("--platform", &fault))?),
    };
    let clock = source_date_epoch()?;
    let cancel = Cancel::default();
    signals::listen(cancel.clone()).map_err(|error| {
        Failure::Library(ErrorKind::Io { action: "listen to", path: "signals".into(), source: error }.into())
    })?;
    let options = BuildOptions {
        platform,
        plan: PlanOptions { size: arguments.size, free: arguments.free, clock, engine: arguments.engine.into() },
        implied_mtime: clock.unwrap_or(0),
        work_dir: arguments.work_dir.clone().or_else(|| environment("TMPDIR").map(PathBuf::from)),
        force: arguments.force,
        strict: arguments.strict,
        verify: arguments.verify == Verify::Full,
        keep_selinux: arguments.keep_selinux,
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        limits: arguments.limits.limits(),
        search_path: environment("PATH").unwrap_or_default(),
    };
    let observer = progress::observer(arguments.progress);
    let result = planish::build::build(&source, &arguments.output, &options, &*observer, &cancel);
    observer.end();
    let report = result?;
    // The filesystem is there: a closed stderr does not make it worse.
    let _ = std::io::stderr().write_all(summary::of(&report).as_bytes());
    if arguments.json {
        print(&serde_json::to_string_pretty(&report).unwrap_or_default())?;
    }
    Ok(())
}

fn usage(what: &str, fault: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!("{what}: {fault}"))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the seconds that `SOURCE_DATE_EPOCH` sets.
fn source_date_epoch() -> Result<Option<i64>, Failure> {
    let Some(value) = environment("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds >= 0);
    seconds.map(Some).ok_or_else(|| Failure::Usage("SOURCE_DATE_EPOCH is not a number of seconds since 1970".into()))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::ClosedPipe),
        Err(error) => Err(Failure::Stdout(error)),
    }
}
