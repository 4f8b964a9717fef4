//! `planish cache verify`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use planish::cache::Checked;
use planish::path::Escaped;

use super::place::{ThisCache, cache};
use crate::cli::exit::Failure;
use crate::cli::{build, progress, signals, summary};

/// Hashes every blob of the cache
///
/// Prints a line for each that is not what its name says, and ends with exit code 5 when there is one.
#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    cache: ThisCache,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    /// How progress is shown on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: progress::Form,
}

/// Runs the command.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let cache = cache(&arguments.cache)?;
    let cancel = signals::cancel()?;
    let observer = progress::observer(arguments.progress, false);
    let result = cache.verify(&*observer, &cancel);
    observer.end();
    let checked = result?;
    let text = if arguments.json { json(&checked) } else { lines(&checked) };
    if !text.is_empty() {
        build::print(text.trim_end())?;
    }
    let said = format!(
        "hashed      {} blobs, {}: {} damaged; {} files that are none\n",
        checked.blobs,
        summary::bytes(checked.bytes),
        checked.damaged.len(),
        checked.strangers.len(),
    );
    // The exit code says it as well.
    let _ = std::io::stderr().write_all(said.as_bytes());
    if checked.damaged.is_empty() { Ok(()) } else { Err(Failure::DamagedBlobs(checked.damaged.len())) }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn lines(checked: &Checked) -> String {
    let mut text = String::new();
    for blob in &checked.damaged {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} has digest {} and {} bytes", blob.expected, blob.actual, blob.bytes);
    }
    for path in &checked.strangers {
        let _ = writeln!(text, "{} is no blob", shown(path));
    }
    text
}

fn json(checked: &Checked) -> String {
    let damaged = checked.damaged.iter();
    let value = serde_json::json!({
        "blobs": checked.blobs,
        "bytes": checked.bytes,
        "damaged": damaged
            .map(|blob| serde_json::json!({ "expected": blob.expected, "actual": blob.actual, "bytes": blob.bytes }))
            .collect::<Vec<_>>(),
        "strangers": checked.strangers.iter().map(|path| shown(path)).collect::<Vec<_>>(),
    });
    format!("{value:#}")
}
