//! The blobs that an image needs, from its manifests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Cache;
use super::blob::SmallBlob;
use super::index::IndexEntry;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::json;

/// The largest manifest that is read; a larger one counts as needing no blobs.
const DOCUMENT_MAX: u64 = 16 << 20;
/// The limit on the memory for parsing a manifest; one that needs more counts as needing no blobs.
const MEMORY_MAX: u64 = 240 << 20;

/// Returns the value of a field, ignoring the case of its name as Go does.
fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let (_, value) = object.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value)
}

/// Returns the blobs of the descriptors in a field of an index or a manifest, if they can be in a cache. An invalid
/// descriptor does not affect the others.
fn blobs(document: &Value, name: &str) -> Vec<(Digest, u64)> {
    let descriptors = match field(document, name) {
        Some(Value::Array(list)) => &list[..],
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let blob = |descriptor: &Value| {
        let digest = field(descriptor, "digest")?.as_str()?.parse().ok()?;
        Some((digest, field(descriptor, "size")?.as_u64()?))
    };
    descriptors.iter().filter_map(blob).collect()
}

impl Cache {
    /// Returns the blobs that an image needs, including its manifest, with their sizes, whether they are present or
    /// not.
    ///
    /// Of an index's manifests only those present count, because only one platform was pulled. If none is present, all
    /// count.
    pub(super) fn needs(&self, entry: &IndexEntry) -> Result<BTreeMap<Digest, u64>> {
        let mut needed = BTreeMap::new();
        let mut followed = BTreeSet::new();
        let mut todo = vec![(entry.digest.clone(), entry.size)];
        while let Some((digest, size)) = todo.pop() {
            if !followed.insert(digest.clone()) {
                continue;
            }
            needed.insert(digest.clone(), size);
            let SmallBlob::Bytes(bytes) = self.peek(&digest, size, DOCUMENT_MAX)? else { continue };
            if json::memory(&bytes) > MEMORY_MAX {
                continue;
            }
            let Ok(document) = json::parse::<Value>(&bytes) else { continue };
            needed.extend(blobs(&document, "config"));
            needed.extend(blobs(&document, "layers"));
            let manifests = blobs(&document, "manifests");
            let there: Vec<_> = manifests.iter().filter(|(digest, size)| self.has(digest, *size)).cloned().collect();
            if there.is_empty() {
                needed.extend(manifests);
            }
            todo.extend(there);
        }
        Ok(needed)
    }
}
