//! How many blocks the files and directories of a tree take.

use mkext4::dirhash::{HashSeed, Signedness, half_md4};

use super::geometry::BLOCK_SIZE;
use crate::layer::entry::Content;
use crate::tree::Directory;

/// What a directory's block holds beside its names: the checksum.
const DIRECTORY_TAIL: u64 = 12;
/// `.` and `..` in the first block.
const DOTS: u16 = 24;
/// A symlink target below this many bytes stands in the inode itself.
pub const FAST_SYMLINK_MAX: usize = 60;

/// The bytes of records from which on a directory is indexed, as e2fsck does it.
const INDEXED_FROM: u64 = BLOCK_SIZE - 24;
/// Blocks that the root of an index, and each node below it, points to.
const INDEX_ROOT_MAX: u64 = 507;
const INDEX_NODE_MAX: u64 = 510;
const LEAVES_MAX: u64 = INDEX_ROOT_MAX * INDEX_NODE_MAX;

/// Returns the runs of blocks that a file takes: those with a byte that is not zero; the others are left out.
pub fn runs(content: &Content) -> impl Iterator<Item = u64> {
    let mut blocks = data_blocks(content).peekable();
    std::iter::from_fn(move || {
        let mut last = blocks.next()?;
        let mut length = 1;
        while let Some(next) = blocks.next_if_eq(&(last + 1)) {
            (last, length) = (next, length + 1);
        }
        Some(length)
    })
}

/// Returns the numbers of the blocks that are not all zero, in order.
pub fn data_blocks(content: &Content) -> impl Iterator<Item = u64> {
    let mut last = None;
    content
        .runs()
        .flat_map(|(offset, bytes)| {
            let to_boundary = usize::try_from((BLOCK_SIZE - offset % BLOCK_SIZE) % BLOCK_SIZE).unwrap_or(0);
            let (head, rest) = bytes.split_at(to_boundary.min(bytes.len()));
            let first = offset / BLOCK_SIZE;
            let from = (offset + to_boundary as u64) / BLOCK_SIZE;
            let rest = rest.chunks(4096).zip(from..).filter(|(chunk, _)| !is_zero(chunk)).map(|(_, block)| block);
            (!is_zero(head)).then_some(first).into_iter().chain(rest)
        })
        .filter(move |block| last.replace(*block) != Some(*block))
}

/// Returns whether all bytes are zero; none are.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (head, words, tail) = (bytes.first(), bytes.chunks_exact(64), bytes);
    // Most blocks of real files differ from zero in their first byte.
    if head.is_some_and(|b| *b != 0) {
        return false;
    }
    let rest = words.remainder();
    tail.chunks_exact(64).all(|chunk| chunk.iter().fold(0, |sum, b| sum | b) == 0) && rest.iter().all(|b| *b == 0)
}

/// The room in the blocks of a directory whose names `mke2fs` links one by one, each into the first block that has it.
#[derive(Debug)]
pub struct Rooms {
    rooms: Vec<u16>,
    /// Blocks before this one have no room for even the shortest name.
    first_open: usize,
    full: u16,
}

impl Rooms {
    const SHORTEST_RECORD: u16 = 12;

    /// Returns a new directory of so many blocks, which end in a checksum or do not.
    #[must_use]
    pub fn new(blocks: u64, checksums: bool) -> Self {
        let full = u16::try_from(if checksums { BLOCK_SIZE - DIRECTORY_TAIL } else { BLOCK_SIZE }).unwrap_or(u16::MAX);
        let mut rooms = vec![full; usize::try_from(blocks.max(1)).unwrap_or(1)];
        rooms[0] -= DOTS;
        Self { rooms, first_open: 0, full }
    }

    /// Adds a name; returns whether the directory grew by a block for it.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let record = u16::try_from(record_bytes(name)).unwrap_or(u16::MAX);
        let found = self.rooms[self.first_open..].iter().position(|room| *room >= record);
        match found {
            Some(at) => self.rooms[self.first_open + at] -= record,
            None => self.rooms.push(self.full.saturating_sub(record)),
        }
        while self.rooms.get(self.first_open).is_some_and(|room| *room < Self::SHORTEST_RECORD) {
            self.first_open += 1;
        }
        found.is_none()
    }
}

/// Returns the blocks of a directory that the direct engine packs at once, in the order of hashes when it needs an
/// index; `own` is a name that the tree does not have. `None`: the index would have more than two levels.
#[must_use]
pub fn of_directory_at_once(directory: &Directory, own: Option<&[u8]>, hash_seed: &HashSeed) -> Option<u64> {
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
        let runs = |bytes: Vec<u8>| runs(&dense(bytes)).collect::<Vec<_>>();
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
        let mut rooms = Rooms::new(1, true);
        let grown = (0..340).filter(|_| rooms.add(b"abcd")).count();
        assert_eq!(grown, 1, "338 names of 12 bytes fill the first block behind its dots");
        let mut rooms = Rooms::new(1, false);
        assert_eq!((0..340).filter(|_| rooms.add(b"abcd")).count(), 1, "without a checksum it is 339");
        let mut rooms = Rooms::new(1, true);
        let long = [b'n'; 255];
        assert_eq!((0..16).filter(|_| rooms.add(&long)).count(), 1);
        assert!(!rooms.add(b"short"), "the first block still has room for it");
    }

    #[test]
    fn pieces_that_share_a_block_count_it_once() {
        let piece = |offset, len| Extent { offset, len };
        let stored = Bytes::from(vec![7; 4100]);
        let content = Content::sparse(stored, 1 << 30, [piece(0, 1), piece(100, 1), piece(4095, 4098)].into());
        assert_eq!(data_blocks(&content).collect::<Vec<_>>(), [0, 1, 2]);
        let content = Content::sparse(Bytes::from(vec![7; 2]), 1 << 30, [piece(5000, 1), piece(1 << 20, 1)].into());
        assert_eq!(data_blocks(&content).collect::<Vec<_>>(), [1, 256]);
    }

    #[test]
    fn zeros_are_told_from_a_single_bit() {
        for len in [0, 1, 63, 64, 65, 4096] {
            assert!(is_zero(&vec![0; len]));
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{len} {at}");
            }
        }
    }
}
