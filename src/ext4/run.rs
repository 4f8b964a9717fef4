//! The blocks of an inode, as runs.

use std::collections::HashSet;

use super::error::InodeProblem;
use super::{Filesystem, Inode, ReadAt, ReadError, Superblock};

/// Blocks of an inode that follow each other, in the file and on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first block within the file.
    pub logical: u64,
    /// How many blocks.
    pub count: u64,
    /// The first block within the filesystem; `None` where blocks are reserved but never written, and so read as
    /// zeros.
    pub physical: Option<u64>,
}

/// The runs of an inode while its block map is walked.
pub(super) struct Runs<'a> {
    superblock: &'a Superblock,
    runs: Vec<Run>,
    /// Physical ranges in use, those of the map's own blocks too.
    used: Vec<(u64, u64)>,
    /// The map's own blocks: following one twice would be a cycle, or work without bound.
    nodes: HashSet<u64>,
}

impl<'a> Runs<'a> {
    fn new(superblock: &'a Superblock) -> Self {
        Self { superblock, runs: Vec::new(), used: Vec::new(), nodes: HashSet::new() }
    }

    /// Notes a block of the map itself, before it is followed.
    pub(super) fn enter_node(&mut self, block: u64) -> Result<(), InodeProblem> {
        if !self.nodes.insert(block) {
            return Err(InodeProblem::BlockTwice(block));
        }
        self.used.push((block, 1));
        Ok(())
    }

    /// Adds blocks, which lie after all that were added before.
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

    /// Returns the runs, having made sure that no block is used twice: so an inode never has more content than the
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

impl<R: ReadAt> Filesystem<R> {
    /// Returns the runs of an inode, in the order of the file; what lies between them is a hole.
    ///
    /// Neighbours that continue each other are one run, whatever the tree on the disk looks like. Runs may lie
    /// beyond the inode's size. Inodes without blocks, such as devices and short symlinks, have none.
    ///
    /// # Errors
    ///
    /// A damaged map: blocks outside the filesystem, or twice in one inode.
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
