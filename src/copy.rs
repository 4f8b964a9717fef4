//! Copies a file, as a reflink where the filesystem has them, else its data without its holes, and lists its contents. Ground
//! floor.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::workers;

/// Bytes that are copied or hashed at once.
const PIECE: usize = 1 << 20;
/// Bytes that threads copy and hash without others, and whose digest is one of [`Contents`].
const CHUNK: u64 = 4 << 20;
/// Bytes of a chunk that are read at once, and in which runs are found.
const RUNS: usize = 256 << 10;
/// The unit in which zeros are found.
const BLOCK: usize = 4096;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// An open file with its path, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenFile<'a> {
    pub file: &'a File,
    pub path: &'a Path,
}

/// The contents of a file: its size, and the digest of the data of each chunk that is not all zeros. Two files of equal contents
/// have equal bytes, wherever their holes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    bytes: u64,
    /// The number of each chunk and the SHA-256 of its runs of blocks that are not zero, each after its place and length.
    chunks: Vec<(u64, Digest)>,
}

/// Copies a file to an empty one.
///
/// # Errors
///
/// A file cannot be read or written; the run was cancelled.
pub(crate) fn copy(from: OpenFile<'_>, to: OpenFile<'_>, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
    if reflink(from, to) {
        return Ok(());
    }
    copy_data(from, to, progress, cancel)
}

/// Copies a file to an empty one without its zeros, on up to `jobs` threads, and returns the contents of the copy.
///
/// # Errors
///
/// A file cannot be read or written; the run was cancelled.
pub(crate) fn copy_and_list(
    from: OpenFile<'_>,
    to: OpenFile<'_>,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Contents> {
    if reflink(from, to) {
        return list(to, jobs, progress, cancel);
    }
    let length = from.file.metadata().map_err(Error::io("examine", from.path))?.len();
    to.file.set_len(length).map_err(Error::io("extend", to.path))?;
    let directory = to.path.parent().unwrap_or(to.path);
    // Kernels let one thread at a time write to a file; the others would wait on a processor.
    let turn = Mutex::new(());
    contents(from, jobs, progress, cancel, &|at, run| {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        to.file.write_all_at(run, at).map_err(|error| Error::write(directory, at, error))
    })
}

/// Returns the contents of a file, which up to `jobs` threads read.
///
/// # Errors
///
/// The file cannot be read; the run was cancelled.
pub(crate) fn list(file: OpenFile<'_>, jobs: usize, progress: &dyn Progress, cancel: &Cancel) -> Result<Contents> {
    contents(file, jobs, progress, cancel, &|_, _| Ok(()))
}

/// Reads a file on up to `jobs` threads, calls `visit` with the place and the bytes of each run of blocks that are not zero,
/// at most 256 KiB at a time and in any order, and returns the contents.
fn contents(
    file: OpenFile<'_>,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
    visit: &(dyn Fn(u64, &[u8]) -> Result<()> + Sync),
) -> Result<Contents> {
    let bytes = file.file.metadata().map_err(Error::io("examine", file.path))?.len();
    let (next, chunks, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));
    let work = || {
        let mut buffer = vec![0; RUNS];
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(start) = number.checked_mul(CHUNK).filter(|start| *start < bytes) else { break };
            let end = bytes.min(start + CHUNK);
            if let Some(digest) = chunk(file, (start, end), &mut buffer, cancel, visit)? {
                chunks.lock().unwrap_or_else(PoisonError::into_inner).push((number, digest));
            }
            progress.advance(end - start);
        }
        Ok(())
    };
    let useful = usize::try_from(bytes.div_ceil(CHUNK)).unwrap_or(jobs);
    workers::share(jobs.clamp(1, useful.max(1)), || work().inspect_err(|_| failed.store(true, Ordering::Relaxed)))?;
    let mut chunks = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
    chunks.sort_unstable();
    Ok(Contents { bytes, chunks })
}

