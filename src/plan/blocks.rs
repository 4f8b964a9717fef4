//! How many blocks the files and directories of a tree take.

use super::geometry::BLOCK_SIZE;
use crate::layer::entry::Content;
use crate::tree::Directory;

/// What a directory's block holds beside its names: the checksum.
const DIRECTORY_TAIL: u64 = 12;
/// `.` and `..` in the first block.
const DOTS: u64 = 24;
/// A symlink target below this many bytes stands in the inode itself.
pub const FAST_SYMLINK_MAX: usize = 60;

/// The bytes of records from which on a directory is indexed, as e2fsck does it.
const INDEXED_FROM: u64 = BLOCK_SIZE - 24;
/// Blocks that the root of an index, and each node below it, points to.
const INDEX_ROOT_MAX: u64 = 507;
const INDEX_NODE_MAX: u64 = 510;
const LEAVES_MAX: u64 = INDEX_ROOT_MAX * INDEX_NODE_MAX;

const EXTENTS_IN_INODE: u64 = 4;
const EXTENTS_MAX_IN_BLOCK: u64 = 340;
/// Extents in a block when `mke2fs` splits a full one into halves.
const EXTENTS_PER_BLOCK: u64 = 170;
const BLOCKS_PER_EXTENT: u64 = 32_768;

/// What a file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBlocks {
    /// Blocks with a byte that is not zero (the others are left out), and those of the extents.
    pub blocks: u64,
    /// Extents, if it need not go around anything.
    pub extents: u64,
}

/// Returns what a file takes.
#[must_use]
pub fn of_file(content: &Content) -> FileBlocks {
    let mut blocks = 0;
    let mut extents = 0;
    let mut next = None;
    for block in data_blocks(content) {
        blocks += 1;
        if next != Some(block) || blocks % BLOCKS_PER_EXTENT == 0 {
            extents += 1;
        }
        next = Some(block + 1);
    }
    let tree = if extents <= EXTENTS_IN_INODE {
        0
    } else if extents <= EXTENTS_MAX_IN_BLOCK {
        1
    } else {
        1 + extents.div_ceil(EXTENTS_PER_BLOCK)
    };
    FileBlocks { blocks: blocks + tree, extents }
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

/// Returns the blocks of a directory whose names `mke2fs` links one by one, in byte order, each into the first block
/// with room for it; `start` blocks are there already.
#[must_use]
pub fn of_directory(directory: &Directory, start: u64) -> u64 {
    let mut names: Vec<&[u8]> = directory.names().map(|(name, _)| name).collect();
    names.sort_unstable();
    let full = BLOCK_SIZE - DIRECTORY_TAIL;
    let mut rooms = vec![full; usize::try_from(start.max(1)).unwrap_or(1)];
    rooms[0] -= DOTS;
    // Blocks without room for even the shortest name need not be looked at again.
    let mut first_open = 0;
    for name in names {
        let record = record_bytes(name);
        match rooms[first_open..].iter().position(|room| *room >= record) {
            Some(found) => rooms[first_open + found] -= record,
            None => rooms.push(full - record),
        }
        while rooms.get(first_open).is_some_and(|room| *room < 12) {
            first_open += 1;
        }
    }
    rooms.len() as u64
}

/// Returns the blocks, or a few more, of a directory that the direct engine packs at once, with an index when it needs
/// one; `own` are bytes of records that the tree does not have. `None`: the index would have more than two levels.
#[must_use]
pub fn of_directory_at_once(directory: &Directory, own: u64) -> Option<u64> {
    let (mut bytes, mut longest) = (own, own);
    for (name, _) in directory.names() {
        let record = record_bytes(name);
        bytes += record;
        longest = longest.max(record);
    }
    let full = BLOCK_SIZE - DIRECTORY_TAIL;
    if bytes < INDEXED_FROM {
        return Some(if bytes + DOTS <= full { 1 } else { 2 });
    }
    // A leaf is closed when the next record does not fit; which one that is depends on hashes.
    let leaves = 1 + (bytes - 1) / (full + 4 - longest);
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
        let counts = |bytes: Vec<u8>| {
            let FileBlocks { blocks, extents } = of_file(&dense(bytes));
            (blocks, extents)
        };
        assert_eq!(counts(vec![]), (0, 0));
        assert_eq!(counts(vec![1]), (1, 1));
        assert_eq!(counts(vec![1; 4097]), (2, 1));
        assert_eq!(counts(vec![0; 40_960]), (0, 0));
        let mut last = vec![0; 40_960];
        last[40_959] = 1;
        assert_eq!(counts(last), (1, 1));
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
