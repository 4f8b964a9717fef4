//! Small images, as files by name: the content of a layout's directory or of an archive.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::cancel::Cancel;
use crate::digest::{Algorithm, Digest};
use crate::error::Result;
use crate::image::{ImageReference, OpenImage, OpenOptions, Platform, open};
use crate::limits::Limits;
use crate::tar::build::Stream;
use crate::work::Scratch;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Files by name.
#[derive(Default, Clone)]
pub(super) struct Files(pub BTreeMap<String, Vec<u8>>);

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

impl Files {
    /// Adds a blob; returns its descriptor.
    pub(super) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        self.0.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }

    pub(super) fn json(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Adds an image of one layer with the content `text`; returns its manifest.
    pub(super) fn image(&mut self, platform: &str, text: &[u8]) -> Value {
        let config = self.json(CONFIG, &config(platform, &[text]));
        let layer = self.blob(LAYER, text);
        json!({"schemaVersion": 2, "config": config, "layers": [layer]})
    }

    /// Adds an image and its manifest; returns the manifest's descriptor.
    pub(super) fn manifest(&mut self, platform: &str, text: &[u8]) -> Value {
        let manifest = self.image(platform, text);
        self.json(MANIFEST, &manifest)
    }

    pub(super) fn index(mut self, entries: &[Value]) -> Self {
        self.0.insert("index.json".into(), json!({"schemaVersion": 2, "manifests": entries}).to_string().into());
        self
    }

    /// Writes the files into a directory.
    pub(super) fn write(&self, directory: &Path) {
        for (name, content) in &self.0 {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// Returns an archive of the files.
    pub(super) fn tar(&self) -> Stream {
        self.0.iter().fold(Stream::new(), |stream, (name, content)| stream.file(name.as_bytes(), content))
    }
}

/// Returns a config of layers with these contents.
pub(super) fn config(platform: &str, layers: &[&[u8]]) -> Value {
    let platform: Platform = platform.parse().unwrap();
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer).to_string()).collect();
    let mut config = json!({
        "os": platform.os,
        "architecture": platform.architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    if let Some(variant) = platform.variant {
        config["variant"] = variant.into();
    }
    config
}

/// Sets the name that a descriptor has in an `index.json`.
pub(super) fn tagged(mut descriptor: Value, tag: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    descriptor
}

/// Sets the platform of a descriptor.
pub(super) fn on(mut descriptor: Value, platform: &str) -> Value {
    let platform: Platform = platform.parse().unwrap();
    descriptor["platform"] = json!({"os": platform.os, "architecture": platform.architecture});
    if let Some(variant) = platform.variant {
        descriptor["platform"]["variant"] = variant.into();
    }
    descriptor
}

/// Opens an image for linux/amd64 within limits; `work_dir` is a directory.
pub(super) fn open_within(name: &ImageReference, limits: &Limits, work_dir: &Path) -> Result<OpenImage> {
    let (cancel, platform) = (Cancel::default(), Some("linux/amd64".parse().unwrap()));
    let (scratch, progress) = (&Scratch::at(work_dir).unwrap(), &crate::progress::NoProgress);
    open(name, &OpenOptions { platform, limits, scratch, remote: None, progress, cancel: &cancel })
}

/// Returns the image, or the text of the error without `base`.
pub(super) fn outcome(result: Result<OpenImage>, base: &Path) -> std::result::Result<OpenImage, String> {
    result.map_err(|error| error.to_string().replace(base.to_str().unwrap(), "BASE"))
}
