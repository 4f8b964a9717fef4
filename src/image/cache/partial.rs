//! A partial blob on its way into the cache.

use std::fmt;
use std::path::PathBuf;

use super::Cache;
use super::layout::flat_name;
use super::lock::Lock;
use super::temporary::TempBlob;
use crate::calls;
use crate::cancel::Cancel;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::read_at::{FileSlice, Grower};

/// A blob that is being fetched. It is removed if it is dropped before [`Partial::commit`].
pub struct Partial {
    // Dropped before the lock: the next holder of the lock finds the name free.
    draft: TempBlob,
    lock: Option<Lock>,
    target: PathBuf,
    digest: Digest,
    size: u64,
    hasher: Box<Hasher>,
    len: u64,
    grower: Grower,
}

/// The difference between the bytes written and the blob. The partial blob was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The number of bytes written, if it is not the promised size.
    Size(u64),
    /// The digest of the bytes, if only their number is right.
    Digest(Digest),
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Partial {
    /// Begins a blob under a name that no other process uses.
    pub(super) fn private(cache: &Cache, digest: &Digest, size: u64, lock: Option<Lock>) -> Result<Self> {
        let draft = TempBlob::new(&cache.partials(), &format!("{}-", flat_name(digest)))?;
        Ok(Self::over(cache, digest, size, lock, draft))
    }

    /// Continues the partial blob of a killed process after hashing it, or begins a new one.
    pub(super) fn resumed(cache: &Cache, digest: &Digest, size: u64, lock: Lock, cancel: &Cancel) -> Result<Self> {
        match TempBlob::at(&cache.partial_path(digest))? {
            None => Self::private(cache, digest, size, Some(lock)),
            Some(draft) => {
                let mut partial = Self::over(cache, digest, size, Some(lock), draft);
                partial.hash_rest(cancel)?;
                Ok(partial)
            }
        }
    }

    fn over(cache: &Cache, digest: &Digest, size: u64, lock: Option<Lock>, draft: TempBlob) -> Self {
        let (target, hasher) = (cache.blob_path(digest), Box::new(Hasher::new(digest.algorithm())));
        Self { draft, lock, target, digest: digest.clone(), size, hasher, len: 0, grower: Grower::new() }
    }

    fn hash_rest(&mut self, cancel: &Cancel) -> Result<()> {
        let length = self.draft.file().metadata().map_err(Error::io("read", self.draft.path()))?.len();
        if length > self.size {
            return self.draft.clear();
        }
        let mut buf = vec![0; 256 << 10];
        while self.len < length {
            cancel.check()?;
            let count = calls::read_at(self.draft.file(), &mut buf, self.len);
            let count = count.map_err(Error::io("read", self.draft.path()))?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buf[..count]);
            self.len += count as u64;
        }
        self.grower.advance(self.len);
        Ok(())
    }

    /// Returns the blob for readers that wait for bytes which are not written yet. They must verify it; what they read is
    /// void after [`Partial::restart`].
    ///
    /// # Errors
    ///
    /// No descriptor is available.
    pub(crate) fn arriving(&self) -> Result<FileSlice> {
        let file = self.draft.file().try_clone().map_err(Error::io("open", self.draft.path()))?;
        Ok(self.grower.slice(file, self.size))
    }

    /// Returns the number of bytes written, including those of a killed process, which were hashed by the reservation.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no caller needs it")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// The disk is full or fails. Bytes written before are kept.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.draft.write_at(self.len, bytes)?;
        self.len += bytes.len() as u64;
        self.grower.advance(self.len);
        self.hasher.update(bytes);
        Ok(())
    }

    /// Discards everything that was written.
    ///
    /// # Errors
    ///
    /// The file cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        self.grower.restart();
        self.draft.clear()?;
        *self.hasher = Hasher::new(self.digest.algorithm());
        self.len = 0;
        Ok(())
    }

    /// Returns the digest of the bytes written so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::clone(&self.hasher).finish()
    }

    /// Returns the difference between the bytes written so far and the blob.
    pub(super) fn mismatch(&self) -> Option<Mismatch> {
        if self.len != self.size {
            return Some(Mismatch::Size(self.len));
        }
        Some(self.digest()).filter(|digest| *digest != self.digest).map(Mismatch::Digest)
    }

    /// Checks size and digest, syncs the file, renames it into place, syncs the directory, and returns the blob.
    ///
    /// # Errors
    ///
    /// The disk is full or fails; the blob's path exists and is not a regular file. The partial blob was removed.
    pub fn commit(self) -> Result<std::result::Result<FileSlice, Mismatch>> {
        if let Some(mismatch) = self.mismatch() {
            return Ok(Err(mismatch));
        }
        let Self { draft, lock, target, .. } = self;
        let file = draft.publish(&target)?;
        drop(lock);
        FileSlice::whole(file).map(Ok).map_err(Error::io("read", target))
    }
}
