//! OCI image layouts, as directories and as archives.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::entry::Entry;
use super::image::{Image, bytes, descriptor, hex_digest};
use super::layer::Layer;

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const TAG: &str = "org.opencontainers.image.ref.name";

/// An OCI image layout of any number of images.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
    without_media_type_field: bool,
}

impl Layout {
    /// Returns a layout without images.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image under a tag.
    #[must_use]
    pub fn tag(mut self, tag: &str, image: &Image) -> Self {
        self.blobs.extend(image.blobs());
        self.manifests.push(tagged(image.descriptor(), tag));
        self
    }

    /// Adds an image without a tag.
    #[must_use]
    pub fn untagged(mut self, image: &Image) -> Self {
        self.blobs.extend(image.blobs());
        self.manifests.push(image.descriptor());
        self
    }

    /// Adds an index of images, one for each platform, under a tag.
    #[must_use]
    pub fn tag_index<'a>(mut self, tag: &str, images: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut manifests = Vec::new();
        for image in images {
            self.blobs.extend(image.blobs());
            manifests.push(image.descriptor());
        }
        let index = bytes(&json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}));
        self.manifests.push(tagged(descriptor(INDEX_TYPE, &index), tag));
        self.blobs.insert(hex_digest(&index), index);
        self
    }

    /// Leaves the media type out of `index.json`, as umoci and skopeo do.
    #[must_use]
    pub fn without_media_type_field(self) -> Self {
        Self { without_media_type_field: true, ..self }
    }

    /// Returns the files by their paths, `/` between the names.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut index = json!({"schemaVersion": 2, "manifests": self.manifests});
        if !self.without_media_type_field {
            index["mediaType"] = json!(INDEX_TYPE);
        }
        let blobs = self.blobs.iter().map(|(name, blob)| (format!("blobs/sha256/{name}"), blob.clone()));
        let documents = [("index.json", index), ("oci-layout", json!({"imageLayoutVersion": "1.0.0"}))];
        blobs.chain(documents.map(|(name, document)| (name.to_owned(), bytes(&document)))).collect()
    }

    /// Writes the layout into a directory, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory.join("blobs/sha256"))?;
        for (path, content) in self.files() {
            fs::write(directory.join(path), content)?;
        }
        Ok(())
    }

    /// Returns the layout as a tar: an `oci-archive`.
    #[must_use]
    pub fn to_tar(&self) -> Vec<u8> {
        archive(self.files())
    }
}

impl Image {
    /// Writes the image as the only one of a layout; see [`Layout::write`].
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write_layout(&self, directory: &Path, tag: &str) -> io::Result<()> {
        Layout::new().tag(tag, self).write(directory)
    }
}

/// Returns a tar of files, each directory before its files, all sorted: the order of a directory walk.
pub(super) fn archive(files: BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut entries = BTreeMap::new();
    for (path, content) in files {
        for (slash, _) in path.match_indices('/') {
            let directory = &path[..=slash];
            entries.entry(directory.to_owned()).or_insert_with(|| Entry::dir(directory));
        }
        entries.insert(path.clone(), Entry::file(path, content));
    }
    Layer::new(entries.into_values()).tar()
}

fn tagged(mut descriptor: Value, tag: &str) -> Value {
    descriptor["annotations"][TAG] = json!(tag);
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Image {
        Image::new([Layer::new([Entry::dir(name)])])
    }

    fn index(layout: &Layout) -> Value {
        serde_json::from_slice(&layout.files()["index.json"]).unwrap()
    }

    #[test]
    fn tags_name_images() {
        let index = index(&Layout::new().tag("one", &image("a")).tag("two", &image("b")).untagged(&image("c")));
        let tags: Vec<_> = (0..3).map(|i| index["manifests"][i]["annotations"][TAG].as_str()).collect();
        assert_eq!(tags, [Some("one"), Some("two"), None]);
    }

    #[test]
    fn images_with_the_same_layer_share_its_blob() {
        let twice = Layout::new().tag("one", &image("a")).tag("two", &image("a").docker());
        assert_eq!(twice.files().len(), 2 + 1 + 1 + 2, "index.json, oci-layout, a layer, a config and two manifests");
    }

    #[test]
    fn an_index_in_the_index_names_the_manifests() {
        let layout = Layout::new().tag_index("multi", [&image("a"), &image("b")]);
        let digest = index(&layout)["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
        let nested: Value = serde_json::from_slice(&layout.files()[&digest]).unwrap();
        assert_eq!(nested["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn media_type_fields_can_be_left_out() {
        assert_eq!(index(&Layout::new())["mediaType"], INDEX_TYPE);
        assert_eq!(index(&Layout::new().without_media_type_field()).get("mediaType"), None);
    }

    #[test]
    fn a_written_layout_is_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let image = image("a");
        image.write_layout(directory.path(), "latest").unwrap();
        for (path, content) in Layout::new().tag("latest", &image).files() {
            assert_eq!(fs::read(directory.path().join(&path)).unwrap(), content, "{path}");
        }
    }

    #[test]
    fn an_archive_has_directories_before_their_files() {
        let files = [("b/c/d", "1"), ("a", "2")].map(|(path, content)| (path.to_owned(), content.into())).into();
        let entries = [Entry::file("a", "2"), Entry::dir("b/"), Entry::dir("b/c/"), Entry::file("b/c/d", "1")];
        assert_eq!(archive(files), Layer::new(entries).tar());
    }
}
