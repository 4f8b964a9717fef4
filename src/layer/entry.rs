//! What one layer says, entry by entry, freed from tar's spelling.

use std::sync::Arc;

use bytes::Bytes;

use super::spool::Spool;
use super::whiteout::Whiteout;
use crate::path::ImagePath;
pub use crate::tar::{Extent, Xattr};
use crate::time::Timestamp;

/// One step of a changeset.
#[derive(Debug, Clone)]
pub struct Change {
    /// The number of its tar entry, from 1.
    pub number: u64,
    /// What it does.
    pub action: Action,
}

/// What a change does to the tree.
#[derive(Debug, Clone)]
pub enum Action {
    /// Adds or replaces a name.
    Add(Entry),
    /// Hides names of lower layers.
    Hide(Whiteout),
}

/// A name that a layer adds or replaces.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub path: ImagePath,
    /// Whether it is AUFS bookkeeping: a source of hard links that no one sees.
    pub bookkeeping: bool,
    /// Owner, mode, time and xattrs; those of a hard link's header only count as a remark.
    pub metadata: Metadata,
    /// What stands there.
    pub body: Body,
}

/// The metadata of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: 07777 at most.
    pub mode: u16,
    /// Owner, 0 to 2^32-2.
    pub uid: u32,
    /// Group, 0 to 2^32-2.
    pub gid: u32,
    /// Modification time, within what ext4 holds.
    pub mtime: Timestamp,
    /// Extended attributes, sorted by name; POSIX ACLs have the kernel's form (version 2).
    pub xattrs: Box<[Xattr]>,
}

impl Metadata {
    /// Returns the metadata of a directory that no layer describes: 0755, root's, at a given time.
    #[must_use]
    pub fn implied(mtime: Timestamp) -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: Box::default() }
    }
}

/// What an entry makes.
#[derive(Debug, Clone)]
pub enum Body {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symlink with its target, 1 to 4,095 bytes.
    Symlink(Box<[u8]>),
    /// A device node.
    Device(Device),
    /// A fifo.
    Fifo,
    /// One more name for an inode that has a name already.
    HardLink(ImagePath),
}

/// A device node's kind and number, as Linux can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Character or block.
    pub kind: DeviceKind,
    /// 0 to 4,095.
    pub major: u32,
    /// 0 to 1,048,575.
    pub minor: u32,
}

/// The two kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
}

/// A file's bytes: a slice of its layer's mapped spool, and where its holes are.
#[derive(Clone, Default)]
pub struct Content {
    stored: Bytes,
    /// Boxed, for an image has many files and few of them are sparse.
    sparse: Option<Box<Sparse>>,
    spool: Option<Arc<Spool>>,
}

#[derive(Clone)]
struct Sparse {
    size: u64,
    pieces: Box<[Extent]>,
}

impl Content {
    /// Returns a file without holes.
    #[must_use]
    pub fn dense(stored: Bytes) -> Self {
        Self { stored, sparse: None, spool: None }
    }

    /// Returns a file of `size` bytes whose `pieces`, in order, are stored one behind the other.
    ///
    /// The pieces are sorted, do not overlap, end before `size`, and add up to the stored bytes.
    #[must_use]
    pub fn sparse(stored: Bytes, size: u64, pieces: Box<[Extent]>) -> Self {
        debug_assert_eq!(pieces.iter().map(|p| p.len).sum::<u64>(), stored.len() as u64);
        Self { stored, sparse: Some(Box::new(Sparse { size, pieces })), spool: None }
    }

    /// Says of which spool the stored bytes are a slice.
    #[must_use]
    pub fn kept_in(self, spool: Option<Arc<Spool>>) -> Self {
        Self { spool, ..self }
    }

    /// Returns the file's size in bytes, holes included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored_len(), |sparse| sparse.size)
    }

    /// Returns how many bytes are stored.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        self.stored.len() as u64
    }

    /// Returns the stored runs in order: where each begins in the file, and its bytes, 4 MiB at most. What lies between
    /// is zero.
    pub fn runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let dense = self.sparse.is_none().then_some(Extent { offset: 0, len: self.stored_len() });
        let pieces = self.sparse.as_ref().map_or(&[][..], |sparse| &sparse.pieces);
        let extents = pieces.iter().copied().chain(dense);
        let mut rest: &[u8] = &self.stored;
        let runs = extents.filter_map(move |extent| {
            let (head, tail) = rest.split_at_checked(usize::try_from(extent.len).ok()?)?;
            rest = tail;
            Some((extent.offset, head))
        });
        runs.flat_map(|(offset, bytes)| (offset..).step_by(RUN_MAX).zip(bytes.chunks(RUN_MAX)))
            .inspect(|(_, bytes)| self.touch(bytes.len() as u64))
    }

    /// Takes note that so many stored bytes are about to be looked at; [`Content::runs`] does it for its own.
    pub fn touch(&self, amount: u64) {
        self.spool.iter().for_each(|spool| spool.touch(amount));
    }
}

/// The longest run: what may be in memory of a file at once.
const RUN_MAX: usize = 4 << 20;

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes, {} stored)", self.size(), self.stored.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_give_every_stored_byte_its_place() {
        let runs = |content: &Content| content.runs().map(|(at, bytes)| (at, bytes.to_vec())).collect::<Vec<_>>();
        assert_eq!(runs(&Content::dense(Bytes::from_static(b"abc"))), [(0, b"abc".to_vec())]);
        assert_eq!(runs(&Content::dense(Bytes::new())), []);
        let pieces = [Extent { offset: 0, len: 2 }, Extent { offset: 9, len: 0 }, Extent { offset: 10, len: 1 }];
        let sparse = Content::sparse(Bytes::from_static(b"abc"), 20, pieces.into());
        assert_eq!(runs(&sparse), [(0, b"ab".to_vec()), (10, b"c".to_vec())]);
        assert_eq!(sparse.size(), 20);
    }
}
