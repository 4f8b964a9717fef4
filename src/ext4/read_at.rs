//! Reading at a position: the only access to an image file.

use std::io;
use std::sync::OnceLock;

/// A source of bytes that can be read at any position, without a cursor.
pub trait BlockSource {
    /// Fills `buf` with the bytes that start at `offset`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if fewer bytes are left; errors of the medium.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

impl BlockSource for std::fs::File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

impl BlockSource for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let tail = self.get(start..).and_then(|tail| tail.get(..buf.len()));
        buf.copy_from_slice(tail.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<T: BlockSource + ?Sized> BlockSource for &T {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }
}

/// The medium of a filesystem, with its first error, which is not damage of the filesystem.
pub(super) struct Medium<R> {
    reader: R,
    failure: OnceLock<i32>,
}

impl<R> Medium<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, failure: OnceLock::new() }
    }

    /// Returns the first error of the medium.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.get().map(|&code| io::Error::from_raw_os_error(code))
    }
}

impl<R: BlockSource> Medium<R> {
    /// Fills `buf` with bytes that may not be needed; returns false if it fails, which is no failure of the medium.
    fn try_read(&self, buf: &mut [u8], offset: u64) -> bool {
        self.reader.read_exact_at(buf, offset).is_ok()
    }
}

impl<R: BlockSource> BlockSource for Medium<R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.reader.read_exact_at(buf, offset).inspect_err(|error| {
            // An image that ends too early has no error code of the system.
            if let Some(code) = error.raw_os_error() {
                self.failure.get_or_init(|| code);
            }
        })
    }
}

/// The most bytes that are read ahead.
const AHEAD_MAX: usize = 256 << 10;
/// The bytes that are read ahead first.
const AHEAD_MIN: usize = 16 << 10;

/// The bytes that a caller has read last, and some behind them. Of a caller who reads in the order of the image, more and
/// more is read ahead; nothing of one who does not.
#[derive(Default)]
pub struct Window {
    start: u64,
    bytes: Vec<u8>,
    ahead: usize,
}

impl Window {
    /// Returns bytes of a medium.
    pub(super) fn read<R: BlockSource>(&mut self, medium: &Medium<R>, offset: u64, length: usize) -> io::Result<&[u8]> {
        let inside = |window: &Self| {
            let from = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            Some(from..from.checked_add(length)?).filter(|part| part.end <= window.bytes.len())
        };
        if let Some(part) = inside(self) {
            return Ok(&self.bytes[part]);
        }
        let end = self.start + self.bytes.len() as u64;
        let in_order = (self.start..=end.saturating_add(AHEAD_MIN as u64)).contains(&offset);
        self.ahead = if in_order { (self.ahead * 2).clamp(AHEAD_MIN, AHEAD_MAX) } else { 0 };
        self.start = offset;
        self.bytes.resize(length.max(self.ahead), 0);
        if self.ahead <= length || !medium.try_read(&mut self.bytes, offset) {
            if self.ahead > length {
                // The image ends soon.
                self.ahead = 0;
            }
            self.bytes.truncate(length);
            if let Err(error) = medium.read_exact_at(&mut self.bytes, offset) {
                self.bytes.clear();
                return Err(error);
            }
        }
        Ok(&self.bytes[..length])
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Bytes that count how often and how much they are read.
    struct Counting<'a> {
        bytes: &'a [u8],
        reads: Cell<usize>,
        total: Cell<usize>,
    }

    impl BlockSource for Counting<'_> {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.reads.set(self.reads.get() + 1);
            self.bytes.read_exact_at(buf, offset)?;
            self.total.set(self.total.get() + buf.len());
            Ok(())
        }
    }

    fn pattern() -> Vec<u8> {
        (0..1_000_000_u32).map(|n| (n % 251).to_le_bytes()[0]).collect()
    }

    /// Reads parts of the pattern, each compared; returns the number of reads of the medium and of their bytes.
    fn read(parts: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
        let bytes = pattern();
        let medium = Medium::new(Counting { bytes: &bytes, reads: Cell::new(0), total: Cell::new(0) });
        let mut window = Window::default();
        for (offset, length) in parts {
            let read = window.read(&medium, offset as u64, length).unwrap();
            assert!(read == &bytes[offset..offset + length], "{offset} {length}");
        }
        (medium.reader.reads.get(), medium.reader.total.get())
    }

    #[test]
    fn parts_in_order_are_read_with_few_calls() {
        let parts = (0..1000).map(|n| (n * 1000, 900));
        let (reads, total) = read(parts);
        assert!(reads < 60 && total < 1_500_000, "{reads} {total}");
    }

    #[test]
    fn parts_out_of_order_are_read_alone() {
        let parts = (0..1000).rev().map(|n| (n * 1000, 900));
        assert_eq!(read(parts), (1000, 900_000));
    }

    #[test]
    fn parts_of_any_order_and_size_are_right() {
        let mut state = 1_u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut at = 0;
        let parts: Vec<(usize, usize)> = (0..2000)
            .map(|_| {
                at = if next(20) == 0 { next(900_000) } else { (at + next(9000)).min(900_000) };
                let length = if next(50) == 0 { next(100_000) } else { next(5000) };
                (at as usize, length as usize)
            })
            .collect();
        read(parts.into_iter());
        read([(0, 0), (999_999, 1), (1_000_000, 0), (999_000, 1000)].into_iter());
    }

    #[test]
    fn bytes_past_the_end_are_an_error_and_the_window_stays_right() {
        let bytes = pattern();
        let medium = Medium::new(&bytes[..]);
        let mut window = Window::default();
        assert!(window.read(&medium, 999_990, 10).is_ok());
        assert!(window.read(&medium, 999_990, 11).is_err());
        assert!(window.read(&medium, 999_999, 2).is_err());
        assert!(window.read(&medium, u64::MAX, 2).is_err());
        assert_eq!(window.read(&medium, 999_999, 1).unwrap(), &bytes[999_999..]);
        assert!(medium.failure().is_none());
    }
}
