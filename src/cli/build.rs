//! `planish build`.

use std::io::Write;
use std::path::PathBuf;

use planish::build::BuildOptions;

use super::exit::Failure;
use super::report_file::ReportFile;
use super::{read, shape, summary};

/// Builds the ext4 filesystem of an image and proves that it equals the image
///
/// As an ordinary user; needs mkfs.ext4, debugfs and e2fsck of e2fsprogs.
#[derive(Debug, clap::Args)]
pub struct BuildArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    /// Where the filesystem appears when it is finished
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    shape: shape::ShapeArguments,
    /// Replace an output that exists
    #[arg(long)]
    force: bool,
    /// Refuse an image that cannot be carried without a loss
    #[arg(long)]
    strict: bool,
    /// Print the whole report as JSON on stdout
    #[arg(long)]
    json: bool,
    /// Write the whole report as JSON to a file, when the build has succeeded
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How the result is proven before it appears
    #[arg(long, value_name = "HOW", default_value = "full")]
    verify: Verify,
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
    let job = read::Job::of(&arguments.read)?;
    let options = BuildOptions {
        plan: arguments.shape.options(job.clock)?,
        read: job.read,
        work_dir: job.work_dir,
        force: arguments.force,
        strict: arguments.strict,
        verify: arguments.verify == Verify::Full,
        digests: arguments.json || arguments.report.is_some(),
        search_path: job.search_path,
    };
    let report_file = match &arguments.report {
        None => None,
        Some(path) => Some(ReportFile::prepare(path, &arguments.output, &job.source)?),
    };
    let result = planish::build::build(&job.source, &arguments.output, &options, &*job.observer, &job.cancel);
    job.observer.end();
    let report = result?;
    // The filesystem is there: a closed stderr does not make it worse.
    let _ = std::io::stderr().write_all(summary::of(&report).as_bytes());
    let json = serde_json::to_string_pretty(&report).unwrap_or_default();
    if let Some(file) = report_file {
        file.publish(&json)?;
    }
    if arguments.json { print(&json) } else { Ok(()) }
}

/// Prints a document on stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::ClosedPipe),
        Err(error) => Err(Failure::Stdout(error)),
    }
}
