//! Strings of an image as messages may show them. Ground floor.

use crate::path::Escaped;

/// How many bytes of a string go into a message.
const LENGTH: usize = 200;
/// How many names go into a message.
const NAMES: usize = 20;

/// Returns the beginning of a string, for a place, which escapes it.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LENGTH)]
}

/// Returns a string escaped, and cut.
pub(crate) fn shown(text: &str) -> String {
    let head = cut(text);
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("{}{more}", Escaped(head.as_bytes()))
}

/// Returns names that were made presentable as one list, each once.
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
    fn nothing_long_and_nothing_strange_is_shown() {
        assert_eq!(shown("a\x1bb"), "a\\x1bb");
        assert_eq!(shown(&"x".repeat(5000)), format!("{}…", "x".repeat(200)));
        assert_eq!(cut(&"é".repeat(200)).len(), 200);
        assert_eq!(cut(&format!("x{}", "é".repeat(200))).len(), 199);
        assert_eq!(listed(["a", "b", "a"].map(String::from)), "a, b");
        assert!(listed((0..100).map(|n| n.to_string())).ends_with("18, 19, …"));
    }
}
