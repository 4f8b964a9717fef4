//! Reading at an offset: from memory, and from a window on a file.
//!
//! Ground floor: tar streams, archives and blobs are read through this, so that nobody shares a file position.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

/// A sequence of bytes of known length that can be read anywhere.
pub trait ReadAt {
    /// Returns how many bytes there are.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on; fewer only where the source ends.
    ///
    /// # Errors
    ///
    /// The system's, for sources that are not in memory.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf)
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self[..].read_at(offset, buf)
    }
}

/// A window on an open file; clones share the file and nothing else.
#[derive(Debug, Clone)]
pub struct FileSlice {
    file: Arc<File>,
    offset: u64,
    len: u64,
}

impl FileSlice {
    /// Returns the window on a whole file, as long as the file is now.
    ///
    /// # Errors
    ///
    /// The system's, when it does not say the length.
    pub fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, len })
    }

    /// Returns a part of this window, cut where the window ends.
    #[must_use]
    pub fn slice(&self, offset: u64, len: u64) -> Self {
        let offset = offset.min(self.len);
        Self { file: Arc::clone(&self.file), offset: self.offset + offset, len: len.min(self.len - offset) }
    }

    /// Returns a reader of the whole window, from its beginning.
    #[must_use]
    pub fn reader(&self) -> SliceReader {
        SliceReader { slice: self.clone(), position: 0 }
    }
}

impl ReadAt for FileSlice {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = left.min(buf.len());
        let buf = &mut buf[..want];
        let mut done = 0;
        while done < want {
            match self.file.read_at(&mut buf[done..], self.offset + offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Reads a [`FileSlice`] from its beginning to its end.
#[derive(Debug)]
pub struct SliceReader {
    slice: FileSlice,
    position: u64,
}

impl Read for SliceReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.slice.read_at(self.position, buf)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> FileSlice {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        FileSlice::whole(file).unwrap()
    }

    #[test]
    fn memory_and_files_read_alike_up_to_their_end_and_beyond() {
        let content = b"0123456789";
        let sources: [&dyn ReadAt; 3] =
            [&&content[..], &Bytes::from_static(content), &file(b"xx0123456789yy").slice(2, 10)];
        let table: &[(u64, usize, &[u8])] =
            &[(0, 4, b"0123"), (8, 4, b"89"), (10, 1, b""), (11, 1, b""), (u64::MAX, 1, b""), (3, 0, b"")];
        for source in sources {
            assert_eq!(source.size(), 10);
            for &(offset, len, want) in table {
                let mut buf = vec![b'?'; len];
                let count = source.read_at(offset, &mut buf).unwrap();
                assert_eq!(&buf[..count], want, "at {offset}");
            }
        }
    }

    #[test]
    fn a_slice_never_leaves_the_window_it_was_cut_from() {
        let window = file(b"0123456789").slice(2, 5);
        let table: &[(u64, u64, &[u8])] =
            &[(0, 5, b"23456"), (1, 2, b"34"), (3, 100, b"56"), (9, 1, b""), (u64::MAX, u64::MAX, b"")];
        for &(offset, len, want) in table {
            let slice = window.slice(offset, len);
            let mut read = Vec::new();
            slice.reader().read_to_end(&mut read).unwrap();
            assert_eq!(read, want, "{offset} {len}");
            assert_eq!(slice.size(), want.len() as u64);
        }
    }

    #[test]
    fn a_file_that_shrinks_ends_early_instead_of_failing() {
        let slice = file(b"0123456789");
        slice.file.set_len(4).unwrap();
        assert_eq!(slice.read_at(2, &mut [0; 8]).unwrap(), 2);
    }
}
