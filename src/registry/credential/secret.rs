//! A password or a token, which nothing prints.

use std::fmt;

/// A secret: it has no `Display`, and its `Debug` is `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret; NULs around it go, as docker pads with them.
    #[must_use]
    pub fn new(text: String) -> Self {
        if text.starts_with('\0') || text.ends_with('\0') {
            return Self(text.trim_matches('\0').to_owned());
        }
        Self(text)
    }

    /// Returns it, for what is sent to a registry or its realm, and for nothing else.
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
    fn padding_goes_and_nothing_is_shown() {
        for text in ["p", "p\0\0", "\0p"] {
            assert_eq!(Secret::new(text.into()).expose(), "p");
        }
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "…");
    }
}
