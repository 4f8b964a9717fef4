//! The files of layouts and archives in unusual and invalid forms.

use std::collections::BTreeMap;
use std::path::Path;

use planish_proptests::writer::{Entry, Layer};
use serde_json::{Value, json};
use sha2::Digest as _;

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A layer of one file with this content.
pub fn layer(content: &str) -> Vec<u8> {
    Layer::new([Entry::file("hello", content)]).tar()
}

/// A config of layers with these bytes.
pub fn config(architecture: &str, layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
}

/// Files by their paths.
#[derive(Default, Clone)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    /// Adds a blob and returns its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.0.insert(format!("blobs/{}", digest.replace(':', "/")), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub fn json(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Adds an image that is valid except for the changes; returns the descriptors of its manifest and its config.
    pub fn image(
        &mut self,
        (architecture, content): (&str, &str),
        change: impl FnOnce(&mut Value),
        change_manifest: impl FnOnce(&mut Value),
    ) -> (Value, Value) {
        let layer = layer(content);
        let mut described = config(architecture, &[&layer]);
        change(&mut described);
        let config = self.json(CONFIG, &described);
        let layer = self.blob(LAYER, &layer);
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        change_manifest(&mut manifest);
        (self.json(MANIFEST, &manifest), config)
    }

    /// Adds a valid image; returns its manifest's descriptor and the digest of its config.
    pub fn plain(&mut self, architecture: &str, content: &str) -> (Value, String) {
        let (manifest, config) = self.image((architecture, content), |_| {}, |_| {});
        (manifest, config["digest"].as_str().unwrap().to_owned())
    }

    pub fn index(&mut self, entries: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        self.0.insert("index.json".into(), index.to_string().into());
    }

    /// Writes the files into a directory.
    pub fn write(&self, directory: &Path) {
        for (path, bytes) in &self.0 {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// Returns an archive of the files.
    pub fn tar(&self) -> Vec<u8> {
        Layer::new(self.0.iter().map(|(path, bytes)| Entry::file(path.clone(), bytes.clone()))).tar()
    }
}

/// Gives a descriptor an annotation.
pub fn annotated(mut descriptor: Value, key: &str, value: &str) -> Value {
    descriptor["annotations"][key] = json!(value);
    descriptor
}

/// Gives a descriptor a platform.
pub fn on(mut descriptor: Value, platform: Value) -> Value {
    descriptor["platform"] = platform;
    descriptor
}

pub fn digest_of(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}
