//! How a layer spells deletions: the names of marker entries (image-spec `layer.md`, Whiteouts).
//!
//! Only this file knows the prefix.

use crate::path::ImagePath;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// A deletion that a layer makes in the layers below it.
///
/// `Explicit` hides one name and everything under it. `Opaque` hides every child of the directory that
/// holds the marker, but not the directory itself. Neither hides anything that its own layer adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// The path that disappears.
    Explicit(ImagePath),
    /// The directory whose children disappear.
    Opaque(ImagePath),
}

impl Whiteout {
    /// Returns the path that disappears, or the directory whose children do.
    #[must_use]
    pub fn path(&self) -> &ImagePath {
        match self {
            Self::Explicit(path) | Self::Opaque(path) => path,
        }
    }
}

/// What a path's last name says about its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelling {
    /// An ordinary entry.
    Ordinary,
    /// A marker.
    Marker(Whiteout),
    /// AUFS bookkeeping: not part of the tree that a user sees, but hard links to it work.
    Bookkeeping,
    /// A marker that names no file (`.wh.`, `.wh..`, `.wh...`).
    Invalid,
}

/// Reads the last name of an entry's path.
#[must_use]
pub fn spelling(path: &ImagePath) -> Spelling {
    let Some((parent, name)) = path.split_last() else {
        return Spelling::Ordinary;
    };
    if name == OPAQUE {
        return Spelling::Marker(Whiteout::Opaque(ImagePath::join(parent, b"")));
    }
    if is_bookkeeping(name) {
        return Spelling::Bookkeeping;
    }
    match name.strip_prefix(PREFIX) {
        None => Spelling::Ordinary,
        Some(b"" | b"." | b"..") => Spelling::Invalid,
        Some(hidden) => Spelling::Marker(Whiteout::Explicit(ImagePath::join(parent, hidden))),
    }
}

/// Returns whether a name is AUFS bookkeeping.
#[must_use]
pub fn is_bookkeeping(name: &[u8]) -> bool {
    name.starts_with(BOOKKEEPING)
}

/// Returns whether a parent of the path has a name that begins like a marker's without being bookkeeping.
#[must_use]
pub fn marker_among_parents(path: &ImagePath) -> bool {
    let looks_so = |name: &[u8]| name.starts_with(PREFIX) && !is_bookkeeping(name);
    path.split_last().is_some_and(|(parent, _)| parent.split(|&b| b == b'/').any(looks_so))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &[u8]) -> ImagePath {
        ImagePath::of_entry(raw).unwrap()
    }

    fn explicit(raw: &[u8]) -> Spelling {
        Spelling::Marker(Whiteout::Explicit(path(raw)))
    }

    #[test]
    fn the_last_name_decides() {
        let table: &[(&[u8], Spelling)] = &[
            (b"", Spelling::Ordinary),
            (b"etc/passwd", Spelling::Ordinary),
            (b".wh.etc/passwd", Spelling::Ordinary),
            (b".WH.etc", Spelling::Ordinary),
            (b"a.wh.b", Spelling::Ordinary),
            (b".wh.etc", explicit(b"etc")),
            (b"a/.wh.b", explicit(b"a/b")),
            (b"./a/.wh.b/", explicit(b"a/b")),
            (b".wh.\xff", explicit(b"\xff")),
            (b".wh....", explicit(b"...")),
            (b".wh..hidden", explicit(b".hidden")),
            (b".wh..wh.x", Spelling::Bookkeeping),
            (b".wh..wh.", Spelling::Bookkeeping),
            (b"a/.wh..wh.plnk", Spelling::Bookkeeping),
            (b".wh..wh..opq", Spelling::Marker(Whiteout::Opaque(path(b"")))),
            (b"a/b/.wh..wh..opq", Spelling::Marker(Whiteout::Opaque(path(b"a/b")))),
            (b".wh.", Spelling::Invalid),
            (b"a/.wh..", Spelling::Invalid),
            (b"a/.wh...", Spelling::Invalid),
        ];
        for (raw, want) in table {
            assert_eq!(spelling(&path(raw)), *want, "{:?}", path(raw));
        }
    }

    #[test]
    fn a_prefix_among_the_parents_is_seen() {
        assert!(marker_among_parents(&path(b".wh.etc/passwd")));
        assert!(marker_among_parents(&path(b"a/.wh.b/c/d")));
        assert!(!marker_among_parents(&path(b"a/.wh.b")));
        assert!(!marker_among_parents(&path(b".wh..wh.plnk/1.2")));
    }
}
