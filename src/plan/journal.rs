//! The size of the journal.

use super::constants::BLOCK_SIZE;

/// The journal of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Journal {
    /// The size that `mke2fs` chooses for the filesystem; a smaller one if the tree needs the space.
    #[default]
    Default,
    /// A journal of this size.
    Blocks(JournalBlocks),
    /// No journal.
    None,
}

/// The size of a journal that both engines can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalBlocks(u64);

impl JournalBlocks {
    const MIN: u64 = 1024;
    const MAX: u64 = 10_240_000;

    /// Returns the size if it is in whole MiB, as `mke2fs` requires, and within the limits of jbd2: 4 to 40,000 MiB.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Option<Self> {
        let blocks = bytes / BLOCK_SIZE;
        (bytes.is_multiple_of(1 << 20) && (Self::MIN..=Self::MAX).contains(&blocks)).then_some(Self(blocks))
    }

    /// Returns the number of blocks.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}
