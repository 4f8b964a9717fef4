//! How many blocks an ext4 filesystem itself takes, and how large it must be to hold so many more.
//!
//! The rules are those of `mke2fs` 1.46 to 1.47 for the features that planish asks for: 4 KiB blocks, 256-byte inodes,
//! 32-byte group descriptors, sparse superblocks, no resize inode. The direct engine follows them, but always writes a
//! journal.

use super::engine::Engine;
use crate::error::{ErrorKind, Result};

/// Bytes of a block.
pub const BLOCK_SIZE: u64 = 4096;
/// Bytes of an inode.
pub const INODE_SIZE: u64 = 256;
/// Inode numbers that belong to the filesystem itself; the root is one of them, `lost+found` is the last.
pub const RESERVED_INODES: u64 = 11;

const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_SIZE;
const INODES_PER_GROUP_MAX: u64 = 8 * BLOCK_SIZE;
/// The direct engine puts the bitmaps and tables of 16 groups into the first of them, beside up to 1,025 blocks of
/// superblock and descriptors: 16 * (2 + 1,976) + 1,025 blocks are fewer than a group has.
const INODES_PER_GROUP_MAX_DIRECT: u64 = 1976 * INODES_PER_BLOCK;
/// The direct engine's journal has at least 1,024 blocks and takes at most a quarter of the filesystem.
const BLOCKS_MIN_DIRECT: u64 = 4096;
/// One less than blocks can be numbered with 32 bits.
const BLOCKS_MAX: u64 = u32::MAX as u64 - 1;
const INODES_PER_BLOCK: u64 = BLOCK_SIZE / INODE_SIZE;
const DESCRIPTOR_SIZE: u64 = 32;
/// What `mke2fs` wants to be free in the last group, or it leaves the group out.
const LAST_GROUP_ROOM: u64 = 50;
/// What `mke2fs` may need beyond what is counted: measured, 0 to 8.
const SPARE_BLOCKS: u64 = 8;

/// The layout of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks in all.
    pub blocks: u64,
    /// Inodes in all, as `mke2fs` rounds them.
    pub inodes: u64,
    /// Blocks of the journal; 0 when the filesystem is too small for one.
    pub journal_blocks: u64,
    /// Blocks of superblocks, group descriptors, bitmaps and inode tables.
    pub metadata_blocks: u64,
}

impl Geometry {
    /// Returns the smallest filesystem with `inodes` inodes and room for `content` blocks.
    ///
    /// # Errors
    ///
    /// Its blocks cannot be numbered with 32 bits.
    pub fn smallest(content: u64, inodes: u64, engine: Engine) -> Result<Self> {
        let mut blocks = content;
        loop {
            let at_least = floor(check(blocks)?, inodes, engine);
            let geometry = Self::of(check(at_least)?, inodes, engine);
            let needed = content + spare(at_least) + geometry.metadata_blocks + geometry.journal_blocks;
            if needed <= at_least {
                return Ok(geometry);
            }
            blocks = needed;
        }
    }

    /// Returns the layout of so many blocks, which may be fewer at the end.
    #[must_use]
    pub fn of(blocks: u64, inodes: u64, engine: Engine) -> Self {
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP).max(1);
        let last = blocks % BLOCKS_PER_GROUP;
        if groups > 1 && last != 0 && last < group_overhead(groups - 1, groups, inodes) + LAST_GROUP_ROOM {
            return Self::of(blocks - last, inodes, engine);
        }
        let per_group = inodes_per_group(inodes, groups);
        let metadata_blocks = (0..groups).map(|group| group_overhead(group, groups, inodes)).sum();
        let wanted = default_journal(blocks);
        let journal_blocks = match engine {
            Engine::Direct => wanted,
            Engine::E2fsprogs if 2 * wanted <= blocks.saturating_sub(metadata_blocks) => wanted,
            Engine::E2fsprogs => 0,
        };
        Self { blocks, inodes: per_group * groups, journal_blocks, metadata_blocks }
    }

    /// Returns how many blocks are left for files and directories.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.blocks.saturating_sub(self.metadata_blocks + self.journal_blocks + spare(self.blocks))
    }

    /// Returns the filesystem's size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks * BLOCK_SIZE
    }
}

/// Returns the blocks kept back: a file that crosses into another group may need one more block for its extents.
fn spare(blocks: u64) -> u64 {
    SPARE_BLOCKS + blocks.div_ceil(BLOCKS_PER_GROUP)
}

