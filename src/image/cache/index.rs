//! The references of images: descriptors in `index.json`.

use serde_json::{Map, Value, json};

use super::Cache;
use super::file::open;
use crate::digest::Digest;
use crate::error::{CacheProblem, Error, ErrorKind, ImageProblem, Result};
use crate::image::json;
use crate::read_at::{FileSlice, ReadAt};

pub(super) const INDEX: &str = "index.json";
/// The largest index: some hundred thousand references.
const INDEX_MAX: u64 = 32 << 20;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The annotation with the reference of an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The manifest or index that a reference points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The media type.
    pub media_type: String,
}

/// An `index.json`. Unknown content is preserved.
#[derive(Debug, Clone)]
pub(super) struct Index {
    document: Map<String, Value>,
    manifests: Vec<Value>,
}

/// A descriptor of an index.
#[derive(Debug)]
pub(super) struct IndexDescriptor {
    pub reference: Option<String>,
    pub entry: IndexEntry,
}

impl Index {
    fn new() -> Self {
        let mut document = Map::new();
        document.insert("schemaVersion".into(), json!(2));
        document.insert("mediaType".into(), json!(INDEX_TYPE));
        Self { document, manifests: Vec::new() }
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let mut document: Map<String, Value> = json::parse(bytes).map_err(|problem| match problem {
            ImageProblem::Json(text) => text,
            other => other.to_string(),
        })?;
        match document.remove("manifests") {
            Some(Value::Array(manifests)) => Ok(Self { document, manifests }),
            _ => Err("it has no list of manifests".into()),
        }
    }

    fn text(&self) -> String {
        let mut document = self.document.clone();
        document.insert("manifests".into(), self.manifests.clone().into());
        Value::Object(document).to_string()
    }

    /// Returns the descriptors with a valid digest and size, in order.
    pub(super) fn named(&self) -> impl Iterator<Item = IndexDescriptor> {
        self.manifests.iter().filter_map(named)
    }

    /// Sets the reference of an image and removes it from all others.
    fn set(&mut self, reference: &str, entry: &IndexEntry) {
        self.manifests.retain(|descriptor| name(descriptor) != Some(reference));
        self.manifests.push(json!({
            "mediaType": entry.media_type,
            "digest": entry.digest,
            "size": entry.size,
            "annotations": { REF_NAME: reference },
        }));
    }

    /// Removes the valid descriptors for which `may_stay` returns false.
    pub(super) fn retain(&mut self, may_stay: impl Fn(&IndexDescriptor) -> bool) {
        self.manifests.retain(|descriptor| named(descriptor).is_none_or(|named| may_stay(&named)));
    }
}

fn name(descriptor: &Value) -> Option<&str> {
    descriptor["annotations"][REF_NAME].as_str()
}

fn named(descriptor: &Value) -> Option<IndexDescriptor> {
    let entry = IndexEntry {
        digest: descriptor["digest"].as_str()?.parse().ok()?,
        size: descriptor["size"].as_u64()?,
        media_type: descriptor["mediaType"].as_str().unwrap_or_default().to_owned(),
    };
    Some(IndexDescriptor { reference: name(descriptor).map(str::to_owned), entry })
}

impl Cache {
    /// Returns the entry of a reference; `None` if the cache does not have it.
    ///
    /// # Errors
    ///
    /// The index is damaged or cannot be read.
    pub fn recall(&self, reference: &str) -> Result<Option<IndexEntry>> {
        let called = |named: &IndexDescriptor| named.reference.as_deref() == Some(reference);
        Ok(self.index()?.and_then(|index| index.named().filter(called).last()).map(|named| named.entry))
    }

    /// Sets the reference of an image. A damaged index is replaced by one with this reference only.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or other users can write it.
    pub fn remember(&self, reference: &str, entry: &IndexEntry) -> Result<()> {
        if matches!(self.recall(reference), Ok(Some(known)) if known == *entry) {
            return Ok(());
        }
        self.make_writable()?;
        let _lock = self.lock_index()?;
        self.sweep_indexes();
        let mut index = match self.index() {
            Ok(index) => index.unwrap_or_else(Index::new),
            Err(error) if is_damage(&error) => Index::new(),
            Err(error) => return Err(error),
        };
        index.set(reference, entry);
        self.write_index(&index)
    }

    /// Reads the index; `None` if there is none.
    pub(super) fn index(&self) -> Result<Option<Index>> {
        let path = self.directory.join(INDEX);
        let damaged = |text| Error::cache(&path, CacheProblem::Index(text));
        let Some((file, metadata)) = open(&path)? else { return Ok(None) };
        let length = usize::try_from(metadata.len().min(INDEX_MAX + 1)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let file = FileSlice::whole(file).map_err(Error::io("read", &path))?;
        let count = file.read_at(0, &mut bytes).map_err(Error::io("read", &path))?;
        if count as u64 > INDEX_MAX {
            return Err(damaged(format!("it has more than {INDEX_MAX} bytes")));
        }
        Index::parse(&bytes[..count]).map(Some).map_err(damaged)
    }

    /// Replaces the index, whose lock the caller holds.
    pub(super) fn write_index(&self, index: &Index) -> Result<()> {
        self.replace(INDEX, index.text().as_bytes())
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Cache { problem: CacheProblem::Index(_), .. })
}
