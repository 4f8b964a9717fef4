//! `planish cache list`.

use std::time::{SystemTime, UNIX_EPOCH};

use planish::Escaped;
use planish::cache::{CachedFilesystem, CachedImage, CachedLayer};

use crate::cli::arguments::cache::{ThisCache, cache};
use crate::cli::exit::Failure;
use crate::cli::stdout;
use crate::cli::summary;

/// Lists the images, the finished filesystems, and the listings and decoded streams of layers in the cache
///
/// Prints for each the size, how many of its blobs are present, and the time of the last use; listings of layers are
/// one line, and so are decoded layers.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    cache: ThisCache,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Line {
    /// The reference, escaped.
    reference: Option<String>,
    /// The build key of a finished filesystem.
    key: Option<String>,
    /// True for the listing of a layer, whose diff ID is the digest.
    listing: bool,
    /// True for a decoded layer, whose diff ID is the digest.
    decoded: bool,
    digest: String,
    bytes: u64,
    blobs: usize,
    present: usize,
    /// The time of the last use, in seconds since 1970.
    used: Option<u64>,
}

/// Runs the command.
pub fn run(arguments: &ListArguments) -> Result<(), Failure> {
    let cache = cache(&arguments.cache)?;
    let mut lines: Vec<Line> = cache.list()?.iter().map(line).collect();
    lines.extend(cache.filesystems()?.iter().map(line_of_filesystem));
    let (listings, decoded) = (cache.listings()?, cache.decoded_layers()?);
    if arguments.json {
        lines.extend(listings.iter().map(|layer| Line { listing: true, ..line_of_layer(layer) }));
        lines.extend(decoded.iter().map(|layer| Line { decoded: true, ..line_of_layer(layer) }));
        return stdout::print(&serde_json::to_string_pretty(&lines).unwrap_or_default());
    }
    let text = table(&lines) + &line_of_layers("listings of", &listings) + &line_of_layers("decoded", &decoded);
    if text.is_empty() { Ok(()) } else { stdout::print(text.trim_end()) }
}

fn line(listed: &CachedImage) -> Line {
    Line {
        key: None,
        listing: false,
        decoded: false,
        reference: listed.reference.as_deref().map(|reference| Escaped(reference.as_bytes()).to_string()),
        digest: listed.digest.to_string(),
        bytes: listed.bytes,
        blobs: listed.blobs,
        present: listed.present,
        used: listed.used.map(seconds),
    }
}

fn line_of_filesystem(built: &CachedFilesystem) -> Line {
    Line {
        key: Some(built.key.to_string()),
        listing: false,
        decoded: false,
        reference: Some(built.name.clone()),
        digest: built.digest.to_string(),
        bytes: built.bytes.unwrap_or_default(),
        blobs: 1,
        present: usize::from(built.bytes.is_some()),
        used: built.used.map(seconds),
    }
}

fn line_of_layer(layer: &CachedLayer) -> Line {
    Line {
        key: None,
        listing: false,
        decoded: false,
        reference: None,
        digest: layer.diff_id.to_string(),
        bytes: layer.bytes,
        blobs: 1,
        present: 1,
        used: Some(seconds(layer.used)),
    }
}

/// Returns one line for all files of a kind that were made from layers.
fn line_of_layers(kind: &str, files: &[CachedLayer]) -> String {
    let bytes = files.iter().map(|file| file.bytes).sum();
    let used = files.iter().map(|file| file.used).max();
    used.map_or_else(String::new, |used| {
        let now = seconds(SystemTime::now());
        let layers = if files.len() == 1 { "1 layer".into() } else { format!("{} layers", files.len()) };
        format!("{kind} {layers}  {}  {}\n", summary::bytes(bytes), ago(now.saturating_sub(seconds(used))))
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn table(lines: &[Line]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = |line: &Line| {
        let name = line.reference.clone().unwrap_or_else(|| "-".into());
        line.key.as_ref().map_or_else(|| name.clone(), |key| format!("{name} (built, key {key})"))
    };
    let width = lines.iter().map(|line| name(line).len()).max().unwrap_or_default();
    let row = |line: &Line| {
        let Line { digest, bytes, blobs, present, used, .. } = line;
        let used = used.map_or_else(|| "not there".into(), |used| ago(now.saturating_sub(used)));
        format!("{:width$}  {digest}  {:>12}  {present}/{blobs}  {used}\n", name(line), summary::bytes(*bytes))
    };
    lines.iter().map(row).collect()
}

/// Returns an age in the largest unit that is not zero.
fn ago(seconds: u64) -> String {
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    match units.into_iter().find(|(length, _)| seconds >= *length) {
        Some((length, unit)) => format!("{}{unit} ago", seconds / length),
        None => format!("{seconds}s ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        for (seconds, want) in [(0, "0s ago"), (61, "1m ago"), (7200, "2h ago"), (90_000, "1d ago")] {
            assert_eq!(ago(seconds), want);
        }
    }

    #[test]
    fn a_table_has_columns() {
        let line = |reference: &str| Line {
            key: None,
            listing: false,
            decoded: false,
            reference: Some(reference.into()),
            digest: "sha256:00".into(),
            bytes: 1024,
            blobs: 3,
            present: 2,
            used: None,
        };
        let want = "a     sha256:00      1.00 KiB  2/3  not there\nlong  sha256:00      1.00 KiB  2/3  not there\n";
        assert_eq!(table(&[line("a"), line("long")]), want);
    }
}
