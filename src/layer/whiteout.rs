//! Whiteout markers: the names of marker entries (image-spec `layer.md`, Whiteouts).
//!
//! No other module knows the prefix.

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
    /// The path that is hidden.
    Explicit(ImagePath),
    /// The directory whose children are hidden.
    Opaque(ImagePath),
}

impl Whiteout {
    /// Returns the path that is hidden, or the directory whose children are hidden.
    #[must_use]
    pub fn path(&self) -> &ImagePath {
        match self {
            Self::Explicit(path) | Self::Opaque(path) => path,
        }
    }
}

/// The class of an entry, from the last name of its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameClass {
    /// An ordinary entry.
    Ordinary,
    /// A marker.
    Marker(Whiteout),
    /// AUFS bookkeeping: not part of the tree, but hard links to it are valid.
    Bookkeeping,
    /// A marker that names no file (`.wh.`, `.wh..`, `.wh...`).
    Invalid,
}

/// Returns true for a name that a layer cannot give to a file.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// Classifies the last name of an entry's path.
#[must_use]
pub fn classify(path: &ImagePath) -> NameClass {
    let Some((parent, name)) = path.split_last() else {
        return NameClass::Ordinary;
    };
    if name == OPAQUE {
        return NameClass::Marker(Whiteout::Opaque(ImagePath::join(parent, b"")));
    }
    if is_bookkeeping(name) {
        return NameClass::Bookkeeping;
    }
    match name.strip_prefix(PREFIX) {
        None => NameClass::Ordinary,
        Some(b"" | b"." | b"..") => NameClass::Invalid,
        Some(hidden) => NameClass::Marker(Whiteout::Explicit(ImagePath::join(parent, hidden))),
    }
}

/// Returns true if a name is AUFS bookkeeping.
#[must_use]
pub fn is_bookkeeping(name: &[u8]) -> bool {
    name.starts_with(BOOKKEEPING)
}

/// Returns true if a parent of the path has a name with the marker prefix that is not bookkeeping.
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

    fn explicit(raw: &[u8]) -> NameClass {
        NameClass::Marker(Whiteout::Explicit(path(raw)))
    }

    #[test]
    fn the_last_name_decides_the_whiteout() {
        let table: &[(&[u8], NameClass)] = &[
            (b"", NameClass::Ordinary),
            (b"etc/passwd", NameClass::Ordinary),
            (b".wh.etc/passwd", NameClass::Ordinary),
            (b".WH.etc", NameClass::Ordinary),
            (b"a.wh.b", NameClass::Ordinary),
            (b".wh.etc", explicit(b"etc")),
            (b"a/.wh.b", explicit(b"a/b")),
            (b"./a/.wh.b/", explicit(b"a/b")),
            (b".wh.\xff", explicit(b"\xff")),
            (b".wh....", explicit(b"...")),
            (b".wh..hidden", explicit(b".hidden")),
            (b".wh..wh.x", NameClass::Bookkeeping),
            (b".wh..wh.", NameClass::Bookkeeping),
            (b"a/.wh..wh.plnk", NameClass::Bookkeeping),
            (b".wh..wh..opq", NameClass::Marker(Whiteout::Opaque(path(b"")))),
            (b"a/b/.wh..wh..opq", NameClass::Marker(Whiteout::Opaque(path(b"a/b")))),
            (b".wh.", NameClass::Invalid),
            (b"a/.wh..", NameClass::Invalid),
            (b"a/.wh...", NameClass::Invalid),
        ];
        for (raw, want) in table {
            assert_eq!(classify(&path(raw)), *want, "{:?}", path(raw));
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
