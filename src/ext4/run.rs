//! The blocks of an inode, as runs.

use std::collections::HashSet;

use super::error::InodeProblem;
use super::{BlockSource, Filesystem, Inode, ReadError, Superblock};

/// Consecutive blocks of an inode, both in the file and on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first block in the file.
    pub logical: u64,
    /// The number of blocks.
    pub count: u64,
    /// The first block in the filesystem; `None` if the blocks are reserved but not written, and read as zeros.
    pub physical: Option<u64>,
}

/// The runs collected during a walk of an inode's block map.
pub(super) struct Runs<'a> {
    superblock: &'a Superblock,
    runs: Vec<Run>,
    /// The physical ranges in use, including the map's own blocks.
    used: Vec<(u64, u64)>,
    /// The map's own blocks: visiting one twice would be a cycle or unbounded work.
    nodes: HashSet<u64>,
}

impl<'a> Runs<'a> {
    fn new(superblock: &'a Superblock) -> Self {
        Self { superblock, runs: Vec::new(), used: Vec::new(), nodes: HashSet::new() }
    }

    /// Records a block of the map itself before it is visited.
    pub(super) fn enter_node(&mut self, block: u64) -> Result<(), InodeProblem> {
        if !self.nodes.insert(block) {
            return Err(InodeProblem::BlockTwice(block));
        }
        self.used.push((block, 1));
        Ok(())
    }

    /// Adds blocks, which follow all blocks added before.
    pub(super) fn push(&mut self, logical: u64, count: u64, block: u64, written: bool) -> Result<(), InodeProblem> {
        if !self.superblock.holds(block, count) {
            return Err(InodeProblem::Block(block));
        }
        match self.used.last_mut() {
            Some((start, length)) if *start + *length == block => *length += count,
            _ => self.used.push((block, count)),
        }
        let physical = written.then_some(block);
        match self.runs.last_mut() {
            Some(last) if last.is_followed_by(logical, physical) => last.count += count,
            _ => self.runs.push(Run { logical, count, physical }),
        }
        Ok(())
    }

    /// Returns the runs after checking that no block is used twice, so that an inode never has more content than the
    /// filesystem has blocks.
    fn finish(mut self) -> Result<Vec<Run>, InodeProblem> {
        self.used.sort_unstable();
        for pair in self.used.windows(2) {
            if pair[0].0 + pair[0].1 > pair[1].0 {
                return Err(InodeProblem::BlockTwice(pair[1].0));
            }
        }
        Ok(self.runs)
    }
}

impl Run {
    fn is_followed_by(&self, logical: u64, physical: Option<u64>) -> bool {
        self.logical + self.count == logical && self.physical.map(|start| start + self.count) == physical
    }
}

impl<R: BlockSource> Filesystem<R> {
    /// Returns the runs of an inode in the order of the file; the blocks between them are holes.
    ///
    /// Adjacent runs are merged, whatever the tree on the disk looks like. Runs may lie beyond the inode's size. Inodes
    /// without blocks, such as devices and short symlinks, have none.
    ///
    /// # Errors
    ///
    /// The map is damaged: blocks are outside the filesystem, or occur twice in one inode.
    pub fn extents(&self, inode: &Inode) -> Result<Vec<Run>, ReadError> {
        if !inode.kind.has_content() || inode.has_inline_data() || inode.is_fast_symlink() {
            return Ok(Vec::new());
        }
        let mut runs = Runs::new(&self.superblock);
        if inode.has_extents() {
            self.walk_extents(inode, &mut runs)?;
        } else {
            self.walk_indirect(inode, &mut runs)?;
        }
        runs.finish().map_err(|problem| inode.problem(problem))
    }
}
