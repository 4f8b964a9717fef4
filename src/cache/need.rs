//! What an image needs: the blobs that its manifests name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Cache;
use super::blob::Kept;
use super::index::Entry;
use crate::digest::Digest;
use crate::error::Result;
use crate::json;

/// What is read of a manifest; a larger one is taken to need nothing.
const DOCUMENT_MAX: u64 = 16 << 20;

/// The part of an index or a manifest that leads to blobs. More kinds than planish can build lead somewhere.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
}

impl Descriptor {
    /// Returns the blob that it names, if that can be in a cache.
    fn blob(&self) -> Option<(Digest, u64)> {
        Some((self.digest.parse().ok()?, self.size))
    }
}

impl Cache {
    /// Returns the blobs, with their sizes, that an image needs, itself included, whether they are there or not.
    ///
    /// Of an index's manifests those count that are there: someone took one platform. If there are none, all count.
    pub(super) fn needs(&self, entry: &Entry) -> Result<BTreeMap<Digest, u64>> {
        let mut needed = BTreeMap::new();
        let mut followed = BTreeSet::new();
        let mut todo = vec![(entry.digest.clone(), entry.size)];
        while let Some((digest, size)) = todo.pop() {
            if !followed.insert(digest.clone()) {
                continue;
            }
            needed.insert(digest.clone(), size);
            let Kept::Bytes(bytes) = self.peek(&digest, size, DOCUMENT_MAX)? else { continue };
            let Ok(document) = json::parse::<Document>(&bytes) else { continue };
            needed.extend(document.config.iter().chain(&document.layers).filter_map(Descriptor::blob));
            let manifests: Vec<_> = document.manifests.iter().filter_map(Descriptor::blob).collect();
            let there: Vec<_> = manifests.iter().filter(|(digest, size)| self.has(digest, *size)).cloned().collect();
            if there.is_empty() {
                needed.extend(manifests);
            }
            todo.extend(there);
        }
        Ok(needed)
    }
}
