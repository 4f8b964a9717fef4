//! Manifests, indexes and configs, each in an archive with right digests.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use planish::fuzzing::{Cancel, ImageReference, Limits, NoProgress, OpenImage, OpenOptions, Platform, Scratch, open};
use planish_proptests::writer::{self, Entry, Layer, Layout};
use rustix::fs::MemfdFlags;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The bytes are the archive's `index.json`, which can refer to two images.
pub fn index(bytes: &[u8]) {
    let mut files = images();
    files.insert("index.json".into(), bytes.to_vec());
    require(&files);
}

/// The bytes are the only manifest, which can refer to a config and two layers.
pub fn manifest(bytes: &[u8]) {
    let mut files = images();
    let digest = add(&mut files, bytes);
    files.insert("index.json".into(), index_of(MANIFEST, &digest, bytes.len()));
    require(&files);
}

/// The bytes are the config of an image of two layers.
pub fn config(bytes: &[u8]) {
    let mut files = images();
    let digest = add(&mut files, bytes);
    let config = serde_json::json!({"mediaType": CONFIG, "digest": digest, "size": bytes.len()});
    let document = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers()});
    let manifest = document.to_string().into_bytes();
    let digest = add(&mut files, &manifest);
    files.insert("index.json".into(), index_of(MANIFEST, &digest, manifest.len()));
    require(&files);
}

fn layer(blob: &[u8]) -> serde_json::Value {
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    serde_json::json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

/// An opened image agrees with the documents: this platform, one diff ID for each layer, and existing blobs.
fn require(files: &BTreeMap<String, Vec<u8>>) {
    let Ok(image) = opened(files) else { return };
    assert_eq!((image.platform.os.as_str(), image.platform.architecture.as_str()), ("linux", "amd64"));
    assert!(files.contains_key(&blob_path(&image.config_digest.to_string())));
    for (number, layer) in (1..).zip(&image.layers) {
        assert_eq!((layer.place.number, layer.place.count), (number, image.layers.len()));
        assert!(layer.digest.is_some() && layer.size.is_some(), "a descriptor has both");
    }
}

fn opened(files: &BTreeMap<String, Vec<u8>>) -> Result<OpenImage, String> {
    let tar = Layer::new(files.iter().map(|(path, content)| Entry::file(path.clone(), content.clone()))).tar();
    let memory = rustix::fs::memfd_create("archive", MemfdFlags::CLOEXEC).expect("memory files are there");
    let mut memory = std::fs::File::from(memory);
    memory.write_all(&tar).expect("memory can be written");
    let name = ImageReference::OciArchive { file: format!("/proc/self/fd/{}", memory.as_raw_fd()).into(), image: None };
    let (limits, cancel) = (Limits::default(), Cancel::default());
    let platform: Platform = "linux/amd64".parse().expect("it is one");
    // No file can be made there.
    let nowhere = Scratch::at("/proc".as_ref()).expect("it is there");
    let options = OpenOptions {
        platform: Some(platform),
        limits: &limits,
        scratch: &nowhere,
        remote: None,
        progress: &NoProgress,
        cancel: &cancel,
    };
    open(&name, &options).map_err(|error| error.to_string())
}

fn image() -> writer::Image {
    writer::Image::new([Layer::new([Entry::file("a", "a")]), Layer::new([Entry::whiteout(".wh.a")])])
}

fn other() -> writer::Image {
    writer::Image::new([Layer::new([Entry::file("b", "b")])]).docker().platform(writer::Platform::new("linux", "arm64"))
}

/// A layout with two images, by path.
fn images() -> BTreeMap<String, Vec<u8>> {
    static IMAGES: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let files = || Layout::new().tag("one", &image()).tag("two", &other()).files();
    IMAGES.get_or_init(files).clone()
}

/// The descriptors of the first image's layers.
fn layers() -> &'static [serde_json::Value] {
    static LAYERS: OnceLock<Vec<serde_json::Value>> = OnceLock::new();
    LAYERS.get_or_init(|| image().layers.iter().map(|written| layer(&written.blob())).collect())
}

fn index_of(media_type: &str, digest: &str, size: usize) -> Vec<u8> {
    let descriptor = serde_json::json!({"mediaType": media_type, "digest": digest, "size": size});
    serde_json::json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string().into_bytes()
}

fn add(files: &mut BTreeMap<String, Vec<u8>>, blob: &[u8]) -> String {
    let digest = digest(blob);
    files.insert(blob_path(&digest), blob.to_vec());
    digest
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Indexes of several kinds.
pub fn index_seeds() -> Vec<Vec<u8>> {
    let platforms = Layout::new().tag_index("both", &[image(), other()]);
    let untagged = Layout::new().untagged(&image()).without_media_type_field();
    let one = Layout::new().tag("latest", &image());
    [platforms, untagged, one].iter().map(|layout| layout.files()["index.json"].clone()).collect()
}

/// Manifests of both families.
pub fn manifest_seeds() -> Vec<Vec<u8>> {
    vec![image().manifest(), image().docker().manifest(), image().without_media_type_field().manifest()]
}

/// Configs with every field of the specification.
pub fn config_seeds() -> Vec<Vec<u8>> {
    let full = image().created(Some("2024-02-29T12:00:00.5+05:45")).history_empty_layers();
    let inner = serde_json::json!({"Env": ["A=b"], "Cmd": null, "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}});
    vec![image().config(), full.config_field("config", inner).config(), other().config()]
}
