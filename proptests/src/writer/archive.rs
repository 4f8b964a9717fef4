//! Docker archives, as `docker save` and skopeo write them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::entry::Entry;
use super::image::{Image, bytes, descriptor, digest, hex_digest};
use super::layer::{Compression, Layer};
use super::layout::{Layout, archive};

/// The layout of a docker archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `docker save` before version 25: `ID/layer.tar`, `ID/json`, `ID/VERSION`, `repositories`.
    ///
    /// A layer with the same bytes as an earlier one is a symlink to its `layer.tar`.
    Legacy,
    /// `docker save` since version 25: an OCI layout whose blobs `manifest.json` names. Layers keep their compression.
    Layout,
    /// skopeo: `DIFFID.tar` and `CONFIG.json`. A repeated layer is stored once and named again.
    Skopeo,
}

/// A docker archive of any number of images.
#[derive(Debug, Clone)]
pub struct DockerArchive {
    flavour: Flavour,
    images: Vec<(Vec<String>, Image)>,
}

impl DockerArchive {
    /// Returns an archive without images.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, images: Vec::new() }
    }

    /// Adds an image under references such as `name:tag`, or under none.
    #[must_use]
    pub fn image<'a>(mut self, references: impl IntoIterator<Item = &'a str>, image: &Image) -> Self {
        self.images.push((references.into_iter().map(str::to_owned).collect(), image.clone()));
        self
    }

    /// Returns the archive's bytes, uncompressed.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        match self.flavour {
            Flavour::Legacy => self.legacy(),
            Flavour::Layout => self.layout(),
            Flavour::Skopeo => self.skopeo(),
        }
    }

    fn legacy(&self) -> Vec<u8> {
        let mut entries = BTreeMap::new();
        let mut put = |entry: Entry| entries.insert(entry.name.clone(), entry);
        let mut manifests = Vec::new();
        let mut repositories: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        let mut saved: BTreeMap<String, String> = BTreeMap::new();
        for (references, image) in &self.images {
            let mut parent = None;
            let mut layers = Vec::new();
            for layer in &image.layers {
                let diff_id = hex_digest(&layer.tar());
                let id = hex_digest(format!("{} {diff_id}", parent.as_deref().unwrap_or_default()).as_bytes());
                let mut v1 = json!({"id": id, "created": image.created, "os": image.platform.os});
                if let Some(parent) = &parent {
                    v1["parent"] = json!(parent);
                }
                put(Entry::dir(format!("{id}/")));
                put(Entry::file(format!("{id}/VERSION"), "1.0"));
                put(Entry::file(format!("{id}/json"), bytes(&v1)));
                let path = format!("{id}/layer.tar");
                put(match saved.get(&diff_id).filter(|first| **first != id) {
                    Some(first) => Entry::symlink(&*path, format!("../{first}/layer.tar")),
                    None => Entry::file(&*path, layer.tar()),
                });
                saved.entry(diff_id).or_insert_with(|| id.clone());
                layers.push(path);
                parent = Some(id);
            }
            let config = image.config();
            let name = format!("{}.json", hex_digest(&config));
            put(Entry::file(&*name, config));
            for reference in references {
                let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
                repositories.entry(name).or_default().insert(tag, parent.clone().unwrap_or_default());
            }
            manifests.push(json!({"Config": name, "RepoTags": references, "Layers": layers}));
        }
        put(Entry::file("manifest.json", bytes(&manifests.into())));
        put(Entry::file("repositories", bytes(&json!(repositories))));
        Layer::new(entries.into_values()).tar()
    }

    fn layout(&self) -> Vec<u8> {
        let mut layout = Layout::new();
        let mut manifests = Vec::new();
        for (references, image) in &self.images {
            layout = match references.first() {
                Some(reference) => {
                    let tag = reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
                    let name = format!("docker.io/library/{reference}");
                    layout.tag(tag, &image.clone().annotation("io.containerd.image.name", name))
                }
                None => layout.untagged(image),
            };
            let blob = |hex: String| format!("blobs/sha256/{hex}");
            let layers: Vec<String> = image.layers.iter().map(|layer| blob(hex_digest(&layer.blob()))).collect();
            let sources: BTreeMap<String, Value> = image
                .layers
                .iter()
                .map(|layer| {
                    let blob = layer.blob();
                    let source = descriptor(&layer.described_as(false), &blob);
                    (digest(&layer.tar()), source)
                })
                .collect();
            let config = blob(hex_digest(&image.config()));
            manifests
                .push(json!({"Config": config, "RepoTags": references, "Layers": layers, "LayerSources": sources}));
        }
        let mut files = layout.files();
        files.insert("manifest.json".into(), bytes(&manifests.into()));
        archive(files)
    }

    fn skopeo(&self) -> Vec<u8> {
        let mut files = BTreeMap::new();
        let mut manifests = Vec::new();
        for (references, image) in &self.images {
            let mut layers = Vec::new();
            for layer in &image.layers {
                let tar = layer.tar();
                let name = format!("{}.tar", hex_digest(&tar));
                files.insert(name.clone(), tar);
                layers.push(name);
            }
            let config = image.config();
            let name = format!("{}.json", hex_digest(&config));
            files.insert(name.clone(), config);
            manifests.push(json!({"Config": name, "RepoTags": references, "Layers": layers}));
        }
        files.insert("manifest.json".into(), bytes(&manifests.into()));
        archive(files)
    }
}

