//! Cases of layer semantics as data: layers, and the expected filesystem or failure.
//!
//! `fixtures/cases.json` has the cases. [`Case::image`] is passed to the tested program as a layout or an archive, and
//! [`Case::expect`] judges the result.

mod expect;
mod input;

use serde::Deserialize;

pub use expect::{Expect, ExpectedNode, ExpectedTree, Mismatch};

use crate::writer::Image;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The name of the case, of lower-case letters, digits and `-`.
    pub id: String,
    /// The subject of the case.
    pub group: String,
    /// The title, in a few words.
    pub title: String,
    /// The source: a specification, test table or report.
    pub source: String,
    /// The status of the expectation.
    pub status: Status,
    /// The reason for a decision, and the programs that decide otherwise.
    pub note: Option<String>,
    /// The image.
    pub image: Image,
    /// The expected result.
    pub expect: Expect,
}

/// The status of an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It follows from the text of image-spec.
    Spec,
    /// The runtimes agree, or the one that differs is wrong.
    Consensus,
    /// The runtimes disagree; planish's design decides.
    Choice,
}

/// A text that is not a list of cases.
#[derive(Debug, thiserror::Error)]
pub enum CaseSyntax {
    /// The text is not JSON of the right shape.
    #[error("the cases are malformed")]
    Json(#[from] serde_json::Error),
    /// A value in a case is invalid.
    #[error("case {id}: {problem}")]
    Value {
        /// The case.
        id: String,
        /// The problem.
        problem: String,
    },
}

/// Parses the cases of a JSON document.
///
/// # Errors
///
/// The document is malformed, or has a value that the writer of images does not support.
pub fn parse(json: &str) -> Result<Vec<Case>, CaseSyntax> {
    let document: Document = serde_json::from_str(json)?;
    document.cases.into_iter().map(RawCase::read).collect()
}

#[derive(Deserialize)]
struct Document {
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    id: String,
    group: String,
    title: String,
    source: String,
    status: Status,
    note: Option<String>,
    layers: Vec<input::RawLayer>,
    #[serde(default)]
    docker: bool,
    #[serde(default)]
    history_empty_layers: bool,
    #[serde(default)]
    drop_diff_ids: usize,
    #[serde(default)]
    extra_diff_ids: usize,
    expect: expect::RawExpect,
}

impl RawCase {
    fn read(self) -> Result<Case, CaseSyntax> {
        let wrong = |problem| CaseSyntax::Value { id: self.id.clone(), problem };
        let layers: Vec<_> =
            self.layers.into_iter().map(input::RawLayer::read).collect::<Result<_, _>>().map_err(wrong)?;
        let mut image = Image::new(layers).drop_diff_ids(self.drop_diff_ids).extra_diff_ids(self.extra_diff_ids);
        if self.docker {
            image = image.docker();
        }
        if self.history_empty_layers {
            image = image.history_empty_layers();
        }
        let expect = self.expect.read().map_err(wrong)?;
        let Self { id, group, title, source, status, note, .. } = self;
        Ok(Case { id, group, title, source, status, note, image, expect })
    }
}

/// Returns bytes given as text or as hexadecimal digits.
fn name(text: Option<String>, hex: Option<String>) -> Result<Vec<u8>, String> {
    match hex {
        Some(digits) => from_hex(&digits),
        None => Ok(text.unwrap_or_default().into_bytes()),
    }
}

fn from_hex(digits: &str) -> Result<Vec<u8>, String> {
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    digits.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or_else(|| format!("{digits:?} is not hexadecimal"))
}

pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{text:?} is not base64");
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(wrong()),
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff).try_into().map_err(|_| wrong())?);
        }
    }
    if text.len().is_multiple_of(4) { Ok(bytes) } else { Err(wrong()) }
}

/// A mode, as a number or as `0o755`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mode {
    Number(u32),
    Text(String),
}

impl Mode {
    fn read(&self) -> Result<u32, String> {
        match self {
            Self::Number(mode) => Ok(*mode),
            Self::Text(text) => text
                .strip_prefix("0o")
                .and_then(|digits| u32::from_str_radix(digits, 8).ok())
                .ok_or_else(|| format!("{text:?} is no mode")),
        }
    }
}

