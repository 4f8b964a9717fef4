//! Block groups: their number, and the blocks that each needs for the filesystem's own structures.

use super::constants::{BLOCK_SIZE, INODE_SIZE};
use super::feature::Features;

/// The largest number of blocks, and of inodes, in the bitmaps of a group.
pub const PER_GROUP_MAX: u64 = 8 * BLOCK_SIZE;
/// The least number of blocks that `mke2fs -g` accepts.
const PER_GROUP_MIN: u64 = 256;
/// The number of blocks that must be free in the last group, or `mke2fs` leaves the group out.
const LAST_GROUP_ROOM: u64 = 50;
const INODES_PER_BLOCK: u64 = BLOCK_SIZE / INODE_SIZE;
/// The number of groups whose bitmaps and tables are adjacent with the feature flex_bg.
const FLEX: u64 = 16;
/// The number of block numbers in the one block of a resize inode.
const RESIZE_BLOCKS_MAX: u64 = BLOCK_SIZE / 4;
/// The factor by which the filesystem can grow with a resize inode.
const RESIZE_FACTOR: u64 = 1024;

/// The groups of a filesystem, as `mke2fs` makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// The number of blocks.
    pub blocks: u64,
    /// The number of blocks in each group but the last.
    pub per_group: u64,
    /// The number of inodes in each group.
    pub inodes_per_group: u64,
    /// The number of descriptor blocks after each superblock, including those reserved for a larger filesystem.
    pub descriptor_blocks: u64,
    /// True if bitmaps and tables of several groups are adjacent.
    pub flex: bool,
}

impl Groups {
    /// Returns the groups of a filesystem of `blocks` blocks with at least `inodes` inodes.
    #[must_use]
    pub fn new(blocks: u64, per_group: u64, inodes: u64, features: Features) -> Self {
        let count = blocks.div_ceil(per_group).max(1);
        let per_block = BLOCK_SIZE / if features.wide() { 64 } else { 32 };
        let mut descriptor_blocks = count.div_ceil(per_block);
        if features.resize_inode() {
            let largest = blocks.saturating_mul(RESIZE_FACTOR).min(u32::MAX.into());
            let target = largest.div_ceil(per_group).div_ceil(per_block);
            descriptor_blocks += target.saturating_sub(descriptor_blocks).min(RESIZE_BLOCKS_MAX);
        }
        let inodes_per_group = inodes.div_ceil(count).next_multiple_of(INODES_PER_BLOCK);
        Self { blocks, per_group, inodes_per_group, descriptor_blocks, flex: features.flex_bg() }
    }

    /// Returns the group size with which `count` groups are almost equally large.
    #[must_use]
    pub fn balanced(blocks: u64, count: u64) -> u64 {
        blocks.div_ceil(count.max(1)).next_multiple_of(8).clamp(PER_GROUP_MIN, PER_GROUP_MAX)
    }

    /// Returns the number of groups.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.blocks.div_ceil(self.per_group).max(1)
    }

    /// Returns the number of groups whose bitmaps and tables are adjacent.
    #[must_use]
    pub fn flex_size(&self) -> u64 {
        if self.flex { FLEX } else { 1 }
    }

    /// Returns the number of blocks of one inode table.
    #[must_use]
    pub fn table(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// Returns the number of blocks for superblock and descriptors at the beginning of a group.
    #[must_use]
    pub fn front(&self, group: u64) -> u64 {
        if has_superblock(group) { 1 + self.descriptor_blocks } else { 0 }
    }

    /// Returns the number of blocks of the filesystem's own structures for a group, at any position.
    #[must_use]
    pub fn overhead(&self, group: u64) -> u64 {
        self.front(group) + 2 + self.table()
    }

    /// Returns the number of blocks of the filesystem's own structures for all groups.
    #[must_use]
    pub fn overhead_of_all(&self) -> u64 {
        let (count, front) = (self.count(), self.front(0));
        count * (2 + self.table()) + superblocks(count) * front
    }

    /// Returns the fewest blocks with which this number of groups is kept.
    #[must_use]
    pub fn least(&self) -> u64 {
        let last = self.count() - 1;
        last * self.per_group + (self.overhead(last) + LAST_GROUP_ROOM).min(self.per_group)
    }

    /// Returns true if `mke2fs` keeps the last group: always, if it is full.
    #[must_use]
    pub fn keeps_last(&self) -> bool {
        self.blocks >= self.least()
    }

    /// Returns true if the fullest group has room for its own superblock, descriptors, bitmaps and table.
    #[must_use]
    pub fn holds_overhead(&self) -> bool {
        self.overhead(0) <= self.per_group.min(self.blocks)
    }
}

/// Returns true if a group has a copy of the superblock: 0, 1, and the powers of 3, 5 and 7.
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

/// Returns the number of the first `count` groups that have a copy of the superblock.
fn superblocks(count: u64) -> u64 {
    let powers_of =
        |base: u64| (1..).map_while(|n| base.checked_pow(n)).take_while(|power| *power < count).count() as u64;
    count.min(2) + powers_of(3) + powers_of(5) + powers_of(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(list: &str) -> Features {
        Features::parse(list).unwrap().0
    }

    #[test]
    fn superblocks_are_sparse() {
        let groups: Vec<_> = (0..60).filter(|g| has_superblock(*g)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49]);
        for count in (1..400).chain([16_807, 16_808, 59_049, 59_050, 131_072]) {
            assert_eq!(superblocks(count), (0..count).filter(|g| has_superblock(*g)).count() as u64, "{count}");
        }
    }

    #[test]
    fn descriptor_counts_equal_those_of_mke2fs() {
        // Measured with dumpe2fs, e2fsprogs 1.47.0: "Reserved GDT blocks" and one or more in use.
        let blocks = |blocks, list| Groups::new(blocks, PER_GROUP_MAX, 1000, features(list)).descriptor_blocks;
        assert_eq!(blocks(40_000, "extent"), 1);
        assert_eq!(blocks(40_000, "resize_inode"), 1 + 9);
        assert_eq!(blocks(3000, "resize_inode"), 1);
        assert_eq!(blocks(400_000, "resize_inode,64bit"), 1 + 195);
    }

    #[test]
    fn a_last_group_without_room_is_omitted() {
        // Measured: mke2fs keeps 32,823 blocks and makes 32,768 of 32,822; of 55 blocks it makes a filesystem, of 54 not.
        let keeps = |blocks| Groups::new(blocks, PER_GROUP_MAX, 11, Features::default()).keeps_last();
        assert!(keeps(32_823) && !keeps(32_822) && keeps(32_768) && keeps(55) && !keeps(54));
    }

    #[test]
    fn balanced_groups_differ_by_little() {
        assert_eq!(Groups::balanced(66_000, 3), 22_000);
        assert_eq!(Groups::balanced(3001, 2), 1504);
        assert_eq!(Groups::balanced(100, 2), 256);
    }
}
