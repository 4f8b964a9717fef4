//! Content stored in the inode itself: 60 bytes in place of the block map, the rest as a hidden xattr.

use super::error::InodeProblem;
use super::{FileKind, Inode, ReadError, at_most};

/// The two pieces of an inode's inline content, each with its offset in the inode.
pub(super) struct InlineData<'a> {
    pub(super) pieces: [(usize, &'a [u8]); 2],
}

/// The offset of the block map in an inode.
const I_BLOCK: usize = 0x28;
/// The bytes of the block map.
const I_BLOCK_SIZE: usize = 60;

impl Inode {
    /// Returns the inline content, truncated to the inode's size.
    ///
    /// mkfs.ext4 also marks files that are all hole as inline; bytes beyond the inline data read as zeros.
    pub(super) fn inline_data(&self) -> Result<InlineData<'_>, ReadError> {
        let value = self.inline_value()?;
        let held = I_BLOCK_SIZE + value.len();
        let size = at_most(self.size, held);
        if self.size > held as u64 && self.kind != FileKind::Regular {
            return Err(self.problem(InodeProblem::InlineData { size: self.size, held }));
        }
        let first = size.min(I_BLOCK_SIZE);
        let second = value.start..value.start + (size - first);
        let pieces = [(I_BLOCK, &self.raw[I_BLOCK..I_BLOCK + first]), (second.start, &self.raw[second])];
        Ok(InlineData { pieces })
    }
}

impl InlineData<'_> {
    pub(super) fn concat(&self) -> Box<[u8]> {
        self.pieces.map(|(_, bytes)| bytes).concat().into()
    }
}