/// A time, as whole seconds or as a decimal fraction.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(i64),
    Text(String),
}

impl Time {
    fn read(&self) -> Result<crate::Mtime, String> {
        match self {
            Self::Seconds(seconds) => Ok(crate::Mtime { seconds: *seconds, nanos: 0 }),
            Self::Text(text) => text.parse().map_err(|error| format!("{text:?}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::{Entry, Format, Layer};

    const CASES: &str = include_str!("../../../fixtures/cases.json");

    #[test]
    fn all_shared_cases_are_read() {
        let cases = parse(CASES).unwrap();
        assert_eq!(cases.len(), 144);
        assert_eq!(cases.iter().filter(|case| matches!(case.expect, Expect::Error(_))).count(), 27);
        let ids: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.id).collect();
        assert_eq!(ids.len(), cases.len());
    }

    fn one(layers: &str) -> Result<Image, CaseSyntax> {
        let case = format!(
            r#"{{"id": "i", "group": "g", "title": "t", "source": "s", "status": "spec", "layers": {layers},
                "expect": {{"error": "any"}}}}"#
        );
        Ok(parse(&format!(r#"{{"cases": [{case}]}}"#))?[0].image.clone())
    }

    #[test]
    fn every_key_of_an_entry_is_read() {
        let entries = r#"[{"entries": [
            {"name": "f", "type": "reg", "content": "c", "mode": "0o600", "uid": 1, "gid": 2, "mtime": "-1.5", "xattrs": {"user.b": "2", "user.a": "1"}},
            {"name_hex": "ff", "type": "symlink", "linkname_hex": "fe", "mode": 511},
            {"name": "x", "type": "char", "devmajor": 1, "devminor": 3, "format": "gnu", "size": 5, "bad_checksum": true, "pax_first": true, "pax": {"k": "v"}, "xattrs_b64": {"user.a": "AAEC"}},
            {"name": "r", "type": "raw:Z", "content_repeat": [65, 3], "mtime": 7},
            {"name": "r", "type": "regA", "content_b64": "/w=="}
        ]}]"#;
        let expected = [
            Entry::file("f", "c")
                .mode(0o600)
                .owner(1, 2)
                .mtime(-1, 0)
                .pax("mtime", "-1.5")
                .xattr("user.b", "2")
                .xattr("user.a", "1"),
            Entry::symlink(*b"\xff", *b"\xfe"),
            Entry::char_device("x", 1, 3)
                .format(Format::Gnu)
                .size(5)
                .bad_checksum()
                .pax_first()
                .pax("k", "v")
                .xattr("user.a", *b"\0\x01\x02"),
            Entry {
                content: crate::writer::Content::Repeat { byte: 65, count: 3 },
                ..Entry::new(crate::writer::EntryType::Raw(b'Z'), "r").mtime(7, 0)
            },
            Entry { content: b"\xff".into(), ..Entry::new(crate::writer::EntryType::OldRegular, "r") },
        ];
        assert_eq!(one(entries).unwrap().layers, [Layer::new(expected)]);
    }

    #[test]
    fn unknown_words_are_refused() {
        for (layers, message) in [
            (r#"[{"entries": [{"name": "f", "type": "door"}]}]"#, "case i: unknown type \"door\""),
            (r#"[{"compression": "lzma"}]"#, "case i: unknown compression \"lzma\""),
            (r#"[{"tar_end": "soon"}]"#, "case i: unknown tar_end \"soon\""),
            (r#"[{"append_blob_hex": "a"}]"#, "case i: \"a\" is not hexadecimal"),
            (r#"[{"entries": [{"name": "f", "type": "reg", "content_b64": "a"}]}]"#, "case i: \"a\" is not base64"),
            (r#"[{"colour": 1}]"#, "the cases are malformed"),
        ] {
            assert_eq!(one(layers).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, bytes) in [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/8=", b"\xfb\xff")]
        {
            assert_eq!(from_base64(text).unwrap(), bytes);
        }
    }
}
