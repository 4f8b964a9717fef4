//! A store of long values in mapped, unlinked files, so that they take no memory that the kernel cannot reclaim.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::octets::{Octets, SpoolRange};
use super::spool::{Spool, Spools};
use super::zeros::StreamZeros;
use crate::work::Scratch;

/// Bytes of one file; a longer value has a file of its own.
const FILE: u32 = 8 << 20;
/// The fewest bytes that are stored in a file; fewer take less memory in a box.
const SMALLEST: usize = 64;

/// Values that are too long for memory. The space of freed values is not reused: the files need no more room than the
/// layers that the values come from.
#[derive(Debug, Default)]
pub struct Store {
    place: Option<(Scratch, Arc<Spools>)>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    spool: Arc<Spool>,
    used: u32,
    size: u32,
}

impl Store {
    /// Returns a store with files in `scratch`; [`Store::default`] has no files, and keeps all values in memory.
    pub fn new(scratch: Scratch, spools: Arc<Spools>) -> Self {
        Self { place: Some((scratch, spools)), open: None }
    }

    /// Returns the directory of the files, for error messages.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.place.as_ref().map(|(scratch, _)| scratch.path())
    }

    /// Returns the memory that a value of `len` bytes takes.
    #[must_use]
    pub fn memory_of(&self, len: usize) -> u64 {
        if self.is_stored(len) { 0 } else { Octets::memory_of(len) }
    }

    fn is_stored(&self, len: usize) -> bool {
        self.place.is_some() && len >= SMALLEST && u32::try_from(len).is_ok()
    }

    /// Stores bytes.
    ///
    /// # Errors
    ///
    /// A file cannot be created, written or mapped.
    pub fn keep(&mut self, bytes: &[u8]) -> io::Result<Octets> {
        let (Some((scratch, spools)), Ok(len)) = (&self.place, u32::try_from(bytes.len())) else {
            return Ok(bytes.into());
        };
        if !self.is_stored(bytes.len()) {
            return Ok(bytes.into());
        }
        let mut open = match self.open.take().filter(|open| open.size - open.used >= len) {
            Some(open) => open,
            None => Open::new(scratch.make()?, len.max(FILE), spools)?,
        };
        open.file.write_all_at(bytes, open.used.into())?;
        let stored = SpoolRange { spool: Arc::clone(&open.spool), offset: open.used, len };
        open.used += len;
        self.open = Some(open);
        Ok(Octets::stored(stored))
    }
}

impl Open {
    fn new(file: File, size: u32, spools: &Arc<Spools>) -> io::Result<Self> {
        file.set_len(size.into())?;
        let spool = spools.map(&file, StreamZeros::default())?;
        Ok(Self { file, spool, used: 0, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_back_from_memory_and_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::new(Scratch::at(directory.path()).unwrap(), Arc::default());
        let value = |n: u32| -> Vec<u8> { n.to_le_bytes().repeat(n as usize * 7 + 1) };
        let numbers = (0..2000).chain([400_000]);
        let kept: Vec<Octets> = numbers.clone().map(|n| store.keep(&value(n)).unwrap()).collect();
        for (n, octets) in numbers.zip(&kept) {
            assert!(**octets == *value(n), "{n}");
            assert_eq!(octets.memory(), store.memory_of(octets.len()));
            assert!(octets.memory() < 64 + 16, "{n}");
        }
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        // The store does not use the path again: the directory may have been moved.
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        let mut store = Store::new(Scratch::at(&old).unwrap(), Arc::default());
        std::fs::rename(old, new).unwrap();
        assert!(*store.keep(&value(100)).unwrap() == *value(100));
        assert_eq!(Store::default().keep(&[7; 100]).unwrap().memory(), 116);
    }
}
