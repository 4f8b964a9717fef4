//! The members of a tar stream.

use super::sparse::{self, Extent};
use crate::time::Timestamp;

/// A member as its headers describe it, with extension headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// The number of the member in the stream, from 1; extension headers do not count.
    pub number: u64,
    /// The offset of its own header in the stream, after its extension headers.
    pub header_offset: u64,
    /// The name as the stream spells it: any bytes, possibly none, but no NUL byte.
    pub name: Box<[u8]>,
    /// The kind of file.
    pub kind: Kind,
    /// The typeflag of the header.
    pub typeflag: u8,
    /// The target of a hard link or symlink, without a NUL byte.
    pub link: Box<[u8]>,
    /// The permission bits with setuid, setgid and sticky: 07777 at most.
    pub mode: u32,
    /// The uid.
    pub uid: u64,
    /// The gid.
    pub gid: u64,
    /// The mtime; seconds beyond an `i64` are clamped to it.
    pub mtime: Timestamp,
    /// The major number of a device, else 0.
    pub major: u64,
    /// The minor number of a device, else 0.
    pub minor: u64,
    /// The size of the file with holes; 0 for members without content.
    pub size: u64,
    /// The position of the content.
    pub content: Content,
    /// All xattrs, each name once.
    pub xattrs: Vec<Xattr>,
    /// Names of xattrs that have two values; `xattrs` has the value that takes precedence.
    pub ambiguous: Vec<Box<[u8]>>,
    /// The ACLs in text form.
    pub acl: AclTexts,
    /// Keys of records about the file that no other field holds.
    pub dropped: Vec<Box<[u8]>>,
    /// Keys of the preceding global headers about files, which are ignored.
    pub skipped: Vec<Box<[u8]>>,
}

/// POSIX ACLs as star and GNU tar write them, not parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclTexts {
    /// The access ACL.
    pub access: Option<Box<[u8]>>,
    /// The default ACL, inherited by files created in the directory.
    pub default: Option<Box<[u8]>>,
}

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// A typeflag that no format defines; the name of the member decides whether that is an error.
    Unknown(u8),
}

impl Kind {
    /// Returns the kind of a typeflag; a NUL means a directory if the name ends with a slash.
    pub(super) fn of(typeflag: u8, name: &[u8]) -> Self {
        match typeflag {
            0 if name.ends_with(b"/") => Self::Directory,
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            other => Self::Unknown(other),
        }
    }

    /// Returns true if content may follow the header; Go ignores the size of all others, and so does this reader.
    pub(super) fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Unknown(_))
    }
}

/// The position of a member's content in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The offset of the first stored byte.
    pub offset: u64,
    /// The number of stored bytes, all of them within the stream.
    pub stored: u64,
    /// The positions of the stored bytes in a sparse file: ascending, without overlaps, within the member's size, in
    /// total as long as `stored`. `None`: the stored bytes are the whole file.
    pub map: Option<Vec<Extent>>,
}

impl Content {
    /// Returns the bytes that the content takes in blocks of one size: those of its map for a sparse file, all stored
    /// bytes for other files.
    #[must_use]
    pub fn allocated(&self, block: u64) -> u64 {
        self.map.as_deref().map_or(self.stored, |map| sparse::allocated(map, block))
    }
}

/// An extended attribute, byte-exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The whole name, with its namespace.
    pub name: Box<[u8]>,
    /// The value; may be empty.
    pub value: Box<[u8]>,
}
