//! The changes of one layer, independent of tar.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::listing::Absent;
pub use super::octets::Octets;
use super::spool::Spool;
use super::store::Store;
use super::whiteout::Whiteout;
pub use super::xattrs::{Xattr, Xattrs};
use super::zeros::is_zero;
use crate::memory::ALLOCATION;
use crate::path::ImagePath;
pub use crate::tar::Extent;
use crate::time::Timestamp;

/// One step of a changeset.
#[derive(Debug, Clone)]
pub struct Change {
    /// The number of its tar entry, from 1.
    pub number: u64,
    /// The action.
    pub action: Action,
}

/// The effect of a change on the tree.
#[derive(Debug, Clone)]
pub enum Action {
    /// Adds or replaces a name.
    Add(Entry),
    /// Hides names of lower layers.
    Hide(Whiteout),
    /// Adds a name for the caller, who means what is there: no directory is replaced, and none by anything else.
    Put(Entry, Existing),
}

/// The treatment of a directory that exists where one is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Keep,
    /// It gets the metadata of the entry.
    Set,
    /// Whatever exists stays as it is; a directory that is made is noted.
    Fill,
}

/// A name that a layer adds or replaces.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The path.
    pub path: ImagePath,
    /// True if it is AUFS bookkeeping: a hidden source of hard links.
    pub bookkeeping: bool,
    /// Owner, mode, mtime and xattrs; those of a hard link are ignored, with a note.
    pub metadata: Metadata,
    /// The kind of file and its content.
    pub body: Body,
}

/// The metadata of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The permission bits with setuid, setgid and sticky: 07777 at most.
    pub mode: u16,
    /// The uid, 0 to 2^32-2.
    pub uid: u32,
    /// The gid, 0 to 2^32-2.
    pub gid: u32,
    /// The mtime, within the range of ext4.
    pub mtime: Timestamp,
    /// The xattrs; POSIX ACLs have the kernel's form (version 2), or are text until
    /// `Tree::resolve_acls`.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// Returns the metadata of a directory that no layer describes: mode 0755, owned by root, with the given mtime.
    #[must_use]
    pub fn implied(mtime: Timestamp) -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: Xattrs::default() }
    }
}

/// The kind of file that an entry creates.
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
    /// A further name of an existing inode.
    HardLink(ImagePath),
}

/// The kind and number of a device node, within the range of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The kind: character or block.
    pub kind: DeviceKind,
    /// The major number, 0 to 4,095.
    pub major: u32,
    /// The minor number, 0 to 1,048,575.
    pub minor: u32,
}

/// The kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
}

/// The bytes of a file: a part of its layer's mapped spool, and the positions of its holes.
#[derive(Clone, Default)]
pub struct Content(Form);

/// Kept small: an image has many files, and few of them are sparse.
#[derive(Clone, Default)]
enum Form {
    #[default]
    Empty,
    Spooled {
        spool: Arc<Spool>,
        start: u64,
        len: u64,
    },
    Held(Box<Bytes>),
    Sparse(Box<Sparse>),
    /// The layer comes from a listing.
    Absent {
        layer: Arc<Absent>,
        len: u64,
    },
}

#[derive(Clone)]
struct Sparse {
    size: u64,
    stored: Content,
    /// The pieces, each as offset and length.
    map: Octets,
}

/// Bytes of an encoded piece: offset and length.
const PIECE: usize = 16;

impl Content {
    /// Returns a file without holes.
    #[must_use]
    pub fn dense(stored: Bytes) -> Self {
        Self(if stored.is_empty() { Form::Empty } else { Form::Held(Box::new(stored)) })
    }

    /// Returns a file without holes whose bytes are a part of a spool.
    #[must_use]
    pub fn spooled(spool: &Arc<Spool>, start: u64, len: u64) -> Self {
        Self(if len == 0 { Form::Empty } else { Form::Spooled { spool: Arc::clone(spool), start, len } })
    }

    /// Returns a file whose bytes a listing does not have. Reading it gives none, and is recorded.
    #[must_use]
    pub(super) fn absent(layer: &Arc<Absent>, len: u64) -> Self {
        Self(if len == 0 { Form::Empty } else { Form::Absent { layer: Arc::clone(layer), len } })
    }

    /// Returns a file of `size` bytes whose `pieces`, in order, are stored consecutively in `self`.
    ///
    /// The pieces are sorted, do not overlap, end before `size`, and add up to the stored bytes.
    #[must_use]
    pub fn spread(self, size: u64, pieces: &[Extent]) -> Self {
        debug_assert_eq!(pieces.iter().map(|p| p.len).sum::<u64>(), self.stored_len());
        let map: Vec<u8> =
            pieces.iter().flat_map(|p| [p.offset.to_le_bytes(), p.len.to_le_bytes()]).flatten().collect();
        Self(Form::Sparse(Box::new(Sparse { size, stored: self, map: (&*map).into() })))
    }

    /// Returns the memory that the content takes beyond the value itself if its map is kept in a store.
    pub(crate) fn memory(&self, store: &Store) -> u64 {
        match &self.0 {
            Form::Sparse(sparse) => size_of::<Sparse>() as u64 + ALLOCATION + store.memory_of(sparse.map.len()),
            Form::Empty | Form::Spooled { .. } | Form::Held(_) | Form::Absent { .. } => 0,
        }
    }