impl Image {
    /// Returns a docker archive of this image alone, under a reference such as `name:tag`.
    #[must_use]
    pub fn docker_archive(&self, flavour: Flavour, reference: &str) -> Vec<u8> {
        DockerArchive::new(flavour).image([reference], self).to_tar()
    }

    /// Returns the image with every layer uncompressed, as `docker save` stores them.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        for layer in &mut self.layers {
            layer.compression = Compression::None;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns (typeflag, linkname, content) of each entry by name.
    fn entries(tar: &[u8]) -> BTreeMap<String, (char, String, Vec<u8>)> {
        let text = |field: &[u8]| String::from_utf8(field.split(|&b| b == 0).next().unwrap().to_vec()).unwrap();
        let mut entries = BTreeMap::new();
        let mut rest = tar;
        while rest[0] != 0 {
            let size = usize::from_str_radix(&text(&rest[124..136]), 8).unwrap();
            let entry = (char::from(rest[156]), text(&rest[157..257]), rest[512..512 + size].to_vec());
            entries.insert(text(&rest[..100]), entry);
            rest = &rest[512 + size.next_multiple_of(512)..];
        }
        entries
    }

    fn layer(name: &str) -> Layer {
        Layer::new([Entry::dir(name)])
    }

    fn manifest(tar: &[u8]) -> Value {
        serde_json::from_slice::<Value>(&entries(tar)["manifest.json"].2).unwrap()[0].clone()
    }

    fn names(value: &Value) -> Vec<String> {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn docker_save_links_a_repeated_layer_to_the_first() {
        let image = Image::new([layer("a"), layer("b"), layer("a")]);
        let tar = image.docker_archive(Flavour::Legacy, "name:tag");
        let layers = names(&manifest(&tar)["Layers"]);
        let entries = entries(&tar);
        assert_eq!(entries[&layers[0]], ('0', String::new(), layer("a").tar()));
        assert_eq!(entries[&layers[1]], ('0', String::new(), layer("b").tar()));
        assert_eq!(entries[&layers[2]], ('2', format!("../{}", layers[0]), Vec::new()));
        let top = layers[2].replace("/layer.tar", "");
        assert_eq!(entries[&format!("{top}/VERSION")].2, b"1.0");
        let v1: Value = serde_json::from_slice(&entries[&format!("{top}/json")].2).unwrap();
        assert_eq!(v1["parent"], layers[1].replace("/layer.tar", ""));
        let repositories: Value = serde_json::from_slice(&entries["repositories"].2).unwrap();
        assert_eq!(repositories, json!({"name": {"tag": top}}));
    }

    #[test]
    fn images_that_share_a_layer_in_place_share_its_directory() {
        let (one, two) = (Image::new([layer("a")]), Image::new([layer("a"), layer("b")]));
        let tar = DockerArchive::new(Flavour::Legacy).image(["one:1"], &one).image(["two:2"], &two).to_tar();
        assert_eq!(entries(&tar).keys().filter(|name| name.ends_with("layer.tar")).count(), 2);
    }

    #[test]
    fn docker_25_saves_a_layout_with_a_manifest() {
        let image = Image::new([layer("a"), layer("b").compression(Compression::None)]);
        let tar = image.docker_archive(Flavour::Layout, "name:tag");
        let entries = entries(&tar);
        let layers = names(&manifest(&tar)["Layers"]);
        for (layer, name) in image.layers.iter().zip(&layers) {
            assert!(name.starts_with("blobs/sha256/"), "{name}");
            assert_eq!(entries[name].2, layer.blob());
        }
        let index: Value = serde_json::from_slice(&entries["index.json"].2).unwrap();
        let annotations = &index["manifests"][0]["annotations"];
        assert_eq!(annotations["org.opencontainers.image.ref.name"], "tag");
        assert_eq!(annotations["io.containerd.image.name"], "docker.io/library/name:tag");
    }

    #[test]
    fn skopeo_names_a_repeated_layer_twice_and_stores_it_once() {
        let image = Image::new([layer("a"), layer("b"), layer("a")]);
        let tar = image.docker_archive(Flavour::Skopeo, "name:tag");
        let manifest = manifest(&tar);
        let layers = names(&manifest["Layers"]);
        assert_eq!(layers[0], layers[2]);
        assert_eq!(entries(&tar).len(), 4, "two layers, the config and the manifest");
        assert_eq!(entries(&tar)[manifest["Config"].as_str().unwrap()].2, image.config());
    }
}
