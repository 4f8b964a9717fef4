//! Hashes blocks, several groups of 128 at a time: the memory is half a megabyte a thread.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::{BLOCK, FANOUT, HASH, RootHash};
use crate::cancel::Cancel;
use crate::copy;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::workers;

const BLOCK_LEN: usize = 4096;
const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];

/// A hasher of blocks with a salt.
#[derive(Clone)]
pub(super) struct BlockHasher {
    salted: Sha256,
    /// The hash of a block of zeros, which most of a filesystem is.
    zeros: [u8; HASH],
}

impl BlockHasher {
    pub fn new(salt: &[u8]) -> Self {
        let salted = Sha256::new_with_prefix(salt);
        let zeros = salted.clone().chain_update(ZEROS).finalize().into();
        Self { salted, zeros }
    }

    pub fn hash(&self, block: &[u8]) -> [u8; HASH] {
        if block == ZEROS { self.zeros } else { self.salted.clone().chain_update(block).finalize().into() }
    }

    pub fn root(&self, block: &[u8]) -> RootHash {
        RootHash(self.hash(block))
    }
}

/// A run of blocks in a file.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'a> {
    pub file: &'a File,
    pub path: &'a Path,
    /// The offset of the first block in bytes.
    pub offset: u64,
    pub count: u64,
}

/// The means of a job.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub hasher: &'a BlockHasher,
    pub jobs: usize,
    pub progress: &'a dyn Progress,
    pub cancel: &'a Cancel,
}

/// Hashes blocks, and calls `visit` with the number and the bytes of each hash block over them, in any order and from
/// several threads.
pub(super) fn each_group(
    blocks: Blocks<'_>,
    job: Job<'_>,
    visit: &(dyn Fn(u64, &[u8; BLOCK_LEN]) -> Result<()> + Sync),
) -> Result<()> {
    let next = AtomicU64::new(0);
    let groups = blocks.count.div_ceil(FANOUT);
    let work = || -> Result<()> {
        let mut data = vec![0; usize::try_from(FANOUT * BLOCK).unwrap_or_default()];
        loop {
            job.cancel.check()?;
            let group = next.fetch_add(1, Ordering::Relaxed);
            if group >= groups {
                return Ok(());
            }
            let first = group * FANOUT;
            let count = FANOUT.min(blocks.count - first);
            let data = &mut data[..usize::try_from(count * BLOCK).unwrap_or_default()];
            let at = blocks.offset + first * BLOCK;
            if copy::is_hole(blocks.file, at, count * BLOCK) {
                data.fill(0);
            } else {
                blocks.file.read_exact_at(data, at).map_err(Error::io("read", blocks.path))?;
            }
            let mut hashes = [0; BLOCK_LEN];
            for (hash, block) in hashes.chunks_mut(HASH).zip(data.chunks(BLOCK_LEN)) {
                hash.copy_from_slice(&job.hasher.hash(block));
            }
            visit(group, &hashes)?;
            job.progress.advance(count);
        }
    };
    workers::share(job.jobs.min(usize::try_from(groups).unwrap_or(usize::MAX)), work)
}
