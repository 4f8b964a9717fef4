//! Targets of symlinks.

use super::error::InodeProblem;
use super::{BlockSource, FileKind, Filesystem, Inode, ReadError};

/// The length from which on a target is stored in a block; a shorter one is stored in the inode.
const FAST_END: u64 = 60;

impl Inode {
    /// Returns true if the target is stored in place of the block map.
    pub(super) fn is_fast_symlink(&self) -> bool {
        self.kind == FileKind::Symlink && self.size < FAST_END && !self.has_extents() && !self.has_inline_data()
    }
}

impl<R: BlockSource> Filesystem<R> {
    /// Returns the target of a symlink: at least one byte, without NUL.
    ///
    /// # Errors
    ///
    /// The inode is not a symlink; the target is empty, longer than a block, or contains a NUL byte.
    pub fn target(&self, inode: &Inode) -> Result<Box<[u8]>, ReadError> {
        if inode.kind != FileKind::Symlink {
            return Err(inode.problem(InodeProblem::NotSymlink));
        }
        let longest = self.superblock.block_size as usize;
        let length = usize::try_from(inode.size).ok().filter(|length| (1..=longest).contains(length));
        let Some(length) = length else {
            return Err(inode.problem(InodeProblem::TargetLength(inode.size)));
        };
        let mut target = vec![0; length].into_boxed_slice();
        self.content(inode)?.read_at(&mut target, 0)?;
        if target.contains(&0) {
            return Err(inode.problem(InodeProblem::TargetNul));
        }
        Ok(target)
    }
}
