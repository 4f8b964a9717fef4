//! Fills a filesystem in thought, as each engine does, and counts the blocks.
//!
//! What a tree needs is known from the tree alone but for one thing: the extents of a file. Where it has to go around
//! something, it has one more, and every few hundred take a block. The rules here are those of libext2fs 1.46 to 1.47
//! (`ext2fs_new_block3`, `extent_bmap`, `ext2fs_allocate_group_table`): the first free block, or the first after the one
//! before.

use super::extents::{ExtentTree, packed};
use super::geometry::Geometry;
use super::groups::Groups;
use super::space::Space;

/// The longest extent that libext2fs lengthens block by block, and the longest there is.
const EXTENT_GROWN: u64 = 32_767;
pub(super) const EXTENT_MAX: u64 = 32_768;
/// Blocks of a `lost+found`.
pub(super) const LOST_FOUND_BLOCKS: u64 = 4;

/// What takes blocks, in the order in which the engines give them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A new directory, by inode number, gets its first block.
    Directory(u32),
    /// A directory gets one more: 0 is the root, 1 `lost+found`, the others follow as they are made.
    Grow(u32),
    /// A symlink, by inode number, gets its block.
    Symlink(u32),
    /// Blocks of a file, one behind the other; the file's first ones?
    Run { first: bool, blocks: u64 },
}

/// Returns the blocks that `mkfs.ext4 -d` takes for all steps, the root and `lost+found`.
pub(super) fn by_mkfs(steps: &[Step], geometry: &Geometry) -> u64 {
    let groups = &geometry.groups;
    let mut filling = Filling { space: Space::new(groups.blocks), used: 0 };
    place_metadata(&mut filling.space, groups, true);
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

    let mut directories = vec![root, lost_found];
    let mut file = Chain::new(EXTENT_GROWN);
    for step in steps {
        match *step {
            Step::Directory(number) => {
                let mut chain = Chain::new(EXTENT_GROWN);
                filling.append(&mut chain, goal_of(number, groups), 1);
                directories.push(chain);
            }
            Step::Grow(directory) => {
                if let Some(chain) = directories.get_mut(directory as usize) {
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
    filling.used
}

/// Returns the blocks that the direct engine takes for `others` blocks and then the runs of files.
pub(super) fn directly(steps: &[Step], others: u64, geometry: &Geometry) -> u64 {
    let groups = &geometry.groups;
    let mut space = Space::new(groups.blocks);
    place_metadata(&mut space, groups, false);
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
    for step in steps {
        let Step::Run { first, blocks } = *step else { continue };
        if first {
            used += packed(extents);
            take(packed(extents), &mut 0);
            extents = 0;
        }
        used += blocks;
        take(blocks, &mut extents);
    }
    used + packed(extents)
}

/// The blocks of one inode so far.
struct Chain {
    tree: ExtentTree,
    first: u64,
    last: Option<u64>,
    /// Blocks of the last extent, and how many it may have.
    length: u64,
    longest: u64,
    /// Whether the next block follows the last one in the file.
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

struct Filling {
    space: Space,
    used: u64,
}

impl Filling {
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

/// Returns where the search for the block of a new directory or symlink begins: at its inode's groups.
fn goal_of(number: u32, groups: &Groups) -> u64 {
    let group = u64::from(number - 1) / groups.inodes_per_group;
    (group - group % groups.flex_size()) * groups.per_group
}

/// Takes the blocks of superblocks, descriptors, bitmaps and inode tables; `apart`: a single group leaves room between
/// them for those of 15 more.
fn place_metadata(space: &mut Space, groups: &Groups, apart: bool) {
    let count = groups.count();
    for group in 0..count {
        space.reserve(group * groups.per_group, groups.front(group));
    }
    let flex = groups.flex_size();
    let mut next = [0; 3];
    for group in 0..count {
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
}

/// Returns where the search for the journal's blocks begins: in the middle, where most is free.
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
