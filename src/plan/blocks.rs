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

const EXTENTS_IN_INODE: u64 = 4;
/// Extents in a block when `mke2fs` splits a full one into halves.
const EXTENTS_PER_BLOCK: u64 = 170;
const BLOCKS_PER_EXTENT: u64 = 32_768;

/// Returns the blocks of a file: those with a byte that is not zero (`mke2fs` leaves the others out), and those of its
/// extents.
#[must_use]
pub fn of_file(content: &Content) -> u64 {
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
    let tree = if extents <= EXTENTS_IN_INODE { 0 } else { 1 + extents.div_ceil(EXTENTS_PER_BLOCK) };
    blocks + tree
}

/// Returns the numbers of the blocks that are not all zero, in order.
fn data_blocks(content: &Content) -> impl Iterator<Item = u64> {
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
        let record = 8 + (name.len() as u64).next_multiple_of(4);
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
        assert_eq!(of_file(&dense(vec![])), 0);
        assert_eq!(of_file(&dense(vec![1])), 1);
        assert_eq!(of_file(&dense(vec![1; 4097])), 2);
        assert_eq!(of_file(&dense(vec![0; 40_960])), 0);
        let mut last = vec![0; 40_960];
        last[40_959] = 1;
        assert_eq!(of_file(&dense(last)), 1);
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