/// Returns the digest of a chunk; `None` if it is all zeros. Holes are not read.
fn chunk(
    file: OpenFile<'_>,
    (start, end): (u64, u64),
    buffer: &mut [u8],
    cancel: &Cancel,
    visit: &dyn Fn(u64, &[u8]) -> Result<()>,
) -> Result<Option<Digest>> {
    let mut hasher = None;
    let mut at = start;
    while at < end {
        cancel.check()?;
        // Pieces begin at multiples of their size, so that holes do not decide where a run ends.
        let data = seek(file.file, SeekFrom::Data(at), end).unwrap_or(at);
        at = data - (data - start) % RUNS as u64;
        let count = usize::try_from(end - at).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let piece = &mut buffer[..count];
        file.file.read_exact_at(piece, at).map_err(Error::io("read", file.path))?;
        for (offset, run) in runs(piece) {
            let (place, length) = (at + offset as u64, run.len() as u64);
            let hasher = hasher.get_or_insert_with(|| Hasher::new(Algorithm::Sha256));
            hasher.update(&[place.to_le_bytes(), length.to_le_bytes()].concat());
            hasher.update(run);
            visit(place, run)?;
        }
        at += count as u64;
    }
    Ok(hasher.map(Hasher::finish))
}

/// Returns the runs of blocks that are not all zeros, each with its offset.
fn runs(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let is_zero = |block: &[u8]| block == &ZEROS[..block.len()];
        let blocks = |from: usize| bytes[from..].chunks(BLOCK);
        at += blocks(at).take_while(|block| is_zero(block)).map(<[u8]>::len).sum::<usize>();
        let start = at;
        at += blocks(at).take_while(|block| !is_zero(block)).map(<[u8]>::len).sum::<usize>();
        (at > start).then(|| (start, &bytes[start..at]))
    })
}

/// Returns the SHA-256 of a file, holes included, which are not read.
///
/// # Errors
///
/// The file cannot be read; the run was cancelled.
pub(crate) fn hash(file: OpenFile<'_>, progress: &dyn Progress, cancel: &Cancel) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    read_all(file, progress, cancel, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hasher.finish())
}

/// Calls `visit` with all bytes of a file in order, at most a MiB at a time; holes are zeros, which are not read.
///
/// # Errors
///
/// The file cannot be read; an error of `visit`; the run was cancelled.
pub(crate) fn read_all(
    file: OpenFile<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
    visit: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    each(file, progress, cancel, visit, |_, _| Ok(()))
}

fn reflink(from: OpenFile<'_>, to: OpenFile<'_>) -> bool {
    rustix::fs::ioctl_ficlone(to.file, from.file).is_ok()
}

fn copy_data(from: OpenFile<'_>, to: OpenFile<'_>, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
    let length = from.file.metadata().map_err(Error::io("examine", from.path))?.len();
    to.file.set_len(length).map_err(Error::io("extend", to.path))?;
    let directory = to.path.parent().unwrap_or(to.path);
    each(from, progress, cancel, &mut |_| Ok(()), |at, bytes| {
        to.file.write_all_at(bytes, at).map_err(|error| Error::write(directory, at, error))
    })
}

/// Calls `visit` with the offset and the bytes of each piece of data, in order, and `all` with these and the zeros of holes.
fn each(
    from: OpenFile<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
    all: &mut dyn FnMut(&[u8]) -> Result<()>,
    mut visit: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let length = from.file.metadata().map_err(Error::io("examine", from.path))?.len();
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let data = seek(from.file, SeekFrom::Data(at), length).unwrap_or(at);
        while at < data {
            cancel.check()?;
            let count = (data - at).min(ZEROS.len() as u64);
            all(&ZEROS[..usize::try_from(count).unwrap_or(ZEROS.len())])?;
            progress.advance(count);
            at += count;
        }
        let end = seek(from.file, SeekFrom::Hole(at), length).unwrap_or(length);
        while at < end {
            cancel.check()?;
            let count = usize::try_from(end - at).map_or(PIECE, |rest| rest.min(PIECE));
            from.file.read_exact_at(&mut buffer[..count], at).map_err(Error::io("read", from.path))?;
            all(&buffer[..count])?;
            visit(at, &buffer[..count])?;
            progress.advance(count as u64);
            at += count as u64;
        }
    }
    Ok(())
}

