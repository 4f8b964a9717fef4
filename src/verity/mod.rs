//! dm-verity: a tree of hashes with which Linux checks every block of a device as it is read. Ground floor.
//!
//! The format is that of the kernel (`Documentation/admin-guide/device-mapper/verity.rst`) with hash type 1, SHA-256 and
//! blocks of 4 KiB, behind the superblock that `veritysetup` writes. A hash block has the hashes of 128 blocks of the
//! level below it, each the SHA-256 of the salt and the block. The levels follow the superblock, the highest first; the
//! root hash is that of the one block of the highest level.

mod check;
mod hash;
mod superblock;
mod write;

use std::fmt;
use std::fs::File;
use std::path::Path;

pub(crate) use check::{TreeCheck, check};
pub(crate) use superblock::{Hex, Refusal, Superblock};
pub(crate) use write::write;

/// The size of a block of data or hashes, in bytes.
pub(crate) const BLOCK: u64 = 4096;
/// The number of hashes in a block.
const FANOUT: u64 = BLOCK / HASH as u64;
/// The size of a hash in bytes.
const HASH: usize = 32;

/// The root hash of a dm-verity tree, from which the kernel's trust begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHash([u8; HASH]);

impl RootHash {
    /// Parses 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut bytes = [0; HASH];
        if digits.len() != 2 * HASH {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The data and the tree of hashes: two files, or one in which the tree follows the data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    /// The data, from the beginning of the file.
    pub data: &'a File,
    /// The file with the superblock and the tree.
    pub tree: &'a File,
    /// The offset of the superblock.
    pub offset: u64,
    /// The path of the data, for messages.
    pub data_path: &'a Path,
    /// The path of the tree, for messages.
    pub tree_path: &'a Path,
}

/// A level of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    /// The offset of its first block from the superblock, in bytes.
    offset: u64,
    /// The number of its blocks.
    blocks: u64,
}

/// Returns the levels of a tree over so many blocks, the lowest first.
fn levels(data_blocks: u64) -> Vec<Level> {
    let mut counts = Vec::new();
    let mut below = data_blocks;
    while counts.is_empty() || below > 1 {
        below = below.div_ceil(FANOUT);
        counts.push(below);
    }
    let mut offset = BLOCK;
    let mut levels: Vec<Level> = Vec::new();
    for blocks in counts.into_iter().rev() {
        levels.push(Level { offset, blocks });
        offset += blocks * BLOCK;
    }
    levels.reverse();
    levels
}

/// Returns the size of the superblock and the tree over so many blocks, in bytes.
#[must_use]
pub(crate) fn tree_bytes(data_blocks: u64) -> u64 {
    BLOCK + levels(data_blocks).iter().map(|level| level.blocks * BLOCK).sum::<u64>()
}

/// Returns the number of data blocks if a file of `bytes` bytes is data with its tree behind it.
#[must_use]
pub(crate) fn appended_data_blocks(bytes: u64) -> Option<u64> {
    // The size grows with the number of blocks.
    let size = |blocks: u64| blocks * BLOCK + tree_bytes(blocks);
    let (mut low, mut high) = (1, bytes / BLOCK);
    while low < high {
        let middle = low.midpoint(high);
        if size(middle) < bytes { low = middle + 1 } else { high = middle }
    }
    (low > 0 && size(low) == bytes).then_some(low)
}

#[cfg(test)]
mod tests;
