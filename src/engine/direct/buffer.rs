//! Collects bytes, written in ascending order, into larger writes: a file's blocks mostly follow those of the file before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use crate::plan::constants::BLOCK_SIZE;

/// Bytes of a buffer, which stays in the processor's cache.
const BUFFER: usize = 256 << 10;
/// The size from which on bytes are written from where they are: a further copy costs more than a further call.
const LARGE: usize = 64 << 10;

/// The file of a new filesystem, which one thread writes at a time.
///
/// Kernels do so anyway, but let the other threads wait on a processor.
pub(super) struct ImageFile<'a> {
    file: &'a File,
    turn: Mutex<()>,
}

impl<'a> ImageFile<'a> {
    pub fn new(file: &'a File) -> Self {
        Self { file, turn: Mutex::default() }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.write_all_at(bytes, offset)
    }
}

/// Bytes that are written soon. What is not flushed is lost.
pub(super) struct WriteBuffer<'a> {
    file: &'a ImageFile<'a>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> WriteBuffer<'a> {
    pub fn new(file: &'a ImageFile<'a>) -> Self {
        Self { file, start: 0, bytes: Vec::with_capacity(BUFFER) }
    }

    /// Adds bytes. Of a block that is written, the rest up to the next bytes is written as zeros; nothing else may write
    /// that rest.
    pub fn add(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let gap = offset.checked_sub(self.start + self.bytes.len() as u64).filter(|gap| *gap < BLOCK_SIZE);
        let gap = gap.and_then(|gap| usize::try_from(gap).ok()).filter(|_| !self.bytes.is_empty());
        match gap {
            Some(gap) if bytes.len() < LARGE && self.bytes.len() + gap + bytes.len() <= BUFFER => {
                self.bytes.resize(self.bytes.len() + gap, 0);
            }
            _ => {
                self.flush()?;
                self.start = offset;
            }
        }
        if bytes.len() >= LARGE {
            return self.file.write_all_at(bytes, offset);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes the bytes that are left.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.file.write_all_at(&self.bytes, self.start)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `count` bytes that are not zero and differ from their neighbours.
    fn pattern(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n % 251).to_le_bytes()[0] | 1).collect()
    }

    #[test]
    fn every_byte_is_written_at_its_offset_and_no_other_byte_changes() {
        let (block, sizes) = (4096, [1, 4095, 4096, 4097, LARGE - 1, LARGE, BUFFER, BUFFER + 5]);
        for size in sizes {
            let file = tempfile::tempfile().unwrap();
            let image = ImageFile::new(&file);
            let mut buffer = WriteBuffer::new(&image);
            let mut expected = vec![0; 64 * block + 8 * (size + block)];
            let mut at = 3;
            for (round, gap) in [0, 5, block - 1, block, 0, 3 * block, 1, 0].into_iter().enumerate() {
                let bytes = pattern(size + round);
                buffer.add(at as u64, &bytes).unwrap();
                expected[at..at + bytes.len()].copy_from_slice(&bytes);
                at += bytes.len() + gap;
            }
            // An earlier place, as of a file that got the blocks before.
            buffer.add(0, b"ab").unwrap();
            expected[..2].copy_from_slice(b"ab");
            buffer.flush().unwrap();
            file.set_len(expected.len() as u64).unwrap();
            let mut read = vec![0; expected.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == expected, "{size}");
        }
    }

    #[test]
    fn a_gap_of_a_block_is_not_written() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 3 * 4096], 0).unwrap();
        let image = ImageFile::new(&file);
        let mut buffer = WriteBuffer::new(&image);
        buffer.add(0, b"ab").unwrap();
        buffer.add(2 + 4096, b"c").unwrap();
        buffer.add(2 * 4096, b"d").unwrap();
        buffer.flush().unwrap();
        let mut read = [0; 3 * 4096];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!((&read[..3], &read[4096..4100]), (&b"ab\x07"[..], &b"\x07\x07c\0"[..]));
        assert!(read[4099..8192].iter().all(|byte| *byte == 0), "the rest of the block");
        assert_eq!(read[8192..8194], *b"d\x07");
    }

    #[test]
    fn a_failed_write_is_reported() {
        let file = File::open("/dev/null").unwrap();
        let image = ImageFile::new(&file);
        let mut buffer = WriteBuffer::new(&image);
        buffer.add(0, b"x").unwrap();
        assert!(buffer.flush().is_err());
        assert!(WriteBuffer::new(&image).add(0, &[1; LARGE]).is_err());
    }
}
