//! Writes images with layers larger than memory, one entry at a time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use planish_proptests::writer::{Entry, Layer, TarEnd};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bombs::bomb::Entries;

/// The number of entries encoded at a time.
const AT_ONCE: usize = 256;

/// A writer that hashes the bytes written.
struct Hashed<W> {
    out: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Sha256::new(), bytes: 0 }
    }

    fn digest(self) -> String {
        hex(&self.hasher.finalize())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a layout with one image of these layers, the lowest first.
pub fn write(directory: &Path, layers: Vec<Entries>) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in layers {
        let (descriptor, diff_id) = write_layer(&blobs, layer);
        descriptors.push(descriptor);
        diff_ids.push(diff_id);
    }
    let put = |value: &Value, media_type: &str| {
        let bytes = value.to_string().into_bytes();
        let digest = hex(&Sha256::digest(&bytes));
        std::fs::write(blobs.join(&digest), &bytes).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs});
    let config = put(&config, "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": descriptors});
    let manifest = put(&manifest, "application/vnd.oci.image.manifest.v1+json");
    let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
    std::fs::write(directory.join("index.json"), index).unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

/// Writes a layer; returns its descriptor and its diff ID.
fn write_layer(blobs: &Path, mut entries: Entries) -> (Value, String) {
    let path = blobs.join("unfinished");
    let blob = Hashed::new(BufWriter::new(File::create(&path).unwrap()));
    let mut tar = Hashed::new(GzEncoder::new(blob, Compression::fast()));
    loop {
        let some: Vec<Entry> = entries.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        tar.write_all(&Layer::new(some).tar_end(TarEnd::None).tar()).unwrap();
    }
    tar.write_all(&[0; 1024]).unwrap();
    let Hashed { out: gzip, hasher, .. } = tar;
    let mut blob = gzip.finish().unwrap();
    blob.flush().unwrap();
    let (size, diff_id) = (blob.bytes, format!("sha256:{}", hex(&hasher.finalize())));
    let digest = blob.digest();
    std::fs::rename(&path, blobs.join(&digest)).unwrap();
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    (json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size}), diff_id)
}
