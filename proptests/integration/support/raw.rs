//! Layers of any bytes, and an image of them with matching digests and sizes.

use std::path::Path;

use planish_proptests::writer::Layer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A blob, its media type, and the digest of its decompressed content.
#[derive(Clone)]
pub struct Raw {
    pub blob: Vec<u8>,
    pub media_type: &'static str,
    diff_id: String,
}

impl Raw {
    /// A layer that is not compressed.
    pub fn tar(tar: Vec<u8>) -> Self {
        Self { diff_id: digest(&tar), blob: tar, media_type: TAR }
    }

    /// A blob with the media type of gzip and the DiffID of `tar`.
    pub fn gzip(blob: Vec<u8>, tar: &[u8]) -> Self {
        Self { blob, media_type: GZIP, diff_id: digest(tar) }
    }

    /// Changes the blob; its digest and size are updated.
    pub fn change(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.blob);
        self
    }
}

impl From<Layer> for Raw {
    fn from(layer: Layer) -> Self {
        Self::gzip(layer.blob(), &layer.tar())
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Writes an image of layers, the lowest first, as a layout with one tag.
pub fn write(directory: &Path, layers: &[Raw]) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = digest(bytes);
        std::fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let bytes = |value: Value| value.to_string().into_bytes();
    let diff_ids: Vec<&str> = layers.iter().map(|layer| &*layer.diff_id).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let manifest = json!({
        "schemaVersion": 2,
        "config": put(&bytes(config), "application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(|layer| put(&layer.blob, layer.media_type)).collect::<Vec<_>>(),
    });
    let manifest = put(&bytes(manifest), "application/vnd.oci.image.manifest.v1+json");
    std::fs::write(directory.join("index.json"), bytes(json!({"schemaVersion": 2, "manifests": [manifest]}))).unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}
