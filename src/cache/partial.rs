//! A blob on its way into the cache.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::Cache;
use super::draft::Draft;
use super::layout::flat_name;
use super::lock::Lock;
use crate::cancel::Cancel;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::read_at::FileSlice;

/// A blob that is being fetched. Dropped before [`Partial::commit`], it leaves nothing.
pub struct Partial {
    // Removed before the lock goes: whoever has the lock next finds the name free.
    draft: Draft,
    lock: Option<Lock>,
    target: PathBuf,
    digest: Digest,
    size: u64,
    hasher: Box<Hasher>,
    len: u64,
}

/// What was written does not make the blob. The partial is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// So many bytes instead of the promised ones.
    Size(u64),
    /// The right number of bytes, of another digest.
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
    /// Begins a blob under a name that nobody else uses.
    pub(super) fn private(cache: &Cache, digest: &Digest, size: u64, lock: Option<Lock>) -> Result<Self> {
        let draft = Draft::new(&cache.partials(), &format!("{}-", flat_name(digest)))?;
        Ok(Self::over(cache, digest, size, lock, draft))
    }

    /// Continues what a killed process left of a blob, which is hashed, or begins it.
    pub(super) fn resumed(cache: &Cache, digest: &Digest, size: u64, lock: Lock, cancel: &Cancel) -> Result<Self> {
        match Draft::at(&cache.partial_path(digest))? {
            None => Self::private(cache, digest, size, Some(lock)),
            Some(draft) => {
                let mut partial = Self::over(cache, digest, size, Some(lock), draft);
                partial.hash_rest(cancel)?;
                Ok(partial)
            }
        }
    }

    fn over(cache: &Cache, digest: &Digest, size: u64, lock: Option<Lock>, draft: Draft) -> Self {
        let (target, hasher) = (cache.blob_path(digest), Box::new(Hasher::new(digest.algorithm())));
        Self { draft, lock, target, digest: digest.clone(), size, hasher, len: 0 }
    }

    fn hash_rest(&mut self, cancel: &Cancel) -> Result<()> {
        let length = self.draft.file().metadata().map_err(Error::io("read", self.draft.path()))?.len();
        if length > self.size {
            return self.draft.clear();
        }
        let mut buf = vec![0; 256 << 10];
        while self.len < length {
            cancel.check()?;
            let count = self.draft.file().read_at(&mut buf, self.len).map_err(Error::io("read", self.draft.path()))?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buf[..count]);
            self.len += count as u64;
        }
        Ok(())
    }

    /// Returns how many bytes are there: a killed process may have left some, which were hashed when it was reserved.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// The disk is full or fails. What was written before is still there.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.draft.write_at(self.len, bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets everything that was written.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn restart(&mut self) -> Result<()> {
        self.draft.clear()?;
        *self.hasher = Hasher::new(self.digest.algorithm());
        self.len = 0;
        Ok(())
    }

    /// Returns the digest of what is there so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::clone(&self.hasher).finish()
    }

    /// Returns what keeps the bytes so far from being the blob.
    pub(super) fn mismatch(&self) -> Option<Mismatch> {
        if self.len != self.size {
            return Some(Mismatch::Size(self.len));
        }
        Some(self.digest()).filter(|digest| *digest != self.digest).map(Mismatch::Digest)
    }

    /// Checks size and digest, syncs the file, gives it its name, syncs the directory, and returns the blob.
    ///
    /// # Errors
    ///
    /// The disk is full or fails; something else than a regular file has the name. The partial is gone.
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
