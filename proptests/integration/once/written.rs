//! Artifacts written by hand, which may be wrong, and their registry.

use std::collections::BTreeMap;
use std::path::Path;

use planish::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::support::registry::{Plan, Registry};

pub const TYPE: &str = "application/vnd.planish.filesystem.v1";
const CHUNK_TYPE: &str = "application/vnd.planish.chunk.v1+zstd";
const REPORT_TYPE: &str = "application/vnd.planish.report.v1+json";
pub const CHUNK: usize = 16 << 20;

pub fn digest(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

pub fn pack(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// An artifact, which a registry has as `fs:latest` or by its tag.
#[derive(Clone)]
pub struct Written {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: Value,
    pub tag: String,
}

impl Written {
    /// An artifact that claims to be `whole`, with chunks as given.
    pub fn of(whole: &[u8], chunks: &[(u64, Vec<u8>)]) -> Self {
        let mut blobs = BTreeMap::from([(digest(b"{}"), b"{}".to_vec())]);
        let layer = |(number, blob): &(u64, Vec<u8>)| {
            let annotations = json!({"planish.chunk.number": number.to_string()});
            json!({"mediaType": CHUNK_TYPE, "digest": digest(blob), "size": blob.len(), "annotations": annotations})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": TYPE,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
            "layers": chunks.iter().map(layer).collect::<Vec<_>>(),
            "annotations": {
                "planish.filesystem.bytes": whole.len().to_string(),
                "planish.filesystem.digest": digest(whole),
            },
        });
        blobs.extend(chunks.iter().map(|(_, blob)| (digest(blob), blob.clone())));
        Self { blobs, manifest, tag: "latest".into() }
    }

    /// The entry of a build key: a filesystem of one chunk, and the report of its build, both as given.
    pub fn entry(key: &str, whole: &[u8], report: &[u8]) -> Self {
        assert!(whole.len() < CHUNK);
        let mut written = Self::of(whole, &[(0, pack(whole))]);
        written.manifest["annotations"]["planish.filesystem.key"] = key.into();
        let layer = json!({"mediaType": REPORT_TYPE, "digest": digest(report), "size": report.len()});
        written.manifest["layers"].as_array_mut().unwrap().insert(0, layer);
        written.blobs.insert(digest(report), report.to_vec());
        let digits = key.strip_prefix("sha256:").unwrap();
        Self { tag: format!("planish-{}", &digits[..32]), ..written }
    }

    pub fn serve(&self, directory: &Path, plan: Plan) -> Registry {
        std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        let manifest = self.manifest.to_string();
        let put =
            |name: &str, bytes: &[u8]| std::fs::write(directory.join("blobs").join(name.replace(':', "/")), bytes);
        for (name, bytes) in &self.blobs {
            put(name, bytes).unwrap();
        }
        let name = digest(manifest.as_bytes());
        put(&name, manifest.as_bytes()).unwrap();
        let annotations = json!({"org.opencontainers.image.ref.name": self.tag});
        let media_type = &self.manifest["mediaType"];
        let descriptor =
            json!({"mediaType": media_type, "digest": name, "size": manifest.len(), "annotations": annotations});
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        Registry::start(&[("fs", directory)], plan)
    }
}
