//! The error document of a registry (distribution-spec), shortened for messages.

use serde::Deserialize;

use crate::path::Escaped;

/// The most bytes of a registry's message that are shown, before escaping.
const SAID_MAX: usize = 1024;

/// The distribution specification's error body.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns `: CODE: message` for the body of an error response, or nothing if the body has no message.
pub(super) fn of_body(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Errors>(body) {
        Ok(Errors { errors }) => {
            let lines = errors.iter().map(|error| match (error.code.as_str(), error.message.as_str()) {
                (one, "") | ("", one) => one.to_owned(),
                (code, message) => format!("{code}: {message}"),
            });
            lines.collect::<Vec<_>>().join("; ").into_bytes()
        }
        // An HTML page is not useful in a message.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => Vec::new(),
        Err(_) => body.trim_ascii().to_vec(),
    };
    if text.is_empty() { String::new() } else { format!(": {}", cut(&text)) }
}

/// Returns an untrusted text, escaped and shortened.
pub(super) fn escaped(text: impl AsRef<[u8]>) -> String {
    cut(text.as_ref())
}

fn cut(bytes: &[u8]) -> String {
    let shown = Escaped(&bytes[..bytes.len().min(SAID_MAX)]).to_string();
    if bytes.len() > SAID_MAX { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_errors_are_shown_in_a_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m","detail":{"x":1}},{"code":"UNKNOWN"}]}"#;
        assert_eq!(of_body(body), r": DENIED: no\x1b[31m; UNKNOWN");
        assert_eq!(of_body(b""), "");
        assert_eq!(of_body(b"<html><body>busy</body></html>"), "");
        assert_eq!(of_body(b" try later\n"), ": try later");
    }

    #[test]
    fn messages_are_cut_and_escaped() {
        let long = of_body(&[b'E'; 5000]);
        assert_eq!(long, format!(": {}…", "E".repeat(1024)));
        assert_eq!(of_body(b"\xff\n\x1b]0;x\x07"), r": \xff\x0a\x1b]0;x\x07");
    }
}
