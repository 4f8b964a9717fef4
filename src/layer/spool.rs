//! A layer's uncompressed stream: a mapped file without a name, of which only a window stays in memory.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};

/// How many bytes of a mapping may be looked at before its pages are given back. They stay in the page cache, which the
/// kernel may empty; what counts as this process's memory stays small however large the image is.
const WINDOW: u64 = 64 << 20;

/// What the kernel maps around a byte that is looked at.
const READ_AHEAD: u64 = 64 << 10;

/// A mapped file that keeps count of what was looked at.
#[derive(Debug)]
pub struct Spool {
    map: Mmap,
    touched: AtomicU64,
}

/// Lets [`Bytes`] own a share of a spool.
struct Share(Arc<Spool>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

impl Spool {
    /// Maps a file of at least one byte, which nobody else may change any more.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn map(file: &File) -> io::Result<Arc<Self>> {
        // SAFETY: the file has no name and was written by this process alone, which does not touch it any more, so it
        // is neither changed nor cut while it is mapped.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Arc::new(Self { map, touched: AtomicU64::new(0) }))
    }

    /// Returns all bytes.
    #[must_use]
    pub fn bytes(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Share(Arc::clone(self)))
    }

    /// Takes note that so many bytes in a row are about to be looked at.
    pub fn touch(&self, amount: u64) {
        let amount = amount + READ_AHEAD;
        if self.touched.fetch_add(amount, Ordering::Relaxed) + amount >= WINDOW {
            self.release();
        }
    }

    /// Gives the pages back.
    pub fn release(&self) {
        self.touched.store(0, Ordering::Relaxed);
        // SAFETY: the pages of a shared mapping of a file are read from the file again when they are needed, so
        // references into the mapping see the same bytes as before.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}
