//! `planish push`.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use planish::{ArtifactReport, Escaped, PushOptions, SigningKey};

use crate::cli::arguments::read;
use crate::cli::exit::Failure;
use crate::cli::{json, stdout, summary};

/// Pushes a finished filesystem to a registry
///
/// Prints the digest of its manifest. `planish pull REF --output FILE` fetches it back.
#[derive(Debug, clap::Args)]
pub struct PushArguments {
    /// The filesystem
    file: PathBuf,
    /// Report of its build, which goes with it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    /// Image that the filesystem is made of: the registry lists the filesystem among the referrers of its manifest
    #[arg(long, value_name = "SOURCE", help_heading = "Output")]
    subject: Option<OsString>,
    /// Other repository of the registry that may have chunks of the filesystem already
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    mount_from: Option<String>,
    /// Sign it with this secret key of minisign, which has no password
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    sign_key: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    read: read::ReadArguments,
}

/// Runs the command.
pub fn run(arguments: &PushArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let mut options = PushOptions::default();
    if let Some(report) = &arguments.report {
        options = options.report(report);
    }
    if let Some(repository) = &arguments.mount_from {
        options = options.mount_from(repository);
    }
    if let Some(subject) = &arguments.subject {
        options = options.subject(&job.open_other(job.other(&arguments.read, subject)?)?)?;
    }
    if let Some(path) = &arguments.sign_key {
        options = options.sign(SigningKey::read(path, &job.cancel)?);
    }
    let result = job.builder()?.push_filesystem(&arguments.file, &options);
    job.observer.end();
    let report = result?;
    print(&report, "pushed", arguments.json, job.summary);
    stdout::print_with(|stdout| print_result(&report, arguments.json, stdout))
}

/// Writes the result for programs: the digest of the manifest, or JSON.
pub fn print_result(report: &ArtifactReport, as_json: bool, stdout: &mut dyn Write) -> std::io::Result<()> {
    match as_json {
        true => json::write(stdout, report),
        false => writeln!(stdout, "{}", report.manifest_digest).and_then(|()| stdout.flush()),
    }
}

/// Prints a filesystem that was pushed or pulled, for people.
pub fn print(report: &ArtifactReport, done: &str, as_json: bool, how_much: read::Summary) {
    if as_json || how_much == read::Summary::None {
        return;
    }
    let ArtifactReport { reference, path, bytes, chunks, transferred_bytes, digest, .. } = report;
    let text = format!(
        "{done:11} {}: {path}, {}, {digest}\ntransferred {} in {chunks} chunks\n",
        Escaped(reference.as_bytes()),
        summary::bytes(*bytes),
        summary::bytes(*transferred_bytes)
    );
    // The work is done: a closed stderr is not an error.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
