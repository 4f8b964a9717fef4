//! Simulates the block allocation of each engine and counts the blocks.
//!
//! The blocks of a tree are known from the tree alone, except for the extents of files: a file that has to be split
//! around allocated blocks has a further extent, and every few hundred extents take a block. The rules are those of
//! libext2fs 1.46 to 1.47 (`ext2fs_new_block3`, `extent_bmap`, `ext2fs_allocate_group_table`): the first free block, or
//! the first after the previous one.

use std::collections::{HashMap, HashSet};

use super::extents::{ExtentTree, packed};
use super::geometry::Geometry;
use super::groups::Groups;
use super::space::Space;
use super::steps::{Step, Steps};
use crate::cancel::Cancel;
use crate::error::Result;

/// The longest extent that libext2fs extends block by block, and the longest possible extent.
const EXTENT_GROWN: u64 = 32_767;
pub(super) const EXTENT_MAX: u64 = 32_768;
/// The number of blocks of a `lost+found`.
pub(super) const LOST_FOUND_BLOCKS: u64 = 4;

/// Returns the number of blocks that `mkfs.ext4 -d` takes for all steps, the root and `lost+found`.
///
/// # Errors
///
/// The run was cancelled.
pub(super) fn by_mkfs(steps: &Steps, geometry: &Geometry, cancel: &Cancel) -> Result<u64> {
    let groups = &geometry.groups;
    let mut filling = Allocator { space: Space::new(groups.blocks), used: 0 };
    place_metadata(&mut filling.space, groups, true, cancel)?;
    let (mut root, mut lost_found) = (Chain::new(EXTENT_GROWN), Chain::new(EXTENT_GROWN));
    filling.append(&mut root, 0, 1);
    (0..LOST_FOUND_BLOCKS).for_each(|_| filling.append(&mut lost_found, 0, 1));
    let own = geometry.metadata_blocks - groups.overhead_of_all();
    for _ in 0..own {
        filling.space.reserve(filling.space.next(0).0, 1);
    }
    let mut journal = Chain::new(EXTENT_MAX);
    filling.append(&mut journal, journal_goal(&filling.space, groups), geometry.journal_blocks);
    filling.used -= geometry.journal_blocks;

    // Most directories have one block and no further step.
    let growing: HashSet<u32> =
        steps.iter().filter_map(|s| if let Step::Grow(n) = s { Some(n) } else { None }).collect();
    let mut directories = HashMap::from([(0, root), (1, lost_found)]);
    let mut next = 2;
    let mut file = Chain::new(EXTENT_GROWN);
    for step in steps.iter() {
        cancel.check()?;
        match step {
            Step::Directory(number) => {
                let mut chain = Chain::new(EXTENT_GROWN);
                filling.append(&mut chain, goal_of(number, groups), 1);
                if growing.contains(&next) {
                    directories.insert(next, chain);
                }
                next += 1;
            }
            Step::Grow(directory) => {
                if let Some(chain) = directories.get_mut(&directory) {
                    filling.append(chain, 0, 1);
                }
            }
            Step::Symlink(number) => filling.append(&mut Chain::new(EXTENT_GROWN), goal_of(number, groups), 1),
            Step::Run { first, blocks } => {
                if first {
                    file = Chain::new(EXTENT_GROWN);
                }
                file.interrupt();
                filling.append(&mut file, 0, blocks);
            }
        }
    }
    Ok(filling.used)
}

/// Returns the number of blocks that the direct engine takes for `others` blocks and then the runs of files.
///
/// # Errors
///
/// The run was cancelled.
pub(super) fn directly(steps: &Steps, others: u64, geometry: &Geometry, cancel: &Cancel) -> Result<u64> {
    let groups = &geometry.groups;
    let mut space = Space::new(groups.blocks);
    place_metadata(&mut space, groups, false, cancel)?;
    let mut used = others;
    let (mut cursor, mut extents) = (0, 0);
    let mut take = |mut blocks: u64, extents: &mut u64| {
        while blocks > 0 {
            let (start, room) = space.next(cursor);
            let taken = room.min(blocks).min(EXTENT_MAX);
            space.reserve(start, taken);
            (cursor, blocks) = (start + taken, blocks - taken);
            *extents += 1;
        }
    };
    take(geometry.journal_blocks, &mut extents);
    used += packed(extents);
    take(packed(extents) + others, &mut 0);
    extents = 0;
    for step in steps.iter() {
        cancel.check()?;
        let Step::Run { first, blocks } = step else { continue };
        if first {
            used += packed(extents);
            take(packed(extents), &mut 0);
            extents = 0;
        }
        used += blocks;
        take(blocks, &mut extents);
    }
    Ok(used + packed(extents))
}

