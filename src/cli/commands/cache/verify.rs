//! `planish cache verify`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use planish::Escaped;
use planish::cache::{CheckReport, CorruptBlob};

use crate::cli::arguments::cache::{ThisCache, cache};
use crate::cli::exit::Failure;
use crate::cli::stdout;
use crate::cli::{progress, signals, summary};

/// Hashes every blob, listing and decoded layer of the cache
///
/// Prints a line for each that does not match its digest; the exit code is then 5.
#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    cache: ThisCache,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Form of progress on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: progress::Form,
}

/// Runs the command.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let cache = cache(&arguments.cache)?;
    let cancel = signals::cancel()?;
    let observer = progress::observer(arguments.progress, false);
    let filesystems = cache.filesystems()?;
    let result = cache.verify(&*observer, &cancel);
    observer.end();
    let checked = result?;
    let text = if arguments.json { json(&checked) } else { lines(&checked) };
    if !text.is_empty() {
        stdout::print(text.trim_end())?;
    }
    let layers = checked.damaged_listings.len() + checked.damaged_layers.len();
    let records = checked.damaged_records.len();
    let damaged = checked.damaged.len() + records + layers;
    let said = format!(
        "hashed      {} blobs, {}: {} damaged; {} other files\n",
        checked.blobs,
        summary::bytes(checked.bytes),
        damaged,
        checked.foreign_files.len(),
    );
    // The exit code has the result, too.
    let _ = std::io::stderr().write_all(said.as_bytes());
    let is_built = |blob: &&CorruptBlob| filesystems.iter().any(|built| built.digest == blob.expected);
    let built = checked.damaged.iter().filter(is_built).count() + records;
    let fetched = damaged - built - layers;
    if damaged == 0 { Ok(()) } else { Err(Failure::DamagedCache { fetched, built, layers }) }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn lines(checked: &CheckReport) -> String {
    let mut text = String::new();
    for blob in &checked.damaged {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} has digest {} and {} bytes", blob.expected, blob.actual, blob.bytes);
    }
    for path in &checked.damaged_records {
        let _ = writeln!(text, "{} is damaged: the filesystem is built again", shown(path));
    }
    for path in checked.damaged_listings.iter().chain(&checked.damaged_layers) {
        let _ = writeln!(text, "{} is damaged: the layer is decoded again", shown(path));
    }
    for path in &checked.foreign_files {
        let _ = writeln!(text, "{} is no file of the cache", shown(path));
    }
    text
}

fn json(checked: &CheckReport) -> String {
    let damaged = checked.damaged.iter();
    let value = serde_json::json!({
        "blobs": checked.blobs,
        "bytes": checked.bytes,
        "damaged": damaged
            .map(|blob| serde_json::json!({ "expected": blob.expected, "actual": blob.actual, "bytes": blob.bytes }))
            .collect::<Vec<_>>(),
        "damaged_records": checked.damaged_records.iter().map(|path| shown(path)).collect::<Vec<_>>(),
        "damaged_listings": checked.damaged_listings.iter().map(|path| shown(path)).collect::<Vec<_>>(),
        "damaged_layers": checked.damaged_layers.iter().map(|path| shown(path)).collect::<Vec<_>>(),
        "strangers": checked.foreign_files.iter().map(|path| shown(path)).collect::<Vec<_>>(),
    });
    format!("{value:#}")
}
