//! Layouts of invalid and unusual documents.

use std::collections::BTreeMap;
use std::path::Path;

use planish_proptests::writer::{Entry, Layer};
use serde_json::{Value, json};
use sha2::Digest as _;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Blobs, and the document that a tag names.
#[derive(Default)]
pub struct Documents {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Documents {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob and returns its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub fn json(&mut self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// Names a document `latest`.
    pub fn tag(mut self, mut descriptor: Value) -> Self {
        descriptor["annotations"]["org.opencontainers.image.ref.name"] = json!("latest");
        self.manifests.push(descriptor);
        self
    }

    pub fn write(&self, directory: &Path) {
        std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(directory.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests});
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    }

    /// Adds a manifest that is valid except for `change`, and returns its descriptor.
    pub fn manifest(&mut self, change: impl FnOnce(&mut Value)) -> Value {
        self.image("amd64", |_| {}, change)
    }

    /// Adds an image of one layer that is valid except for the changes, and returns its manifest's descriptor.
    pub fn image(
        &mut self,
        architecture: &str,
        config: impl FnOnce(&mut Value),
        manifest: impl FnOnce(&mut Value),
    ) -> Value {
        let layer = layer();
        let mut described = json!({
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer.tar())]},
        });
        config(&mut described);
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json(CONFIG, &described),
            "layers": [self.blob(LAYER, &layer.blob())],
        });
        manifest(&mut document);
        let mut descriptor = self.json(MANIFEST, &document);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }
}

/// The one layer of these images.
pub fn layer() -> Layer {
    Layer::new([Entry::file("file", "content")])
}
