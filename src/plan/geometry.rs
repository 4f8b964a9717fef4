//! How many blocks an ext4 filesystem itself takes, and how large it must be to hold so many more.
//!
//! The rules are those of `mke2fs` 1.46 to 1.47 for blocks of 4 KiB, inodes of 256 bytes and sparse superblocks. The
//! direct engine follows them, but always writes a journal.

use super::engine::Engine;
use super::feature::Features;
use super::groups::{Groups, PER_GROUP_MAX};
use super::options::Journal;
use crate::error::{ErrorKind, Result};

/// Bytes of a block.
pub const BLOCK_SIZE: u64 = 4096;
/// Bytes of an inode.
pub const INODE_SIZE: u64 = 256;
/// Inode numbers that belong to the filesystem itself; the root is one of them, `lost+found` is the last.
pub const RESERVED_INODES: u64 = 11;

/// The direct engine puts the bitmaps and tables of 16 groups into the first of them, beside up to 1,025 blocks of
/// superblock and descriptors: 16 * (2 + 1,976) + 1,025 blocks are fewer than a group has.
const INODES_PER_GROUP_MAX_DIRECT: u64 = 1976 * BLOCK_SIZE / INODE_SIZE;
/// The direct engine's journal has at least 1,024 blocks and takes at most a quarter of the filesystem.
const BLOCKS_MIN_DIRECT: u64 = 4096;
/// One less than blocks can be numbered with 32 bits.
const BLOCKS_MAX: u64 = u32::MAX as u64 - 1;
/// Kept back for versions of `mke2fs` that place some blocks otherwise; the count for 1.47.0 is exact.
const SPARE_BLOCKS: u64 = 8;
/// How much of a filesystem, and how many blocks, may stay free although nobody asked for it.
const WASTE_PARTS: u64 = 100;
const WASTE_MIN: u64 = 16;

/// What decides how a filesystem is laid out, beside its size.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What writes it.
    pub engine: Engine,
    /// Its features.
    pub features: Features,
    /// Its journal.
    pub journal: Journal,
}

/// The layout of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks in all.
    pub blocks: u64,
    /// Inodes in all, as `mke2fs` rounds them.
    pub inodes: u64,
    /// Blocks of the journal; 0 when there is none.
    pub journal_blocks: u64,
    /// Blocks of superblocks, group descriptors, bitmaps and inode tables.
    pub metadata_blocks: u64,
    /// Its block groups.
    pub groups: Groups,
    /// Blocks that are kept back.
    spare: u64,
}

impl Geometry {
    /// Returns the smallest filesystem with `inodes` inodes and room for as many blocks of content as `content` says.
    ///
    /// # Errors
    ///
    /// Its blocks cannot be numbered with 32 bits.
    pub fn smallest(content: &dyn Fn(&Self) -> u64, inodes: u64, rules: &Rules) -> Result<Self> {
        let usual = Self::settle(1, content, inodes, rules, &|_| PER_GROUP_MAX)?;
        let needed = usual.needed(content(&usual));
        let waste = usual.blocks + usual.spare - needed;
        if rules.engine == Engine::Direct || waste <= (usual.blocks / WASTE_PARTS).max(WASTE_MIN) {
            return Ok(usual);
        }
        // A group of the usual size would be left out for want of room, or be there for its inodes alone.
        let count = needed.div_ceil(PER_GROUP_MAX).max(inodes.div_ceil(PER_GROUP_MAX));
        let balanced = Self::settle(needed - usual.journal_blocks, content, inodes, rules, &|blocks| {
            Groups::balanced(blocks, count)
        });
        Ok(balanced.ok().filter(|balanced| balanced.blocks < usual.blocks).unwrap_or(usual))
    }

    /// Returns the first layout of at least so many blocks that holds its content.
    fn settle(
        mut blocks: u64,
        content: &dyn Fn(&Self) -> u64,
        inodes: u64,
        rules: &Rules,
        per_group: &dyn Fn(u64) -> u64,
    ) -> Result<Self> {
        loop {
            let geometry = Self::at_least(blocks, per_group, inodes, rules)?;
            let needed = geometry.needed(content(&geometry));
            if needed <= geometry.blocks {
                return Ok(geometry);
            }
            blocks = needed;
        }
    }

