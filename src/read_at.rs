//! Reading at an offset: of memory, and of a window of a file, which may still be growing.
//!
//! Ground floor: tar streams, archives and blobs are read through this trait, so that readers do not share a file
//! position.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use crate::calls;

mod growth;

pub use growth::{Grower, WaitObserver};

use growth::Growing;

/// A sequence of bytes of known length that can be read at any offset.
pub trait ReadAt {
    /// Returns the number of bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on, fewer only at the end of the source, and returns their number.
    ///
    /// # Errors
    ///
    /// A source that is not in memory cannot be read.
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

/// A window of an open file; clones share the file but no position. Bytes of a growing file are waited for.
#[derive(Debug, Clone)]
pub struct FileSlice {
    file: Arc<File>,
    offset: u64,
    len: u64,
    /// `None` if the file is complete.
    growing: Option<Growing>,
}

impl FileSlice {
    /// Returns a window of the whole file with its current length.
    ///
    /// # Errors
    ///
    /// The length cannot be read.
    pub fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, len, growing: None })
    }

    /// Returns a part of this window, clamped to its end.
    #[must_use]
    pub fn slice(&self, offset: u64, len: u64) -> Self {
        let offset = offset.min(self.len);
        Self { offset: self.offset + offset, len: len.min(self.len - offset), ..self.clone() }
    }

    /// Returns a reader of the whole window, from its beginning.
    #[must_use]
    pub fn reader(&self) -> SliceReader {
        SliceReader { slice: self.clone(), position: 0 }
    }

    /// Returns the same window of a growing file, with an observer of readers that wait for bytes.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn WaitObserver>) -> Self {
        Self { growing: self.growing.map(|growing| growing.observed_by(observer)), ..self }
    }

    /// Returns true if the window is of a growing file, be it complete meanwhile.
    #[must_use]
    pub fn is_growing(&self) -> bool {
        self.growing.is_some()
    }

    /// Returns true if the file was emptied while it grew: bytes read of it are void.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.growing.as_ref().is_some_and(Growing::is_void)
    }

    /// Returns true if not all bytes of the window can be read, even after waiting.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.growing.as_ref().is_some_and(|growing| growing.is_cut_off(self.offset + self.len))
    }
}

impl ReadAt for FileSlice {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = left.min(buf.len());
        let buf = &mut buf[..length];
        if let Some(growing) = &self.growing {
            growing.wait(self.offset + offset.min(self.len) + length as u64)?;
        }
        let mut done = 0;
        while done < length {
            match calls::read_at(&self.file, &mut buf[done..], self.offset + offset + done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        // It may have been emptied just now.
        self.growing.as_ref().map_or(Ok(()), |growing| growing.wait(0))?;
        Ok(done)
    }
}

/// A reader of a [`FileSlice`] from its beginning to its end.
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
    fn memory_and_files_give_equal_reads_up_to_and_past_the_end() {
        let content = b"0123456789";
        let sources: [&dyn ReadAt; 3] =
            [&&content[..], &Bytes::from_static(content), &file(b"xx0123456789yy").slice(2, 10)];
        let table: &[(u64, usize, &[u8])] =
            &[(0, 4, b"0123"), (8, 4, b"89"), (10, 1, b""), (11, 1, b""), (u64::MAX, 1, b""), (3, 0, b"")];
        for source in sources {
            assert_eq!(source.size(), 10);
            for &(offset, len, expected) in table {
                let mut buf = vec![b'?'; len];
                let count = source.read_at(offset, &mut buf).unwrap();
                assert_eq!(&buf[..count], expected, "at {offset}");
            }
        }
    }

    #[test]
    fn a_slice_stays_inside_its_window() {
        let window = file(b"0123456789").slice(2, 5);
        let table: &[(u64, u64, &[u8])] =
            &[(0, 5, b"23456"), (1, 2, b"34"), (3, 100, b"56"), (9, 1, b""), (u64::MAX, u64::MAX, b"")];
        for &(offset, len, expected) in table {
            let slice = window.slice(offset, len);
            let mut read = Vec::new();
            slice.reader().read_to_end(&mut read).unwrap();
            assert_eq!(read, expected, "{offset} {len}");
            assert_eq!(slice.size(), expected.len() as u64);
        }
    }

    #[test]
    fn a_shrunk_file_gives_a_short_read() {
        let slice = file(b"0123456789");
        slice.file.set_len(4).unwrap();
        assert_eq!(slice.read_at(2, &mut [0; 8]).unwrap(), 2);
    }
}
