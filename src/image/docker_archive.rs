//! Docker archives, as `docker save`, podman and skopeo write them.

use std::collections::HashSet;

use serde_json::Value;

use super::choose::LOOKS;
use super::platform::Platform;
use super::registry_reference::same as same_reference;
use super::store::FileStore;
use super::{LayerBlob, LayerData, OpenImage, OpenOptions, config};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ImageProblem, LayerPlace, Place, Result};
use crate::image::json;
use crate::image::shown::{cut, listed, shown};
use crate::note::{Note, NoteKind};

/// One image of a `manifest.json`, which refers to its files by their paths in the archive.
#[derive(Debug, Clone)]
struct DockerImage {
    /// The number of the image, from 0.
    number: usize,
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Opens the image of an archive that `requested` names, by reference or by `@N`; `name` is what messages call the archive.
pub(super) fn open(
    store: &impl FileStore,
    name: &str,
    requested: Option<&str>,
    options: &OpenOptions<'_>,
) -> Result<OpenImage> {
    let source = Place::Source(name.to_owned());
    let Some(file) = store.open("manifest.json", options)? else {
        let old = store.open("repositories", options)?.is_some();
        let problem = if old { ImageProblem::OldDockerArchive } else { ImageProblem::NoDockerManifest };
        return Err(Error::image(source, problem));
    };
    let place = Place::File(format!("{name}: manifest.json"));
    let bytes = store.read(&file, &place, options.limits)?;
    let items = items(&bytes).map_err(|problem| Error::image(place.clone(), problem))?;
    let platform = options.platform.clone().unwrap_or_else(Platform::of_this_machine);
    let candidates = called(items, requested).map_err(|problem| Error::image(source.clone(), problem))?;
    let archive = DockerArchive { store, name, platform, options };
    let item = archive.one(candidates, requested, &source)?;
    options.check_layers(&place, item.layers.len())?;
    archive.image(&item, &place)
}

/// Returns true if a `manifest.json` lists nothing: then an archive that is a layout, too, is only that.
pub(super) fn is_empty(store: &impl FileStore, name: &str, options: &OpenOptions<'_>) -> Result<bool> {
    let Some(file) = store.open("manifest.json", options)? else { return Ok(true) };
    let bytes = store.read(&file, &Place::File(format!("{name}: manifest.json")), options.limits)?;
    Ok(match json::from_slice(&bytes) {
        Ok(Value::Null) => true,
        Ok(Value::Array(list)) => list.is_empty(),
        _ => false,
    })
}

/// Reads a `manifest.json`. Of the fields only those count that say where files are.
fn items(bytes: &[u8]) -> std::result::Result<Vec<DockerImage>, ImageProblem> {
    let values: Vec<Value> = json::parse_list(bytes)?;
    let item = |(number, mut value): (usize, Value)| {
        json::fold(&mut value, &["Config", "RepoTags", "Layers"])?;
        let Some(Value::String(config)) = value.get("Config") else {
            return Err(ImageProblem::Json("an image in it has no Config".into()));
        };
        let config = config.clone();
        let mut list = |field: &str| match value.get_mut(field).map(Value::take) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(list) => json::typed(list),
        };
        let (repo_tags, layers) = (list("RepoTags")?, list("Layers")?);
        Ok(DockerImage { number, config, repo_tags, layers })
    };
    values.into_iter().enumerate().map(item).collect()
}

/// Returns the images that the user named; without a name, all images, if they have the same names.
fn called(items: Vec<DockerImage>, requested: Option<&str>) -> std::result::Result<Vec<DockerImage>, ImageProblem> {
    let labels = |item: &DockerImage| match &item.repo_tags[..] {
        [] => vec![format!("@{}", item.number)],
        tags => tags.iter().map(|tag| shown(tag)).collect(),
    };
    let Some(first) = items.first() else { return Err(ImageProblem::Empty) };
    let names = listed(items.iter().flat_map(labels));
    let Some(requested) = requested else {
        let tags = |item: &DockerImage| item.repo_tags.iter().cloned().collect::<HashSet<_>>();
        let firsts = tags(first);
        let one = items.iter().all(|item| item.config == first.config)
            || !firsts.is_empty() && items.iter().all(|item| tags(item) == firsts);
        return if one { Ok(items) } else { Err(ImageProblem::SeveralImages { of: String::new(), there: names }) };
    };
    let found: Vec<DockerImage> = match requested.strip_prefix('@').map(str::parse::<usize>) {
        Some(number) => items.into_iter().filter(|item| Ok(item.number) == number).collect(),
        None => {
            items.into_iter().filter(|item| item.repo_tags.iter().any(|tag| same_reference(tag, requested))).collect()
        }
    };
    if found.is_empty() {
        Err(ImageProblem::NoSuchTag { requested: shown(requested), there: names })
    } else {
        Ok(found)
    }
}

