//! Indexes, manifests, and their descriptors.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::media_type::{self, Kind};
use super::platform::Platform;
use crate::digest::Digest;
use crate::error::{Error, ImageProblem, Place, Result};
use crate::image::json;
use crate::image::shown::shown;

/// The annotation with the name of an image in an `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which docker and containerd write the full name beside the tag.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation that `BuildKit` writes on attestations only.
const DOCKER_TYPE: &str = "vnd.docker.reference.type";
/// The annotation of cosign with the kind of a saved object: image, signatures or attestations.
const COSIGN_KIND: &str = "kind";

/// A descriptor: a reference to a blob in an index or a manifest.
#[derive(Debug, Clone)]
pub(super) struct Descriptor {
    pub media_type: Option<String>,
    digest: String,
    pub size: u64,
    platform: Option<DescribedPlatform>,
    artifact_type: Option<String>,
    /// The content of the blob, in base64.
    pub data: Option<String>,
    annotations: Map<String, Value>,
    /// The reason why it cannot be followed. An index may have such entries beside the requested one.
    fault: Option<String>,
}

/// An image of an index.
#[derive(Debug, Clone)]
pub struct ListedImage {
    /// The platform in its descriptor.
    pub platform: Option<Platform>,
    /// The media type in its descriptor.
    pub media_type: Option<String>,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The size of its manifest in bytes.
    pub size: u64,
}

#[derive(Debug, Clone)]
struct DescribedPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
    os_version: Option<String>,
    os_features: Vec<String>,
}

/// The fields of an object, with the first problem of one.
struct Fields<'a> {
    object: &'a mut Map<String, Value>,
    fault: &'a mut Option<String>,
}

impl Fields<'_> {
    fn refuse(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    /// Takes a string. An empty one counts as absent: Go writes it for an absent value.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.object.remove(name) {
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            None => None,
            Some(_) => {
                self.refuse(format!("its {name} is not a string"));
                None
            }
        }
    }

    fn texts(&mut self, name: &str) -> Vec<String> {
        match self.object.remove(name).map(serde_json::from_value) {
            None => Vec::new(),
            Some(Ok(list)) => list,
            Some(Err(_)) => {
                self.refuse(format!("its {name} is not a list of strings"));
                Vec::new()
            }
        }
    }

    /// Takes a size, which has 63 bits (image-spec `descriptor.md`: int64).
    fn size(&mut self) -> u64 {
        let fault = match self.object.remove("size") {
            None => "it has no size",
            Some(size) => match size.as_u64() {
                Some(bytes) if i64::try_from(bytes).is_ok() => return bytes,
                Some(_) => "a size has more than 63 bits",
                None => "its size is not a number of bytes",
            },
        };
        self.refuse(fault.to_owned());
        0
    }
}

impl DescribedPlatform {
    fn of(value: Value, fault: &mut Option<String>) -> Option<Self> {
        let Value::Object(mut object) = value else {
            fault.get_or_insert("its platform is not an object".into());
            return None;
        };
        let mut fields = Fields { object: &mut object, fault };
        Some(Self {
            os: fields.text("os").unwrap_or_default(),
            architecture: fields.text("architecture").unwrap_or_default(),
            variant: fields.text("variant"),
            os_version: fields.text("os.version"),
            os_features: fields.texts("os.features"),
        })
    }
}

impl Descriptor {
    fn of(value: Value) -> Self {
        let mut fault = None;
        let mut object = match value {
            Value::Object(object) => object,
            _ => {
                fault = Some("a descriptor in it is not an object".to_owned());
                Map::new()
            }
        };
        let platform = object.remove("platform");
        let mut fields = Fields { object: &mut object, fault: &mut fault };
        let digest = fields.text("digest");
        if digest.is_none() {
            fields.refuse("a descriptor in it has no digest".into());
        }
        let (media_type, artifact_type) = (fields.text("mediaType"), fields.text("artifactType"));
        let (size, data) = (fields.size(), fields.text("data"));
        // Annotations that are not an object count as absent.
        let annotations = match object.remove("annotations") {
            Some(Value::Object(annotations)) => annotations,
            _ => Map::new(),
        };
        let platform = platform.and_then(|platform| DescribedPlatform::of(platform, &mut fault));
        let digest = digest.unwrap_or_default();
        Self { media_type, digest, size, platform, artifact_type, data, annotations, fault }
    }

    /// Returns a descriptor that must be valid.
    fn sound(value: Value) -> std::result::Result<Self, ImageProblem> {
        let descriptor = Self::of(value);
        match descriptor.problem() {
            None => Ok(descriptor),
            Some(problem) => Err(problem),
        }
    }

    /// Returns the reason why it cannot be followed; `None` for a valid descriptor.
    pub(super) fn problem(&self) -> Option<ImageProblem> {
        let fault = self.fault.as_ref()?;
        Some(ImageProblem::Json(match &self.digest[..] {
            "" => fault.clone(),
            _ => format!("{fault} (descriptor of {})", self.shown_digest()),
        }))
    }

