//! `planish cache prune`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use planish::cache::{PruneOptions, Pruned};
use planish::path::Escaped;

use super::place::{ThisCache, cache};
use crate::cli::exit::Failure;
use crate::cli::{age, build, size, summary};

/// Removes blobs from the cache: without a bound, those that no image in it needs
///
/// What a running planish uses stays. Prints a line for everything that goes.
#[derive(Debug, clap::Args)]
pub struct PruneArguments {
    #[command(flatten)]
    cache: ThisCache,
    /// Remove the least recently used blobs until so much is left: bytes, or with K, M, G, T
    #[arg(long, value_name = "N", value_parser = size::bytes)]
    keep_bytes: Option<u64>,
    /// Remove the blobs that were not used for so long: 30m, 12h, 7d
    #[arg(long, value_name = "AGE", value_parser = age::age)]
    older_than: Option<Duration>,
    /// Remove nothing, only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Print what goes as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &PruneArguments) -> Result<(), Failure> {
    let &PruneArguments { keep_bytes, older_than, dry_run, json: as_json, .. } = arguments;
    let pruned = cache(&arguments.cache)?.prune(&PruneOptions { keep_bytes, older_than, dry_run })?;
    let text = if as_json { json(&pruned) } else { lines(&pruned) };
    if !text.is_empty() {
        build::print(text.trim_end())?;
    }
    let said = format!(
        "{}     {} blobs, {} leftovers, {}; {} were to go and are in use; {} stay, {}\n",
        if dry_run { "would go" } else { "pruned  " },
        pruned.blobs.len(),
        pruned.leftovers,
        summary::bytes(pruned.bytes),
        pruned.in_use,
        pruned.kept,
        summary::bytes(pruned.kept_bytes),
    );
    // What was done is done.
    let _ = std::io::stderr().write_all(said.as_bytes());
    Ok(())
}

fn lines(pruned: &Pruned) -> String {
    let mut text = String::new();
    for blob in &pruned.blobs {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {}", blob.digest, blob.bytes);
    }
    for reference in &pruned.references {
        let _ = writeln!(text, "{}", Escaped(reference.as_bytes()));
    }
    text
}

fn json(pruned: &Pruned) -> String {
    let blobs = pruned.blobs.iter();
    let references = pruned.references.iter();
    let value = serde_json::json!({
        "blobs": blobs.map(|blob| serde_json::json!({ "digest": blob.digest, "bytes": blob.bytes })).collect::<Vec<_>>(),
        "references": references.map(|name| Escaped(name.as_bytes()).to_string()).collect::<Vec<_>>(),
        "leftovers": pruned.leftovers,
        "bytes": pruned.bytes,
        "in_use": pruned.in_use,
        "kept": pruned.kept,
        "kept_bytes": pruned.kept_bytes,
    });
    format!("{value:#}")
}
