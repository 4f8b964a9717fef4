//! Docker archives: what `docker save`, podman and skopeo write.

use oci_spec::distribution::Reference;
use serde::Deserialize;

use super::platform::Platform;
use super::store::Store;
use super::{Image, LayerBlob, LayerData, OpenOptions, config};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ImageProblem, LayerPlace, Place, Result};
use crate::json;
use crate::shown::{cut, listed, shown};

/// One image of a `manifest.json`: its files are named by their paths in the archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Vec<String>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Opens the image of an archive that `wanted` names, by reference or by `@N`; `name` is what messages call the archive.
pub(super) fn open(store: &Store, name: &str, wanted: Option<&str>, options: &OpenOptions<'_>) -> Result<Image> {
    let source = Place::Source(name.to_owned());
    let file = store.open("manifest.json")?;
    let file = file.ok_or_else(|| Error::image(source.clone(), ImageProblem::NoDockerManifest))?;
    let place = Place::File(format!("{name}: manifest.json"));
    let bytes = store.read(&file, &place, options.limits)?;
    let items: Vec<Item> = json::parse_list(&bytes).map_err(|problem| Error::image(place.clone(), problem))?;
    let item = choose(items, wanted).map_err(|problem| Error::image(source, problem))?;
    options.check_layers(&place, item.layers.len())?;
    image(store, name, &item, &place, options)
}

fn choose(mut items: Vec<Item>, wanted: Option<&str>) -> std::result::Result<Item, ImageProblem> {
    let called = |(number, item): (usize, &Item)| match &item.repo_tags[..] {
        [] => vec![format!("@{number}")],
        tags => tags.iter().map(|tag| shown(tag)).collect(),
    };
    let names = listed(items.iter().enumerate().flat_map(called));
    let index = match wanted {
        _ if items.is_empty() => return Err(ImageProblem::Empty),
        None if items.len() == 1 => Some(0),
        None => return Err(ImageProblem::SeveralImages(names)),
        Some(wanted) => match wanted.strip_prefix('@').map(str::parse) {
            Some(number) => number.ok().filter(|&number: &usize| number < items.len()),
            None => items.iter().position(|item| item.repo_tags.iter().any(|tag| same_reference(tag, wanted))),
        },
    };
    match index {
        Some(index) => Ok(items.swap_remove(index)),
        None => Err(ImageProblem::NoSuchTag { wanted: wanted.map(shown).unwrap_or_default(), there: names }),
    }
}

/// Compares references as docker reads them: `debian` is `docker.io/library/debian:latest`.
fn same_reference(tag: &str, wanted: &str) -> bool {
    let parts = |text: &str| {
        let reference: Reference = text.parse().ok()?;
        let tag = reference.tag().unwrap_or("latest").to_owned();
        Some((reference.registry().to_owned(), reference.repository().to_owned(), tag))
    };
    tag == wanted || parts(tag).is_some_and(|tag| parts(wanted) == Some(tag))
}

/// Returns the digest that a file's name promises: a blob's path, or, for configs, `DIGITS.json`.
fn promised(path: &str) -> Option<Digest> {
    let digits = path.strip_prefix("blobs/sha256/").or_else(|| path.strip_suffix(".json"))?;
    format!("sha256:{digits}").parse().ok()
}

fn image(store: &Store, name: &str, item: &Item, holder: &Place, options: &OpenOptions<'_>) -> Result<Image> {
    let place = Place::File(format!("{name}: {}", cut(&item.config)));
    let file = store.open(&item.config)?.ok_or_else(|| Error::image(place.clone(), ImageProblem::Missing))?;
    let bytes = store.read(&file, &place, options.limits)?;
    let config_digest = Digest::of(Algorithm::Sha256, &bytes);
    if promised(&item.config).is_some_and(|digest| digest != config_digest) {
        return Err(Error::image(place, ImageProblem::DigestMismatch(config_digest)));
    }
    let count = item.layers.len();
    let platform = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let checked = config::check(&bytes, &config_digest, (holder, count), &platform)?;
    let mut layers = Vec::with_capacity(count);
    for ((number, path), diff_id) in (1..).zip(&item.layers).zip(checked.diff_ids) {
        let digest = promised(path);
        let place = LayerPlace { number, count, digest: digest.clone().unwrap_or_else(|| diff_id.clone()) };
        let missing = || Error::image(Place::Layer(place.clone()), ImageProblem::Missing);
        let data = LayerData::Here(store.open(path)?.ok_or_else(missing)?);
        layers.push(LayerBlob { place, media_type: None, digest, size: None, diff_id, data });
    }
    Ok(Image {
        source: name.to_owned(),
        manifest_digest: None,
        config_digest,
        platform: checked.platform,
        created: checked.created,
        config: checked.config,
        layers,
        notes: checked.notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_compared_as_docker_reads_them() {
        for same in ["debian", "debian:latest", "library/debian", "docker.io/library/debian:latest"] {
            assert!(same_reference("debian:latest", same), "{same}");
        }
        for other in ["debian:x", "me/debian", "ghcr.io/library/debian", "Debian!", ""] {
            assert!(!same_reference("debian:latest", other), "{other}");
        }
        assert!(same_reference("localhost:5000/a:b", "localhost:5000/a:b"));
    }

    #[test]
    fn only_whole_digests_promise_anything() {
        let digits = "0a".repeat(32);
        let digest = Some(format!("sha256:{digits}").parse().unwrap());
        assert_eq!(promised(&format!("blobs/sha256/{digits}")), digest);
        assert_eq!(promised(&format!("{digits}.json")), digest);
        for path in ["config.json", &digits, &format!("{digits}/layer.tar"), &format!("blobs/sha512/{digits}")] {
            assert_eq!(promised(path), None, "{path}");
        }
    }

    fn item(tags: &[&str]) -> Item {
        Item { config: tags.join("+"), repo_tags: tags.iter().map(|&tag| tag.into()).collect(), layers: Vec::new() }
    }

    #[test]
    fn one_of_several_images_is_chosen_by_reference_or_number() {
        let items = || vec![item(&["a:1", "a:2"]), item(&[]), item(&["b:latest"])];
        let chosen = |wanted| choose(items(), wanted).map(|item| item.config).map_err(|problem| problem.to_string());
        assert_eq!(chosen(Some("a:2")).unwrap(), "a:1+a:2");
        assert_eq!(chosen(Some("b")).unwrap(), "b:latest");
        assert_eq!(chosen(Some("@2")).unwrap(), "b:latest");
        assert_eq!(chosen(None).unwrap_err(), "holds several images, name one: a:1, a:2, @1, b:latest");
        for wanted in ["c", "@3", "@", "@-1"] {
            let want = format!("has no image named {wanted}; it has: a:1, a:2, @1, b:latest");
            assert_eq!(chosen(Some(wanted)).unwrap_err(), want);
        }
        assert!(choose(vec![item(&[])], None).is_ok());
        assert_eq!(choose(vec![], None).err(), Some(ImageProblem::Empty));
    }
}
