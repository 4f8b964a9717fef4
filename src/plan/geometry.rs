//! The number of blocks of an ext4 filesystem's own structures, and the size that a filesystem needs for its content.
//!
//! The rules are those of `mke2fs` 1.46 to 1.47 for blocks of 4 KiB, inodes of 256 bytes and sparse superblocks. The
//! direct engine follows them, but always writes a journal.

use super::choice::Engine;
use super::constants::{BLOCK_SIZE, INODE_SIZE};
use super::feature::Features;
use super::groups::{Groups, PER_GROUP_MAX};
use super::journal::Journal;
use crate::error::{ErrorKind, Result};

/// The number of reserved inodes; the root is one of them, `lost+found` is the last.
pub const RESERVED_INODES: u64 = 11;

/// The direct engine puts the bitmaps and tables of 16 groups into the first of them, beside up to 1,025 blocks of
/// superblock and descriptors: 16 * (2 + 1,976) + 1,025 blocks are fewer than a group has.
const INODES_PER_GROUP_MAX_DIRECT: u64 = 1976 * BLOCK_SIZE / INODE_SIZE;
/// The least number of blocks for the direct engine, whose journal has at least 1,024 blocks and takes at most a
/// quarter of the filesystem.
const BLOCKS_MIN_DIRECT: u64 = 4096;
/// The largest number of blocks: one less than 32 bits can number.
const BLOCKS_MAX: u64 = u32::MAX as u64 - 1;
/// The number of reserve blocks, for versions of `mke2fs` that place some blocks differently; the count for 1.47.0 is
/// exact.
const SPARE_BLOCKS: u64 = 8;
/// The part of a filesystem, and the number of blocks, that may stay free without being requested.
const WASTE_PARTS: u64 = 100;
const WASTE_MIN: u64 = 16;

/// The properties of a filesystem, other than its size, that determine its layout.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The engine.
    pub engine: Engine,
    /// The features.
    pub features: Features,
    /// The journal.
    pub journal: Journal,
}

/// The layout of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The number of blocks.
    pub blocks: u64,
    /// The number of inodes, as `mke2fs` rounds it.
    pub inodes: u64,
    /// The number of blocks of the journal; 0 if there is none.
    pub journal_blocks: u64,
    /// The number of blocks of superblocks, group descriptors, bitmaps and inode tables.
    pub metadata_blocks: u64,
    /// The block groups.
    pub groups: Groups,
    /// The number of reserve blocks.
    spare: u64,
}

impl Geometry {
    /// Returns the smallest filesystem with `inodes` inodes and room for the blocks of content that `content` returns.
    ///
    /// # Errors
    ///
    /// The blocks cannot be numbered with 32 bits.
    pub fn smallest(content: &dyn Fn(&Self) -> u64, inodes: u64, rules: &Rules) -> Result<Self> {
        let usual = Self::settle(1, content, inodes, rules, &|_| PER_GROUP_MAX)?;
        let needed = usual.needed(content(&usual));
        let waste = usual.blocks + usual.spare - needed;
        if rules.engine == Engine::Direct || waste <= (usual.blocks / WASTE_PARTS).max(WASTE_MIN) {
            return Ok(usual);
        }
        // With groups of the usual size, the last one would be left out for lack of room, or exist for its inodes only.
        let count = needed.div_ceil(PER_GROUP_MAX).max(inodes.div_ceil(PER_GROUP_MAX));
        let balanced = Self::settle(needed - usual.journal_blocks, content, inodes, rules, &|blocks| {
            Groups::balanced(blocks, count)
        });
        Ok(balanced.ok().filter(|balanced| balanced.blocks < usual.blocks).unwrap_or(usual))
    }

    /// Returns the first layout of at least this many blocks that holds its content.
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

