//! The report in an artifact, whose author is not trusted.

use crate::artifact::Artifact;
use crate::output::report::Report;
use crate::path::Escaped;

/// Parses the report of a filesystem; the reason for a refusal is the end of a sentence.
///
/// Its texts are printable ASCII, so that they can be shown.
pub(crate) fn parse(text: &[u8], artifact: &Artifact) -> Result<Report, String> {
    let mut report: Report = serde_json::from_slice(text).map_err(|_| "its report has other fields".to_owned())?;
    let filesystem = &report.filesystem;
    if filesystem.digest.as_ref() != Some(&artifact.digest) || filesystem.bytes != artifact.bytes {
        return Err("its report is that of another filesystem".into());
    }
    if Some(&report.key) != artifact.key.as_ref() {
        return Err("its report has another build key".into());
    }
    // A name on the other machine may have any characters.
    let sources = report.injections.iter_mut().map(|injection| &mut injection.source);
    for source in sources.chain([&mut report.source, &mut report.filesystem.path]) {
        *source = Escaped(source.as_bytes()).to_string();
    }
    let shown = serde_json::to_vec(&report).map_err(|_| "its report cannot be written".to_owned())?;
    if is_plain(&shown) { Ok(report) } else { Err("its report has text that is not printable ASCII".into()) }
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
