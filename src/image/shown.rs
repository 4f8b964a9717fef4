//! Strings of an image in messages. Ground floor.

use crate::path::Escaped;

/// The most bytes of a string in a message.
const LENGTH: usize = 200;
/// The most names in a message.
const NAMES: usize = 20;

/// Returns the beginning of a string, for a place, which escapes it.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LENGTH)]
}

/// Returns a string, escaped and truncated.
pub(crate) fn shown(text: &str) -> String {
    let head = cut(text);
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("{}{more}", Escaped(head.as_bytes()))
}

/// Returns a list of displayable names without duplicates.
pub(crate) fn listed(names: impl IntoIterator<Item = String>) -> String {
    let mut list: Vec<String> = Vec::new();
    for name in names {
        if list.contains(&name) {
            continue;
        }
        if list.len() == NAMES {
            list.push("…".into());
            break;
        }
        list.push(name);
    }
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_control_text_is_cut_and_escaped() {
        assert_eq!(shown("a\x1bb"), "a\\x1bb");
        assert_eq!(shown(&"x".repeat(5000)), format!("{}…", "x".repeat(200)));
        assert_eq!(cut(&"é".repeat(200)).len(), 200);
        assert_eq!(cut(&format!("x{}", "é".repeat(200))).len(), 199);
        assert_eq!(listed(["a", "b", "a"].map(String::from)), "a, b");
        assert!(listed((0..100).map(|n| n.to_string())).ends_with("18, 19, …"));
    }
}