/// Returns the digest in a file's name: a blob's path, or, for configs, `DIGITS.json`.
fn promised(path: &str) -> Option<Digest> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let blob = path.strip_prefix("blobs/").and_then(|path| path.split_once('/'));
    let (algorithm, digits) = blob.or_else(|| Some(("sha256", path.strip_suffix(".json")?)))?;
    format!("{algorithm}:{digits}").parse().ok()
}

/// An archive whose manifest was read.
struct DockerArchive<'a, S> {
    store: &'a S,
    name: &'a str,
    platform: Platform,
    options: &'a OpenOptions<'a>,
}

impl<S: FileStore> DockerArchive<'_, S> {
    /// Returns the only image of several candidates: one that is there twice is one, and of those for several platforms only
    /// the one that is requested counts.
    fn one(&self, mut items: Vec<DockerImage>, requested: Option<&str>, source: &Place) -> Result<DockerImage> {
        if items.iter().all(|item| item.config == items[0].config) {
            return Ok(items.swap_remove(0));
        }
        if items.len() > LOOKS {
            let (of, there) = (String::new(), listed(items.iter().map(|item| format!("@{}", item.number))));
            return Err(Error::image(source.clone(), ImageProblem::SeveralImages { of, there }));
        }
        let (mut there, mut nearest) = (Vec::new(), Vec::new());
        for item in items {
            let (place, bytes) = self.config(&item)?;
            let platform = config::platform(&bytes).map_err(|problem| Error::image(place, problem))?;
            let platform = platform.unwrap_or_else(|| self.platform.clone());
            if let Some(distance) = self.platform.distance(&platform) {
                nearest.push((distance, item));
            }
            there.push(platform);
        }
        let best = nearest.iter().map(|(distance, _)| *distance).min();
        nearest.retain(|(distance, _)| Some(*distance) == best);
        let problem = match &nearest[..] {
            [] => {
                let there = listed(there.iter().map(ToString::to_string));
                ImageProblem::NoSuchPlatform { requested: self.platform.to_string(), there }
            }
            [(_, first), others @ ..] if others.iter().all(|(_, other)| other.config == first.config) => {
                return Ok(first.clone());
            }
            several => {
                let named = requested.map_or_else(String::new, |requested| format!(" named {}", shown(requested)));
                let there = listed(several.iter().map(|(_, item)| format!("@{}", item.number)));
                ImageProblem::SeveralImages { of: format!("{named} for platform {}", self.platform), there }
            }
        };
        Err(Error::image(source.clone(), problem))
    }

    /// Reads the config of an image, and returns it with its place.
    fn config(&self, item: &DockerImage) -> Result<(Place, Vec<u8>)> {
        let place = Place::File(format!("{}: {}", self.name, cut(&item.config)));
        let file = self.store.open(&item.config, self.options)?;
        let file = file.ok_or_else(|| Error::image(place.clone(), ImageProblem::Missing))?;
        let bytes = self.store.read(&file, &place, self.options.limits)?;
        Ok((place, bytes))
    }

    fn image(&self, item: &DockerImage, holder: &Place) -> Result<OpenImage> {
        let (_, bytes) = self.config(item)?;
        let config_digest = Digest::of(Algorithm::Sha256, &bytes);
        let count = item.layers.len();
        let checked = config::check(&bytes, &config_digest, (holder, count), None, &self.platform)?;
        let mut notes = checked.notes;
        // Docker and podman read the file by path, whatever the name promises; the layers' diff IDs are in the file.
        if promised(&item.config).is_some_and(|digest| digest != Digest::of(digest.algorithm(), &bytes)) {
            let detail = cut(&item.config).as_bytes().into();
            notes.push(Note { kind: NoteKind::ConfigName, layer: None, path: Box::default(), detail });
        }
        let mut layers = Vec::with_capacity(count);
        for ((number, path), diff_id) in (1..).zip(&item.layers).zip(checked.diff_ids) {
            let digest = promised(path);
            let place = LayerPlace {
                number,
                count,
                digest: digest.clone().unwrap_or_else(|| diff_id.clone()),
                injection: None,
            };
            let member = || Place::File(format!("{}: {}", self.name, cut(path)));
            let missing = || Error::image(member(), ImageProblem::Missing);
            let data = LayerData::Local(self.store.open(path, self.options)?.ok_or_else(missing)?);
            layers.push(LayerBlob { place, media_type: None, digest, size: None, diff_id, data });
        }
        Ok(OpenImage {
            path: None,
            source: self.name.to_owned(),
            manifest: None,
            manifest_digest: None,
            config_digest,
            platform: checked.platform,
            created: checked.created,
            config: bytes,
            layers,
            notes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_digests_are_expected() {
        let digits = "0a".repeat(32);
        let digest = Some(format!("sha256:{digits}").parse().unwrap());
        assert_eq!(promised(&format!("blobs/sha256/{digits}")), digest);
        assert_eq!(promised(&format!("./blobs/sha256/{digits}")), digest);
        assert_eq!(promised(&format!("{digits}.json")), digest);
        let long = "0a".repeat(64);
        assert_eq!(promised(&format!("blobs/sha512/{long}")).unwrap().to_string(), format!("sha512:{long}"));
        for path in ["config.json", &digits, &format!("{digits}/layer.tar"), &format!("blobs/sha512/{digits}")] {
            assert_eq!(promised(path), None, "{path}");
        }
    }

    fn item(number: usize, tags: &[&str]) -> DockerImage {
        let repo_tags: Vec<String> = tags.iter().map(|&tag| tag.into()).collect();
        DockerImage { number, config: format!("{number}.json"), repo_tags, layers: Vec::new() }
    }

    #[test]
    fn one_of_several_images_is_chosen_by_reference_or_number() {
        let items = || vec![item(0, &["a:1", "a:2"]), item(1, &[]), item(2, &["b:latest"])];
        let chosen = |requested| {
            let found = called(items(), requested).map_err(|problem| problem.to_string())?;
            Ok::<_, String>(found.iter().map(|item| item.number).collect::<Vec<_>>())
        };
        assert_eq!(chosen(Some("a:2")).unwrap(), [0]);
        assert_eq!(chosen(Some("b")).unwrap(), [2]);
        assert_eq!(chosen(Some("@2")).unwrap(), [2]);
        assert_eq!(chosen(None).unwrap_err(), "holds several images, name one: a:1, a:2, @1, b:latest");
        for requested in ["c", "@3", "@", "@-1"] {
            let expected = format!("has no image named {requested}; it has: a:1, a:2, @1, b:latest");
            assert_eq!(chosen(Some(requested)).unwrap_err(), expected);
        }
        assert!(called(vec![item(0, &[])], None).is_ok());
        assert_eq!(called(vec![], None).err(), Some(ImageProblem::Empty));
    }

    #[test]
    fn equal_tags_are_searched_in_linear_time() {
        let tags = vec!["a:1"; 100_000];
        let items = (0..20_000).map(|number| item(number, if number == 0 { &tags } else { &tags[..1] })).collect();
        let started = std::time::Instant::now();
        assert_eq!(called(items, None).unwrap().len(), 20_000);
        assert!(started.elapsed() < std::time::Duration::from_secs(30));
    }

    #[test]
    fn manifest_fields_are_read_in_any_case() {
        let read = |text: &str| {
            let items = items(text.as_bytes()).map_err(|problem| problem.to_string())?;
            Ok::<_, String>(
                items.into_iter().map(|item| (item.config, item.repo_tags, item.layers)).collect::<Vec<_>>(),
            )
        };
        let expected = vec![("c".to_owned(), vec!["a:1".to_owned()], vec!["l".to_owned()])];
        for text in [
            r#"[{"Config":"c","RepoTags":["a:1"],"Layers":["l"]}]"#,
            r#"[{"config":"c","repoTags":["a:1"],"layers":["l"],"LayerSources":{"x":5},"Parent":""}]"#,
            r#"[{"CONFIG":"c","REPOTAGS":"a:1","LAYERS":["l"],"Extra":null}]"#,
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        assert_eq!(read(r#"[{"Config":"c","RepoTags":null,"Layers":null}]"#).unwrap(), [("c".into(), vec![], vec![])]);
        for text in ["{}", "[5]", r#"[{"Layers":[]}]"#, r#"[{"Config":5}]"#, r#"[{"Config":"c","Layers":[5]}]"#] {
            assert!(read(text).unwrap_err().starts_with("is not valid JSON of its kind: "), "{text}");
        }
    }
}
