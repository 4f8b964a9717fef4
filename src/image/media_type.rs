//! Media types of blobs. Case, parameters and surrounding spaces are ignored.

use crate::error::ImageProblem;
use crate::image::shown::shown;

/// The kind of a document that leads to layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Index,
    Manifest,
}

impl Kind {
    /// Returns the kind of document of a media type.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        match &*plain(media_type) {
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

/// Returns a media type in normal form: lower case, without parameters (RFC 6838, 4.2).
pub(super) fn plain(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns true if two media types have the same normal form.
pub(super) fn same(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

/// Returns true if a media type is used only for configs of container images.
pub(super) fn is_config(media_type: &str) -> bool {
    matches!(
        &*plain(media_type),
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

/// Checks that a blob of this media type may be the config of a container image; `None` is a type that is absent or
/// empty.
///
/// Registries of docker's first versions stored configs under arbitrary media types (docker/distribution issue 1621),
/// and docker, podman and containerd accept such images. The content of the config decides.
pub(super) fn check_config(media_type: Option<&str>) -> Result<(), ImageProblem> {
    match media_type {
        None => Ok(()),
        Some(name) if is_config(name) => Ok(()),
        Some(name) => match &*plain(name) {
            "application/octet-stream" | "application/json" | "text/html" | "text/plain" | "" => Ok(()),
            _ => Err(ImageProblem::MediaType(shown(name))),
        },
    }
}

/// The media types of layers, with true for those that may not be redistributed.
const LAYERS: [(&str, bool); 4] = [
    ("application/vnd.oci.image.layer.v1.tar", false),
    ("application/vnd.docker.image.rootfs.diff.tar", false),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", true),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", true),
];

/// The media types of blobs of any kind, including layers.
const ANYTHING: [&str; 9] = [
    "",
    "application/octet-stream",
    "application/tar",
    "application/tar+gzip",
    "application/x-tar",
    "application/x-gtar",
    "application/gzip",
    "application/x-gzip",
    "application/vnd.docker.container.image.rootfs.diff+x-gtar",
];

/// Checks that the media type is one of a layer, and returns true if the layer may not be redistributed; `None` is a
/// type that is absent or empty.
///
/// The compression in the media type is ignored: the bytes decide.
pub(super) fn check_layer(media_type: Option<&str>) -> Result<bool, ImageProblem> {
    let Some(name) = media_type else { return Ok(false) };
    let plain = plain(name);
    let compressed = |rest: &str| {
        let word = rest.strip_prefix(['+', '.']);
        rest.is_empty() || word.is_some_and(|word| ["gzip", "gz", "zstd", "zst", "xz", "bzip2"].contains(&word))
    };
    let layer = LAYERS.iter().find(|(base, _)| plain.strip_prefix(base).is_some_and(compressed));
    match layer {
        Some((_, foreign)) => Ok(*foreign),
        None if ANYTHING.contains(&&*plain) => Ok(false),
        None => Err(ImageProblem::MediaType(shown(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_media_types_are_recognized_in_every_spelling() {
        for (name, kind) in [
            ("application/vnd.oci.image.index.v1+json", Some(Kind::Index)),
            ("Application/Vnd.OCI.Image.Manifest.v1+JSON", Some(Kind::Manifest)),
            (" application/vnd.docker.distribution.manifest.v2+json ; charset=utf-8", Some(Kind::Manifest)),
            ("application/vnd.docker.distribution.manifest.list.v2+json;q=0.5", Some(Kind::Index)),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", None),
            ("application/json", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn config_media_types_are_recognized_in_every_spelling() {
        for name in [
            None,
            Some("application/vnd.oci.image.config.v1+json"),
            Some("application/vnd.docker.container.image.v1+json"),
            Some("application/vnd.OCI.image.config.v1+json; charset=utf-8"),
            Some("application/octet-stream"),
            Some("application/json"),
            Some("text/html; charset=utf-8"),
            Some("text/plain"),
        ] {
            assert_eq!(check_config(name), Ok(()), "{name:?}");
        }
        for (name, whose) in [
            ("application/vnd.oci.empty.v1+json", ": it is an artifact's"),
            ("application/vnd.cncf.helm.config.v1+json", ": it is a Helm chart's"),
            ("application/vnd.wasm.config.v0+json", ": it is a WebAssembly module's"),
            ("application/vnd.dev.cosign.artifact.sig.v1+json", ": it is a signature's"),
            ("application/vnd.docker.plugin.v1+json", ": it is a docker plugin's"),
            ("application/vnd.oci.image.layer.v1.tar", ""),
        ] {
            let expected = format!("has media type {name}, which is not a container image's{whose}");
            assert_eq!(check_config(Some(name)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn layer_media_types_are_recognized() {
        for (name, foreign) in [
            ("application/vnd.oci.image.layer.v1.tar", false),
            ("application/vnd.oci.image.layer.v1.tar+zstd", false),
            ("application/vnd.oci.image.layer.v1.tar.gzip", false),
            ("application/vnd.OCI.image.layer.v1.TAR+gzip; charset=utf-8", false),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", false),
            ("application/vnd.docker.image.rootfs.diff.tar+gzip", false),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", false),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true),
            ("application/octet-stream", false),
            ("application/x-tar", false),
        ] {
            assert_eq!(check_layer(Some(name)), Ok(foreign), "{name}");
        }
        assert_eq!(check_layer(None), Ok(false));
        for name in [
            "application/vnd.oci.image.layer.v1.tar+encrypted",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.oci.image.layer.v1.tarx",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            "application/vnd.wasm.content.layer.v1+wasm",
            "text/html",
        ] {
            assert!(check_layer(Some(name)).is_err(), "{name:?}");
        }
        let encrypted = check_layer(Some("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")).unwrap_err();
        assert!(encrypted.to_string().ends_with("which is not a container image's: it is an encrypted layer's"));
    }
}
