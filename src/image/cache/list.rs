//! Lists the images of a cache.

use std::time::SystemTime;

use super::Cache;
use crate::digest::Digest;
use crate::error::Result;

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedImage {
    /// The reference, as in the index.
    pub reference: Option<String>,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// The time of the last use of its manifest; `None` if the manifest is missing.
    pub used: Option<SystemTime>,
    /// The bytes of its manifest, config and layers according to their descriptors.
    pub bytes: u64,
    /// The number of these blobs.
    pub blobs: usize,
    /// The number of these blobs that are present.
    pub present: usize,
}

impl Cache {
    /// Returns the images of the index in order.
    ///
    /// # Errors
    ///
    /// The directory is no cache; the index is damaged; a file cannot be read.
    pub fn list(&self) -> Result<Vec<CachedImage>> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let listed = |named: super::index::IndexDescriptor| {
            let needs = self.needs(&named.entry)?;
            let digest = named.entry.digest;
            let metadata = self.blob_path(&digest).symlink_metadata().ok();
            Ok(CachedImage {
                reference: named.reference,
                used: metadata.and_then(|metadata| metadata.modified().ok()),
                bytes: needs.values().fold(0, |sum: u64, size| sum.saturating_add(*size)),
                blobs: needs.len(),
                present: needs.iter().filter(|(digest, size)| self.has(digest, **size)).count(),
                digest,
            })
        };
        index.named().map(listed).collect()
    }
}