/// Requires a number of blocks that 32 bits can count.
///
/// # Errors
///
/// [`ErrorKind::Capacity`].
pub fn check(blocks: u64) -> Result<u64> {
    if blocks <= BLOCKS_MAX {
        return Ok(blocks);
    }
    let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_SIZE);
    Err(ErrorKind::Capacity { bytes: bytes(blocks), max: bytes(BLOCKS_MAX) }.into())
}

/// Raises a number of blocks to the next one that the engine takes as it is.
fn floor(blocks: u64, inodes: u64, engine: Engine) -> u64 {
    let (inodes_max, blocks_min) = match engine {
        Engine::E2fsprogs => (INODES_PER_GROUP_MAX, 0),
        Engine::Direct => (INODES_PER_GROUP_MAX_DIRECT, BLOCKS_MIN_DIRECT),
    };
    let groups = blocks.div_ceil(BLOCKS_PER_GROUP).max(inodes.div_ceil(inodes_max)).max(1);
    let last_group = (groups - 1) * BLOCKS_PER_GROUP;
    let at_least = last_group + group_overhead(groups - 1, groups, inodes) + LAST_GROUP_ROOM + 2;
    blocks.max(at_least).max(blocks_min)
}

fn inodes_per_group(inodes: u64, groups: u64) -> u64 {
    inodes.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK)
}

/// Returns the blocks that one group gives to the filesystem itself.
fn group_overhead(group: u64, groups: u64, inodes: u64) -> u64 {
    let bitmaps = 2;
    let table = inodes_per_group(inodes, groups) / INODES_PER_BLOCK;
    let descriptors = (groups * DESCRIPTOR_SIZE).div_ceil(BLOCK_SIZE);
    bitmaps + table + if has_superblock(group) { 1 + descriptors } else { 0 }
}

/// Returns whether a group has a copy of the superblock: 0, 1, and the powers of 3, 5 and 7.
fn has_superblock(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}

/// Returns the size of the journal that `mke2fs` gives a filesystem of so many blocks.
fn default_journal(blocks: u64) -> u64 {
    const STEPS: [(u64, u64); 8] = [
        (2048, 0),
        (32 << 10, 1024),
        (256 << 10, 4 << 10),
        (512 << 10, 8 << 10),
        (4 << 20, 16 << 10),
        (8 << 20, 32 << 10),
        (16 << 20, 64 << 10),
        (32 << 20, 128 << 10),
    ];
    STEPS.iter().find(|(below, _)| blocks < *below).map_or(256 << 10, |(_, journal)| *journal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks_are_sparse() {
        let groups: Vec<_> = (0..60).filter(|g| has_superblock(*g)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49]);
    }

    #[test]
    fn the_smallest_filesystem_has_the_room_and_one_block_less_has_not() {
        for content in [1, 100, 1000, 1990, 3000, 30_000, 32_700, 33_000, 70_000, 300_000, 5_000_000] {
            for inodes in [11, 100, 70_000, 1_200_000] {
                for engine in [Engine::E2fsprogs, Engine::Direct] {
                    let found = Geometry::smallest(content, inodes, engine).unwrap();
                    assert!(found.room() >= content, "{content} {inodes} {found:?}");
                    assert!(found.inodes >= inodes);
                    assert_eq!(Geometry::of(found.blocks, inodes, engine), found, "the last group would be left out");
                }
            }
        }
    }

    #[test]
    fn the_journal_grows_with_the_filesystem_as_mke2fs_lets_it() {
        let journal = |blocks| Geometry::of(blocks, 11, Engine::E2fsprogs).journal_blocks;
        assert_eq!(journal(2000), 0);
        assert_eq!(journal(2060), 1024);
        assert_eq!(journal(40_000), 4096);
        assert_eq!(journal(262_144), 8192);
    }

    #[test]
    fn the_direct_engine_always_has_a_journal_and_room_for_it() {
        for inodes in [11, 300_000, 2_000_000] {
            let smallest = Geometry::smallest(1, inodes, Engine::Direct).unwrap();
            assert!(smallest.blocks >= BLOCKS_MIN_DIRECT);
            assert!(4 * smallest.journal_blocks <= smallest.blocks && smallest.journal_blocks >= 1024);
            let groups = smallest.blocks.div_ceil(BLOCKS_PER_GROUP);
            assert!(smallest.inodes / groups <= INODES_PER_GROUP_MAX_DIRECT);
        }
    }

    #[test]
    fn blocks_that_32_bits_cannot_number_are_refused() {
        let refused = Geometry::smallest(BLOCKS_MAX, 11, Engine::Direct).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Capacity { max: 0xfff_ffff_e000, .. }), "{refused}");
        assert!(Geometry::smallest(BLOCKS_MAX / 2, 11, Engine::Direct).is_ok());
        assert!(check(u64::MAX).is_err());
    }
}
