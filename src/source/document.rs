//! Indexes and manifests, and the descriptors that they are made of.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::platform::Platform;
use crate::digest::Digest;
use crate::error::{Error, ImageProblem, Place, Result};
use crate::json;
use crate::shown::shown;

/// The annotation that names an image in an `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name, where docker and containerd write one beside the tag.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A reference to a blob, as it stands in an index or a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub media_type: Option<String>,
    digest: String,
    #[serde(deserialize_with = "size")]
    pub size: u64,
    platform: Option<DescribedPlatform>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// Sizes are of 63 bits (image-spec `descriptor.md`: int64).
fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if i64::try_from(size).is_ok() { Ok(size) } else { Err(serde::de::Error::custom("a size has more than 63 bits")) }
}

#[derive(Debug, Clone, Deserialize)]
struct DescribedPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Descriptor {
    /// Returns the digest, which nothing may be opened by before it was checked here.
    pub(super) fn digest(&self, holder: &Place) -> Result<Digest> {
        let refused = |_| Error::image(holder.clone(), ImageProblem::DigestSyntax(shown(&self.digest)));
        self.digest.parse().map_err(refused)
    }

    pub(super) fn platform(&self) -> Option<Platform> {
        self.platform.clone().map(|DescribedPlatform { os, architecture, variant }| Platform {
            os,
            architecture,
            variant: variant.filter(|variant| !variant.is_empty()),
        })
    }

    /// Returns the name that the image has in an `index.json`.
    pub(super) fn name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// Returns whether the user's word means this one: its tag, its whole name or its digest.
    pub(super) fn is_called(&self, wanted: &str) -> bool {
        let names = [REF_NAME, CONTAINERD_NAME].into_iter().filter_map(|key| self.annotations.get(key));
        names.chain([&self.digest]).any(|name| name == wanted)
    }

    /// Returns the digest as it is spelled, for messages.
    pub(super) fn shown_digest(&self) -> String {
        shown(&self.digest)
    }

    /// Returns whether this is what BuildKit puts beside an image: provenance, a bill of materials.
    pub(super) fn is_attestation(&self) -> bool {
        let unknown = |platform: &DescribedPlatform| platform.os == "unknown" && platform.architecture == "unknown";
        self.annotations.contains_key("vnd.docker.reference.type") || self.platform.as_ref().is_some_and(unknown)
    }

    /// Returns how a message calls the blob: an index or a manifest.
    pub(super) fn place(&self, digest: Digest) -> Place {
        match self.media_type.as_deref() {
            Some(name) if Kind::of(name) == Some(Kind::Index) => Place::Index(digest),
            _ => Place::Manifest(digest),
        }
    }
}

/// A document that leads to layers.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// An image manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
}

impl Kind {
    fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                Some(Self::Index)
            }
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
                Some(Self::Manifest)
            }
            _ => None,
        }
    }
}

/// Everything that tells the kinds of documents apart; what is absent stays absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Returns the OCI's media type for it.
    pub(super) fn media_type(&self) -> &'static str {
        match self {
            Self::Index(_) => "application/vnd.oci.image.index.v1+json",
            Self::Manifest(_) => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    /// Reads a document that its descriptor calls `promised`.
    ///
    /// Its media type, where it says one, must be the descriptor's, and its fields those of its media type: what one
    /// program takes for an index and another for a manifest is refused (CVE-2021-41190).
    pub(super) fn parse(bytes: &[u8], promised: Option<&str>) -> std::result::Result<Self, ImageProblem> {
        let raw: Raw = json::parse(bytes)?;
        if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
            return Err(ImageProblem::Ambiguous);
        }
        if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return Err(ImageProblem::MediaType("application/vnd.docker.distribution.manifest.v1+json".into()));
        }
        let own = raw.media_type.as_deref();
        if let (Some(own), Some(promised)) = (own, promised)
            && own != promised
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
            Kind::Index => Self::Index(raw.manifests.ok_or_else(|| missing("manifests"))?),
            Kind::Manifest if raw.manifests.is_some() => return Err(missing("config")),
            Kind::Manifest => Self::Manifest(Manifest {
                config: raw.config.ok_or_else(|| missing("config"))?,
                layers: raw.layers.unwrap_or_default(),
            }),
        })
    }
}

/// Checks that a blob is called a container image's config.
pub(super) fn check_config_type(media_type: Option<&str>) -> std::result::Result<(), ImageProblem> {
    match media_type {
        None | Some("application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json") => {
            Ok(())
        }
        Some(other) => Err(ImageProblem::MediaType(shown(other))),
    }
}

