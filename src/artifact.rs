//! A finished filesystem as an OCI artifact: a manifest, a blob for each chunk that holds data, and the report of its
//! build. Ground floor.
//!
//! A chunk is 16 MiB of the filesystem, the last one less, as one zstd frame; a chunk of zeros has no blob. Each blob stands
//! for itself, so that chunks are transferred at the same time, and a registry keeps equal ones once.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::limits::Limits;

/// The type of the artifact.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.planish.filesystem.v1";
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const CHUNK_TYPE: &str = "application/vnd.planish.chunk.v1+zstd";
const REPORT_TYPE: &str = "application/vnd.planish.report.v1+json";
/// The content of the empty config (image-spec, Guidance for an Empty Descriptor).
pub(crate) const EMPTY: &[u8] = b"{}";
/// The bytes of a chunk before compression.
pub(crate) const CHUNK: u64 = 16 << 20;
/// The most bytes of a chunk's blob: zstd adds little to what it cannot compress.
const BLOB_MAX: u64 = CHUNK + (1 << 20);
/// The most bytes of a report.
pub(crate) const REPORT_MAX: u64 = 16 << 20;

/// A filesystem in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// The size of the filesystem in bytes.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
    /// The build key, if a report says it.
    pub key: Option<Digest>,
    /// The report.
    pub report: Option<Blob>,
    /// The chunks, in order.
    pub chunks: Vec<Chunk>,
    /// The manifest of the image that the artifact refers to.
    pub subject: Option<Subject>,
    /// The signature of its digests, in the form of minisign.
    pub signature: Option<String>,
}

/// The manifest of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subject {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

/// The descriptor of an artifact among the referrers of its subject (distribution-spec, Referrers Tag Schema).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Referrer<'a> {
    pub media_type: &'static str,
    pub digest: &'a Digest,
    pub size: u64,
    pub artifact_type: &'static str,
    annotations: FilesystemAnnotations,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub digest: Digest,
    pub size: u64,
}

/// A chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub blob: Blob,
    /// Its number in the filesystem.
    pub number: u64,
}

impl Chunk {
    /// Returns its offset in the filesystem.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.number * CHUNK
    }
}

/// Returns the length of a chunk in a filesystem of so many bytes.
#[must_use]
pub(crate) fn chunk_length(number: u64, bytes: u64) -> u64 {
    bytes.saturating_sub(number.saturating_mul(CHUNK)).min(CHUNK)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    annotations: FilesystemAnnotations,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<ChunkAnnotations>,
}

#[derive(Serialize, Deserialize)]
struct FilesystemAnnotations {
    #[serde(rename = "planish.filesystem.bytes")]
    bytes: String,
    #[serde(rename = "planish.filesystem.digest")]
    digest: Digest,
    #[serde(rename = "planish.filesystem.key", default, skip_serializing_if = "Option::is_none")]
    key: Option<Digest>,
    #[serde(rename = "planish.filesystem.signature", default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ChunkAnnotations {
    #[serde(rename = "planish.chunk.number")]
    number: String,
}

/// The type of a manifest, whatever else it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestType {
    artifact_type: Option<String>,
}

