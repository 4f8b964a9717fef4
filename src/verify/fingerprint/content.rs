//! Hashes the contents of files, several files at a time.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::layer::entry::Content;
use crate::plan::blocks::data_blocks;
use crate::tree::{InodeId, Node, Tree};
use crate::workers;

const BLOCK: u64 = 4096;
const ZEROS: [u8; 4096] = [0; 4096];

/// The digest of a file: of all its bytes, or of the data between its blocks of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    sparse: bool,
    sha256: [u8; 32],
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.sparse { "sparse:" } else { "sha256:" })?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns the digests of files in their order; each worker takes the next file of a shared queue.
pub(super) fn sums(tree: &Tree, files: &[InodeId], jobs: usize, cancel: &Cancel) -> Result<Vec<Sum>> {
    let next = AtomicUsize::new(0);
    let sums = Mutex::new(vec![Sum { sparse: false, sha256: [0; 32] }; files.len()]);
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(id) = files.get(index) else { return Ok(()) };
            let Node::File(content) = &tree.inode(*id).node else { continue };
            let sum = sum(content, cancel)?;
            sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = sum;
        }
    };
    workers::share(jobs.min(files.len()), work)?;
    Ok(sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Returns the ends of the runs of blocks that are not all zero.
fn runs_of_blocks(content: &Content, cancel: &Cancel) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for block in data_blocks(content, cancel) {
        let (start, end) = (block * BLOCK, ((block + 1) * BLOCK).min(content.size()));
        match runs.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

fn sum(content: &Content, cancel: &Cancel) -> Result<Sum> {
    let blocks = runs_of_blocks(content, cancel);
    cancel.check()?;
    let sparse = content.size() != blocks.iter().map(|(start, end)| end - start).sum::<u64>();
    let mut hasher = Sha256::new();
    let mut stored = content.runs().peekable();
    for (start, end) in blocks {
        if sparse {
            hasher.update(start.to_le_bytes());
            hasher.update((end - start).to_le_bytes());
        }
        let mut at = start;
        while let Some((offset, bytes)) = stored.peek().copied().filter(|(offset, _)| *offset < end) {
            cancel.check()?;
            let stop = offset + bytes.len() as u64;
            if stop > at {
                zeros(&mut hasher, offset.saturating_sub(at));
                let index = |place: u64| usize::try_from(place - offset).unwrap_or(bytes.len());
                hasher.update(&bytes[index(at.max(offset))..index(end.min(stop))]);
                at = end.min(stop);
            }
            if stop > end {
                // The next run of blocks may have bytes of it, too.
                break;
            }
            stored.next();
        }
        zeros(&mut hasher, end - at);
    }
    Ok(Sum { sparse, sha256: hasher.finalize().into() })
}

fn zeros(hasher: &mut Sha256, mut count: u64) {
    // Less than two blocks: a longer run contains a block of zeros.
    while count > 0 {
        let piece = count.min(BLOCK);
        hasher.update(&ZEROS[..usize::try_from(piece).unwrap_or(ZEROS.len())]);
        count -= piece;
    }
}
