//! Passwords and tokens, which are never printed.

use std::fmt;

/// A secret without `Display`, whose `Debug` is `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns a secret without surrounding NULs, with which docker pads.
    #[must_use]
    pub fn new(text: String) -> Self {
        if text.starts_with('\0') || text.ends_with('\0') {
            return Self(text.trim_matches('\0').to_owned());
        }
        Self(text)
    }

    /// Returns the text, for requests to a registry or its realm only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_removed_and_secrets_are_hidden() {
        for text in ["p", "p\0\0", "\0p"] {
            assert_eq!(Secret::new(text.into()).expose(), "p");
        }
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "…");
    }
}
