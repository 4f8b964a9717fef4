//! Block maps of ext2 and ext3: twelve blocks, then one, two and three levels of pointers.

use super::field::Fields;
use super::run::Runs;
use super::{BlockSource, Filesystem, Inode, ReadError};

const DIRECT: usize = 12;
const POINTER_SIZE: usize = 4;

impl<R: BlockSource> Filesystem<R> {
    /// Adds all mapped blocks of an inode.
    pub(super) fn walk_indirect(&self, inode: &Inode, runs: &mut Runs<'_>) -> Result<(), ReadError> {
        let i_block = inode.i_block();
        let mut next = 0;
        for (index, pointer) in pointers(&i_block).enumerate() {
            let level = (index + 1).saturating_sub(DIRECT);
            self.walk_pointer(pointer, level, &mut next, inode, runs)?;
        }
        Ok(())
    }

    /// Follows one pointer; the level decreases with every call, so at most four calls are nested.
    fn walk_pointer(
        &self,
        pointer: u64,
        level: usize,
        next: &mut u64,
        inode: &Inode,
        runs: &mut Runs<'_>,
    ) -> Result<(), ReadError> {
        if pointer == 0 {
            let per_block = u64::from(self.superblock.block_size) / POINTER_SIZE as u64;
            *next += (0..level).fold(1, |span, _| span * per_block);
        } else if level == 0 {
            runs.push(*next, 1, pointer, true).map_err(|problem| inode.problem(problem))?;
            *next += 1;
        } else {
            runs.enter_node(pointer).map_err(|problem| inode.problem(problem))?;
            let block = self.block_of(inode, pointer)?;
            for below in pointers(&block) {
                self.walk_pointer(below, level - 1, next, inode, runs)?;
            }
        }
        Ok(())
    }
}

fn pointers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(POINTER_SIZE).map(|pointer| Fields(pointer).u32(0).into())
}
