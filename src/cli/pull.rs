//! `planish pull`.

use planish::pull::{Pulled, pull};

use super::exit::Failure;
use super::{build, read, summary};

/// Fills the cache with an image of a registry, and checks every blob of it
///
/// Prints the digest of the image's manifest.
#[derive(Debug, clap::Args)]
pub struct PullArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    /// Print what is there as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &PullArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let work_dir = job.work_dir.unwrap_or_else(std::env::temp_dir);
    let result = pull(&job.source, &job.read, &work_dir, &*job.observer, &job.cancel);
    job.observer.end();
    let pulled = result?;
    if arguments.json {
        return build::print(&serde_json::to_string_pretty(&pulled).unwrap_or_default());
    }
    let Pulled { source, platform, layers, bytes, notes, .. } = &pulled;
    // The image is there: a closed stderr does not make it worse.
    let text = format!("{source} ({platform}): {layers} layers, {}, all checked", summary::bytes(*bytes));
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n{}", summary::notes(notes)));
    let digest = pulled.manifest_digest.as_ref().unwrap_or(&pulled.config_digest);
    build::print(&digest.to_string())
}
