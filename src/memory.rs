//! The budget of metadata in memory: names, link targets, xattrs, maps of sparse files and inodes. Ground floor.
//!
//! Code that keeps metadata takes its bytes from the budget before it allocates them, and gives them back when it frees
//! them. Long values are stored in mapped files, which the kernel may drop from memory, and take nothing; notes are
//! stored in a file with a limit of its own. The members of an archive count against a second budget of the same size,
//! which is released before the first layer is read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Amount, Error, ErrorKind, Place, Result};
use crate::limits::Limit;

/// The overhead of an allocation: its header, and rounding up to 16 bytes.
pub const ALLOCATION: u64 = 16;

/// The bytes of metadata in memory, with their limit.
#[derive(Debug)]
pub struct Memory {
    /// The owner of the metadata, for error messages.
    place: Place,
    allowed: u64,
    used: AtomicU64,
}

impl Memory {
    /// Returns the unused budget of an image.
    #[must_use]
    pub fn new(allowed: u64) -> Self {
        Self::of(Place::Layers, allowed)
    }

    /// Returns an unused budget of its own for `place`.
    #[must_use]
    pub fn of(place: Place, allowed: u64) -> Self {
        Self { place, allowed, used: AtomicU64::new(0) }
    }

    /// Takes bytes that are about to be allocated.
    ///
    /// # Errors
    ///
    /// The budget does not have as many bytes left.
    pub fn take(&self, bytes: u64) -> Result<()> {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.allowed);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.refusal(Amount::MoreThan(self.allowed))),
        }
    }

    /// Gives back bytes that were freed.
    pub fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Requires that as many bytes are left as the next step will need.
    ///
    /// # Errors
    ///
    /// The budget does not have as many bytes left.
    pub fn require(&self, bytes: u64) -> Result<()> {
        let sum = self.used().saturating_add(bytes);
        if sum <= self.allowed { Ok(()) } else { Err(self.refusal(Amount::Exactly(sum))) }
    }

    /// Returns the bytes that were taken and not given back.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn refusal(&self, found: Amount) -> Error {
        ErrorKind::Limit { place: self.place.clone(), limit: Limit::MetadataBytes, allowed: self.allowed, found }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_up_to_the_limit() {
        let memory = Memory::new(100);
        memory.take(60).unwrap();
        let text = memory.take(41).unwrap_err().to_string();
        assert_eq!(text, "the image has more than 100 bytes of metadata in memory, --max-metadata-bytes allows 100");
        memory.take(40).unwrap();
        memory.give(30);
        assert_eq!(memory.used(), 70);
        assert!(memory.require(30).is_ok());
        let text = memory.require(31).unwrap_err().to_string();
        assert_eq!(text, "the image has 101 bytes of metadata in memory, --max-metadata-bytes allows 100");
        assert!(memory.take(u64::MAX).is_err());
        assert_eq!(memory.used(), 70);
    }
}
