//! One inode.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use sha2::{Digest as _, Sha256};

use crate::Mtime;

/// An inode: all properties of a file except its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The type, with the properties of that type.
    pub kind: Kind,
    /// The permission bits, 0 to 07777.
    pub mode: u16,
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The mtime.
    pub mtime: Mtime,
    /// The xattrs by full name; POSIX ACLs in the kernel's form.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The type of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Contents),
    /// A directory.
    Directory,
    /// A symlink and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A fifo.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// Returns the letter of the type in a listing.
    #[must_use]
    pub fn letter(&self) -> char {
        match self {
            Self::File(_) => 'f',
            Self::Directory => 'd',
            Self::Symlink(_) => 'l',
            Self::CharDevice { .. } => 'c',
            Self::BlockDevice { .. } => 'b',
            Self::Fifo => 'p',
            Self::Socket => 's',
        }
    }
}

impl Node {
    /// Returns an inode owned by root, with mtime 0 and without xattrs.
    #[must_use]
    pub fn new(kind: Kind, mode: u16) -> Self {
        Self { kind, mode, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: BTreeMap::new() }
    }

    /// Returns a regular file, mode 0644; see [`Node::new`].
    #[must_use]
    pub fn file(content: impl AsRef<[u8]>) -> Self {
        Self::new(Kind::File(Contents::of(content.as_ref())), 0o644)
    }

    /// Returns a directory, mode 0755; see [`Node::new`].
    #[must_use]
    pub fn directory() -> Self {
        Self::new(Kind::Directory, 0o755)
    }

    /// Returns a symlink, mode 0777; see [`Node::new`].
    #[must_use]
    pub fn symlink(target: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::Symlink(target.into()), 0o777)
    }
}

/// The content of a file: size and digest, and the bytes if they are few.
///
/// Only size and digest are compared.
#[derive(Clone)]
pub struct Contents {
    size: u64,
    sha256: [u8; 32],
    text: Option<Vec<u8>>,
}

impl Contents {
    /// The most bytes that are kept.
    const SHORT: usize = 64;

    /// Returns the contents of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let text = (bytes.len() <= Self::SHORT).then(|| bytes.to_vec());
        Self { size: bytes.len() as u64, sha256: Sha256::digest(bytes).into(), text }
    }

    /// Returns contents with a known size and digest only.
    #[must_use]
    pub fn known_by(size: u64, sha256: [u8; 32]) -> Self {
        Self { size, sha256, text: None }
    }

    /// Reads a source to its end.
    ///
    /// # Errors
    ///
    /// The reader fails.
    pub fn read(mut reader: impl io::Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut text = Vec::new();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..count];
            hasher.update(bytes);
            size += count as u64;
            text.extend_from_slice(&bytes[..count.min(Self::SHORT + 1 - text.len())]);
        }
        let text = (text.len() <= Self::SHORT).then_some(text);
        Ok(Self { size, sha256: hasher.finalize().into(), text })
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Returns the bytes, if they are few and known.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        self.text.as_deref()
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        (self.size, self.sha256) == (other.size, other.sha256)
    }
}

impl Eq for Contents {}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_equal_by_size_and_digest() {
        let seen = Contents::of(b"content");
        assert_eq!(seen, Contents::known_by(7, seen.sha256()));
        assert_ne!(seen, Contents::known_by(8, seen.sha256()));
        assert_ne!(seen, Contents::of(b"kontent"));
    }

    #[test]
    fn a_reader_gives_the_contents_of_its_bytes() {
        for length in [0, 1, 64, 65, 70_000, 1 << 17] {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let read = Contents::read(&bytes[..]).unwrap();
            assert_eq!(read, Contents::of(&bytes));
            assert_eq!(read.text(), Contents::of(&bytes).text(), "{length}");
        }
    }
}
