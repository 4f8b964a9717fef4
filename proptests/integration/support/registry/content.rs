//! The content of a registry: layouts, as they are on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::plan::Kind;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Nesting of indexes to this depth, which is deeper than planish follows.
const DEPTH: usize = 60;

/// One layout, and the role of each blob in its documents.
pub struct Repository {
    directory: PathBuf,
    pub tags: BTreeMap<String, String>,
    types: BTreeMap<String, String>,
    roles: BTreeMap<String, (Kind, Option<usize>)>,
}

impl Repository {
    pub fn load(directory: &Path) -> Self {
        let index: Value = serde_json::from_slice(&std::fs::read(directory.join("index.json")).unwrap()).unwrap();
        let (tags, types, roles) = Default::default();
        let mut repository = Self { directory: directory.to_owned(), tags, types, roles };
        let manifests = index["manifests"].as_array().unwrap();
        for descriptor in manifests {
            let digest = descriptor["digest"].as_str().unwrap().to_owned();
            if let Some(tag) = descriptor["annotations"]["org.opencontainers.image.ref.name"].as_str() {
                repository.tags.insert(tag.to_owned(), digest.clone());
            }
            if manifests.len() == 1 {
                repository.tags.entry("latest".to_owned()).or_insert(digest);
            }
            repository.scan(descriptor, 0);
        }
        repository
    }

    /// Records the blobs that a manifest or an index refers to; an unreadable document refers to none.
    fn scan(&mut self, descriptor: &Value, depth: usize) {
        let Some(digest) = descriptor["digest"].as_str() else { return };
        if depth > DEPTH || self.roles.contains_key(digest) {
            return;
        }
        self.roles.insert(digest.to_owned(), (Kind::Manifest, None));
        let document = self.path(digest).and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let document: Value = serde_json::from_slice(&document).unwrap_or_default();
        let media_type = descriptor["mediaType"].as_str().or(document["mediaType"].as_str()).unwrap_or(MANIFEST);
        self.types.insert(digest.to_owned(), media_type.to_owned());
        for inner in document["manifests"].as_array().into_iter().flatten() {
            self.scan(inner, depth + 1);
        }
        if let Some(config) = document["config"]["digest"].as_str() {
            self.roles.entry(config.to_owned()).or_insert((Kind::Config, None));
        }
        for (place, layer) in document["layers"].as_array().into_iter().flatten().enumerate() {
            if let Some(layer) = layer["digest"].as_str() {
                self.roles.entry(layer.to_owned()).or_insert((Kind::Layer, Some(place)));
            }
        }
    }

    /// Returns the path of a blob; `None` for an invalid digest.
    pub fn path(&self, digest: &str) -> Option<PathBuf> {
        let (algorithm, hex) = digest.split_once(':')?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return None,
        };
        let plain = hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| self.directory.join("blobs").join(algorithm).join(hex))
    }

    /// The media type of a manifest.
    pub fn media_type(&self, digest: &str) -> &str {
        self.types.get(digest).map_or(MANIFEST, String::as_str)
    }

    /// Returns the role of a blob in the documents that refer to it.
    pub fn role(&self, digest: &str) -> (Kind, Option<usize>) {
        self.roles.get(digest).copied().unwrap_or((Kind::Layer, None))
    }
}