    /// Moves the map of a sparse file into a store.
    ///
    /// # Errors
    ///
    /// The store cannot write it.
    pub(crate) fn keep_in(&mut self, store: &mut Store) -> std::io::Result<()> {
        if let Form::Sparse(sparse) = &mut self.0 {
            sparse.map = store.keep(&sparse.map)?;
        }
        Ok(())
    }

    /// Returns the file's size in bytes, holes included.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.0 {
            Form::Sparse(sparse) => sparse.size,
            Form::Empty | Form::Spooled { .. } | Form::Held(_) | Form::Absent { .. } => self.stored_len(),
        }
    }

    /// Returns the number of stored bytes.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        match &self.0 {
            Form::Empty => 0,
            Form::Spooled { len, .. } | Form::Absent { len, .. } => *len,
            Form::Held(bytes) => bytes.len() as u64,
            Form::Sparse(sparse) => sparse.stored.stored_len(),
        }
    }

    fn stored(&self) -> &[u8] {
        match &self.0 {
            Form::Empty => &[],
            Form::Spooled { spool, start, len } => spool.range(*start, *len),
            Form::Held(bytes) => bytes,
            Form::Sparse(sparse) => sparse.stored.stored(),
            Form::Absent { layer, .. } => {
                layer.want();
                &[]
            }
        }
    }

    /// Returns the pieces of a sparse file; `None` for a file without holes.
    fn pieces(&self) -> Option<impl Iterator<Item = Extent>> {
        let Form::Sparse(sparse) = &self.0 else { return None };
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
        let pieces = sparse.map.chunks_exact(PIECE);
        Some(pieces.map(move |piece| Extent { offset: word(piece), len: word(&piece[8..]) }))
    }

    /// Returns the stored runs in order, each with its offset in the file, 4 MiB at most. The bytes between runs are
    /// zero.
    pub fn runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.unread_runs().map(|run| (run.offset, run.bytes)).inspect(|(_, bytes)| self.touch(bytes.len() as u64))
    }

    /// Returns the runs of [`Content::runs`] for a caller who asks for their zeros and does not read them.
    pub(crate) fn unread_runs(&self) -> impl Iterator<Item = UnreadRun<'_>> {
        let pieces = self.pieces();
        let dense = pieces.is_none().then_some(Extent { offset: 0, len: self.stored_len() });
        let extents = pieces.into_iter().flatten().chain(dense);
        let (spool, mut rest) = (self.spool(), self.stored());
        let mut at = spool.map_or(0, |(_, start)| start);
        let runs = extents.filter_map(move |extent| {
            let (head, tail) = rest.split_at_checked(usize::try_from(extent.len).ok()?)?;
            let run = (extent.offset, at, head);
            (rest, at) = (tail, at + extent.len);
            Some(run)
        });
        runs.flat_map(|(offset, at, bytes)| {
            (offset..).step_by(RUN_MAX).zip((at..).step_by(RUN_MAX)).zip(bytes.chunks(RUN_MAX))
        })
        .map(move |((offset, at), bytes)| UnreadRun {
            offset,
            bytes,
            at,
            spool: spool.map(|(spool, _)| spool),
        })
    }

    /// Returns the spool of the stored bytes, with the position of the first.
    fn spool(&self) -> Option<(&Spool, u64)> {
        match &self.0 {
            Form::Spooled { spool, start, .. } => Some((spool, *start)),
            Form::Sparse(sparse) => sparse.stored.spool(),
            Form::Empty | Form::Held(_) | Form::Absent { .. } => None,
        }
    }

    /// Counts `amount` stored bytes as about to be read; [`Content::runs`] does so for its own.
    pub fn touch(&self, amount: u64) {
        match &self.0 {
            Form::Spooled { spool, .. } => spool.touch(amount),
            Form::Sparse(sparse) => sparse.stored.touch(amount),
            Form::Empty | Form::Held(_) | Form::Absent { .. } => {}
        }
    }
}

/// A stored run of a file that is not read.
#[derive(Clone, Copy)]
pub(crate) struct UnreadRun<'a> {
    /// The offset in the file.
    pub offset: u64,
    bytes: &'a [u8],
    /// The position in the spool.
    at: u64,
    spool: Option<&'a Spool>,
}

impl UnreadRun<'_> {
    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if all bytes of a part are zero, or there are none.
    pub fn is_zero(&self, part: Range<usize>) -> bool {
        let (start, bytes) = (part.start, &self.bytes[part]);
        self.spool.map_or_else(|| is_zero(bytes), |spool| spool.is_zero(self.at + start as u64, bytes))
    }
}

/// The longest run: the bytes of a file that may be in memory at once.
const RUN_MAX: usize = 4 << 20;

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({} bytes, {} stored)", self.size(), self.stored_len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_locate_every_stored_byte() {
        let runs = |content: &Content| content.runs().map(|(at, bytes)| (at, bytes.to_vec())).collect::<Vec<_>>();
        assert_eq!(runs(&Content::dense(Bytes::from_static(b"abc"))), [(0, b"abc".to_vec())]);
        assert_eq!(runs(&Content::dense(Bytes::new())), []);
        let pieces = [Extent { offset: 0, len: 2 }, Extent { offset: 9, len: 0 }, Extent { offset: 10, len: 1 }];
        let sparse = Content::dense(Bytes::from_static(b"abc")).spread(20, &pieces);
        assert_eq!(runs(&sparse), [(0, b"ab".to_vec()), (10, b"c".to_vec())]);
        assert_eq!(sparse.size(), 20);
    }
}
