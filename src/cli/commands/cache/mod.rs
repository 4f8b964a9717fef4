//! `planish cache`.

mod list;
mod prune;
mod verify;

use clap::Subcommand;

pub use crate::cli::arguments::cache::{CacheArguments, directory};
use crate::cli::exit::Failure;

/// Lists, verifies and prunes the cache of blobs from registries
#[derive(Debug, clap::Args)]
pub struct CacheCommand {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::ListArguments),
    Verify(verify::VerifyArguments),
    Prune(prune::PruneArguments),
}

/// Runs the command.
pub fn run(arguments: &CacheCommand) -> Result<(), Failure> {
    match &arguments.command {
        Action::List(arguments) => list::run(arguments),
        Action::Verify(arguments) => verify::run(arguments),
        Action::Prune(arguments) => prune::run(arguments),
    }
}
