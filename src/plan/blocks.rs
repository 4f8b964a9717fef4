//! The number of blocks of the files and directories of a tree.

use mkext4::dirhash::{HashSeed, Signedness, half_md4};

use super::constants::BLOCK_SIZE;
use crate::cancel::Cancel;
use crate::layer::entry::Content;
use crate::tree::Directory;

/// The bytes of a block.
const BLOCK: usize = 4096;
/// Bytes of a directory block that are not for names: the checksum.
const DIRECTORY_TAIL: u64 = 12;
/// Bytes of `.` and `..` in the first block.
const DOTS: u16 = 24;
/// The length below which a symlink target is stored in the inode itself.
pub const FAST_SYMLINK_MAX: usize = 60;

/// The bytes of records from which on a directory is indexed, as e2fsck does it.
const INDEXED_FROM: u64 = BLOCK_SIZE - 24;
/// The number of blocks that the root of an index, and each node below it, points to.
const INDEX_ROOT_MAX: u64 = 507;
const INDEX_NODE_MAX: u64 = 510;
const LEAVES_MAX: u64 = INDEX_ROOT_MAX * INDEX_NODE_MAX;

/// Returns the lengths of a file's runs of blocks with a byte that is not zero; the other blocks are holes.
pub fn runs(content: &Content, cancel: &Cancel) -> impl Iterator<Item = u64> {
    let mut blocks = data_blocks(content, cancel).peekable();
    std::iter::from_fn(move || {
        let mut last = blocks.next()?;
        let mut length = 1;
        while let Some(next) = blocks.next_if_eq(&(last + 1)) {
            (last, length) = (next, length + 1);
        }
        Some(length)
    })
}

/// Returns the numbers of the blocks that are not all zero, in order. The list is incomplete if the run was cancelled,
/// which the caller must check.
pub fn data_blocks(content: &Content, cancel: &Cancel) -> impl Iterator<Item = u64> {
    let mut last = None;
    content
        .unread_runs()
        .take_while(|_| cancel.check().is_ok())
        .flat_map(|run| {
            let to_boundary = usize::try_from((BLOCK_SIZE - run.offset % BLOCK_SIZE) % BLOCK_SIZE).unwrap_or(0);
            let head = to_boundary.min(run.len());
            let first = run.offset / BLOCK_SIZE;
            let from = (run.offset + to_boundary as u64) / BLOCK_SIZE;
            let rest = (head..run.len()).step_by(BLOCK).zip(from..);
            let rest = rest.filter(move |(at, _)| !run.is_zero(*at..run.len().min(at + BLOCK))).map(|(_, block)| block);
            (!run.is_zero(0..head)).then_some(first).into_iter().chain(rest)
        })
        .filter(move |block| last.replace(*block) != Some(*block))
}

/// The free space in the blocks of a directory to which `mke2fs` adds names one by one, each in the first block with
/// space.
#[derive(Debug)]
pub struct DirectoryBlocks {
    rooms: Vec<u16>,
    /// For each length of a record, in words of four bytes, a block before which none has space for it: the space only
    /// shrinks, so no block is examined twice for one length. Empty while there are few blocks.
    first: Box<[u32]>,
    full: u16,
}

impl DirectoryBlocks {
    /// The number of record lengths in words, including 0.
    const LENGTHS: usize = 8 / 4 + 256 / 4 + 1;
    /// The number of blocks that are searched without the table.
    const FEW: usize = 8;

    /// Returns a new directory of `blocks` blocks, with or without checksums.
    #[must_use]
    pub fn new(blocks: u64, checksums: bool) -> Self {
        let full = u16::try_from(if checksums { BLOCK_SIZE - DIRECTORY_TAIL } else { BLOCK_SIZE }).unwrap_or(u16::MAX);
        let mut rooms = vec![full; usize::try_from(blocks.max(1)).unwrap_or(1)];
        rooms[0] -= DOTS;
        Self { rooms, first: Box::default(), full }
    }

    /// Adds a name; returns true if the directory grew by a block.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let record = u16::try_from(record_bytes(name)).unwrap_or(u16::MAX);
        if self.first.is_empty() && self.rooms.len() > Self::FEW {
            self.first = vec![0; Self::LENGTHS].into();
        }
        let first = self.first.get_mut(usize::from(record / 4));
        let from = first.as_ref().map_or(0, |first| **first as usize);
        let found = self.rooms[from..].iter().position(|room| *room >= record).map(|more| from + more);
        if let Some(first) = first {
            *first = u32::try_from(found.unwrap_or(self.rooms.len())).unwrap_or(u32::MAX);
        }
        match found {
            Some(at) => self.rooms[at] -= record,
            None => self.rooms.push(self.full.saturating_sub(record)),
        }
        found.is_none()
    }
}