    /// Returns the first layout of so many blocks, or more, that the engine takes as it is.
    fn at_least(blocks: u64, per_group: &dyn Fn(u64) -> u64, inodes: u64, rules: &Rules) -> Result<Self> {
        let (inodes_max, blocks_min) = match rules.engine {
            Engine::E2fsprogs => (PER_GROUP_MAX, 1),
            Engine::Direct => (INODES_PER_GROUP_MAX_DIRECT, BLOCKS_MIN_DIRECT),
        };
        let enough_groups = (inodes.div_ceil(inodes_max).max(1) - 1) * per_group(blocks) + 1;
        let mut blocks = blocks.max(blocks_min).max(enough_groups);
        loop {
            let groups = Groups::new(check(blocks)?, per_group(blocks), inodes, rules.features);
            if !groups.keeps_last() {
                blocks = groups.least();
            } else if let Some(journal) = journals(blocks, rules).into_iter().find(|j| takes(&groups, *j, rules)) {
                return Ok(Self::with(groups, journal, rules));
            } else {
                let Journal::Blocks(journal) = rules.journal else {
                    blocks += 1;
                    continue;
                };
                let most = if rules.engine == Engine::Direct { 4 * journal.get() } else { 2 * journal.get() };
                blocks = (blocks + 1).max(most);
            }
        }
    }

    /// Returns the layout of just so many blocks, or of fewer where the last group would be left out.
    fn of(blocks: u64, per_group: u64, inodes: u64, journal: u64, rules: &Rules) -> Option<Self> {
        let groups = Groups::new(blocks, per_group, inodes, rules.features);
        if !groups.keeps_last() {
            let shorter = blocks - blocks % per_group;
            return (shorter > 0).then(|| Self::of(shorter, per_group, inodes, journal, rules))?;
        }
        takes(&groups, journal, rules).then(|| Self::with(groups, journal, rules))
    }

    /// Returns the layouts of a given number of blocks, from what is wanted to what must do: of a default journal,
    /// smaller ones are tried as well.
    pub(super) fn candidates(blocks: u64, inodes: &[u64], rules: &Rules) -> Vec<Self> {
        let mut found = Vec::new();
        for journal in journals(blocks, rules) {
            if journal == 0 && !found.is_empty() {
                // Where mke2fs makes a journal, a size must not cost it.
                break;
            }
            for inodes in inodes {
                let count = blocks.div_ceil(PER_GROUP_MAX).max(inodes.div_ceil(PER_GROUP_MAX));
                let balanced = (rules.engine == Engine::E2fsprogs).then(|| Groups::balanced(blocks, count));
                let sizes = [Some(PER_GROUP_MAX), balanced].into_iter().flatten();
                found.extend(sizes.filter_map(|size| Self::of(blocks, size, *inodes, journal, rules)));
            }
        }
        found
    }

    fn with(groups: Groups, journal_blocks: u64, rules: &Rules) -> Self {
        // The resize inode has one block of its own.
        let metadata_blocks = groups.overhead_of_all() + u64::from(rules.features.resize_inode());
        let spare = if rules.engine == Engine::Direct { 0 } else { SPARE_BLOCKS };
        let inodes = groups.inodes_per_group * groups.count();
        Self { blocks: groups.blocks, inodes, journal_blocks, metadata_blocks, groups, spare }
    }

    fn needed(&self, content: u64) -> u64 {
        content + self.metadata_blocks + self.journal_blocks + self.spare
    }

    /// Returns whether there is room for so many blocks of files and directories.
    #[must_use]
    pub fn holds(&self, content: u64) -> bool {
        self.needed(content) <= self.blocks
    }

    /// Returns the filesystem's size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks * BLOCK_SIZE
    }
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

/// Returns whether an engine makes these groups with a journal of so many blocks.
fn takes(groups: &Groups, journal: u64, rules: &Rules) -> bool {
    let Groups { blocks, inodes_per_group, .. } = *groups;
    match rules.engine {
        Engine::E2fsprogs => {
            let free = blocks.saturating_sub(groups.overhead_of_all());
            groups.holds_overhead() && inodes_per_group <= PER_GROUP_MAX && 2 * journal <= free
        }
        Engine::Direct => {
            inodes_per_group <= INODES_PER_GROUP_MAX_DIRECT
                && blocks >= BLOCKS_MIN_DIRECT
                && 4 * journal <= blocks
                && journal != 0
        }
    }
}

/// Returns the sizes of a journal for so many blocks, the wanted one first.
fn journals(blocks: u64, rules: &Rules) -> Vec<u64> {
    match rules.journal {
        Journal::None => vec![0],
        Journal::Blocks(blocks) => vec![blocks.get()],
        Journal::Default => {
            let smaller = STEPS.iter().rev().filter(|(from, _)| *from <= blocks).map(|(_, journal)| *journal);
            smaller.collect()
        }
    }
}

