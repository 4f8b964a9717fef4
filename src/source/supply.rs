//! Where a layer's bytes are: here, or to be fetched when they are needed.

use std::fmt;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, ImageProblem, Result};
use crate::progress::Progress;
use crate::read_at::{FileSlice, ReadAt};

/// A layer's bytes.
#[derive(Debug, Clone)]
pub enum LayerData {
    /// In a layout or an archive.
    Here(FileSlice),
    /// In a registry, or the cache before it.
    There(Arc<dyn Supply>),
}

/// Something that gets bytes when they are wanted. Nothing is fetched before.
pub trait Supply: fmt::Debug + Send + Sync {
    /// Returns how many bytes there will be.
    fn size(&self) -> u64;

    /// Returns the bytes, fetched if they are not here. Whoever reads them checks them.
    ///
    /// # Errors
    ///
    /// They cannot be had.
    fn fetch(&self, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice>;

    /// Returns the bytes again, after those that were here turned out to be damaged.
    ///
    /// # Errors
    ///
    /// They cannot be had; nothing may be fetched.
    fn fetch_again(&self, found: &Digest, progress: &dyn Progress, cancel: &Cancel) -> Result<FileSlice>;
}

impl LayerData {
    /// Returns how many bytes there are, or will be.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Here(slice) => slice.size(),
            Self::There(supply) => supply.size(),
        }
    }

    /// Returns the bytes again, where `error` says that those from the cache were not the digest's.
    ///
    /// # Errors
    ///
    /// They cannot be had.
    pub fn again(&self, error: &Error, progress: &dyn Progress, cancel: &Cancel) -> Result<Option<FileSlice>> {
        match (self, error.kind()) {
            (Self::There(supply), ErrorKind::Image { problem: ImageProblem::DigestMismatch(found), .. }) => {
                supply.fetch_again(found, progress, cancel).map(Some)
            }
            _ => Ok(None),
        }
    }
}
