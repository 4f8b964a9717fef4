//! The memory of the direct engine, counted in advance: its crate keeps every name three times, 256 bytes of an inode
//! beside its declaration, and all blocks of directories, xattrs and symlinks at once.
//!
//! The sizes are those of `a3s-box-mkext4` 3.3.0 on 64-bit machines; vectors and tables that grow by doubling count
//! with their capacity. The peak is at the end of `seal`.

use super::constants::BLOCK_SIZE;
use super::geometry::Geometry;
use crate::layer::entry::Xattrs;
use crate::memory::ALLOCATION;

/// A declared inode: metadata with four times, kind with the vector and the table of a directory.
const NODE: u64 = 184;
/// The data that `seal` keeps for an inode, in vectors of exact length: a flag (1), numbers (4, 4, 4), xattrs (32), a
/// symlink's extents (96), runs (32), a file's extents (104), and the encoded inode (256).
const SEALED: u64 = 533;
/// The data that planish keeps for an inode (8), and for a file (8).
const HANDLE: u64 = 16;
/// A block with its position, in the list of a directory's blocks and in that of all, which both grow by doubling.
const BLOCK: u64 = BLOCK_SIZE + ALLOCATION + 2 * 32 + 2 * 40;
/// A name's record in its directory, and a slot in the table that finds duplicates.
const RECORD: u64 = 16;
const PLACE: u64 = 25;
/// A directory's plan, and its extents.
const DIRECTORY: u64 = 2 * 168 + 3 * 32;
/// A run of a file: in its extents, and in the list of all runs, which grows by doubling.
const RUN: u64 = 16 + 32;
/// A run of a file with several: declared, and in the file's own list, which both grow by doubling.
const FURTHER_RUN: u64 = 32 + 32;
/// A run while its file is placed: in two temporary lists.
const PLACED_RUN: u64 = 16 + 48;
/// The vector of a file's runs, with a capacity of four.
const FILE: u64 = 4 * 16 + 2 * ALLOCATION;
/// An inode's list of xattrs in a tree, and its part of the inode.
const LIST: u64 = 64 + 112;
const XATTR: u64 = 2 * (56 + 2 * ALLOCATION);
/// The memory that the tree has taken for each inode in the verification, which comes after the direct engine.
const PROOF: u64 = 24;
/// Buffers.
const FIXED: u64 = 1 << 20;

/// The memory of the direct engine.
#[derive(Debug, Default)]
pub(super) struct DirectMemory {
    inodes: u64,
    /// The number of runs of the file that has most.
    most_runs: u64,
    runs: u64,
    bytes: u64,
}

impl DirectMemory {
    /// Counts a name.
    pub fn name(&mut self, name: &[u8]) {
        self.bytes += allocated(name.len() as u64);
    }

    /// Counts an inode without its content.
    pub fn inode(&mut self) {
        self.inodes += 1;
    }

    /// Counts a directory of `names` names in `blocks` blocks.
    pub fn directory(&mut self, names: usize, blocks: u64) {
        let names = names as u64;
        let places = if names < 8 { 8 } else { (names * 8 / 7 + 1).next_power_of_two() };
        self.inode();
        self.bytes +=
            DIRECTORY + blocks * BLOCK + names.next_power_of_two().max(4) * RECORD + places * PLACE + ALLOCATION;
    }

    /// Counts a file of `extents` extents.
    pub fn file(&mut self, extents: u64) {
        self.inode();
        if extents > 0 {
            self.runs += extents;
            self.most_runs = self.most_runs.max(extents);
            self.bytes += FILE;
            if extents > 1 {
                self.bytes += extents * FURTHER_RUN;
            }
            if extents > 4 {
                self.bytes += extents.div_ceil(340) * BLOCK;
            }
        }
    }

    /// Counts a symlink with a target of this length.
    pub fn symlink(&mut self, target: usize) {
        self.inode();
        self.bytes += allocated(target as u64);
        if target >= super::blocks::FAST_SYMLINK_MAX {
            self.bytes += BLOCK + 2 * ALLOCATION + 64;
        }
    }

    /// Counts the xattrs of an inode, as if they needed a block.
    pub fn xattrs(&mut self, xattrs: &Xattrs) {
        let of = |xattr: crate::layer::entry::Xattr<'_>| {
            let bytes = (xattr.name.len() + xattr.value.len()) as u64;
            (XATTR + bytes, bytes)
        };
        let (kept, bytes) = xattrs.iter().map(of).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        // Xattrs of at most 60 bytes with their headers are stored in the inode.
        let block = if bytes > 60 { BLOCK } else { 0 };
        self.bytes += LIST + kept + 4 * 56 + block;
    }

    /// Returns the bytes at the peak; `name_bytes` is the size of all names.
    pub fn bytes(&self, name_bytes: u64) -> u64 {
        let inodes = (self.inodes + 12) * SEALED + self.inodes.next_power_of_two() * NODE + self.inodes * HANDLE;
        let runs = self.runs * RUN + self.most_runs * PLACED_RUN;
        let sum = FIXED + inodes + name_bytes.next_power_of_two() + runs + self.bytes;
        sum.saturating_sub(self.inodes * PROOF)
    }
}

/// Returns the bytes of the bitmaps and descriptors of all groups, the former twice.
pub(super) fn of_groups(geometry: &Geometry) -> u64 {
    geometry.blocks / 8 + geometry.groups.count() * (3 * BLOCK + 64)
}

fn allocated(bytes: u64) -> u64 {
    (bytes + 8).next_multiple_of(16).max(32)
}
