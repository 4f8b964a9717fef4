//! Makes the output of a tool printable, and equal in every run.

use std::path::Path;

use crate::listing::escape;

/// Returns lines of printable ASCII, without blank ones at the ends; each path is replaced by the name of its place.
pub(super) fn readable(bytes: &[u8], places: &[(&Path, &str)]) -> String {
    let mut bytes = bytes.trim_ascii_end().to_vec();
    for (path, place) in places {
        bytes = replace(&bytes, path.as_os_str().as_encoded_bytes(), place.as_bytes());
    }
    let lines = bytes.split(|&byte| byte == b'\n').map(|line| {
        let words: Vec<String> = line.split(|&byte| byte == b' ').map(words).collect();
        words.join(" ")
    });
    lines.skip_while(String::is_empty).collect::<Vec<_>>().join("\n")
}

/// Quotes are common in sentences, and harmless here.
fn words(word: &[u8]) -> String {
    word.split(|&byte| byte == b'"').map(escape).collect::<Vec<_>>().join("\"")
}

/// Returns the output of a tool as the continuation of a sentence.
pub(super) fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(":\n{said}") }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if let Some(tail) = rest.strip_prefix(from) {
            replaced.extend_from_slice(to);
            rest = tail;
        } else {
            replaced.push(first);
            rest = &rest[1..];
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_and_line_ends_remain() {
        let said = readable(b"\n\x1b[31mno \"a\\b\"\x07\r\nsecond \xe2\x80\x99\xff\n\n", &[]);
        assert_eq!(said, "\\x1b[31mno \"a\\x5cb\"\\x07\\x0d\nsecond \\xe2\\x80\\x99\\xff");
    }

    #[test]
    fn paths_of_a_run_become_placeholders() {
        let places = [(Path::new("/t/x/layout"), "{layout}"), (Path::new("/t/x/out"), "{out}")];
        assert_eq!(readable(b"open /t/x/out/etc: /t/x/layout", &places), "open {out}/etc: {layout}");
    }

    #[test]
    fn empty_output_adds_nothing() {
        assert_eq!(after(&readable(b" \n", &[])), "");
        assert_eq!(after("no"), ":\nno");
    }
}
