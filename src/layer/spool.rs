//! A layer's uncompressed stream: a mapped file without a name, of which only a window stays in memory.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};

/// How many bytes of all mappings may be looked at before their pages are given back. They stay in the page cache, which
/// the kernel may empty; what counts as this process's memory stays small however large the image is.
const WINDOW: u64 = 64 << 20;
/// What the kernel maps around a byte that is looked at.
const READ_AHEAD: u64 = 64 << 10;

/// The spools of an image, which share one window.
#[derive(Debug, Default)]
pub struct Spools {
    touched: AtomicU64,
    all: Mutex<Vec<Weak<Spool>>>,
}

/// A mapped file that takes note of what is looked at.
#[derive(Debug)]
pub struct Spool {
    map: Mmap,
    spools: Arc<Spools>,
}

/// Lets [`Bytes`] own a share of a spool.
struct Share(Arc<Spool>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

impl Spools {
    /// Maps a file of at least one byte, which nobody else may change any more.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn map(self: &Arc<Self>, file: &File) -> io::Result<Arc<Spool>> {
        // SAFETY: the file has no name and was written by this process alone, which does not touch it any more, so it
        // is neither changed nor cut while it is mapped.
        let map = unsafe { Mmap::map(file) }?;
        let spool = Arc::new(Spool { map, spools: Arc::clone(self) });
        self.all().push(Arc::downgrade(&spool));
        Ok(spool)
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Spool>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self) {
        self.touched.store(0, Ordering::Relaxed);
        for spool in self.all().iter().filter_map(Weak::upgrade) {
            // SAFETY: the pages of a shared mapping of a file are read from the file again when they are needed, so
            // references into the mapping see the same bytes as before.
            let _ = unsafe { spool.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }
}

impl Spool {
    /// Returns all bytes.
    #[must_use]
    pub fn bytes(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Share(Arc::clone(self)))
    }

    /// Takes note that so many bytes in a row are about to be looked at.
    pub fn touch(&self, amount: u64) {
        let amount = amount + READ_AHEAD;
        if self.spools.touched.fetch_add(amount, Ordering::Relaxed) + amount >= WINDOW {
            self.spools.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_are_the_same_after_the_window_moved_on() {
        let spools = Arc::new(Spools::default());
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        file.write_all(&content).unwrap();
        let spool = spools.map(&file).unwrap();
        drop(file);
        let bytes = spool.bytes();
        assert!(bytes == content);
        spool.touch(2 * WINDOW);
        assert_eq!(spools.touched.load(Ordering::Relaxed), 0);
        assert!(bytes == content);
    }
}
