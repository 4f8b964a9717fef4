//! Writes JSON documents piece by piece: a list of notes, or of names, may be larger than memory.

use std::io::{self, BufWriter, Write};

use planish::{Digest, Image};
use serde::Serialize;

/// Writes a document and a line feed.
pub fn write(out: impl Write, document: &impl Serialize) -> io::Result<()> {
    let mut out = Ascii(BufWriter::with_capacity(1 << 16, out));
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)?;
    out.flush()
}

/// The beginning of a document about an image.
#[derive(Serialize)]
pub struct Head<'a> {
    /// The name and version of the document's form.
    pub schema: &'static str,
    #[serde(flatten)]
    image: ImageHead<'a>,
}

impl<'a> Head<'a> {
    /// Returns the beginning of a document about an image.
    pub fn of(schema: &'static str, image: &'a Image) -> Self {
        Self { schema, image: ImageHead::of(image) }
    }
}

/// An image that a document is about.
#[derive(Serialize)]
pub struct ImageHead<'a> {
    /// The reference, as given.
    source: &'a str,
    /// The digest of the config.
    config_digest: &'a Digest,
    /// The platform.
    platform: String,
}

impl<'a> ImageHead<'a> {
    /// Returns the image of a document.
    pub fn of(image: &'a Image) -> Self {
        let (source, config_digest) = (image.source(), image.config_digest());
        Self { source, config_digest, platform: image.platform().to_string() }
    }
}

/// A document whose last member is a list, written item by item, each on a line of its own.
pub struct ListDocument<W: Write> {
    out: Ascii<BufWriter<W>>,
    is_first: bool,
}

impl<W: Write> ListDocument<W> {
    /// Begins the document with the members of `head`, an object, and a list of this name.
    pub fn begin(out: W, head: &impl Serialize, list: &str) -> io::Result<Self> {
        let mut out = Ascii(BufWriter::with_capacity(1 << 16, out));
        let head = serde_json::to_string_pretty(head)?;
        write!(out, "{},\n  \"{list}\": [", head.strip_suffix("\n}").unwrap_or("{"))?;
        Ok(Self { out, is_first: true })
    }

    /// Writes one item of the list.
    pub fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if std::mem::take(&mut self.is_first) { b"\n    " } else { b",\n    " })?;
        Ok(serde_json::to_writer(&mut self.out, item)?)
    }

    /// Ends the list and the document.
    pub fn end(mut self) -> io::Result<()> {
        self.out.write_all(if self.is_first { b"]\n}\n" } else { b"\n  ]\n}\n" })?;
        self.out.flush()
    }
}

/// Escapes what is not printable ASCII in strings, so that no text of an image controls a terminal.
///
/// Outside of strings JSON is ASCII. Each call of `write` has whole characters: `serde_json` writes strings in pieces
/// that are strings.
struct Ascii<W>(W);

impl<W: Write> Write for Ascii<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = std::str::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        while let Some(at) = rest.find(|c: char| !c.is_ascii() || c == '\x7f') {
            let (plain, tail) = rest.split_at(at);
            self.0.write_all(plain.as_bytes())?;
            let odd = tail.chars().next().unwrap_or_default();
            for unit in odd.encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            rest = &tail[odd.len_utf8()..];
        }
        self.0.write_all(rest.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn text_of_an_image_is_readable_and_escaped() {
        let document = json!({"a": "\u{1b}[31m\u{9b}é\u{7f}🦀\"\\\n"});
        let mut bytes = Vec::new();
        write(&mut bytes, &document).unwrap();
        assert!(bytes.iter().all(|b| matches!(b, b'\n' | 0x20..=0x7e)), "{bytes:?}");
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), document);
    }

    #[test]
    fn a_list_has_one_item_a_line() {
        for items in [vec![], vec![json!(1)], vec![json!({"b": "}"}), json!([])]] {
            let mut bytes = Vec::new();
            let mut document = ListDocument::begin(&mut bytes, &json!({"a": {"b": 1}}), "c").unwrap();
            items.iter().for_each(|item| document.item(item).unwrap());
            document.end().unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), json!({"a": {"b": 1}, "c": items}));
        }
    }
}
