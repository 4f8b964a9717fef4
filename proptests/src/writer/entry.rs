//! One tar entry, as data.

use super::sparse::{Sparse, SparseFormat};
use crate::Mtime;

/// The type of an entry, by its typeflag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryType {
    /// `0`, a regular file.
    Regular,
    /// NUL, a regular file in archives from before POSIX.
    OldRegular,
    /// `1`, another name of an inode.
    HardLink,
    /// `2`.
    Symlink,
    /// `3`.
    CharDevice,
    /// `4`.
    BlockDevice,
    /// `5`.
    Directory,
    /// `6`.
    Fifo,
    /// `7`, a contiguous file, which all readers treat as a regular one.
    Contiguous,
    /// `g`, PAX records for all following entries; only [`Entry::pax`] is used.
    GlobalHeader,
    /// Any other typeflag.
    Raw(u8),
}

impl EntryType {
    /// Returns the typeflag in the header.
    #[must_use]
    pub fn typeflag(self) -> u8 {
        match self {
            Self::Regular => b'0',
            Self::OldRegular => 0,
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::Contiguous => b'7',
            Self::GlobalHeader => b'g',
            Self::Raw(flag) => flag,
        }
    }
}

/// The encoding of values that the plain header cannot hold: long names and large numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// PAX records for long names, base-256 for large numbers.
    #[default]
    Auto,
    /// The `prefix` field for long names, base-256 for large numbers.
    ///
    /// A name that no `/` splits into 155 and 100 bytes is truncated at 100.
    Ustar,
    /// GNU's `L` and `K` entries for long names, base-256 for large numbers.
    Gnu,
    /// PAX records for both.
    Pax,
}

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// One repeated byte: a large file in a small description.
    Repeat {
        /// The byte.
        byte: u8,
        /// The number of bytes.
        count: usize,
    },
}

impl Content {
    /// Returns the bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Repeat { byte, count } => vec![*byte; *count],
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// One tar entry.
///
/// The constructors return ordinary entries; the methods and fields change them into anything else. Names are bytes and
/// are written unchanged: readers clean them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as spelled.
    pub name: Vec<u8>,
    /// The type.
    pub kind: EntryType,
    /// The permission bits, and any other of 21 bits.
    pub mode: u32,
    /// The uid; -1 and 2^32 are cases, too.
    pub uid: i64,
    /// The gid.
    pub gid: i64,
    /// The mtime; with nanoseconds, the entry gets a PAX record.
    pub mtime: Mtime,
    /// The target of a symlink, or the other name of a hard link.
    pub linkname: Vec<u8>,
    /// The content, written after the header for all types.
    pub content: Content,
    /// The xattrs by full name, written as `SCHILY.xattr.` records.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Further PAX records, in order, before all others.
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
    /// The encoding of long names and large numbers.
    pub format: Format,
    /// The major number of a device.
    pub major: i64,
    /// The minor number of a device.
    pub minor: i64,
    /// The size in the header, instead of the content's.
    pub size: Option<u64>,
    /// True for a checksum that is off by one.
    pub bad_checksum: bool,
    /// True for PAX records before GNU's long names instead of after them.
    pub pax_first: bool,
    /// The segments of a file with holes.
    pub sparse: Option<Sparse>,
}

