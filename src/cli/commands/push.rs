//! `planish push`.

use std::path::PathBuf;

use planish::{ArtifactReport, Escaped};

use crate::cli::arguments::read;
use crate::cli::exit::Failure;
use crate::cli::{stdout, summary};

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
    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    read: read::ReadArguments,
}

/// Runs the command.
pub fn run(arguments: &PushArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let result = job.builder()?.push_filesystem(&arguments.file, arguments.report.as_deref());
    job.observer.end();
    print(&result?, "pushed", arguments.json)
}

/// Prints a filesystem that was pushed or pulled.
pub fn print(report: &ArtifactReport, done: &str, json: bool) -> Result<(), Failure> {
    if json {
        return stdout::print_json(report);
    }
    let ArtifactReport { reference, path, bytes, chunks, transferred_bytes, digest, .. } = report;
    let text = format!(
        "{done:11} {}: {path}, {}, {digest}\ntransferred {} in {chunks} chunks\n",
        Escaped(reference.as_bytes()),
        summary::bytes(*bytes),
        summary::bytes(*transferred_bytes)
    );
    // The work is done: a closed stderr is not an error.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    stdout::print(&report.manifest_digest.to_string())
}
