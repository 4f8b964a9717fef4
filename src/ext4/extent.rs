//! Block maps in the form of extent trees of at most six levels.

use super::error::InodeProblem;
use super::field::Fields;
use super::run::Runs;
use super::{BlockSource, Filesystem, Inode, ReadError};

const MAGIC: u16 = 0xf30a;
/// The deepest tree that Linux writes and reads.
const DEPTH_MAX: u16 = 5;
/// Bytes of a header, and of every entry after it.
const ENTRY_SIZE: usize = 12;
/// The longest written extent; a greater length means an unwritten extent, this much shorter.
const WRITTEN_MAX: u64 = 0x8000;
/// Blocks of the largest file.
const LOGICAL_MAX: u64 = 1 << 32;

/// The state of a walk in logical order.
struct Walk<'a, 'b> {
    inode: &'a Inode,
    runs: &'a mut Runs<'b>,
    /// The least logical block of the next entry.
    next: u64,
}

impl<R: BlockSource> Filesystem<R> {
    /// Adds all extents of an inode.
    pub(super) fn walk_extents(&self, inode: &Inode, runs: &mut Runs<'_>) -> Result<(), ReadError> {
        let root = inode.i_block();
        let depth = Fields(&root).u16(6);
        if depth > DEPTH_MAX {
            return Err(inode.problem(InodeProblem::ExtentTree("it is too deep")));
        }
        self.walk_node(&root, depth, &mut Walk { inode, runs, next: 0 })
    }

    /// Walks one node; the depth decreases with every level, so at most six calls are nested.
    fn walk_node(&self, node: &[u8], depth: u16, walk: &mut Walk<'_, '_>) -> Result<(), ReadError> {
        let damaged = |detail| Err(walk.inode.problem(InodeProblem::ExtentTree(detail)));
        let header = Fields(node);
        let (eh_magic, eh_entries, eh_max, eh_depth) = (header.u16(0), header.u16(2), header.u16(4), header.u16(6));
        if eh_magic != MAGIC {
            return damaged("a node has no magic");
        }
        if eh_entries > eh_max || (usize::from(eh_max) + 1) * ENTRY_SIZE > node.len() {
            return damaged("a node has more entries than room");
        }
        if eh_depth != depth {
            return damaged("a node has the wrong depth");
        }
        if eh_entries == 0 && depth > 0 {
            return damaged("an inner node is empty");
        }
        for entry in node.chunks_exact(ENTRY_SIZE).skip(1).take(eh_entries.into()) {
            if depth == 0 {
                walk.extent(Fields(entry)).map_err(|problem| walk.inode.problem(problem))?;
            } else {
                let child = walk.index(Fields(entry)).map_err(|problem| walk.inode.problem(problem))?;
                let block = self.block_of(walk.inode, child)?;
                self.walk_node(&block, depth - 1, walk)?;
            }
        }
        Ok(())
    }
}

impl Walk<'_, '_> {
    fn extent(&mut self, entry: Fields<'_>) -> Result<(), InodeProblem> {
        let ee_len = u64::from(entry.u16(4));
        let written = ee_len <= WRITTEN_MAX;
        let count = if written { ee_len } else { ee_len - WRITTEN_MAX };
        if count == 0 {
            return Err(InodeProblem::ExtentTree("an extent is empty"));
        }
        let logical = self.advance(entry)?;
        self.next = logical + count;
        if self.next > LOGICAL_MAX {
            return Err(InodeProblem::ExtentTree("an extent lies beyond the largest file"));
        }
        let physical = u64::from(entry.u32(8)) | u64::from(entry.u16(6)) << 32;
        self.runs.push(logical, count, physical, written)
    }

    /// Returns the block of the node below.
    fn index(&mut self, entry: Fields<'_>) -> Result<u64, InodeProblem> {
        self.next = self.advance(entry)?;
        let child = u64::from(entry.u32(4)) | u64::from(entry.u16(8)) << 32;
        self.runs.enter_node(child)?;
        Ok(child)
    }

    fn advance(&self, entry: Fields<'_>) -> Result<u64, InodeProblem> {
        let logical = u64::from(entry.u32(0));
        if logical < self.next {
            return Err(InodeProblem::ExtentTree("its entries are out of order"));
        }
        Ok(logical)
    }
}