/// Returns the blocks of a directory that the direct engine packs at once, in hash order if it needs an index; `own` is
/// a name that the tree does not have. `None`: the index would have more than two levels.
#[must_use]
pub fn of_directory_at_once(directory: Directory<'_>, own: Option<&[u8]>, hash_seed: &HashSeed) -> Option<u64> {
    let names = || own.into_iter().chain(directory.names().map(|(name, _)| name));
    let bytes: u64 = names().map(record_bytes).sum();
    let full = BLOCK_SIZE - DIRECTORY_TAIL;
    if bytes < INDEXED_FROM {
        return Some(if bytes + u64::from(DOTS) <= full { 1 } else { 2 });
    }
    let hash = |name| (half_md4(hash_seed, Signedness::Signed, name), name);
    let mut hashed: Vec<((u32, u32), &[u8])> = names().map(hash).collect();
    hashed.sort_unstable();
    let (mut leaves, mut room) = (1, full);
    for (_, name) in hashed {
        let record = record_bytes(name);
        if record > room {
            (leaves, room) = (leaves + 1, full);
        }
        room -= record;
    }
    let nodes = if leaves <= INDEX_ROOT_MAX { 0 } else { leaves.div_ceil(INDEX_NODE_MAX) };
    (leaves <= LEAVES_MAX).then_some(1 + leaves + nodes)
}

/// Returns the bytes of a name's record.
#[must_use]
pub fn record_bytes(name: &[u8]) -> u64 {
    8 + (name.len() as u64).next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::layer::entry::Extent;

    fn dense(bytes: Vec<u8>) -> Content {
        Content::dense(Bytes::from(bytes))
    }

    #[test]
    fn zero_blocks_are_not_written() {
        let runs = |bytes: Vec<u8>| runs(&dense(bytes), &Cancel::default()).collect::<Vec<_>>();
        assert_eq!(runs(vec![]), [0; 0]);
        assert_eq!(runs(vec![1]), [1]);
        assert_eq!(runs(vec![1; 4097]), [2]);
        assert_eq!(runs(vec![0; 40_960]), [0; 0]);
        let mut last = vec![0; 40_960];
        last[40_959] = 1;
        assert_eq!(runs(last.clone()), [1]);
        last[..8192].fill(2);
        assert_eq!(runs(last), [2, 1]);
    }

    #[test]
    fn names_go_into_the_first_block_with_room() {
        let mut rooms = DirectoryBlocks::new(1, true);
        let grown = (0..340).filter(|_| rooms.add(b"abcd")).count();
        assert_eq!(grown, 1, "338 names of 12 bytes fill the first block behind its dots");
        let mut rooms = DirectoryBlocks::new(1, false);
        assert_eq!((0..340).filter(|_| rooms.add(b"abcd")).count(), 1, "without a checksum it is 339");
        let mut rooms = DirectoryBlocks::new(1, true);
        let long = [b'n'; 255];
        assert_eq!((0..16).filter(|_| rooms.add(&long)).count(), 1);
        assert!(!rooms.add(b"short"), "the first block still has room for it");
    }

    #[test]
    fn names_are_placed_by_first_fit() {
        let mut rooms = DirectoryBlocks::new(1, true);
        let mut slow = vec![4084_u64 - 24];
        let mut length = 7;
        for _ in 0..5000 {
            length = (length * 131 + 17) % 255 + 1;
            let name = vec![b'n'; length];
            let record = record_bytes(&name);
            let found = slow.iter_mut().find(|room| **room >= record).map(|room| *room -= record);
            if found.is_none() {
                slow.push(4084 - record);
            }
            assert_eq!(rooms.add(&name), found.is_none());
        }
        assert!(slow.len() > 100 && rooms.rooms.iter().map(|room| u64::from(*room)).eq(slow));
    }

    #[test]
    fn a_shared_block_is_counted_once() {
        let piece = |offset, len| Extent { offset, len };
        let stored = Bytes::from(vec![7; 4100]);
        let content = Content::dense(stored).spread(1 << 30, &[piece(0, 1), piece(100, 1), piece(4095, 4098)]);
        assert_eq!(data_blocks(&content, &Cancel::default()).collect::<Vec<_>>(), [0, 1, 2]);
        let content = Content::dense(Bytes::from(vec![7; 2])).spread(1 << 30, &[piece(5000, 1), piece(1 << 20, 1)]);
        assert_eq!(data_blocks(&content, &Cancel::default()).collect::<Vec<_>>(), [1, 256]);
    }
}