    /// Returns true if it cannot be followed.
    pub(super) fn is_odd(&self) -> bool {
        self.fault.is_some()
    }
}

impl Descriptor {
    /// Returns the digest after checking it; nothing may be opened by a digest before.
    pub(super) fn digest(&self, holder: &Place) -> Result<Digest> {
        let refused = |_| Error::image(holder.clone(), ImageProblem::DigestSyntax(shown(&self.digest)));
        self.digest.parse().map_err(refused)
    }

    /// Returns the platform, if the descriptor has an architecture.
    pub(super) fn platform(&self) -> Option<Platform> {
        let DescribedPlatform { os, architecture, variant, os_version, os_features } = self.platform.as_ref()?;
        if architecture.is_empty() {
            return None;
        }
        let named = Platform::named(os, architecture, variant.as_deref());
        Some(Platform { os_version: os_version.clone(), os_features: os_features.clone(), ..named })
    }

    /// Returns the descriptor as that of an image; `None` if its digest is invalid.
    pub(super) fn listed(&self) -> Option<ListedImage> {
        let digest = self.digest.parse().ok()?;
        Some(ListedImage { platform: self.platform(), media_type: self.media_type.clone(), digest, size: self.size })
    }

    /// Returns the annotations that are text.
    pub(super) fn annotations(&self) -> Vec<(String, String)> {
        texts(&self.annotations)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns the names of the image in an `index.json`, the full one first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        [CONTAINERD_NAME, REF_NAME].into_iter().filter_map(|key| self.annotation(key))
    }

    /// Returns the digest as written, for messages.
    pub(super) fn shown_digest(&self) -> String {
        shown(&self.digest)
    }

    /// Returns true if the descriptor says that this is not an image but an attachment: provenance, a bill of
    /// materials, a signature.
    pub(super) fn is_beside(&self) -> bool {
        let unknown = |platform: &DescribedPlatform| platform.os == "unknown" && platform.architecture == "unknown";
        let artifact = |media_type: &str| media_type::check_config(Some(media_type)).is_err();
        self.annotation(DOCKER_TYPE).is_some()
            || self.platform.as_ref().is_some_and(unknown)
            || self.artifact_type.as_deref().is_some_and(artifact)
            || self.media_type.as_deref().is_some_and(|name| Kind::of(name).is_none())
            || self.annotation(COSIGN_KIND).is_some_and(is_cosign_artifact)
            || self.names().any(is_cosign_tag)
    }

    /// Returns true if its media type is that of an index.
    pub(super) fn is_index(&self) -> bool {
        matches!(self.media_type.as_deref().and_then(Kind::of), Some(Kind::Index))
    }

    /// Returns the place of the blob in messages: an index or a manifest.
    pub(super) fn place(&self, digest: Digest) -> Place {
        match self.media_type.as_deref().and_then(Kind::of) {
            Some(Kind::Index) => Place::Index(digest),
            _ => Place::Manifest(digest),
        }
    }
}

/// Returns the members of an object that are text.
fn texts(object: &Map<String, Value>) -> Vec<(String, String)> {
    object.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Returns true if cosign uses this kind for something other than an image or an index of images.
fn is_cosign_artifact(kind: &str) -> bool {
    let kind = kind.strip_prefix("dev.cosignproject.cosign/");
    kind.is_some_and(|kind| !kind.starts_with("image"))
}

/// Returns true if a name is a tag of cosign for an attachment: `sha256-DIGITS.sig`.
fn is_cosign_tag(name: &str) -> bool {
    let tag = name.rsplit(':').next().unwrap_or(name);
    let digits = tag.strip_prefix("sha256-").and_then(|rest| rest.split_once('.'));
    digits.is_some_and(|(digits, what)| {
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && ["sig", "att", "sbom"].contains(&what)
    })
}

/// A document that leads to layers.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Box<Manifest>),
}

/// An image manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    /// The media type that it gives itself.
    pub media_type: Option<String>,
    /// The annotations that are text.
    pub annotations: Vec<(String, String)>,
    artifact_type: Option<String>,
    has_subject: bool,
}

impl Manifest {
    /// Returns true if this is not an image, or belongs to another image: the one in its subject.
    pub(super) fn is_beside(&self) -> bool {
        let is_layer = |layer: &Descriptor| media_type::check_layer(layer.media_type.as_deref()).is_ok();
        self.has_subject
            || self.artifact_type.is_some() && !self.config.media_type.as_deref().is_some_and(media_type::is_config)
            || media_type::check_config(self.config.media_type.as_deref()).is_err()
            || !self.layers.is_empty() && !self.layers.iter().any(is_layer)
    }

