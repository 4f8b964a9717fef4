//! Content-addressed blobs that came from registries: an OCI layout that other tools can read.
//!
//! Before the source in the line. A blob has its name here only when it is complete, its size and digest checked, synced
//! and renamed; whoever reads it hashes it again. Knows nothing about where a blob comes from.

use std::path::{Path, PathBuf};

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::Result;
use crate::read_at::FileSlice;

/// A cache of blobs in a directory. Cheap to clone; nothing is made or written before something is to be kept.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

/// What the cache has under a digest.
#[derive(Debug)]
pub enum Found {
    /// A regular file of the promised size, open. Its content was not looked at: whoever reads it hashes it.
    Blob(FileSlice),
    /// A file of another size, in bytes.
    Damaged(u64),
    /// Nothing.
    Missing,
}

/// What came of the wish to fetch a blob.
#[derive(Debug)]
pub enum Reserved {
    /// Someone else has completed it meanwhile.
    Present(FileSlice),
    /// It is this process's to fetch.
    Mine(Partial),
}

/// A blob that is being fetched. Dropped before [`Partial::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Partial {}

/// What is waited for, told once after two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The process that holds the blob's lock, where the system says it.
    pub pid: Option<u32>,
}

/// What was written does not make the blob. The partial is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// So many bytes instead of the promised ones.
    Size(u64),
    /// The right number of bytes, of another digest.
    Digest(Digest),
}

impl Cache {
    /// Returns the cache in a directory, which need not exist.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Looks a blob up. `size` is what its descriptor promises, where there is one.
    pub fn find(&self, digest: &Digest, size: Option<u64>) -> Result<Found> {
        todo!("{digest} {size:?} {:?}", self.directory)
    }

    /// Waits until no other process fetches the blob, and takes it over. `again`: what is there is damaged, and is
    /// replaced when the new one is complete.
    pub fn reserve(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        waiting: &dyn Fn(Waiting),
        cancel: &Cancel,
    ) -> Result<Reserved> {
        todo!()
    }

    /// Keeps a small blob (a manifest) that is in memory. Its digest is computed here.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        todo!()
    }
}

impl Partial {
    /// Returns how many bytes are there: a killed process may have left some, which were hashed when it was reserved.
    #[must_use]
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        todo!()
    }

    /// Forgets everything that was written.
    pub fn restart(&mut self) -> Result<()> {
        todo!()
    }

    /// Returns the digest of what is there so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        todo!()
    }

    /// Checks size and digest, syncs the file, gives it its name, syncs the directory, and returns the blob.
    pub fn commit(self) -> Result<std::result::Result<FileSlice, Mismatch>> {
        todo!()
    }
}
