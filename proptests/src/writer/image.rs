//! One image: layers, with a config and manifest.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::layer::Layer;

const CREATED: &str = "1970-01-01T00:00:00Z";

/// The family of media types of the manifest, the config and the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaTypes {
    /// The OCI's.
    #[default]
    Oci,
    /// Docker's, image manifest version 2, schema 2.
    Docker,
}

/// The platform of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The operating system, with Go's name.
    pub os: String,
    /// The architecture, with Go's name.
    pub architecture: String,
    /// The variant of the architecture.
    pub variant: Option<String>,
}

impl Platform {
    /// Returns a platform without a variant.
    #[must_use]
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: None }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut platform = json!({"architecture": self.architecture, "os": self.os});
        if let Some(variant) = &self.variant {
            platform["variant"] = json!(variant);
        }
        platform
    }
}

/// An image: layers from the lowest to the highest, and its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The media types.
    pub media_types: MediaTypes,
    /// True if the manifest has its own media type; umoci and older tools leave it out.
    pub media_type_field: bool,
    /// The platform, in the config and in the index; linux/amd64 by default.
    pub platform: Platform,
    /// True if the index has the platform.
    pub platform_in_index: bool,
    /// The creation time in the config, RFC 3339; `None` leaves the field out.
    pub created: Option<String>,
    /// True for a history entry without a layer before each one with a layer.
    pub history_empty_layers: bool,
    /// The number of diff IDs missing from the end of the config.
    pub drop_diff_ids: usize,
    /// The number of superfluous diff IDs at the end of the config.
    pub extra_diff_ids: usize,
    /// Fields of the config that replace the generated ones.
    pub config_fields: BTreeMap<String, Value>,
    /// Annotations of the manifest's descriptor.
    pub annotations: BTreeMap<String, String>,
}

impl Image {
    /// Returns an image of layers, the lowest first, with OCI media types, for linux/amd64.
    #[must_use]
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            media_types: MediaTypes::Oci,
            media_type_field: true,
            platform: Platform::new("linux", "amd64"),
            platform_in_index: true,
            created: Some(CREATED.to_owned()),
            history_empty_layers: false,
            drop_diff_ids: 0,
            extra_diff_ids: 0,
            config_fields: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Gives the image Docker's media types.
    #[must_use]
    pub fn docker(self) -> Self {
        Self { media_types: MediaTypes::Docker, ..self }
    }

    /// Leaves the manifest's own media type out.
    #[must_use]
    pub fn without_media_type_field(self) -> Self {
        Self { media_type_field: false, ..self }
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(self, platform: Platform) -> Self {
        Self { platform, ..self }
    }

    /// Leaves the platform out of the index, as `skopeo copy` and umoci do.
    #[must_use]
    pub fn without_platform_in_index(self) -> Self {
        Self { platform_in_index: false, ..self }
    }

    /// Sets the creation time in the config, or leaves it out.
    #[must_use]
    pub fn created(self, created: Option<&str>) -> Self {
        Self { created: created.map(str::to_owned), ..self }
    }

    /// Adds a history entry without a layer before each one with a layer.
    #[must_use]
    pub fn history_empty_layers(self) -> Self {
        Self { history_empty_layers: true, ..self }
    }

    /// Removes diff IDs from the end of the config.
    #[must_use]
    pub fn drop_diff_ids(self, count: usize) -> Self {
        Self { drop_diff_ids: count, ..self }
    }

    /// Adds diff IDs to the config that no layer has.
    #[must_use]
    pub fn extra_diff_ids(self, count: usize) -> Self {
        Self { extra_diff_ids: count, ..self }
    }

    /// Sets a field of the config, replacing the generated one.
    #[must_use]
    pub fn config_field(mut self, key: impl Into<String>, value: Value) -> Self {
        self.config_fields.insert(key.into(), value);
        self
    }

    /// Adds an annotation to the manifest's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Returns the config's bytes.
    #[must_use]
    pub fn config(&self) -> Vec<u8> {
        let mut history = Vec::new();
        for index in 0..self.layers.len() {
            if self.history_empty_layers {
                history.push(json!({"created": CREATED, "created_by": format!("ENV X={index}"), "empty_layer": true}));
            }
            history.push(json!({"created": CREATED, "created_by": format!("layer {index}")}));
        }
        let mut config = Map::new();
        config.insert("config".into(), json!({"Cmd": ["/bin/sh"]}));
        config.insert("history".into(), history.into());
        config.insert("rootfs".into(), json!({"type": "layers", "diff_ids": self.config_diff_ids()}));
        if let Some(created) = &self.created {
            config.insert("created".into(), json!(created));
        }
        if let Value::Object(platform) = self.platform.to_json() {
            config.extend(platform);
        }
        config.extend(self.config_fields.clone());
        bytes(&Value::Object(config))
    }

    fn config_diff_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .layers
            .iter()
            .map(|layer| if layer.wrong_diff_id { digest(b"wrong") } else { digest(&layer.tar()) })
            .collect();
        ids.truncate(ids.len().saturating_sub(self.drop_diff_ids));
        ids.extend((0..self.extra_diff_ids).map(|index| digest(format!("extra{index}").as_bytes())));
        ids
    }

