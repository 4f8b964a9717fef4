//! `planish pull`.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use planish::{ArtifactReport, Builder, PullReport};

use crate::cli::arguments::{read, shared};
use crate::cli::commands::{build, push};
use crate::cli::exit::Failure;
use crate::cli::stdout;
use crate::cli::summary;

/// Fetches an image from a registry into the cache, and verifies all its blobs
///
/// Prints the digest of the image's manifest.
#[derive(Debug, clap::Args)]
pub struct PullArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    /// Pull a finished filesystem, which `planish push` has pushed, to this path instead
    #[arg(short, long, value_name = "FILE", help_heading = "Output",
          value_parser = OsStringValueParser::new().try_map(build::output_path))]
    output: Option<PathBuf>,
    /// Write the report of its build, which was pushed with it, to a file; an earlier report is replaced
    #[arg(long, value_name = "FILE", help_heading = "Output",
          value_parser = OsStringValueParser::new().try_map(build::report_path))]
    report: Option<PathBuf>,
    /// Pull only what is signed by this public key of minisign; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    verify_key: Vec<PathBuf>,
    /// Replace an existing output, and any file at --report
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &PullArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    if let Some(output) = &arguments.output {
        let keys = shared::verifying_keys(&arguments.verify_key, &job.cancel)?;
        let mut builder = keys.into_iter().fold(job.builder()?.replace(arguments.force), Builder::verifying_key);
        if let Some(report) = &arguments.report {
            builder = builder.report_file(report);
        }
        let (as_json, cancel) = (arguments.json, job.cancel.clone());
        let print = move |report: &ArtifactReport| {
            stdout::print_first(&cancel, |stdout| push::print_result(report, as_json, stdout))
        };
        let result = builder.before_pull(print).pull_filesystem(output);
        job.observer.end();
        push::print(&result?, "pulled", arguments.json, job.summary);
        return Ok(());
    }
    let result = job.builder()?.pull();
    job.observer.end();
    let pulled = result?;
    if arguments.json {
        return stdout::print_json(&pulled);
    }
    let PullReport { source, platform, layers, bytes, notes, .. } = &pulled;
    if job.summary != read::Summary::None {
        let text = format!("{source} ({platform}): {layers} layers, {}, all checked", summary::bytes(*bytes));
        // The image is complete: a closed stderr is not an error.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n{}", summary::notes(notes)));
    }
    let digest = pulled.manifest_digest.as_ref().unwrap_or(&pulled.config_digest);
    stdout::print(&digest.to_string())
}