    /// Checks the media type of the config.
    pub(super) fn check_config_type(&self) -> std::result::Result<(), ImageProblem> {
        media_type::check_config(self.config.media_type.as_deref())?;
        match (&self.artifact_type, &self.config.media_type) {
            (Some(artifact), config) if !config.as_deref().is_some_and(media_type::is_config) => {
                Err(ImageProblem::MediaType(shown(artifact)))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a string. An empty one counts as absent: Go writes it for an absent value.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// The fields that distinguish the kinds of documents; absent fields stay absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<Value>,
    #[serde(default, deserialize_with = "text")]
    media_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    artifact_type: Option<String>,
    config: Option<Value>,
    layers: Option<Vec<Value>>,
    manifests: Option<Vec<Value>>,
    subject: Option<IgnoredAny>,
    annotations: Option<Value>,
    fs_layers: Option<IgnoredAny>,
}

/// The fields of documents that planish reads.
const FIELDS: [&str; 8] =
    ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "fsLayers"];
/// The fields of descriptors.
const DESCRIPTOR: [&str; 7] = ["mediaType", "digest", "size", "platform", "artifactType", "data", "annotations"];
/// The fields of platforms.
const PLATFORM: [&str; 5] = ["os", "architecture", "variant", "os.version", "os.features"];

fn raw(bytes: &[u8]) -> std::result::Result<Raw, ImageProblem> {
    let mut value: Value = json::parse(bytes)?;
    json::fold(&mut value, &FIELDS)?;
    for name in ["config", "layers", "manifests"] {
        let descriptors = match value.get_mut(name) {
            Some(Value::Array(list)) => &mut list[..],
            Some(one) => std::slice::from_mut(one),
            None => &mut [],
        };
        for descriptor in descriptors {
            json::fold(descriptor, &DESCRIPTOR)?;
            if let Some(platform) = descriptor.get_mut("platform") {
                json::fold(platform, &PLATFORM)?;
            }
        }
    }
    json::typed(value)
}

impl Document {
    /// Returns the OCI media type of the document.
    pub(super) fn media_type(&self) -> &'static str {
        match self {
            Self::Index(_) => "application/vnd.oci.image.index.v1+json",
            Self::Manifest(_) => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    /// Parses the `index.json` of a layout. Go writes `null` for an empty list.
    pub(super) fn parse_layout(bytes: &[u8]) -> std::result::Result<Vec<Descriptor>, ImageProblem> {
        let Raw { manifests, config, layers, fs_layers, .. } = raw(bytes)?;
        if manifests.is_none() && config.is_none() && layers.is_none() && fs_layers.is_none() {
            return Ok(Vec::new());
        }
        match Self::parse(bytes, None)? {
            Self::Index(entries) => Ok(entries),
            Self::Manifest(_) => Err(ImageProblem::Json("it has no manifests".into())),
        }
    }

    /// Parses a document whose descriptor has the media type `promised`.
    ///
    /// Its own media type, if present, must equal the descriptor's, and its fields must match the media type: a
    /// document that one program reads as an index and another as a manifest is refused (CVE-2021-41190).
    pub(super) fn parse(bytes: &[u8], promised: Option<&str>) -> std::result::Result<Self, ImageProblem> {
        let raw = raw(bytes)?;
        if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
            return Err(ImageProblem::Ambiguous);
        }
        let version_1 = |version: &Value| version.as_u64() == Some(1) || version.as_str() == Some("1");
        if raw.schema_version.as_ref().is_some_and(version_1) || raw.fs_layers.is_some() {
            return Err(ImageProblem::MediaType("application/vnd.docker.distribution.manifest.v1+json".into()));
        }
        let own = raw.media_type.as_deref();
        if let (Some(own), Some(promised)) = (own, promised)
            && !media_type::same(own, promised)
        {
            return Err(ImageProblem::MediaTypeMismatch { own: shown(own), promised: shown(promised) });
        }
        let kind = match own.or(promised) {
            Some(name) => Kind::of(name).ok_or_else(|| ImageProblem::MediaType(shown(name)))?,
            None if raw.manifests.is_some() => Kind::Index,
            None => Kind::Manifest,
        };
        let missing = |field: &str| ImageProblem::Json(format!("it has no {field}"));
        Ok(match kind {
            Kind::Index if raw.manifests.is_none() && (raw.config.is_some() || raw.layers.is_some()) => {
                return Err(missing("manifests"));
            }
            Kind::Index => Self::Index(raw.manifests.unwrap_or_default().into_iter().map(Descriptor::of).collect()),
            Kind::Manifest if raw.manifests.is_some() => return Err(missing("config")),
            Kind::Manifest => Self::Manifest(Box::new(Manifest {
                config: Descriptor::sound(raw.config.ok_or_else(|| missing("config"))?)?,
                layers: raw
                    .layers
                    .unwrap_or_default()
                    .into_iter()
                    .map(Descriptor::sound)
                    .collect::<std::result::Result<_, _>>()?,
                media_type: raw.media_type,
                annotations: raw.annotations.as_ref().and_then(Value::as_object).map(texts).unwrap_or_default(),
                artifact_type: raw.artifact_type,
                has_subject: raw.subject.is_some(),
            })),
        })
    }
}

#[cfg(test)]
mod tests;
