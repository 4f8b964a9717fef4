//! The source of a layer's bytes: a local file, or a registry from which they are fetched on demand.

use std::fmt;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, ImageProblem, Result};
use crate::progress::Progress;
use crate::read_at::{FileSlice, ReadAt};

/// The bytes of a layer.
#[derive(Debug, Clone)]
pub enum LayerData {
    /// Bytes in a layout or an archive.
    Local(FileSlice),
    /// Bytes in a registry or its cache.
    Remote(Arc<dyn BlobSource>),
}

/// A source that fetches bytes on demand.
pub trait BlobSource: fmt::Debug + Send + Sync {
    /// Returns the number of bytes.
    fn size(&self) -> u64;

    /// Returns the bytes if they are in the cache; the reader must verify them.
    fn cached(&self) -> Option<FileSlice>;

    /// Returns the bytes, fetching them if necessary. The reader must verify them.
    ///
    /// If they are fetched, `arriving` receives a growing file first: a reader of it waits for bytes, fails if what it read
    /// was wrong and is fetched anew, and must verify what it read.
    ///
    /// # Errors
    ///
    /// The bytes cannot be fetched.
    fn fetch(&self, arriving: &dyn Fn(FileSlice), progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice>;

    /// Fetches the bytes again, after the available ones turned out to be damaged.
    ///
    /// # Errors
    ///
    /// The bytes cannot be fetched, or fetching is not allowed.
    fn refetch(&self, found: &Digest, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice>;
}

impl LayerData {
    /// Returns the number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Local(slice) => slice.size(),
            Self::Remote(source) => source.size(),
        }
    }

    /// Returns the bytes unless they have to be fetched.
    #[must_use]
    pub fn here(&self) -> Option<FileSlice> {
        match self {
            Self::Local(slice) => Some(slice.clone()),
            Self::Remote(source) => source.cached(),
        }
    }

    /// Fetches the bytes again if `error` says that those from the cache do not match the digest.
    ///
    /// # Errors
    ///
    /// The bytes cannot be fetched.
    pub fn refetch(&self, error: &Error, progress: &dyn Progress, cancel: &Cancel) -> Result<Option<FileSlice>> {
        match (self, error.kind()) {
            (Self::Remote(source), ErrorKind::Image { problem: ImageProblem::DigestMismatch(found), .. }) => {
                source.refetch(found, progress, cancel).map(Some)
            }
            _ => Ok(None),
        }
    }
}
