//! A difference between filesystem and tree, by path and field.

use std::fmt;

use serde::Serialize;

use crate::path::Escaped;

/// How many differences are kept; all are counted.
const KEPT: usize = 10_000;

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Field {
    /// The filesystem's state.
    State,
    /// A directory's names.
    Names,
    /// Which inode a name leads to.
    Inode,
    /// The type byte of a directory's record.
    RecordType,
    /// The type of an inode.
    Type,
    /// Permissions, setuid, setgid, sticky.
    Mode,
    /// The owner.
    Uid,
    /// The group.
    Gid,
    /// The size in bytes.
    Size,
    /// The modification time.
    Mtime,
    /// The link count.
    Links,
    /// A device's number.
    Device,
    /// A symlink's target.
    Target,
    /// An extended attribute.
    Xattrs,
    /// A file's bytes.
    Content,
}

impl Field {
    fn text(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Names => "names",
            Self::Inode => "inode",
            Self::RecordType => "record type",
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::Links => "link count",
            Self::Device => "device",
            Self::Target => "target",
            Self::Xattrs => "xattr",
            Self::Content => "content",
        }
    }
}

/// One difference, ready to be shown: nothing of it reaches a terminal unescaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The path, escaped, with a leading `/`.
    pub path: String,
    /// What differs.
    pub field: Field,
    /// What the tree says.
    pub expected: String,
    /// What the filesystem says.
    pub actual: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, field, expected, actual } = self;
        write!(f, "{path}: {} is {actual}, expected {expected}", field.text())
    }
}

/// Differences: the first ten thousand, and the number of all.
#[derive(Debug, Default)]
pub struct Mismatches {
    kept: Vec<Mismatch>,
    count: usize,
}

impl Mismatches {
    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the first of them.
    #[must_use]
    pub fn kept(&self) -> &[Mismatch] {
        &self.kept
    }

    pub(super) fn push(&mut self, path: &[u8], field: Field, expected: impl fmt::Display, actual: impl fmt::Display) {
        self.count += 1;
        if self.kept.len() < KEPT {
            let path = format!("/{}", Escaped(path));
            self.kept.push(Mismatch { path, field, expected: expected.to_string(), actual: actual.to_string() });
        }
    }

    pub(super) fn push_unless_equal<T: PartialEq + fmt::Display>(
        &mut self,
        path: &[u8],
        field: Field,
        expected: T,
        actual: T,
    ) {
        if expected != actual {
            self.push(path, field, expected, actual);
        }
    }
}

/// Bytes of an image as a difference shows them.
pub(super) fn bytes(bytes: &[u8]) -> String {
    crate::path::Quoted(bytes).to_string()
}