    /// Returns the manifest's bytes.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        let docker = self.media_types == MediaTypes::Docker;
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let blob = layer.blob();
                let size = i64::try_from(blob.len()).expect("a length fits i64") + layer.size_error;
                let mut descriptor =
                    json!({"mediaType": layer.described_as(docker), "digest": digest(&blob), "size": size});
                if !layer.urls.is_empty() {
                    descriptor["urls"] = json!(layer.urls);
                }
                descriptor
            })
            .collect();
        let config_type = match self.media_types {
            MediaTypes::Oci => "application/vnd.oci.image.config.v1+json",
            MediaTypes::Docker => "application/vnd.docker.container.image.v1+json",
        };
        let mut manifest =
            json!({"schemaVersion": 2, "config": descriptor(config_type, &self.config()), "layers": layers});
        if self.media_type_field {
            manifest["mediaType"] = json!(self.manifest_type());
        }
        bytes(&manifest)
    }

    fn manifest_type(&self) -> &'static str {
        match self.media_types {
            MediaTypes::Oci => "application/vnd.oci.image.manifest.v1+json",
            MediaTypes::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// Returns the manifest's descriptor, for an index.
    pub(super) fn descriptor(&self) -> Value {
        let mut descriptor = descriptor(self.manifest_type(), &self.manifest());
        if self.platform_in_index {
            descriptor["platform"] = self.platform.to_json();
        }
        if !self.annotations.is_empty() {
            descriptor["annotations"] = json!(self.annotations);
        }
        descriptor
    }

    /// Returns manifest, config and layers by the hexadecimal digits of their digests.
    #[must_use]
    pub fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let mut blobs = BTreeMap::new();
        for layer in &self.layers {
            let mut blob = layer.blob();
            let name = hex_digest(&blob);
            if layer.wrong_digest
                && let Some(last) = blob.last_mut()
            {
                *last ^= 1;
            }
            blobs.insert(name, blob);
        }
        for document in [self.config(), self.manifest()] {
            blobs.insert(hex_digest(&document), document);
        }
        blobs
    }
}

pub(super) fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex_digest(bytes))
}

pub(super) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a document with sorted keys: serde_json sorts them itself only with a feature that any other crate of a
/// build can enable.
pub(super) fn bytes(document: &Value) -> Vec<u8> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let by_key: BTreeMap<_, _> = object.iter().collect();
                Value::Object(by_key.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
            }
            Value::Array(values) => values.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(document).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Entry;

    fn image() -> Image {
        Image::new([Layer::new([Entry::dir("a")]), Layer::new([Entry::dir("b")])])
    }

    fn diff_ids(image: &Image) -> Vec<String> {
        let config: Value = serde_json::from_slice(&image.config()).unwrap();
        serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap()
    }

    fn first_layer(image: &Image) -> Value {
        let manifest: Value = serde_json::from_slice(&image.manifest()).unwrap();
        manifest["layers"][0].clone()
    }

    #[test]
    fn diff_ids_are_the_digests_of_the_archives() {
        let tars: Vec<String> = image().layers.iter().map(|layer| digest(&layer.tar())).collect();
        assert_eq!(diff_ids(&image()), tars);
        assert_eq!(diff_ids(&image().drop_diff_ids(1)), tars[..1]);
        assert_eq!(diff_ids(&image().extra_diff_ids(2))[..2], tars);
        assert_eq!(diff_ids(&image().extra_diff_ids(2)).len(), 4);
    }

    #[test]
    fn a_wrong_digest_is_a_blob_under_another_name() {
        let image = Image::new([Layer::new([]).wrong_digest()]);
        let name = hex_digest(&image.layers[0].blob());
        assert_ne!(hex_digest(&image.blobs()[&name]), name);
        assert_eq!(first_layer(&image)["digest"], format!("sha256:{name}"));
    }

    #[test]
    fn a_size_error_is_in_the_descriptor_only() {
        let layer = Layer::new([]).size_error(-1);
        let length = i64::try_from(layer.blob().len()).unwrap();
        assert_eq!(first_layer(&Image::new([layer]))["size"], length - 1);
    }

    #[test]
    fn documents_have_sorted_keys() {
        assert_eq!(bytes(&json!({"b": {"d": 1, "c": 2}, "a": []})), br#"{"a":[],"b":{"c":2,"d":1}}"#);
    }

    #[test]
    fn docker_media_types_are_docker_s_throughout() {
        let manifest = String::from_utf8(image().docker().manifest()).unwrap();
        assert!(!manifest.contains("vnd.oci"), "{manifest}");
        let manifest = String::from_utf8(image().manifest()).unwrap();
        assert!(!manifest.contains("vnd.docker"), "{manifest}");
    }

    #[test]
    fn config_fields_win() {
        let config = image().config_field("architecture", json!("arm64")).created(None).config();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["architecture"], &config["created"]), (&json!("arm64"), &Value::Null));
    }
}
