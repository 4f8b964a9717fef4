//! A command line with placeholders.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::str::FromStr;

/// A command line, split into words once by the rules of a shell, without a shell.
///
/// Quotes and backslashes are supported; variables, pipes and globs are not: `sh -c '…'` can be the command for those.
/// `{layout}`, `{tag}` and `{out}` are replaced anywhere in a word; other braces are unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    words: Vec<Vec<u8>>,
}

/// The values of a template's placeholders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) layout: &'a OsStr,
    pub(super) tag: &'a str,
    pub(super) out: &'a OsStr,
}

impl Values<'_> {
    fn get(&self, place: &[u8]) -> Option<&[u8]> {
        match place {
            b"layout" => Some(self.layout.as_bytes()),
            b"tag" => Some(self.tag.as_bytes()),
            b"out" => Some(self.out.as_bytes()),
            _ => None,
        }
    }
}

/// A text that is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateSyntax {
    /// There is no word.
    #[error("the command is empty")]
    Empty,
    /// A quote or an escape is not closed.
    #[error("the command ends within a quote or behind a backslash")]
    Unfinished,
    /// No word contains `{layout}`.
    #[error("the command lacks {{layout}}, the directory of the image")]
    NoLayout,
    /// No word contains `{out}`.
    #[error("the command lacks {{out}}, where it is to write")]
    NoOut,
}

impl FromStr for Template {
    type Err = TemplateSyntax;

    fn from_str(text: &str) -> Result<Self, TemplateSyntax> {
        let words = shlex::bytes::split(text.as_bytes()).ok_or(TemplateSyntax::Unfinished)?;
        if words.is_empty() {
            return Err(TemplateSyntax::Empty);
        }
        let has = |place: &[u8]| words.iter().any(|word| word.windows(place.len()).any(|part| part == place));
        match (has(b"{layout}"), has(b"{out}")) {
            (true, true) => Ok(Self { text: text.to_owned(), words }),
            (false, _) => Err(TemplateSyntax::NoLayout),
            (true, false) => Err(TemplateSyntax::NoOut),
        }
    }
}

impl Template {
    /// Returns the original text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the program and its arguments.
    pub(super) fn fill(&self, values: Values<'_>) -> Vec<OsString> {
        self.words.iter().map(|word| OsString::from_vec(fill(word, values))).collect()
    }
}

/// Values are not searched for placeholders: a directory may be named `{out}`.
fn fill(mut word: &[u8], values: Values<'_>) -> Vec<u8> {
    let mut filled = Vec::with_capacity(word.len());
    while let Some(&first) = word.first() {
        let place = word.strip_prefix(b"{").and_then(|rest| {
            let end = rest.iter().position(|&byte| byte == b'}')?;
            Some((values.get(&rest[..end])?, &rest[end + 1..]))
        });
        if let Some((value, rest)) = place {
            filled.extend_from_slice(value);
            word = rest;
        } else {
            filled.push(first);
            word = &word[1..];
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Vec<OsString> {
        let values = Values { layout: OsStr::new("/l {out}"), tag: "latest", out: OsStr::from_bytes(b"/o\xff") };
        template.parse::<Template>().unwrap().fill(values)
    }

    #[test]
    fn places_are_replaced_within_words() {
        let words = filled("umoci raw unpack --image {layout}:{tag} {out}");
        let expected: [&[u8]; 6] = [b"umoci", b"raw", b"unpack", b"--image", b"/l {out}:latest", b"/o\xff"];
        assert_eq!(words, expected.map(OsStr::from_bytes));
    }

    #[test]
    fn quotes_group_words_and_other_braces_stay() {
        let words = filled(r#"sh -c 'f() { cp "$1" ${2}; }; f {layout} {out}' "a b" c\ d {{tag}} {"#);
        let expected: [&[u8]; 7] =
            [b"sh", b"-c", b"f() { cp \"$1\" ${2}; }; f /l {out} /o\xff", b"a b", b"c d", b"{latest}", b"{"];
        assert_eq!(words, expected.map(OsStr::from_bytes));
    }

    #[test]
    fn malformed_templates_are_refused_with_a_reason() {
        for (text, message) in [
            ("", "the command is empty"),
            (" # {layout} {out}", "the command is empty"),
            ("a '{layout} {out}", "the command ends within a quote or behind a backslash"),
            ("a {layout} {out} \\", "the command ends within a quote or behind a backslash"),
            ("a {out}", "the command lacks {layout}, the directory of the image"),
            ("a {layout}", "the command lacks {out}, where it is to write"),
        ] {
            assert_eq!(text.parse::<Template>().unwrap_err().to_string(), message, "{text}");
        }
    }
}
