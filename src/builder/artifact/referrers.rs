//! The list of an image's referrers in a registry without the referrers API: an index under a tag of the image's digest
//! (distribution-spec, Referrers Tag Schema).

use serde_json::{Value, json};

use crate::artifact::Referrer;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, RegistryProblem, Result};
use crate::image::registry::{Registry, RequestContext};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The number of times that the list is written: another client that writes it at the same time may undo it.
const TRIES: u32 = 3;
/// The most characters of the algorithm and of the digits in the tag.
const ALGORITHM: usize = 32;
const DIGITS: usize = 64;

/// Adds an artifact to the list of the referrers of `subject`, unless it is there.
///
/// # Errors
///
/// The tag is something else; the registry, the network or the credentials fail.
pub(super) fn add(
    registry: &Registry,
    subject: &Digest,
    referrer: &Referrer<'_>,
    context: RequestContext<'_>,
) -> Result<()> {
    let tag = tag(subject);
    for _ in 0..TRIES {
        let mut index = match registry.tag(&tag, context) {
            Ok(found) => parse(&found.bytes),
            Err(error) if is_missing(&error) => Some(empty()),
            Err(error) => return Err(error),
        };
        let Some(list) = index.as_mut().and_then(|index| index["manifests"].as_array_mut()) else {
            let problem = "it is no list of referrers".into();
            return Err(ErrorKind::SharedCache { repository: format!("tag {tag}"), problem }.into());
        };
        if list.iter().any(|listed| listed["digest"].as_str() == Some(&referrer.digest.to_string())) {
            return Ok(());
        }
        list.push(serde_json::to_value(referrer).unwrap_or_default());
        let bytes = index.map(|index| index.to_string()).unwrap_or_default();
        registry.put_manifest(&tag, INDEX_TYPE, bytes.as_bytes(), context)?;
    }
    Ok(())
}

fn empty() -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []})
}

/// Parses an index; its members are kept as they are.
fn parse(bytes: &[u8]) -> Option<Value> {
    let index: Value = serde_json::from_slice(bytes).ok()?;
    (index["mediaType"] == INDEX_TYPE).then_some(index)
}

fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Registry { problem: RegistryProblem::Missing(_), .. })
}

/// Returns the tag for the referrers of a manifest.
fn tag(subject: &Digest) -> String {
    let (algorithm, digits) = (subject.algorithm_name(), subject.hex());
    let cut = |text: &str, most: usize| text.get(..most).unwrap_or(text).to_owned();
    format!("{}-{}", cut(algorithm, ALGORITHM), cut(digits, DIGITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn a_tag_has_at_most_the_characters_of_the_specification() {
        let digest = |algorithm| Digest::of(algorithm, b"");
        let sha256 = "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(tag(&digest(Algorithm::Sha256)), sha256);
        assert_eq!(tag(&digest(Algorithm::Sha512)).len(), "sha512-".len() + 64);
    }
}
