//! What the cache knows by name.

use std::time::SystemTime;

use super::Cache;
use crate::digest::Digest;
use crate::error::Result;

/// An image of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, as it stands in the index.
    pub reference: Option<String>,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// When its manifest was used; `None` when that is not there.
    pub used: Option<SystemTime>,
    /// The bytes of its manifest, config and layers, as their descriptors promise.
    pub bytes: u64,
    /// How many blobs these are.
    pub blobs: usize,
    /// How many of them are there.
    pub present: usize,
}

impl Cache {
    /// Returns the images of the index, in its order.
    ///
    /// # Errors
    ///
    /// The index is damaged; a file cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let Some(index) = self.index()? else { return Ok(Vec::new()) };
        let listed = |named: super::index::Named| {
            let needs = self.needs(&named.entry)?;
            let digest = named.entry.digest;
            let metadata = self.blob_path(&digest).symlink_metadata().ok();
            Ok(Listed {
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