    /// Returns the first layout of at least this many blocks that the engine accepts unchanged.
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
            } else if let Some(journal) = journals(blocks, rules).into_iter().find(|j| has_room(&groups, *j, rules)) {
                return Ok(Self::with(groups, journal, rules));
            } else {
                blocks = more(&groups, inodes, rules);
            }
        }
    }

    /// Returns the layout of exactly this many blocks, or of fewer if the last group would be left out.
    fn of(blocks: u64, per_group: u64, inodes: u64, journal: u64, rules: &Rules) -> Option<Self> {
        let groups = Groups::new(blocks, per_group, inodes, rules.features);
        if !groups.keeps_last() {
            let shorter = blocks - blocks % per_group;
            return (shorter > 0).then(|| Self::of(shorter, per_group, inodes, journal, rules))?;
        }
        has_room(&groups, journal, rules).then(|| Self::with(groups, journal, rules))
    }

    /// Returns the layouts of a given number of blocks, the preferred one first: smaller journals are tried if the
    /// journal is the default.
    pub(super) fn candidates(blocks: u64, inodes: &[u64], rules: &Rules) -> Vec<Self> {
        let mut found = Vec::new();
        for journal in journals(blocks, rules) {
            if journal == 0 && !found.is_empty() {
                // If mke2fs would make a journal, a given size must not cause a filesystem without one.
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

    /// Returns true if there is room for `content` blocks of files and directories.
    #[must_use]
    pub fn holds(&self, content: u64) -> bool {
        self.needed(content) <= self.blocks
    }

    /// Returns the size of the filesystem in bytes.
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

/// Requires a number of inodes that 32 bits can count.
///
/// # Errors
///
/// [`ErrorKind::InodeCapacity`].
pub fn check_inodes(inodes: u64) -> Result<u64> {
    let max = u64::from(u32::MAX);
    if inodes <= max { Ok(inodes) } else { Err(ErrorKind::InodeCapacity { inodes, max }.into()) }
}

/// Returns true if an engine accepts these groups with a journal of this many blocks.
fn has_room(groups: &Groups, journal: u64, rules: &Rules) -> bool {
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

/// Returns the fewest blocks, more than these groups have, with which an engine may accept what it does not accept now.
fn more(groups: &Groups, inodes: u64, rules: &Rules) -> u64 {
    let journal = if let Journal::Blocks(journal) = rules.journal { journal.get() } else { 0 };
    let mut least = groups.blocks + 1;
    match rules.engine {
        Engine::E2fsprogs => {
            // Inode tables become smaller with each further group, until all groups become larger.
            if groups.inodes_per_group > PER_GROUP_MAX {
                least = least.max((inodes.div_ceil(PER_GROUP_MAX) - 1) * groups.per_group + 1);
            } else if !groups.holds_overhead() {
                let next = if groups.count() > 1 { groups.count() * groups.per_group } else { groups.overhead(0) - 1 };
                least = least.max(next + 1);
            }
            let room = groups.blocks.saturating_sub(groups.overhead_of_all());
            least.max(groups.blocks + (2 * journal).saturating_sub(room))
        }
        Engine::Direct => least.max(4 * journal),
    }
}

/// Returns the journal sizes to try for a number of blocks, the preferred one first.
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

/// The journal that `mke2fs` makes, by the least number of blocks of the filesystem.
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
    use crate::plan::journal::JournalBlocks;

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
    fn the_smallest_filesystem_fits_and_wastes_little() {
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
    fn a_tiny_filesystem_has_the_blocks_that_mke2fs_requires() {
        let tiny = smallest(5, 11, &rules(Engine::E2fsprogs));
        assert_eq!((tiny.blocks, tiny.journal_blocks), (55, 0));
    }

    #[test]
    fn every_size_above_the_smallest_fits() {
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
    fn the_journal_has_the_size_of_mke2fs() {
        let journal = |blocks| Geometry::candidates(blocks, &[11], &rules(Engine::E2fsprogs))[0].journal_blocks;
        assert_eq!(journal(2000), 0);
        assert_eq!(journal(2060), 1024);
        assert_eq!(journal(40_000), 4096);
        assert_eq!(journal(262_144), 8192);
    }

    #[test]
    fn a_requested_journal_is_at_most_half_of_the_rest() {
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

    #[test]
    fn the_search_skips_no_layout_and_ends_soon() {
        let journal = Journal::Blocks(JournalBlocks::of_bytes(4 << 20).unwrap());
        for rules in [rules(Engine::E2fsprogs), Rules { journal, ..rules(Engine::E2fsprogs) }] {
            for (inodes, count) in [(11, 1), (40_000, 2), (66_000, 3), (300_000, 10)] {
                let per_group = |blocks| Groups::balanced(blocks, count);
                for from in (1..4000 * count).step_by(977) {
                    let fits = |blocks: &u64| {
                        let groups = Groups::new(*blocks, per_group(*blocks), inodes, rules.features);
                        groups.keeps_last()
                            && journals(*blocks, &rules).into_iter().any(|j| has_room(&groups, j, &rules))
                    };
                    let first = (from..).find(fits).unwrap();
                    let found = Geometry::at_least(from, &per_group, inodes, &rules).unwrap();
                    assert_eq!(found.blocks, first, "{from} {inodes} {journal:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_number_of_inodes_is_planned_quickly() {
        let started = std::time::Instant::now();
        for inodes in [500_000_000, 1_000_000_001, 2_000_000_000, u32::MAX.into()] {
            for engine in [Engine::E2fsprogs, Engine::Direct] {
                for blocks in [4 << 20, 40_000 << 20] {
                    let journal = Journal::Blocks(JournalBlocks::of_bytes(blocks).unwrap());
                    for journal in [Journal::Default, journal] {
                        match Geometry::smallest(&|_| 100, inodes, &Rules { journal, ..rules(engine) }) {
                            Ok(found) => assert!(found.inodes >= inodes && found.holds(100), "{found:?}"),
                            Err(error) => {
                                assert_eq!((inodes, engine), (u64::from(u32::MAX), Engine::Direct), "{error}");
                            }
                        }
                    }
                }
            }
        }
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
        assert!(check_inodes(u32::MAX.into()).is_ok());
        let refused = check_inodes(1 << 32).unwrap_err();
        assert_eq!(refused.to_string(), "the filesystem would have 4294967296 inodes, ext4 numbers at most 4294967295");
        assert_eq!(refused.fault().exit_code(), 7);
    }
}