/// The journal that `mke2fs` gives to filesystems from so many blocks on.
const STEPS: [(u64, u64); 9] = [
    (0, 0),
    (2048, 1024),
    (32 << 10, 4 << 10),
    (256 << 10, 8 << 10),
    (512 << 10, 16 << 10),
    (4 << 20, 32 << 10),
    (8 << 20, 64 << 10),
    (16 << 20, 128 << 10),
    (32 << 20, 256 << 10),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::options::JournalBlocks;

    fn rules(engine: Engine) -> Rules {
        Rules { engine, features: Features::default(), journal: Journal::Default }
    }

    fn smallest(content: u64, inodes: u64, rules: &Rules) -> Geometry {
        Geometry::smallest(&|_| content, inodes, rules).unwrap()
    }

    fn waste(geometry: &Geometry, content: u64) -> u64 {
        geometry.blocks - geometry.needed(content)
    }

    #[test]
    fn the_smallest_filesystem_has_the_room_and_wastes_little() {
        for content in [300, 1000, 1990, 3000, 30_000, 32_700, 33_000, 63_000, 70_000, 300_000, 5_000_000] {
            for inodes in [11, 100, 33_000, 40_000, 70_000] {
                for list in ["extent", "64bit,resize_inode", "^metadata_csum,^flex_bg"] {
                    let rules = Rules { features: Features::parse(list).unwrap().0, ..rules(Engine::E2fsprogs) };
                    let found = smallest(content, inodes, &rules);
                    assert!(found.holds(content) && found.inodes >= inodes);
                    let waste = waste(&found, content);
                    assert!(
                        waste <= (found.blocks / 100).max(16) - SPARE_BLOCKS,
                        "{content} {inodes} {waste} {found:?}"
                    );
                    assert!(found.groups.keeps_last() && found.groups.inodes_per_group <= PER_GROUP_MAX);
                }
            }
        }
    }

    #[test]
    fn a_tiny_filesystem_keeps_the_blocks_that_mke2fs_wants() {
        let tiny = smallest(5, 11, &rules(Engine::E2fsprogs));
        assert_eq!((tiny.blocks, tiny.journal_blocks), (55, 0));
    }

    #[test]
    fn every_size_from_the_smallest_on_is_enough() {
        for (content, inodes) in [(40, 11), (3000, 100), (31_000, 5000), (31_000, 40_000), (65_000, 60_000)] {
            let rules = rules(Engine::E2fsprogs);
            let smallest = smallest(content, inodes, &rules);
            for more in (0..4000).step_by(37) {
                let blocks = smallest.blocks + more;
                let fits = Geometry::candidates(blocks, &[inodes], &rules).iter().any(|g| g.holds(content));
                assert!(fits, "{content} {inodes} {blocks} {smallest:?}");
            }
        }
    }

    #[test]
    fn the_journal_grows_with_the_filesystem_as_mke2fs_lets_it() {
        let journal = |blocks| Geometry::candidates(blocks, &[11], &rules(Engine::E2fsprogs))[0].journal_blocks;
        assert_eq!(journal(2000), 0);
        assert_eq!(journal(2060), 1024);
        assert_eq!(journal(40_000), 4096);
        assert_eq!(journal(262_144), 8192);
    }

    #[test]
    fn a_journal_that_was_asked_for_is_at_most_half_of_the_rest() {
        let journal = Journal::Blocks(JournalBlocks::of_bytes(16 << 20).unwrap());
        let found = smallest(5, 11, &Rules { journal, ..rules(Engine::E2fsprogs) });
        assert_eq!((found.journal_blocks, found.blocks), (4096, 8192 + 5));
        let found = smallest(5, 11, &Rules { journal, ..rules(Engine::Direct) });
        assert_eq!((found.journal_blocks, found.blocks), (4096, 4 * 4096));
        let none = smallest(10_000, 11, &Rules { journal: Journal::None, ..rules(Engine::E2fsprogs) });
        assert_eq!((none.journal_blocks, none.blocks), (0, 10_000 + 5 + SPARE_BLOCKS));
    }

    #[test]
    fn the_direct_engine_always_has_a_journal_and_room_for_it() {
        for inodes in [11, 300_000, 2_000_000] {
            let smallest = smallest(1, inodes, &rules(Engine::Direct));
            assert!(smallest.blocks >= BLOCKS_MIN_DIRECT);
            assert!(4 * smallest.journal_blocks <= smallest.blocks && smallest.journal_blocks >= 1024);
            assert!(smallest.groups.inodes_per_group <= INODES_PER_GROUP_MAX_DIRECT);
        }
    }

    #[test]
    fn blocks_that_32_bits_cannot_number_are_refused() {
        let refused = Geometry::smallest(&|_| BLOCKS_MAX, 11, &rules(Engine::Direct)).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Capacity { max: 0xfff_ffff_e000, .. }), "{refused}");
        assert!(Geometry::smallest(&|_| BLOCKS_MAX / 2, 11, &rules(Engine::Direct)).is_ok());
        assert!(check(u64::MAX).is_err());
    }
}