impl Artifact {
    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self, empty: &Digest) -> Vec<u8> {
        let descriptor = |media_type: &str, blob: &Blob, annotations| Descriptor {
            media_type: media_type.into(),
            digest: blob.digest.clone(),
            size: blob.size,
            annotations,
        };
        let report = self.report.iter().map(|report| descriptor(REPORT_TYPE, report, None));
        let chunks = self.chunks.iter().map(|chunk| {
            descriptor(CHUNK_TYPE, &chunk.blob, Some(ChunkAnnotations { number: chunk.number.to_string() }))
        });
        let empty = Blob { digest: empty.clone(), size: EMPTY.len() as u64 };
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.into(),
            artifact_type: ARTIFACT_TYPE.into(),
            config: descriptor(EMPTY_TYPE, &empty, None),
            layers: report.chain(chunks).collect(),
            subject: self.subject.clone(),
            annotations: self.annotations(),
        };
        serde_json::to_vec(&manifest).unwrap_or_default()
    }

    fn annotations(&self) -> FilesystemAnnotations {
        FilesystemAnnotations {
            bytes: self.bytes.to_string(),
            digest: self.digest.clone(),
            key: self.key.clone(),
            signature: self.signature.clone(),
        }
    }

    /// Returns the descriptor of its manifest for the list of its subject's referrers.
    #[must_use]
    pub fn referrer<'a>(&self, digest: &'a Digest, size: u64) -> Referrer<'a> {
        let annotations = self.annotations();
        Referrer { media_type: MANIFEST_TYPE, digest, size, artifact_type: ARTIFACT_TYPE, annotations }
    }

    /// Parses a manifest, whose author is not trusted; the reason for a refusal is the end of a sentence.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, String> {
        let kind: ManifestType = serde_json::from_slice(bytes).map_err(|_| "it is no manifest".to_owned())?;
        if kind.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            return Err(format!("its artifact type is not {ARTIFACT_TYPE}"));
        }
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|_| "its manifest has other fields".to_owned())?;
        let subject = manifest.subject;
        let FilesystemAnnotations { bytes, digest, key, signature } = manifest.annotations;
        let bytes: u64 = bytes.parse().map_err(|_| "its size is no number".to_owned())?;
        if bytes > limits.total_bytes {
            return Err(format!("it has {bytes} bytes, --max-bytes allows {}", limits.total_bytes));
        }
        let (mut report, mut chunks): (_, Vec<Chunk>) = (None, Vec::new());
        for Descriptor { media_type, digest, size, annotations } in manifest.layers {
            let blob = Blob { digest, size };
            match (&*media_type, annotations) {
                (REPORT_TYPE, _) if report.is_none() && size <= REPORT_MAX => report = Some(blob),
                (CHUNK_TYPE, Some(ChunkAnnotations { number })) if size <= BLOB_MAX => {
                    let number: u64 = number.parse().map_err(|_| "a chunk has no number".to_owned())?;
                    let rises = chunks.last().is_none_or(|last| last.number < number);
                    if !rises || chunk_length(number, bytes) == 0 {
                        return Err(format!("chunk {number} is not where one can be"));
                    }
                    chunks.push(Chunk { blob, number });
                }
                _ => return Err("it has a blob that is neither a chunk nor the report, or too large".into()),
            }
        }
        Ok(Self { bytes, digest, key, report, chunks, subject, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    fn digest(bytes: &[u8]) -> Digest {
        Digest::of(Algorithm::Sha256, bytes)
    }

    fn artifact() -> Artifact {
        let blob = |bytes: &[u8]| Blob { digest: digest(bytes), size: bytes.len() as u64 };
        let chunk = |number, bytes: &[u8]| Chunk { blob: blob(bytes), number };
        Artifact {
            bytes: 3 * CHUNK + 4096,
            digest: digest(b"whole"),
            key: Some(digest(b"key")),
            report: Some(blob(b"report")),
            chunks: vec![chunk(0, b"a"), chunk(3, b"b")],
            subject: Some(Subject { media_type: MANIFEST_TYPE.into(), digest: digest(b"image"), size: 5 }),
            signature: Some("a\nb\n".into()),
        }
    }

    fn parse(text: &str) -> Result<Artifact, String> {
        Artifact::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_manifest_is_read_as_it_is_written() {
        for artifact in [
            artifact(),
            Artifact { key: None, report: None, chunks: vec![], subject: None, signature: None, ..artifact() },
        ] {
            let text = String::from_utf8(artifact.manifest(&digest(EMPTY))).unwrap();
            assert_eq!(parse(&text), Ok(artifact), "{text}");
        }
        assert_eq!((chunk_length(3, 3 * CHUNK + 4096), chunk_length(2, 3 * CHUNK + 4096)), (4096, CHUNK));
        assert_eq!(chunk_length(u64::MAX, 1), 0);
    }

    #[test]
    fn what_is_no_filesystem_is_refused() {
        let good = String::from_utf8(artifact().manifest(&digest(EMPTY))).unwrap();
        for (from, to, why) in [
            ("{", "", "it is no manifest"),
            ("planish.filesystem.v1", "other", "its artifact type is not application/vnd.planish.filesystem.v1"),
            ("sha256:", "md5:", "its manifest has other fields"),
            ("\"50335744\"", "\"x\"", "its size is no number"),
            ("\"50335744\"", "\"99999999999999\"", "it has 99999999999999 bytes, --max-bytes allows 68719476736"),
            ("\"50335744\"", "\"50331648\"", "chunk 3 is not where one can be"),
            ("number\":\"3\"", "number\":\"0\"", "chunk 0 is not where one can be"),
            ("number\":\"3\"", "number\":\"-1\"", "a chunk has no number"),
            ("planish.chunk.v1+zstd", "x", "it has a blob that is neither a chunk nor the report, or too large"),
            ("\"size\":1,", "\"size\":99999999,", "it has a blob that is neither a chunk nor the report, or too large"),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(parse(&good.replacen(from, to, 1)), Err(why.into()), "{from}");
        }
    }
}