/// The blocks of one inode so far.
struct Chain {
    tree: ExtentTree,
    first: u64,
    last: Option<u64>,
    /// The number of blocks of the last extent, and its maximum.
    length: u64,
    longest: u64,
    /// True if the next block follows the last one in the file.
    follows: bool,
}

impl Chain {
    fn new(longest: u64) -> Self {
        Self { tree: ExtentTree::new(), first: 0, last: None, length: 0, longest, follows: true }
    }

    fn interrupt(&mut self) {
        self.follows = false;
    }
}

struct Allocator {
    space: Space,
    used: u64,
}

impl Allocator {
    fn append(&mut self, chain: &mut Chain, goal: u64, mut blocks: u64) {
        while blocks > 0 {
            let goal = chain.last.filter(|_| chain.follows).unwrap_or(goal);
            let (start, room) = self.space.next(goal);
            let joins =
                chain.follows && chain.last.is_some_and(|last| last + 1 == start) && chain.length < chain.longest;
            let taken = if joins {
                room.min(blocks).min(chain.longest - chain.length)
            } else {
                (chain.first, chain.length) = (chain.last.map_or(start, |_| chain.first), 0);
                let nodes = chain.tree.add();
                self.take(start, 1);
                for _ in 0..nodes {
                    let (node, _) = self.space.next(chain.first.saturating_sub(1));
                    self.take(node, 1);
                }
                let rest = if nodes == 0 { room.min(blocks).min(chain.longest) - 1 } else { 0 };
                self.take(start + 1, rest);
                chain.length = 1 + rest;
                (chain.last, chain.follows) = (Some(start + rest), true);
                blocks -= 1 + rest;
                continue;
            };
            self.take(start, taken);
            chain.length += taken;
            chain.last = Some(start + taken - 1);
            blocks -= taken;
        }
    }

    fn take(&mut self, start: u64, blocks: u64) {
        self.space.reserve(start, blocks);
        self.used += blocks;
    }
}

/// Returns the block from which on a block for a new directory or symlink is searched: in the groups of its inode.
fn goal_of(number: u32, groups: &Groups) -> u64 {
    let group = u64::from(number - 1) / groups.inodes_per_group;
    (group - group % groups.flex_size()) * groups.per_group
}

/// Allocates the blocks of superblocks, descriptors, bitmaps and inode tables; `apart` is true if a single group leaves
/// space between them for those of 15 more.
fn place_metadata(space: &mut Space, groups: &Groups, apart: bool, cancel: &Cancel) -> Result<()> {
    let count = groups.count();
    for group in 0..count {
        space.reserve(group * groups.per_group, groups.front(group));
    }
    let flex = groups.flex_size();
    let mut next = [0; 3];
    for group in 0..count {
        cancel.check()?;
        let last = (group - group % flex + flex - 1).min(count - 1);
        if group % flex == 0 {
            let together = last - group + 1;
            let distance = if apart && together == 1 { flex } else { together };
            let first = space.find(group * groups.per_group, together);
            next = [first, first + distance, first + 2 * distance];
        }
        for (next, length) in next.iter_mut().zip([1, 1, groups.table()]) {
            let start = space.find(*next, length);
            space.reserve(start, length);
            *next = start + length;
        }
    }
    Ok(())
}

/// Returns the block from which on the journal's blocks are searched: in the middle, where most blocks are free.
fn journal_goal(space: &Space, groups: &Groups) -> u64 {
    let (count, flex) = (groups.count(), groups.flex_size());
    let middle = groups.blocks / 2 / groups.per_group;
    let start = if flex > 1 && middle > flex { middle - middle % flex } else { middle.saturating_sub(1) };
    let middle = if flex > 1 && middle > flex { start } else { middle };
    let free = |group: u64| {
        let first = group * groups.per_group;
        space.count(first, (first + groups.per_group).min(groups.blocks))
    };
    let end = (middle + 1).min(count - 1);
    let best = (start..=end).rev().max_by_key(|group| free(*group)).unwrap_or(start);
    best * groups.per_group
}
