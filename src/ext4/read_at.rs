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
