//! Differences between filesystem and tree, by path and field.

use std::fmt;

use serde::Serialize;

use crate::path::Escaped;

/// The number of differences that are kept, with a limit on their bytes; all are counted.
pub(super) const KEPT: usize = 10_000;
const KEPT_BYTES: usize = 8 << 20;

/// The field of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Field {
    /// The filesystem's state.
    State,
    /// A directory's names.
    Names,
    /// The inode that a name leads to.
    Inode,
    /// The type byte of a directory record.
    RecordType,
    /// The type of an inode.
    Type,
    /// The permission bits with setuid, setgid and sticky.
    Mode,
    /// The uid.
    Uid,
    /// The gid.
    Gid,
    /// The size in bytes.
    Size,
    /// The mtime.
    Mtime,
    /// The link count.
    Links,
    /// The inode flags that `chattr` sets.
    Flags,
    /// The number of a device.
    Device,
    /// The target of a symlink.
    Target,
    /// An xattr.
    Xattrs,
    /// The bytes of a file.
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
            Self::Flags => "flags",
            Self::Device => "device",
            Self::Target => "target",
            Self::Xattrs => "xattr",
            Self::Content => "content",
        }
    }
}

/// One difference, escaped for display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// The path, escaped, with a leading `/`.
    pub path: String,
    /// The field.
    pub field: Field,
    /// The value in the tree.
    pub expected: String,
    /// The value in the filesystem.
    pub actual: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, field, expected, actual } = self;
        write!(f, "{path}: {} is {actual}, expected {expected}", field.text())
    }
}

/// The differences: the first of them, ten thousand and 8 MiB at most, and the number of all.
#[derive(Debug, Default)]
pub struct Mismatches {
    kept: Vec<Mismatch>,
    bytes: usize,
    count: usize,
}

impl Mismatches {
    /// Returns the number of all differences.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the first differences.
    #[must_use]
    pub fn kept(&self) -> &[Mismatch] {
        &self.kept
    }

    pub(super) fn push(&mut self, path: &[u8], field: Field, expected: impl fmt::Display, actual: impl fmt::Display) {
        self.count += 1;
        if self.kept.len() < KEPT && self.bytes < KEPT_BYTES {
            let path = format!("/{}", Escaped(path));
            let (expected, actual) = (expected.to_string(), actual.to_string());
            self.bytes += path.len() + expected.len() + actual.len();
            self.kept.push(Mismatch { path, field, expected, actual });
        }
    }

    /// Counts differences that are not kept.
    pub(super) fn count_more(&mut self, count: usize) {
        self.count += count;
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

/// Returns the bytes of an image as a difference shows them.
pub(super) fn bytes(bytes: &[u8]) -> String {
    crate::path::Quoted(bytes).to_string()
}
