//! One member of a tar stream.

use super::sparse::Extent;
use crate::time::Timestamp;

/// A member as its headers describe it, extension headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the stream, from 1; extension headers do not count.
    pub number: u64,
    /// Where its own header stands in the stream, after its extension headers.
    pub header_offset: u64,
    /// Its name as the stream spells it; never with a NUL byte, else any bytes, none included.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: Kind,
    /// The type as the header spells it.
    pub typeflag: u8,
    /// The target of a hard link or symlink, without a NUL byte.
    pub link: Box<[u8]>,
    /// Permissions with setuid, setgid and sticky bit: 07777 at most.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// When the content changed; seconds beyond an `i64` are cut to it.
    pub mtime: Timestamp,
    /// A device's major number, else 0.
    pub major: u64,
    /// A device's minor number, else 0.
    pub minor: u64,
    /// How many bytes a reader of the file sees, holes included; 0 for everything that has no content.
    pub size: u64,
    /// Where the content is.
    pub content: Content,
    /// All of its xattrs, each name once.
    pub xattrs: Vec<Xattr>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says what the kind is")]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// A typeflag that no format defines; whether that is an error depends on the member's name.
    Unknown(u8),
}

impl Kind {
    /// Returns the kind that a typeflag means; a NUL means a directory where the name says so.
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

    /// Returns whether content may follow the header; Go ignores the size of all others, and so does this reader.
    pub(super) fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Unknown(_))
    }
}

/// Where a member's content lies in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The offset of its first stored byte.
    pub offset: u64,
    /// How many bytes are stored, all of them within the stream.
    pub stored: u64,
    /// Where the stored bytes belong, for a sparse file: ascending, without overlaps, within the member's size, together as
    /// long as `stored`. `None`: they are the whole file.
    pub map: Option<Vec<Extent>>,
}

/// An extended attribute, byte-exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The whole name, namespace included.
    pub name: Box<[u8]>,
    /// The value; may be empty.
    pub value: Box<[u8]>,
}
