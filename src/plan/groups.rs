//! Block groups: how many there are, and what each gives to the filesystem itself.

use super::feature::Features;
use super::geometry::{BLOCK_SIZE, INODE_SIZE};

/// The most blocks, and the most inodes, that the bitmaps of a group can count.
pub const PER_GROUP_MAX: u64 = 8 * BLOCK_SIZE;
/// The fewest blocks that `mke2fs -g` takes.
const PER_GROUP_MIN: u64 = 256;
/// What `mke2fs` wants to be free in the last group, or it leaves the group out.
const LAST_GROUP_ROOM: u64 = 50;
const INODES_PER_BLOCK: u64 = BLOCK_SIZE / INODE_SIZE;
/// Groups whose bitmaps and tables lie together with the feature flex_bg.
const FLEX: u64 = 16;
/// Block numbers in the one block that a resize inode has for them.
const RESIZE_BLOCKS_MAX: u64 = BLOCK_SIZE / 4;
/// How many times larger the filesystem can become with a resize inode.
const RESIZE_FACTOR: u64 = 1024;

/// The groups of a filesystem, as `mke2fs` makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks of each group but the last.
    pub per_group: u64,
    /// Inodes of each group.
    pub inodes_per_group: u64,
    /// Blocks of group descriptors behind each superblock, those for a larger filesystem included.
    pub descriptor_blocks: u64,
    /// Whether bitmaps and tables of several groups lie together.
    pub flex: bool,
}

impl Groups {
    /// Returns the groups of a filesystem of so many blocks that has at least so many inodes.
    #[must_use]
    pub fn new(blocks: u64, per_group: u64, inodes: u64, features: Features) -> Self {
        let count = blocks.div_ceil(per_group).max(1);
        let per_block = BLOCK_SIZE / if features.wide() { 64 } else { 32 };
        let mut descriptor_blocks = count.div_ceil(per_block);
        if features.resize_inode() {
            let largest = blocks.saturating_mul(RESIZE_FACTOR).min(u32::MAX.into());
            let wanted = largest.div_ceil(per_group).div_ceil(per_block);
            descriptor_blocks += wanted.saturating_sub(descriptor_blocks).min(RESIZE_BLOCKS_MAX);
        }
        let inodes_per_group = inodes.div_ceil(count).next_multiple_of(INODES_PER_BLOCK);
        Self { blocks, per_group, inodes_per_group, descriptor_blocks, flex: features.flex_bg() }
    }

    /// Returns a group size with which so many groups are almost equally large.
    #[must_use]
    pub fn balanced(blocks: u64, count: u64) -> u64 {
        blocks.div_ceil(count.max(1)).next_multiple_of(8).clamp(PER_GROUP_MIN, PER_GROUP_MAX)
    }

    /// Returns how many groups there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.blocks.div_ceil(self.per_group).max(1)
    }

    /// Returns how many groups put their bitmaps and tables together.
    #[must_use]
    pub fn flex_size(&self) -> u64 {
        if self.flex { FLEX } else { 1 }
    }

    /// Returns the blocks of one inode table.
    #[must_use]
    pub fn table(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// Returns the blocks of superblock and descriptors that a group begins with.
    #[must_use]
    pub fn front(&self, group: u64) -> u64 {
        if has_superblock(group) { 1 + self.descriptor_blocks } else { 0 }
    }

    /// Returns the blocks that a group takes for the filesystem itself, wherever they lie.
    #[must_use]
    pub fn overhead(&self, group: u64) -> u64 {
        self.front(group) + 2 + self.table()
    }

    /// Returns the blocks that all groups take for the filesystem itself.
    #[must_use]
    pub fn overhead_of_all(&self) -> u64 {
        (0..self.count()).map(|group| self.overhead(group)).sum()
    }

    /// Returns the fewest blocks with which this many groups are kept.
    #[must_use]
    pub fn least(&self) -> u64 {
        let last = self.count() - 1;
        last * self.per_group + self.overhead(last) + LAST_GROUP_ROOM
    }

    /// Returns whether `mke2fs` keeps the last group: a full one always.
    #[must_use]
    pub fn keeps_last(&self) -> bool {
        self.blocks.is_multiple_of(self.per_group) || self.blocks >= self.least()
    }

    /// Returns whether the fullest group has room for its own superblock, descriptors, bitmaps and table.
    #[must_use]
    pub fn holds_overhead(&self) -> bool {
        self.overhead(0) <= self.per_group.min(self.blocks)
    }
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
    }

    #[test]
    fn descriptors_are_as_many_as_mke2fs_writes_and_keeps() {
        // Measured with dumpe2fs, e2fsprogs 1.47.0: "Reserved GDT blocks" and one or more in use.
        let blocks = |blocks, list| Groups::new(blocks, PER_GROUP_MAX, 1000, features(list)).descriptor_blocks;
        assert_eq!(blocks(40_000, "extent"), 1);
        assert_eq!(blocks(40_000, "resize_inode"), 1 + 9);
        assert_eq!(blocks(3000, "resize_inode"), 1);
        assert_eq!(blocks(400_000, "resize_inode,64bit"), 1 + 195);
    }

    #[test]
    fn a_last_group_without_room_is_left_out() {
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
