//! Compares the bytes of files, several files at a time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::Numbers;
use super::mismatch::KEPT;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::ext4::{BlockSource, Chunk, Filesystem, InodeNumber, ReadError, Window};
use crate::layer::entry::Content;
use crate::progress::Progress;
use crate::tree::{InodeId, Node, Tree};
use crate::workers::{self, Batches};

/// Bytes that are compared at once, while they are in the processor's cache.
const PIECE: u64 = 256 << 10;

/// The result of comparing files.
#[derive(Default)]
pub(super) struct FileComparison {
    pub bytes: u64,
    /// The files that differ, and their differences: those with the lowest inode numbers in the tree, at most as many
    /// as are shown.
    pub differing: BTreeMap<InodeId, String>,
    /// The number of files that differ.
    pub count: usize,
}

impl FileComparison {
    fn add(&mut self, id: InodeId, text: String) {
        self.count += 1;
        self.differing.insert(id, text);
        if self.differing.len() > KEPT {
            self.differing.pop_last();
        }
    }
}

/// Compares every file; each worker takes the next files of a shared list, which lie one behind the other in most
/// filesystems.
pub(super) fn compare<R: BlockSource + Sync>(
    filesystem: &Filesystem<R>,
    tree: &Tree,
    files: &[InodeId],
    numbers: &Numbers,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<FileComparison> {
    let file = |id: InodeId| match &tree.inode(id).node {
        Node::File(content) => Some(content),
        _ => None,
    };
    let batches = Batches::new(files);
    let found = Mutex::new(FileComparison::default());
    let work = || -> Result<()> {
        let mut window = Window::default();
        let mut bytes = 0;
        while let Some(batch) = batches.take(|id| file(*id).map_or(0, Content::stored_len)) {
            for id in batch {
                let (Some(content), Some(number)) = (file(*id), numbers.get(*id)) else { continue };
                let differs = match compare_file(filesystem, content, number, &mut window, cancel) {
                    Ok(None) => None,
                    Ok(Some(offset)) => Some(format!("different from byte {offset} on")),
                    Err(ComparisonStop::Unreadable(fault)) => Some(fault.to_string()),
                    Err(ComparisonStop::Cancelled(error)) => return Err(error),
                };
                bytes += content.size();
                if let Some(text) = differs {
                    lock(&found).add(*id, text);
                }
                progress.advance(1);
            }
        }
        lock(&found).bytes += bytes;
        Ok(())
    };
    workers::share(jobs.min(files.len()), work)?;
    Ok(found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The reason why a comparison ended early.
pub(super) enum ComparisonStop {
    Unreadable(ReadError),
    Cancelled(crate::error::Error),
}

/// Returns the offset of the first byte that differs.
fn compare_file<R: BlockSource>(
    filesystem: &Filesystem<R>,
    want: &Content,
    number: InodeNumber,
    window: &mut Window,
    cancel: &Cancel,
) -> std::result::Result<Option<u64>, ComparisonStop> {
    let inode = filesystem.inode(number).map_err(ComparisonStop::Unreadable)?;
    let got = filesystem.content(&inode).map_err(ComparisonStop::Unreadable)?;
    let runs: Vec<(u64, &[u8])> = want.runs().collect();
    for chunk in got.chunks() {
        match chunk {
            Chunk::Hole { offset, length } => {
                if let Some(at) = first_not_zero(&runs, offset, length) {
                    return Ok(Some(at));
                }
            }
            Chunk::Data { offset, length } => {
                let end = offset + length;
                let mut at = offset;
                while at < end {
                    cancel.check().map_err(ComparisonStop::Cancelled)?;
                    let piece = PIECE.min(end - at);
                    want.touch(piece);
                    let length = usize::try_from(piece).unwrap_or_default();
                    let read = got.stored(at, length, window).map_err(ComparisonStop::Unreadable)?;
                    if let Some(at) = first_difference(&runs, at, read) {
                        return Ok(Some(at));
                    }
                    at += piece;
                }
            }
        }
    }
    Ok(None)
}

/// Returns the parts of `runs` that lie in `offset..end`.
fn overlapping<'a>(runs: &'a [(u64, &'a [u8])], offset: u64, end: u64) -> impl Iterator<Item = (u64, &'a [u8])> {
    let first = runs.partition_point(|(at, bytes)| at + bytes.len() as u64 <= offset);
    runs[first..].iter().take_while(move |(at, _)| *at < end).map(move |(at, bytes)| {
        let skip = usize::try_from(offset.saturating_sub(*at)).unwrap_or(usize::MAX).min(bytes.len());
        let keep = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
        (at + skip as u64, &bytes[skip..keep])
    })
}

fn first_not_zero(runs: &[(u64, &[u8])], offset: u64, length: u64) -> Option<u64> {
    overlapping(runs, offset, offset + length)
        .find_map(|(at, bytes)| bytes.iter().position(|b| *b != 0).map(|n| at + n as u64))
}

/// Returns the offset at which `got`, which begins at `offset`, differs from `runs` and the zeros between them.
fn first_difference(runs: &[(u64, &[u8])], offset: u64, got: &[u8]) -> Option<u64> {
    let place = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
    let not_zero = |from: usize, to: usize| got[from..to].iter().position(|b| *b != 0).map(|n| from + n);
    let mut seen = 0;
    for (at, bytes) in overlapping(runs, offset, offset + got.len() as u64) {
        let (from, to) = (place(at), place(at) + bytes.len());
        if let Some(n) = not_zero(seen, from) {
            return Some(offset + n as u64);
        }
        if got[from..to] != *bytes {
            let n = got[from..to].iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(0);
            return Some(at + n as u64);
        }
        seen = to;
    }
    not_zero(seen, got.len()).map(|n| offset + n as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [(u64, &[u8]); 3] = [(2, b"ab"), (4, b"c"), (8, b"d")];

    #[test]
    fn bytes_and_the_zeros_between_them_are_compared() {
        let whole = b"\0\0abc\0\0\0d\0";
        for from in 0..whole.len() {
            for to in from..=whole.len() {
                assert_eq!(first_difference(&RUNS, from as u64, &whole[from..to]), None, "{from}..{to}");
                for at in from..to {
                    let mut wrong = whole[from..to].to_vec();
                    wrong[at - from] ^= 1;
                    assert_eq!(first_difference(&RUNS, from as u64, &wrong), Some(at as u64), "{from}..{to} {at}");
                }
            }
        }
    }

    #[test]
    fn a_hole_must_be_zero_in_the_tree() {
        assert_eq!(first_not_zero(&RUNS, 0, 2), None);
        assert_eq!(first_not_zero(&RUNS, 0, 3), Some(2));
        assert_eq!(first_not_zero(&RUNS, 3, 100), Some(3));
        assert_eq!(first_not_zero(&RUNS, 5, 3), None);
        assert_eq!(first_not_zero(&RUNS, 9, 100), None);
        assert_eq!(first_not_zero(&[(0, b"\0\0x")], 1, 5), Some(2));
    }
}
