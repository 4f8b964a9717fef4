//! Checks data against a tree of hashes, and the tree against its root hash.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use super::hash::{BlockHasher, Blocks, Job, each_group};
use super::superblock::SIZE;
use super::write::root;
use super::{Files, HASH, Refusal, RootHash, Superblock, levels, tree_bytes};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeCheck {
    /// The root hash of the tree as it is stored.
    pub root: RootHash,
    /// The number of blocks, of data or of the tree, that differ from their hash.
    pub wrong: u64,
    /// The first of these blocks on the lowest level.
    pub first: Option<WrongBlock>,
}

/// A block that differs from its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongBlock {
    /// The level: 0 is the data, 1 the lowest of the tree.
    pub level: usize,
    /// The number of the block in its level.
    pub block: u64,
}

impl fmt::Display for WrongBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            0 => write!(f, "data block {}", self.block),
            level => write!(f, "block {} of level {} of the tree", self.block, level - 1),
        }
    }
}

impl Superblock {
    /// Reads the superblock of a tree, and requires the files to have all blocks of data and tree.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn read(files: Files<'_>) -> Result<std::result::Result<Self, Refusal>> {
        let length =
            |file: &std::fs::File, path| Ok::<_, Error>(file.metadata().map_err(Error::io("examine", path))?.len());
        let (data, tree) = (length(files.data, files.data_path)?, length(files.tree, files.tree_path)?);
        let mut bytes = [0; SIZE];
        if tree < files.offset + SIZE as u64 {
            return Ok(Err(Refusal::Signature));
        }
        files.tree.read_exact_at(&mut bytes, files.offset).map_err(Error::io("read", files.tree_path))?;
        Ok(Self::parse(&bytes).and_then(|superblock| {
            let blocks = superblock.data_blocks;
            if data < blocks * super::BLOCK || tree < files.offset + tree_bytes(blocks) {
                return Err(Refusal::Blocks(blocks));
            }
            Ok(superblock)
        }))
    }
}

/// Hashes the data and every level of the tree, and compares them with the stored hashes.
///
/// # Errors
///
/// A file cannot be read; the run was cancelled. A difference is not an error.
pub(crate) fn check(
    files: Files<'_>,
    superblock: &Superblock,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<TreeCheck> {
    let Files { data, tree, offset, data_path, tree_path } = files;
    let hasher = BlockHasher::new(&superblock.salt);
    let job = Job { hasher: &hasher, jobs, progress, cancel };
    let found: Mutex<(u64, Option<WrongBlock>)> = Mutex::default();
    let mut below = Blocks { file: data, path: data_path, offset: 0, count: superblock.data_blocks };
    for (number, level) in levels(superblock.data_blocks).into_iter().enumerate() {
        each_group(below, job, &|group, hashes| {
            let mut stored = [0; 4096];
            let at = offset + level.offset + group * super::BLOCK;
            tree.read_exact_at(&mut stored, at).map_err(Error::io("read", tree_path))?;
            let pairs = stored.chunks(HASH).zip(hashes.chunks(HASH));
            // Beyond the last block the tree has zeros, which no one reads.
            let used = (below.count - group * super::FANOUT).min(super::FANOUT);
            for (block, _) in (0..used).zip(pairs).filter(|(_, (stored, actual))| stored != actual) {
                let wrong = WrongBlock { level: number, block: group * super::FANOUT + block };
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.0 += 1;
                let is_first = found.1.is_none_or(|first| (wrong.level, wrong.block) < (first.level, first.block));
                if is_first {
                    found.1 = Some(wrong);
                }
            }
            Ok(())
        })?;
        below = Blocks { file: tree, path: tree_path, offset: offset + level.offset, count: level.blocks };
    }
    let (wrong, first) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(TreeCheck { root: root(&hasher, below)?, wrong, first })
}
