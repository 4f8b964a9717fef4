//! Writes a superblock and a tree of hashes.

use std::os::unix::fs::FileExt;

use super::hash::{BlockHasher, Blocks, Job, each_group};
use super::{Files, RootHash, Superblock, levels, tree_bytes};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Writes the superblock and the tree over the data; the tree's file ends with them. `jobs` groups of blocks are hashed
/// at a time.
///
/// # Errors
///
/// A file cannot be read or written; the run was cancelled.
pub(crate) fn write(
    files: Files<'_>,
    superblock: &Superblock,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RootHash> {
    let Files { data, tree, offset, data_path, tree_path } = files;
    let put = |bytes: &[u8], at: u64| {
        tree.write_all_at(bytes, offset + at).map_err(|error| Error::write(tree_path, at, error))
    };
    tree.set_len(offset + tree_bytes(superblock.data_blocks)).map_err(Error::io("extend", tree_path))?;
    put(&superblock.to_bytes(), 0)?;
    let hasher = BlockHasher::new(&superblock.salt);
    let job = Job { hasher: &hasher, jobs, progress, cancel };
    let mut below = Blocks { file: data, path: data_path, offset: 0, count: superblock.data_blocks };
    for level in levels(superblock.data_blocks) {
        each_group(below, job, &|group, hashes| put(hashes, level.offset + group * super::BLOCK))?;
        below = Blocks { file: tree, path: tree_path, offset: offset + level.offset, count: level.blocks };
    }
    root(&hasher, below)
}

/// Returns the hash of the one block of the highest level.
pub(super) fn root(hasher: &BlockHasher, highest: Blocks<'_>) -> Result<RootHash> {
    let mut block = [0; 4096];
    highest.file.read_exact_at(&mut block, highest.offset).map_err(Error::io("read", highest.path))?;
    Ok(hasher.root(&block))
}
