//! `planish export`.

use std::io::Write as _;
use std::path::PathBuf;

use planish::ExportReport;

use crate::cli::arguments::{inject, read};
use crate::cli::exit::Failure;
use crate::cli::{color, json, stdout, summary};

/// Writes the final tree of an image as a tar stream, for docker import, tar or mke2fs -d -
///
/// The stream has PAX headers, names in byte order, and the same bytes for the same image.
#[derive(Debug, clap::Args)]
pub struct ExportArguments {
    /// Write to a file, created when it is finished [default: stdout]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Replace an existing output
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Print a report as JSON on stdout
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    inject: inject::InjectArguments,
    #[command(flatten)]
    read: read::ReadArguments,
}

/// Runs the command.
pub fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    let output = arguments.output.as_deref().filter(|path| path.as_os_str() != "-");
    if output.is_none() && color::is_terminal() {
        return Err(Failure::Usage("stdout is a terminal: name a file with --output, or write to a pipe".into()));
    }
    let job = read::Job::of(&arguments.read)?;
    let builder = arguments.inject.apply(job.builder()?)?;
    let builder = job.clock.into_iter().fold(builder, planish::Builder::clock);
    let result = match output {
        Some(path) => {
            let (as_json, cancel) = (arguments.json, job.cancel.clone());
            let print = move |report: &ExportReport| match as_json {
                true => stdout::print_first(&cancel, |stdout| json::write(stdout, report)),
                false => Ok(()),
            };
            builder.replace(arguments.force).before_export(print).export(path)
        }
        None => builder.export_to(&mut stdout::patient(&job.cancel)),
    };
    job.observer.end();
    // A cancelled run closes its stdout early.
    job.cancel.check()?;
    let report = result?;
    if !arguments.json && job.summary != read::Summary::None {
        let ExportReport { names, bytes, notes, .. } = &report;
        let text = format!("exported    {names} names, {}\n{}", summary::bytes(*bytes), summary::notes(notes));
        // The stream is complete: a closed stderr is not an error.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    Ok(())
}
