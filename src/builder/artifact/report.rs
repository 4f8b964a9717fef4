//! The report in an artifact, whose author is not trusted.

use serde::Deserialize;

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::output::report::Report;
use crate::path::Escaped;

/// Parses the report of a filesystem; the reason for a refusal is the end of a sentence.
///
/// Its texts are printable ASCII, so that they can be shown.
pub(crate) fn parse(text: &[u8], artifact: &Artifact) -> Result<Report, String> {
    let (report, tree) = read(text, artifact)?;
    if tree { Err(OTHER.into()) } else { Ok(report) }
}

/// Returns the text of the report of a filesystem, which may be followed by a dm-verity tree, unchanged if it can be shown,
/// else with escaped names; the reason for a refusal is the end of a sentence.
pub(crate) fn plain_text(text: Vec<u8>, artifact: &Artifact) -> Result<Vec<u8>, String> {
    let (report, _) = read(&text, artifact)?;
    if text.is_ascii() {
        return Ok(text);
    }
    let mut escaped = Vec::new();
    report.write_json(&mut escaped).map_err(|_| UNWRITABLE.to_owned())?;
    Ok(escaped)
}

/// Returns the build key in the text of a report, if it is that of a file with this digest and size.
pub(crate) fn key_of_file(text: &[u8], digest: &Digest, bytes: u64) -> Option<Digest> {
    let report: Report = serde_json::from_slice(text).ok()?;
    is_of(&report, text, digest, bytes).map(|_| report.key)
}

/// A dm-verity tree, as a report describes it.
#[derive(Deserialize)]
struct Tree {
    hash_offset: u64,
    hash_bytes: u64,
    digest: Option<Digest>,
}

#[derive(Deserialize)]
struct Trees {
    verity: Option<Tree>,
}

/// Returns true if a file with this digest and size is the filesystem of a report with a dm-verity tree behind it, and
/// false if it is the filesystem alone; `None` if it is another file.
fn is_of(report: &Report, text: &[u8], digest: &Digest, bytes: u64) -> Option<bool> {
    let filesystem = &report.filesystem;
    if filesystem.digest.as_ref() == Some(digest) && filesystem.bytes == bytes {
        return Some(false);
    }
    let tree = serde_json::from_slice::<Trees>(text).ok()?.verity?;
    let is_behind =
        filesystem.bytes <= tree.hash_offset && tree.hash_offset.checked_add(tree.hash_bytes) == Some(bytes);
    (is_behind && tree.digest.as_ref() == Some(digest)).then_some(true)
}

const OTHER: &str = "its report is that of another filesystem";
const UNWRITABLE: &str = "its report cannot be written";

/// Parses a report; also returns true if a dm-verity tree is behind the filesystem.
fn read(text: &[u8], artifact: &Artifact) -> Result<(Report, bool), String> {
    let mut report: Report = serde_json::from_slice(text).map_err(|_| "its report has other fields".to_owned())?;
    let tree = is_of(&report, text, &artifact.digest, artifact.bytes).ok_or_else(|| OTHER.to_owned())?;
    if Some(&report.key) != artifact.key.as_ref() {
        return Err("its report has another build key".into());
    }
    // A name on the other machine may have any characters.
    let sources = report.injections.iter_mut().map(|injection| &mut injection.source);
    for source in sources.chain([&mut report.source, &mut report.filesystem.path]) {
        *source = Escaped(source.as_bytes()).to_string();
    }
    let shown = serde_json::to_vec(&report).map_err(|_| UNWRITABLE.to_owned())?;
    if is_plain(&shown) { Ok((report, tree)) } else { Err("its report has text that is not printable ASCII".into()) }
}

/// Returns true if the strings of a JSON document are printable ASCII: an escape stands for a quote or a backslash.
fn is_plain(json: &[u8]) -> bool {
    let mut escape = false;
    json.iter().all(|&byte| {
        let allowed = matches!(byte, b' '..=b'~') && (!escape || matches!(byte, b'"' | b'\\'));
        escape = !escape && byte == b'\\';
        allowed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_texts_are_plain() {
        let plain = |text: &str| is_plain(&serde_json::to_vec(text).unwrap());
        assert!(["", "a b", "\"\\", "~", "\\x1b"].into_iter().all(plain));
        assert!(!["\x1b[2J", "\n", "\r", "\0", "\x7f", "\u{9b}", "ü", "\u{202e}"].into_iter().any(plain));
    }
}
