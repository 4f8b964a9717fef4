//! An image's config: for whom it was built, when, and what its layers unpack to.

use oci_spec::image::ImageConfiguration;

use super::created;
use super::platform::Platform;
use crate::digest::Digest;
use crate::error::{Error, ImageProblem, Place, Result};
use crate::json;
use crate::note::{Note, NoteKind};
use crate::shown::shown;
use crate::time::Timestamp;

/// A config that fits the image it came with.
pub(super) struct Checked {
    pub platform: Platform,
    pub created: Option<Timestamp>,
    pub diff_ids: Vec<Digest>,
    pub config: ImageConfiguration,
    pub notes: Vec<Note>,
}

/// Reads a config, whose digest was checked, for a platform and for the image of so many layers that `holder` describes.
pub(super) fn check(
    bytes: &[u8],
    digest: &Digest,
    (holder, layers): (&Place, usize),
    wanted: &Platform,
) -> Result<Checked> {
    let refused = |problem| Error::image(Place::Config(digest.clone()), problem);
    let config: ImageConfiguration = parse(bytes).map_err(refused)?;
    let rootfs = config.rootfs();
    if rootfs.typ() != "layers" {
        return Err(refused(ImageProblem::RootfsType(shown(rootfs.typ()))));
    }
    let diff_ids = rootfs.diff_ids();
    if diff_ids.len() != layers {
        let diff_ids = diff_ids.len();
        return Err(Error::image(holder.clone(), ImageProblem::DiffIdCount { layers, diff_ids }));
    }
    let parsed = diff_ids
        .iter()
        .map(|text| text.parse::<Digest>().map_err(|_| refused(ImageProblem::DigestSyntax(shown(text)))));
    let diff_ids = parsed.collect::<Result<_>>()?;
    let platform = Platform::of_config(&config);
    if !wanted.admits(&platform) {
        let (own, wanted) = (platform.to_string(), wanted.to_string());
        return Err(refused(ImageProblem::OtherPlatform { own, wanted }));
    }
    let mut notes = Vec::new();
    if platform.variant.is_some() && wanted.distance(&platform).is_some_and(|distance| distance > 0) {
        notes.push(Note {
            kind: NoteKind::LowerVariant,
            layer: None,
            path: Box::default(),
            detail: platform.to_string().into_bytes().into(),
        });
    }
    let created = config.created().as_deref().and_then(created::parse);
    Ok(Checked { platform, created, diff_ids, config, notes })
}

/// Docker leaves `diff_ids` out where an image has no layers.
fn parse(bytes: &[u8]) -> std::result::Result<ImageConfiguration, ImageProblem> {
    let mut value: serde_json::Value = json::parse(bytes)?;
    if let Some(rootfs) = value.get_mut("rootfs").and_then(serde_json::Value::as_object_mut) {
        rootfs.entry("diff_ids").or_insert_with(|| Vec::<String>::new().into());
    }
    json::typed(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    const DIFF_ID: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn check_text(text: &str, layers: usize) -> std::result::Result<Checked, String> {
        let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
        let prefix = format!("config {digest} ");
        check(text.as_bytes(), &digest, (&Place::Config(digest.clone()), layers), &"linux/arm/v7".parse().unwrap())
            .map_err(|error| error.to_string().strip_prefix(&prefix).unwrap().to_owned())
    }

    fn config(more: &str, diff_ids: &str) -> String {
        format!(r#"{{"os":"linux","architecture":"arm"{more},"rootfs":{{"type":"layers"{diff_ids}}}}}"#)
    }

    #[test]
    fn a_config_may_say_little() {
        let checked = check_text(&config("", ""), 0).unwrap();
        assert_eq!((checked.platform.to_string().as_str(), checked.created), ("linux/arm", None));
        let null =
            r#","created":null,"config":{"Volumes":null,"Labels":null,"Env":null,"ExposedPorts":null},"history":null"#;
        assert!(check_text(&config(null, r#","diff_ids":null"#), 0).unwrap().config.history().is_none());
        let dated = check_text(&config(r#","created":"1970-01-01T00:00:07Z""#, ""), 0).unwrap();
        assert_eq!(dated.created, Some(Timestamp::from_seconds(7)));
        assert_eq!(check_text(&config(r#","created":"yesterday""#, ""), 0).unwrap().created, None);
    }

    #[test]
    fn a_lower_variant_is_noted() {
        let checked = check_text(&config(r#","variant":"v6""#, ""), 0).unwrap();
        assert_eq!(
            checked.notes[0].to_string(),
            "the image is for a lower variant of the platform, which runs on it: linux/arm/v6"
        );
    }

    #[test]
    fn a_config_that_does_not_fit_is_refused() {
        let one = format!(r#","diff_ids":["{DIFF_ID}"]"#);
        let table = [
            (config("", &one), 2, "has 2 layers, its config has 1 diff IDs"),
            (config("", r#","diff_ids":["sha256:../x"]"#), 1, "has an invalid digest sha256:../x"),
            (config("", "").replace("layers", "tree"), 0, "has a root filesystem of type tree, which is not layers"),
            (config("", "").replace("arm", "amd64"), 0, "is for platform linux/amd64, asked was linux/arm/v7"),
            (config(r#","variant":"v8""#, ""), 0, "is for platform linux/arm/v8, asked was linux/arm/v7"),
            (r#"{"os":"linux"}"#.to_owned(), 0, "is not valid JSON of its kind: missing field `architecture`"),
            ("[]".to_owned(), 0, "is not valid JSON of its kind: it is not an object"),
        ];
        for (text, layers, want) in table {
            assert_eq!(check_text(&text, layers).err().unwrap(), want);
        }
    }
}
