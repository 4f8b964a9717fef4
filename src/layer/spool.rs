//! A layer's uncompressed stream: a mapped, unlinked file of which only a window stays in memory.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};

use super::holes::{HolesLeft, cover};
use super::zeros::{StreamZeros, ZeroMap, is_zero};

/// The number of bytes read from all mappings after which their pages are released. They stay in the page cache, which
/// the kernel may evict; the resident memory of this process stays small for images of any size.
const WINDOW: u64 = 64 << 20;
/// Bytes that the kernel maps around an accessed byte.
const READ_AHEAD: u64 = 64 << 10;

/// The spools of an image, which share one window.
#[derive(Debug, Default)]
pub struct Spools {
    touched: AtomicU64,
    all: Mutex<Vec<Weak<Spool>>>,
    holes_left: HolesLeft,
}

/// A mapped file that counts the bytes read from it.
#[derive(Debug)]
pub struct Spool {
    map: Mmap,
    zeros: ZeroMap,
    spools: Arc<Spools>,
}

/// A share of a spool that can own [`Bytes`].
struct Share(Arc<Spool>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

impl Spools {
    /// Returns the number of holes that spools may still have.
    pub(super) fn holes_left(&self) -> &HolesLeft {
        &self.holes_left
    }

    /// Maps a file of at least one byte, some zeros of which are known. The file must not be truncated, and bytes that
    /// were read must not change.
    ///
    /// # Errors
    ///
    /// The file cannot be mapped.
    pub(super) fn map(self: &Arc<Self>, file: &File, zeros: StreamZeros) -> io::Result<Arc<Spool>> {
        // SAFETY: the file has no name and only this process writes it. It never truncates the file, writes each byte
        // before it makes a reference to it, and does not write it again.
        let mut map = unsafe { Mmap::map(file) }?;
        zeros.holes.iter().try_for_each(|hole| cover(&mut map, hole))?;
        let spool = Arc::new(Spool { map, zeros: zeros.map, spools: Arc::clone(self) });
        self.all().push(Arc::downgrade(&spool));
        Ok(spool)
    }

    fn all(&self) -> MutexGuard<'_, Vec<Weak<Spool>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self) {
        self.touched.store(0, Ordering::Relaxed);
        for spool in self.all().iter().filter_map(Weak::upgrade) {
            // SAFETY: pages of a shared file mapping are read from the file again when needed, and those of holes are zeros
            // again, so references into the mapping see the same bytes as before.
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

    /// Returns the part of a range that lies within the mapping.
    #[must_use]
    pub fn range(&self, start: u64, len: u64) -> &[u8] {
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.map.len());
        &self.map[index(start)..index(start.saturating_add(len))]
    }

    /// Returns true if all of some bytes of the mapping, which begin at `start`, are zero. They are read only if what is
    /// known of the stream's zeros is not enough.
    pub(super) fn is_zero(&self, start: u64, bytes: &[u8]) -> bool {
        self.zeros.is_zero(start, bytes.len()).unwrap_or_else(|| {
            self.touch_page(bytes.len() as u64);
            is_zero(bytes)
        })
    }

    /// Returns a short part and counts it as read.
    #[must_use]
    pub fn part(&self, offset: u32, len: u32) -> &[u8] {
        self.touch_page(len.into());
        self.range(offset.into(), len.into())
    }

    /// Counts a few bytes between others of their kind as read: the pages that they may touch.
    fn touch_page(&self, len: u64) {
        self.count(len.next_multiple_of(4096));
    }

    /// Counts `amount` consecutive bytes as about to be read.
    pub fn touch(&self, amount: u64) {
        self.count(amount + READ_AHEAD);
    }

    fn count(&self, amount: u64) {
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
    fn bytes_are_equal_after_the_window_moved() {
        let spools = Arc::new(Spools::default());
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        file.write_all(&content).unwrap();
        let spool = spools.map(&file, StreamZeros::default()).unwrap();
        drop(file);
        let bytes = spool.bytes();
        assert!(bytes == content);
        spool.touch(2 * WINDOW);
        assert_eq!(spools.touched.load(Ordering::Relaxed), 0);
        assert!(bytes == content);
    }
}
