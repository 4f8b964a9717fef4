//! `planish key`.

use crate::cli::arguments::{inject, read, shape};
use crate::cli::exit::Failure;
use crate::cli::stdout;

/// Prints the build key: the name of the bytes that a build with these options would write
///
/// Reads the image's manifest and config, and no layer. Builds with equal keys give equal bytes.
#[derive(Debug, clap::Args)]
pub struct KeyArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    #[command(flatten)]
    shape: shape::ShapeArguments,
    /// Print the key and the lines whose SHA-256 it is as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inject: inject::InjectArguments,
}

/// Runs the command.
pub fn run(arguments: &KeyArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let result = arguments.shape.apply(arguments.inject.apply(job.builder()?)?, job.clock)?.key();
    job.observer.end();
    let key = result?;
    if arguments.json { stdout::print_json(&key) } else { stdout::print(&key.key.to_string()) }
}