/// Checks that a blob is called a layer, and returns whether it is one that others may not redistribute.
///
/// The compression that the name promises is not looked at: the bytes decide.
pub(super) fn check_layer_type(media_type: Option<&str>) -> std::result::Result<bool, ImageProblem> {
    let name = media_type.unwrap_or("(none)");
    let compressions = ["", "+gzip", "+zstd", ".gzip", ".zstd"];
    let is = |base: &str| name.strip_prefix(base).is_some_and(|rest| compressions.contains(&rest));
    if is("application/vnd.oci.image.layer.v1.tar") || is("application/vnd.docker.image.rootfs.diff.tar") {
        Ok(false)
    } else if is("application/vnd.oci.image.layer.nondistributable.v1.tar")
        || is("application/vnd.docker.image.rootfs.foreign.diff.tar")
    {
        Ok(true)
    } else {
        Err(ImageProblem::MediaType(shown(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const CONFIG: &str = r#""config":{"digest":"sha256:00","size":2}"#;

    fn parse(text: &str, promised: Option<&str>) -> std::result::Result<&'static str, String> {
        match Document::parse(text.as_bytes(), promised) {
            Ok(Document::Index(_)) => Ok("index"),
            Ok(Document::Manifest(_)) => Ok("manifest"),
            Err(problem) => Err(problem.to_string()),
        }
    }

    #[test]
    fn documents_are_told_apart_by_media_type_then_by_shape() {
        let manifest = format!("{{\"schemaVersion\":2,{CONFIG},\"layers\":[]}}");
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(parse(&manifest, None), Ok("manifest"));
        assert_eq!(parse(&manifest, Some(OCI_MANIFEST)), Ok("manifest"));
        assert_eq!(parse(index, None), Ok("index"));
        assert_eq!(parse(index, Some(OCI_INDEX)), Ok("index"));
        assert_eq!(parse(&format!("{{{CONFIG},\"layers\":null}}"), None), Ok("manifest"));
    }

    #[test]
    fn documents_that_two_programs_could_read_differently_are_refused() {
        let both = format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[],"layers":[]}}"#);
        assert_eq!(parse(&both, None).unwrap_err(), "has both layers and manifests");
        let index = format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[]}}"#);
        assert_eq!(
            parse(&index, Some(OCI_MANIFEST)).unwrap_err(),
            format!("says it is {OCI_INDEX}, its descriptor says {OCI_MANIFEST}"),
        );
        let no_config = Err("is not valid JSON of its kind: it has no config".to_owned());
        assert_eq!(parse(r#"{"manifests":[]}"#, Some(OCI_MANIFEST)), no_config);
        let no_manifests = Err("is not valid JSON of its kind: it has no manifests".to_owned());
        assert_eq!(parse(&format!("{{{CONFIG}}}"), Some(OCI_INDEX)), no_manifests);
    }

    #[test]
    fn what_is_no_container_image_is_refused_by_name() {
        for text in [r#"{"schemaVersion":1}"#, r#"{"schemaVersion":2,"fsLayers":[]}"#] {
            let want =
                "has media type application/vnd.docker.distribution.manifest.v1+json, which is not a container image's";
            assert_eq!(parse(text, None).unwrap_err(), want);
        }
        let artifact = "application/vnd.oci.artifact.manifest.v1+json";
        let want = format!("has media type {artifact}, which is not a container image's");
        assert_eq!(parse("{}", Some(artifact)).unwrap_err(), want);
        assert!(check_config_type(Some("application/vnd.oci.empty.v1+json")).is_err());
    }

    #[test]
    fn sizes_are_whole_numbers_of_64_bits() {
        for size in ["-5", "1.5", "9223372036854775808", "18446744073709551616", "\"5\""] {
            let text = format!(r#"{{"config":{{"digest":"sha256:00","size":{size}}}}}"#);
            assert!(parse(&text, None).unwrap_err().starts_with("is not valid JSON of its kind: "), "{size}");
        }
    }

    #[test]
    fn layers_are_known_by_name() {
        for (name, foreign) in [
            ("application/vnd.oci.image.layer.v1.tar", false),
            ("application/vnd.oci.image.layer.v1.tar+zstd", false),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", false),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true),
        ] {
            assert_eq!(check_layer_type(Some(name)), Ok(foreign), "{name}");
        }
        for name in [
            None,
            Some(""),
            Some("application/vnd.oci.image.layer.v1.tar+encrypted"),
            Some("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
            Some("application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        ] {
            assert!(check_layer_type(name).is_err(), "{name:?}");
        }
    }
}
