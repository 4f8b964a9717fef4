//! Copies a file, as a reflink where the filesystem has them, else its data without its holes; the copy is hashed. Ground
//! floor.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Bytes that are copied or hashed at once.
const PIECE: usize = 1 << 20;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// An open file with its path, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenFile<'a> {
    pub file: &'a File,
    pub path: &'a Path,
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
    copy_data(from, to, None, progress, cancel)
}

/// Copies a file to an empty one, and returns the SHA-256 of what was copied, holes included.
///
/// # Errors
///
/// A file cannot be read or written; the run was cancelled.
pub(crate) fn copy_and_hash(
    from: OpenFile<'_>,
    to: OpenFile<'_>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Digest> {
    if reflink(from, to) {
        return hash(to, progress, cancel);
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    copy_data(from, to, Some(&mut hasher), progress, cancel)?;
    Ok(hasher.finish())
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

fn copy_data(
    from: OpenFile<'_>,
    to: OpenFile<'_>,
    hasher: Option<&mut Hasher>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<()> {
    let length = from.file.metadata().map_err(Error::io("examine", from.path))?.len();
    to.file.set_len(length).map_err(Error::io("extend", to.path))?;
    let directory = to.path.parent().unwrap_or(to.path);
    let mut hasher = hasher;
    let mut update = |bytes: &[u8]| {
        if let Some(hasher) = &mut hasher {
            hasher.update(bytes);
        }
        Ok(())
    };
    each(from, progress, cancel, &mut update, |at, bytes| {
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

    #[test]
    fn a_copy_has_the_bytes_the_holes_and_the_digest() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let path = directory.path().join(name);
            File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
        };
        let (from, path) = (open("from"), Path::new("x"));
        from.set_len(9 << 20).unwrap();
        for (at, count) in [(0, 5), (3 << 20, (1 << 20) + 7), ((9 << 20) - 1, 1)] {
            from.write_all_at(&vec![7; count], at).unwrap();
        }
        for length in [9 << 20, (9 << 20) + 5000, 3, 0] {
            from.set_len(length).unwrap();
            let to = open("to");
            let (source, target) = (OpenFile { file: &from, path }, OpenFile { file: &to, path });
            let digest = copy_and_hash(source, target, &NoProgress, &Cancel::default()).unwrap();
            let bytes = std::fs::read(directory.path().join("from")).unwrap();
            assert_eq!(bytes.len() as u64, length);
            assert!(bytes == std::fs::read(directory.path().join("to")).unwrap(), "{length}");
            assert_eq!(digest, Digest::of(Algorithm::Sha256, &bytes));
            assert_eq!(hash(source, &NoProgress, &Cancel::default()).unwrap(), digest);
            assert!(to.metadata().unwrap().blocks() * 512 < 3 << 20, "the holes are no data");
        }
    }
}
