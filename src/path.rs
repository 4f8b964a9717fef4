//! Names and paths of an image: bytes, validated once, and escaped for display only.
//!
//! Ground floor: independent of tar, layers and ext4 except for Linux's two length limits.

use std::fmt;

/// The longest name of one directory entry, in bytes (`NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// The longest path, and the longest symlink target, in bytes (`PATH_MAX` without its NUL).
pub const PATH_MAX: usize = 4095;

/// Displays bytes of an image: printable ASCII is unchanged, all other bytes, the backslash and the double quote become
/// `\xNN`, so that no raw byte reaches a terminal, a log or a line format.
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' | b'"' => write!(f, "\\x{byte:02x}")?,
                0x20..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// Returns the bytes that [`Escaped`] shows as a text; `None` if it shows none so.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        (rest, bytes) = match first {
            b'\\' => {
                let digits = std::str::from_utf8(after.strip_prefix(b"x")?.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                (&after[3..], bytes)
            }
            0x20..=0x7e => {
                bytes.push(first);
                (after, bytes)
            }
            _ => return None,
        };
    }
    Some(bytes)
}

/// The most bytes of a quoted name in an error message.
const QUOTED_MAX: usize = 200;

/// Displays bytes like [`Escaped`], in double quotes, truncated after 200 bytes.
#[derive(Clone, Copy)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..QUOTED_MAX) {
            Some(head) if self.0.len() > QUOTED_MAX => {
                write!(f, "\"{}\"… ({} bytes)", Escaped(head), self.0.len())
            }
            _ => write!(f, "\"{}\"", Escaped(self.0)),
        }
    }
}

/// Displays bytes like [`Escaped`], truncated after 200 bytes.
#[derive(Clone, Copy)]
pub struct Shortened<'a>(pub &'a [u8]);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..QUOTED_MAX) {
            Some(head) if self.0.len() > QUOTED_MAX => write!(f, "{}… ({} bytes)", Escaped(head), self.0.len()),
            _ => write!(f, "{}", Escaped(self.0)),
        }
    }
}

/// The reason why bytes are not a path inside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// It contains a NUL byte.
    Nul,
    /// A relative path climbs above the root.
    Climbs,
    /// One name is longer than [`NAME_MAX`].
    LongName(usize),
    /// The whole path is longer than [`PATH_MAX`].
    LongPath(usize),
}

/// A cleaned path inside an image: names joined by `/`, without `.`, `..`, empty names or a leading `/`.
///
/// The empty path is the root. Names may exceed [`NAME_MAX`] until [`ImagePath::check_lengths`] has passed: the name of
/// a whiteout marker is four bytes longer than the name that it hides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ImagePath(Box<[u8]>);

impl ImagePath {
    /// Cleans the name of a tar entry: removes `./`, `//`, a trailing `/`, and `a/..` without following symlinks.
    ///
    /// # Errors
    ///
    /// The name contains a NUL byte, or is relative and climbs above the root. An absolute name is clamped at the root,
    /// as in a chroot.
    pub fn of_entry(raw: &[u8]) -> Result<Self, PathFault> {
        Self::clean(raw, raw.first() == Some(&b'/'))
    }

    /// Cleans the target of a hard link, which is always clamped at the root.
    ///
    /// # Errors
    ///
    /// The target contains a NUL byte.
    pub fn of_link_target(raw: &[u8]) -> Result<Self, PathFault> {
        Self::clean(raw, true)
    }

    fn clean(raw: &[u8], clamp: bool) -> Result<Self, PathFault> {
        if raw.contains(&0) {
            return Err(PathFault::Nul);
        }
        let mut names: Vec<&[u8]> = Vec::new();
        for name in raw.split(|&b| b == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    if names.pop().is_none() && !clamp {
                        return Err(PathFault::Climbs);
                    }
                }
                _ => names.push(name),
            }
        }
        Ok(Self(names.join(&b'/').into_boxed_slice()))
    }

    /// Checks the length limits of Linux.
    ///
    /// # Errors
    ///
    /// A name exceeds [`NAME_MAX`] or the path exceeds [`PATH_MAX`] bytes.
    pub fn check_lengths(&self) -> Result<(), PathFault> {
        if let Some(name) = self.names().find(|name| name.len() > NAME_MAX) {
            return Err(PathFault::LongName(name.len()));
        }
        if self.0.len() > PATH_MAX {
            return Err(PathFault::LongPath(self.0.len()));
        }
        Ok(())
    }

    /// Returns true if this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path's bytes, without a leading `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the names from the root downwards.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// Splits off the last name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        })
    }

    /// Returns the path `name` below the directory `parent`, both already clean.
    #[must_use]
    pub fn join(parent: &[u8], name: &[u8]) -> Self {
        if name.is_empty() {
            return Self(parent.into());
        }
        if parent.is_empty() {
            return Self(name.into());
        }
        Self([parent, b"/", name].concat().into_boxed_slice())
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"/{}\"", Escaped(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(raw: &[u8]) -> Result<Vec<u8>, PathFault> {
        ImagePath::of_entry(raw).map(|p| p.as_bytes().to_vec())
    }

    #[test]
    fn entry_names_are_cleaned_once() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b".", b""),
            (b"./", b""),
            (b"/", b""),
            (b"./a//b/", b"a/b"),
            (b"/a/./b", b"a/b"),
            (b"a/../b", b"b"),
            (b"a/..", b""),
            (b"/../../a", b"a"),
            (b"\xff/\n", b"\xff/\n"),
            (b"...", b"..."),
        ];
        for (raw, want) in table {
            assert_eq!(cleaned(raw).unwrap(), *want, "{}", Escaped(raw));
        }
    }

    #[test]
    fn names_with_dot_dot_or_nul_are_refused() {
        assert_eq!(cleaned(b"../a"), Err(PathFault::Climbs));
        assert_eq!(cleaned(b"a/../../b"), Err(PathFault::Climbs));
        assert_eq!(cleaned(b"a\0b"), Err(PathFault::Nul));
    }

    #[test]
    fn link_targets_are_clamped() {
        let target = ImagePath::of_link_target(b"../../etc/passwd").unwrap();
        assert_eq!(target.as_bytes(), b"etc/passwd");
    }

    #[test]
    fn length_limits_equal_those_of_linux() {
        let name = |n: usize| ImagePath::of_entry(&vec![b'n'; n]).unwrap().check_lengths();
        assert_eq!(name(255), Ok(()));
        assert_eq!(name(256), Err(PathFault::LongName(256)));
        let path = |n: usize| ImagePath::of_entry(&b"abcd/".repeat(n)[..5 * n - 1]).unwrap().check_lengths();
        assert_eq!(path(819), Ok(()));
        assert_eq!(path(820), Err(PathFault::LongPath(4099)));
    }

    #[test]
    fn control_bytes_are_escaped() {
        let every: Vec<u8> = (0..=255).collect();
        let text = Escaped(&every).to_string();
        assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        assert_eq!(Escaped(b"a\x1b[31m\"\\").to_string(), r"a\x1b[31m\x22\x5c");
        assert_eq!(Quoted(&[b'x'; 300]).to_string().len(), 2 + 200 + "… (300 bytes)".len());
    }
}
