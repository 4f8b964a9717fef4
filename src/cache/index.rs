//! The names of images: descriptors in `index.json`.

use serde_json::{Map, Value, json};

use super::Cache;
use super::layout::open;
use crate::digest::Digest;
use crate::error::{CacheProblem, Error, ErrorKind, ImageProblem, Result};
use crate::json;
use crate::read_at::{FileSlice, ReadAt};

const INDEX: &str = "index.json";
/// What an index may need: some hundred thousand names.
const INDEX_MAX: u64 = 32 << 20;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The annotation that names an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a name means: the descriptor of a manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
}

/// An `index.json`. What is not understood in it is kept.
#[derive(Debug, Clone)]
pub(super) struct Index {
    document: Map<String, Value>,
    manifests: Vec<Value>,
}

/// A descriptor of an index.
#[derive(Debug)]
pub(super) struct Named {
    pub reference: Option<String>,
    pub entry: Entry,
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

    /// Returns the descriptors that can be followed, in order.
    pub(super) fn named(&self) -> impl Iterator<Item = Named> {
        self.manifests.iter().filter_map(named)
    }

    /// Gives an image a name, which no other has afterwards.
    fn set(&mut self, reference: &str, entry: &Entry) {
        self.manifests.retain(|descriptor| name(descriptor) != Some(reference));
        self.manifests.push(json!({
            "mediaType": entry.media_type,
            "digest": entry.digest,
            "size": entry.size,
            "annotations": { REF_NAME: reference },
        }));
    }

    /// Keeps the descriptors that cannot be followed, and those that may stay.
    pub(super) fn retain(&mut self, may_stay: impl Fn(&Named) -> bool) {
        self.manifests.retain(|descriptor| named(descriptor).is_none_or(|named| may_stay(&named)));
    }
}

fn name(descriptor: &Value) -> Option<&str> {
    descriptor["annotations"][REF_NAME].as_str()
}

fn named(descriptor: &Value) -> Option<Named> {
    let entry = Entry {
        digest: descriptor["digest"].as_str()?.parse().ok()?,
        size: descriptor["size"].as_u64()?,
        media_type: descriptor["mediaType"].as_str().unwrap_or_default().to_owned(),
    };
    Some(Named { reference: name(descriptor).map(str::to_owned), entry })
}

impl Cache {
    /// Returns what a name means; `None` when the cache does not know it.
    ///
    /// # Errors
    ///
    /// The index is damaged or cannot be read.
    pub fn recall(&self, reference: &str) -> Result<Option<Entry>> {
        let called = |named: &Named| named.reference.as_deref() == Some(reference);
        Ok(self.index()?.and_then(|index| index.named().filter(called).last()).map(|named| named.entry))
    }

    /// Gives an image a name. An index that is damaged is replaced by one with this name only.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or not safely.
    pub fn remember(&self, reference: &str, entry: &Entry) -> Result<()> {
        if matches!(self.recall(reference), Ok(Some(known)) if known == *entry) {
            return Ok(());
        }
        self.make_writable()?;
        let _lock = self.lock_index()?;
        let mut index = match self.index() {
            Ok(index) => index.unwrap_or_else(Index::new),
            Err(error) if is_damage(&error) => Index::new(),
            Err(error) => return Err(error),
        };
        index.set(reference, entry);
        self.write_index(&index)
    }

    /// Reads the index; `None` when there is none.
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