/// Returns the next place of data or a hole, at most `length`; `None` if the filesystem knows no holes.
fn seek(file: &File, place: SeekFrom, length: u64) -> Option<u64> {
    match rustix::fs::seek(file, place) {
        Ok(at) => Some(at.min(length)),
        // There is none before the end.
        Err(Errno::NXIO) => Some(length),
        Err(_) => None,
    }
}

/// Returns true if a file is known to have only zeros in a range that it has.
pub(crate) fn is_hole(file: &File, at: u64, length: u64) -> bool {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(next) => next >= at + length,
        // There is no data to the end of the file.
        Err(error) => error == Errno::NXIO && file.metadata().is_ok_and(|metadata| metadata.len() >= at + length),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::progress::NoProgress;

    fn open(directory: &Path, name: &str) -> File {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).open(directory.join(name)).unwrap()
    }

    fn listed(file: &File, jobs: usize) -> Contents {
        let file = OpenFile { file, path: Path::new("x") };
        list(file, jobs, &NoProgress, &Cancel::default()).unwrap()
    }

    #[test]
    fn a_copy_has_the_bytes_the_holes_and_the_contents() {
        let directory = tempfile::tempdir().unwrap();
        let (from, path) = (open(directory.path(), "from"), Path::new("x"));
        from.set_len(9 << 20).unwrap();
        for (at, count) in [(0, 5), (3 << 20, (1 << 20) + 7), ((9 << 20) - 1, 1)] {
            from.write_all_at(&vec![7; count], at).unwrap();
        }
        for length in [9 << 20, (9 << 20) + 5000, 3, 0] {
            from.set_len(length).unwrap();
            for jobs in [1, 3] {
                let to = open(directory.path(), "to");
                let (source, target) = (OpenFile { file: &from, path }, OpenFile { file: &to, path });
                let found = copy_and_list(source, target, jobs, &NoProgress, &Cancel::default()).unwrap();
                let bytes = std::fs::read(directory.path().join("from")).unwrap();
                assert_eq!(bytes.len() as u64, length);
                assert!(bytes == std::fs::read(directory.path().join("to")).unwrap(), "{length}");
                assert_eq!(found, listed(&to, 1));
                let digest = hash(source, &NoProgress, &Cancel::default()).unwrap();
                assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
                assert!(to.metadata().unwrap().blocks() * 512 < 3 << 20, "the holes are no data");
                let other = open(directory.path(), "other");
                copy(source, OpenFile { file: &other, path }, &NoProgress, &Cancel::default()).unwrap();
                assert_eq!(listed(&other, 2), found);
            }
        }
    }

    #[test]
    fn contents_tell_bytes_apart_and_not_holes() {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; (4 << 20) + 300_000];
        for (place, byte) in bytes.iter_mut().enumerate().filter(|(place, _)| place / 4096 % 7 < 3) {
            *byte = u8::try_from(place % 251).unwrap();
        }
        let (sparse, full) = (open(directory.path(), "sparse"), open(directory.path(), "full"));
        full.write_all_at(&bytes, 0).unwrap();
        sparse.set_len(bytes.len() as u64).unwrap();
        for (number, block) in bytes.chunks(4096).enumerate().filter(|(_, block)| block.iter().any(|byte| *byte != 0)) {
            sparse.write_all_at(block, number as u64 * 4096).unwrap();
        }
        let expected = listed(&full, 2);
        assert_eq!(listed(&sparse, 1), expected);
        assert_eq!(expected.chunks.len(), 2);
        for place in [0, 4095, 3 * 4096, 1 << 20, (4 << 20) - 1, 4 << 20, bytes.len() - 1] {
            sparse.write_all_at(&[bytes[place] ^ 1], place as u64).unwrap();
            assert_ne!(listed(&sparse, 2), expected, "{place}");
            sparse.write_all_at(&[bytes[place]], place as u64).unwrap();
        }
        assert_eq!(listed(&sparse, 2), expected);
        // The same blocks at another place, and zeros at the end.
        sparse.write_all_at(&bytes[..4096], 3 * 4096).unwrap();
        sparse.write_all_at(&[0; 4096], 0).unwrap();
        assert_ne!(listed(&sparse, 2), expected);
        full.set_len(bytes.len() as u64 + 1).unwrap();
        assert_ne!(listed(&full, 2), expected);
    }
}
