//! `planish cache prune`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use planish::Escaped;
use planish::cache::{PruneOptions, PruneReport};

use crate::cli::arguments::cache::{ThisCache, cache};
use crate::cli::arguments::{age, size};
use crate::cli::exit::Failure;
use crate::cli::stdout;
use crate::cli::summary;

/// Removes blobs from the cache: by default those that no image in it needs
///
/// Listings of layers and decoded layers are removed like blobs; they are made again when they are needed. Blobs in use by a running
/// planish are kept. Prints a line for everything removed.
#[derive(Debug, clap::Args)]
pub struct PruneArguments {
    #[command(flatten)]
    cache: ThisCache,
    /// Remove the least recently used blobs until this much is left: bytes, or with K, M, G, T
    #[arg(long, value_name = "N", value_parser = size::bytes)]
    keep_bytes: Option<u64>,
    /// Remove the blobs that were not used for this time: 30m, 12h, 7d
    #[arg(long, value_name = "AGE", value_parser = age::age)]
    older_than: Option<Duration>,
    /// Remove nothing, only print what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print the removed blobs as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &PruneArguments) -> Result<(), Failure> {
    let &PruneArguments { keep_bytes, older_than, dry_run, json: as_json, .. } = arguments;
    let pruned = cache(&arguments.cache)?.prune(&PruneOptions { keep_bytes, older_than, dry_run })?;
    let text = if as_json { json(&pruned) } else { lines(&pruned) };
    if !text.is_empty() {
        stdout::print(text.trim_end())?;
    }
    let said = format!(
        "{}     {} blobs, {} leftovers, {}; {} in use and not removed; {} kept, {}\n",
        if dry_run { "would go" } else { "pruned  " },
        pruned.blobs.len(),
        pruned.leftovers,
        summary::bytes(pruned.bytes),
        pruned.in_use,
        pruned.kept,
        summary::bytes(pruned.kept_bytes),
    );
    // The blobs are removed: a closed stderr is not an error.
    let _ = std::io::stderr().write_all(said.as_bytes());
    Ok(())
}

fn lines(pruned: &PruneReport) -> String {
    let mut text = String::new();
    for blob in &pruned.blobs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {}", blob.digest, blob.bytes);
    }
    for key in &pruned.filesystems {
        let _ = writeln!(text, "filesystem of key {key}");
    }
    for diff_id in &pruned.listings {
        let _ = writeln!(text, "listing of layer {diff_id}");
    }
    for diff_id in &pruned.decoded_layers {
        let _ = writeln!(text, "decoded layer {diff_id}");
    }
    for reference in &pruned.references {
        let _ = writeln!(text, "{}", Escaped(reference.as_bytes()));
    }
    text
}

fn json(pruned: &PruneReport) -> String {
    let blobs = pruned.blobs.iter();
    let references = pruned.references.iter();
    let value = serde_json::json!({
        "blobs": blobs.map(|blob| serde_json::json!({ "digest": blob.digest, "bytes": blob.bytes })).collect::<Vec<_>>(),
        "references": references.map(|name| Escaped(name.as_bytes()).to_string()).collect::<Vec<_>>(),
        "filesystems": pruned.filesystems,
        "listings": pruned.listings,
        "decoded_layers": pruned.decoded_layers,
        "leftovers": pruned.leftovers,
        "bytes": pruned.bytes,
        "in_use": pruned.in_use,
        "kept": pruned.kept,
        "kept_bytes": pruned.kept_bytes,
    });
    format!("{value:#}")
}