impl Entry {
    /// Returns an entry of a type, empty and owned by root, mode 0644 and mtime 0.
    #[must_use]
    pub fn new(kind: EntryType, name: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Mtime::default(),
            linkname: Vec::new(),
            content: Content::Bytes(Vec::new()),
            xattrs: Vec::new(),
            pax: Vec::new(),
            format: Format::Auto,
            major: 0,
            minor: 0,
            size: None,
            bad_checksum: false,
            pax_first: false,
            sparse: None,
        }
    }

    /// Returns a regular file, mode 0644.
    #[must_use]
    pub fn file(name: impl Into<Vec<u8>>, content: impl Into<Content>) -> Self {
        Self { content: content.into(), ..Self::new(EntryType::Regular, name) }
    }

    /// Returns a directory, mode 0755. The name of the root is `./`.
    #[must_use]
    pub fn dir(name: impl Into<Vec<u8>>) -> Self {
        Self { mode: 0o755, ..Self::new(EntryType::Directory, name) }
    }

    /// Returns a symlink, mode 0777.
    #[must_use]
    pub fn symlink(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { mode: 0o777, linkname: target.into(), ..Self::new(EntryType::Symlink, name) }
    }

    /// Returns a hard link to the existing name `target`.
    #[must_use]
    pub fn hardlink(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self { linkname: target.into(), ..Self::new(EntryType::HardLink, name) }
    }

    /// Returns a character device, mode 0644.
    #[must_use]
    pub fn char_device(name: impl Into<Vec<u8>>, major: i64, minor: i64) -> Self {
        Self { major, minor, ..Self::new(EntryType::CharDevice, name) }
    }

    /// Returns a block device, mode 0644.
    #[must_use]
    pub fn block_device(name: impl Into<Vec<u8>>, major: i64, minor: i64) -> Self {
        Self { major, minor, ..Self::new(EntryType::BlockDevice, name) }
    }

    /// Returns a fifo, mode 0644.
    #[must_use]
    pub fn fifo(name: impl Into<Vec<u8>>) -> Self {
        Self::new(EntryType::Fifo, name)
    }

    /// Returns a marker: an empty file, mode 0. The name is written unchanged, so it must contain `.wh.`.
    #[must_use]
    pub fn whiteout(marker: impl Into<Vec<u8>>) -> Self {
        Self { mode: 0, ..Self::new(EntryType::Regular, marker) }
    }

    /// Returns the marker that makes a directory opaque; the empty name is the root.
    #[must_use]
    pub fn opaque(directory: impl Into<Vec<u8>>) -> Self {
        let mut marker = directory.into();
        if !marker.is_empty() {
            marker.push(b'/');
        }
        marker.extend_from_slice(b".wh..wh..opq");
        Self::whiteout(marker)
    }

    /// Returns PAX records for all following entries.
    #[must_use]
    pub fn global(records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self { pax: records.into_iter().collect(), ..Self::new(EntryType::GlobalHeader, "") }
    }

    /// Returns a file of `real_size` bytes with holes: `data` is cut into the segments (offset, length) in their order.
    #[must_use]
    pub fn sparse(
        name: impl Into<Vec<u8>>,
        format: SparseFormat,
        segments: impl IntoIterator<Item = (u64, u64)>,
        real_size: u64,
        data: impl Into<Content>,
    ) -> Self {
        let sparse = Sparse { format, segments: segments.into_iter().collect(), real_size };
        Self { sparse: Some(sparse), ..Self::file(name, data) }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(self, uid: i64, gid: i64) -> Self {
        Self { uid, gid, ..self }
    }

    /// Sets the modification time; see [`Mtime`] for times before 1970.
    #[must_use]
    pub fn mtime(self, seconds: i64, nanos: u32) -> Self {
        Self { mtime: Mtime { seconds, nanos }, ..self }
    }

    /// Adds an xattr, named in full (`user.a`).
    #[must_use]
    pub fn xattr(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.xattrs.push((name.into(), value.into()));
        self
    }

    /// Adds a PAX record.
    #[must_use]
    pub fn pax(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.pax.push((key.into(), value.into()));
        self
    }

    /// Sets the encoding of long names and large numbers.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Sets the size that the header claims.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    /// Makes the header's checksum wrong by one.
    #[must_use]
    pub fn bad_checksum(self) -> Self {
        Self { bad_checksum: true, ..self }
    }

    /// Returns the bytes of the file that the entry describes, with zeros for its holes.
    ///
    /// Segments that are not within the file or not covered by the content are left out.
    #[must_use]
    pub fn file_bytes(&self) -> Vec<u8> {
        let stored = self.content.to_vec();
        let Some(sparse) = &self.sparse else { return stored };
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut file = vec![0; index(sparse.real_size)];
        let mut rest = &stored[..];
        for &(offset, length) in &sparse.segments {
            let (segment, after) = rest.split_at(index(length).min(rest.len()));
            rest = after;
            if let Some(place) = file.get_mut(index(offset)..index(offset).saturating_add(segment.len())) {
                place.copy_from_slice(segment);
            }
        }
        file
    }

    /// Writes the PAX records before GNU's long names: another extension comes between them and their file.
    #[must_use]
    pub fn pax_first(self) -> Self {
        Self { pax_first: true, ..self }
    }
}
