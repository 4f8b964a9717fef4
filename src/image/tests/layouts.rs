use crate::image::LayerData;
use std::io::Read as _;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sample::{Files, INDEX, MANIFEST, config, digest, on, open_within, outcome, tagged};
use crate::error::ErrorKind;
use crate::image::{ImageReference, OpenImage};
use crate::limits::Limits;

fn open_in(directory: &TempDir, image: Option<&str>, limits: &Limits) -> Result<OpenImage, String> {
    let name = ImageReference::Oci { directory: directory.path().into(), image: image.map(Into::into) };
    outcome(open_within(&name, limits, directory.path()), directory.path())
}

fn open(files: &Files, image: Option<&str>) -> Result<OpenImage, String> {
    let directory = tempfile::tempdir().unwrap();
    files.write(directory.path());
    open_in(&directory, image, &Limits::default())
}

fn text_of_layer(image: &OpenImage) -> String {
    let mut text = String::new();
    let LayerData::Local(data) = &image.layers[0].data else { panic!("a layout's layers are here") };
    data.reader().read_to_string(&mut text).unwrap();
    text
}

fn chosen(files: &Files, image: Option<&str>) -> Result<String, String> {
    open(files, image).map(|image| text_of_layer(&image))
}

fn found(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

#[test]
fn an_image_has_the_promised_digests_and_sizes() {
    let mut files = Files::default();
    let manifest = files.manifest("linux/amd64", b"layer");
    let image = open(&files.index(&[tagged(manifest.clone(), "latest")]), Some("latest")).unwrap();
    assert!(image.source.starts_with("oci:/") && image.source.ends_with(":latest"));
    assert_eq!(image.manifest_digest.unwrap().to_string(), manifest["digest"]);
    assert_eq!(image.config_digest, digest(config("linux/amd64", &[b"layer"]).to_string().as_bytes()));
    assert_eq!(image.platform.to_string(), "linux/amd64");
    let layer = &image.layers[0];
    assert_eq!(layer.place.to_string(), format!("layer 1 of 1 ({})", digest(b"layer").short()));
    assert_eq!((layer.digest.clone(), layer.size), (Some(digest(b"layer")), Some(5)));
    assert_eq!(layer.diff_id, digest(b"layer"));
    assert_eq!(layer.media_type.as_deref(), Some("application/vnd.oci.image.layer.v1.tar"));
}

#[test]
fn one_of_several_images_is_selected_by_tag_or_digest() {
    let mut files = Files::default();
    let (one, two) = (files.manifest("linux/amd64", b"one"), files.manifest("linux/amd64", b"two"));
    let digest = one["digest"].as_str().unwrap().to_owned();
    let single = files.clone().index(std::slice::from_ref(&one));
    assert_eq!(chosen(&single, None), found("one"));
    let twice = files.clone().index(&[tagged(one.clone(), "a"), tagged(one.clone(), "b")]);
    assert_eq!(chosen(&twice, None), found("one"));
    let untagged = files.clone().index(&[one.clone(), two.clone()]);
    let several = chosen(&untagged, None).unwrap_err();
    let both = format!("{digest}, {}", two["digest"].as_str().unwrap());
    assert_eq!(several, format!("oci:BASE holds several images for platform linux/amd64, name one: {both}"));
    let namesakes = files.clone().index(&[tagged(one.clone(), "a"), tagged(two.clone(), "a")]);
    let several = chosen(&namesakes, Some("a")).unwrap_err();
    assert_eq!(several, format!("oci:BASE:a holds several images named a for platform linux/amd64, name one: {both}"));
    assert_eq!(chosen(&namesakes, Some(&digest)), found("one"));

    let files = files.index(&[tagged(one, "a"), tagged(two, "b")]);
    assert_eq!(chosen(&files, Some("b")), found("two"));
    assert_eq!(chosen(&files, Some(&digest)), found("one"));
    assert_eq!(chosen(&files, Some(&format!("@{digest}"))), found("one"));
    assert_eq!(chosen(&files, None).unwrap_err(), "oci:BASE holds several images, name one: a, b");
    assert_eq!(chosen(&files, Some("c")).unwrap_err(), "oci:BASE:c has no image named c; it has: a, b");
    assert_eq!(chosen(&Files::default().index(&[]), None).unwrap_err(), "oci:BASE holds no image");
}

#[test]
fn the_nearest_platform_of_an_index_is_chosen() {
    let mut files = Files::default();
    let mut image = |platform: &str| {
        let manifest = files.manifest(platform, platform.as_bytes());
        on(manifest, platform)
    };
    let images = ["linux/amd64/v3", "linux/arm64", "linux/amd64/v1", "windows/amd64"].map(&mut image);
    let mut attestation = image("linux/amd64");
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let mut unknown = attestation.clone();
    unknown["annotations"] = Value::Null;
    unknown["platform"] = json!({"os": "unknown", "architecture": "unknown"});

    let entries = [&images[..], &[attestation.clone(), unknown.clone()]].concat();
    assert_eq!(chosen(&files.clone().index(&entries), None), found("linux/amd64/v1"));
    let nested = files.json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}));
    assert_eq!(chosen(&files.clone().index(&[tagged(nested, "latest")]), None), found("linux/amd64/v1"));
    let others = [&images[1..2], &images[3..], &[attestation, unknown]].concat();
    assert_eq!(
        chosen(&files.clone().index(&others), None).unwrap_err(),
        "oci:BASE: index.json has no manifest for platform linux/amd64; it has: linux/arm64, windows/amd64",
    );
}

#[test]
fn the_only_entry_without_a_platform_is_selected() {
    let mut files = Files::default();
    let (amd64, arm64) = (files.manifest("linux/amd64", b"amd64"), files.manifest("linux/arm64", b"arm64"));
    assert_eq!(chosen(&files.clone().index(&[on(arm64.clone(), "linux/arm64"), amd64.clone()]), None), found("amd64"));
    let error = chosen(&files.clone().index(std::slice::from_ref(&arm64)), None).unwrap_err();
    assert!(error.ends_with("is for platform linux/arm64, not linux/amd64"), "{error}");
    let lies = files.index(&[on(arm64, "linux/amd64")]);
    let error = chosen(&lies, None).unwrap_err();
    let expected = "is for platform linux/arm64, and the index that leads to it says linux/amd64";
    assert!(error.starts_with("config sha256:") && error.ends_with(expected), "{error}");
}

#[test]
fn indexes_nest_two_levels() {
    let mut files = Files::default();
    let mut entry = files.manifest("linux/amd64", b"deep");
    let mut innermost = None;
    for depth in 0..=3 {
        let result = chosen(&files.clone().index(std::slice::from_ref(&entry)), None);
        if depth <= 2 {
            assert_eq!(result, found("deep"), "{depth}");
        } else {
            let expected = "has more than 2 levels of nested indexes, --max-index-depth allows 2";
            assert_eq!(result.unwrap_err(), format!("index {} {expected}", innermost.as_deref().unwrap()));
        }
        entry = files.json(INDEX, &json!({"manifests": [entry]}));
        innermost.get_or_insert_with(|| entry["digest"].as_str().unwrap().to_owned());
    }
}

#[test]
fn documents_that_differ_from_their_descriptor_are_refused() {
    type Change = fn(&mut Value);
    let table: [(Change, &str); 9] = [
        (|m| m["layers"][0]["digest"] = "sha256:../../etc".into(), "MANIFEST has an invalid digest sha256:../../etc"),
        (|m| m["config"]["size"] = 1.into(), "CONFIG has 151 bytes, its descriptor promises 1"),
        (
            |m| m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into(),
            "CONFIG has media type application/vnd.oci.empty.v1+json, which is not a container image's: it is an artifact's",
        ),
        (|m| m["manifests"] = json!([]), "MANIFEST has both layers and manifests"),
        (
            |m| m["mediaType"] = INDEX.into(),
            "MANIFEST says it is application/vnd.oci.image.index.v1+json, its descriptor says application/vnd.oci.image.manifest.v1+json",
        ),
        (|m| m["layers"] = json!([]), "MANIFEST has 0 layers, its config has 1 diff IDs"),
        (
            |m| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+encrypted".into(),
            "LAYER has media type application/vnd.oci.image.layer.v1.tar+encrypted, which is not a container image's: it is an encrypted layer's",
        ),
        (
            |m| m["config"] = m["layers"][0].clone(),
            "CONFIG has media type application/vnd.oci.image.layer.v1.tar, which is not a container image's",
        ),
        (
            |m| m["schemaVersion"] = 1.into(),
            "MANIFEST has media type application/vnd.docker.distribution.manifest.v1+json, which is not a container image's: it is a manifest's of schema 1, which docker gave up",
        ),
    ];
    for (change, expected) in table {
        let mut files = Files::default();
        let mut manifest = files.image("linux/amd64", b"layer");
        change(&mut manifest);
        let entry = files.json(MANIFEST, &manifest);
        let expected = expected
            .replace("MANIFEST", &format!("manifest {}", entry["digest"].as_str().unwrap()))
            .replace("CONFIG", &format!("config {}", manifest["config"]["digest"].as_str().unwrap()))
            .replace("LAYER", &format!("layer 1 of 1 ({})", digest(b"layer").short()));
        assert_eq!(chosen(&files.index(&[entry]), None).unwrap_err(), expected);
    }
}

#[test]
fn blobs_that_are_missing_or_changed_are_refused() {
    let sample = || {
        let mut files = Files::default();
        let manifest = files.image("linux/amd64", b"layer");
        let entry = files.json(MANIFEST, &manifest);
        (files.index(std::slice::from_ref(&entry)), entry, manifest)
    };
    let path = |descriptor: &Value| descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    let place = |kind: &str, descriptor: &Value| format!("{kind} {}", descriptor["digest"].as_str().unwrap());
    let (files, entry, manifest) = sample();
    for (kind, descriptor) in [("manifest", &entry), ("config", &manifest["config"])] {
        let mut missing = files.clone();
        missing.0.remove(&path(descriptor));
        assert_eq!(chosen(&missing, None).unwrap_err(), format!("{} does not exist in it", place(kind, descriptor)));
        let mut changed = files.clone();
        changed.0.get_mut(&path(descriptor)).unwrap()[3] ^= 1;
        let text = chosen(&changed, None).unwrap_err();
        assert!(text.starts_with(&format!("{} has digest sha256:", place(kind, descriptor))), "{text}");
        let mut empty = files.clone();
        empty.0.insert(path(descriptor), Vec::new());
        let expected =
            format!("{} has 0 bytes, its descriptor promises {}", place(kind, descriptor), descriptor["size"]);
        assert_eq!(chosen(&empty, None).unwrap_err(), expected);
    }
    let mut missing = files.clone();
    missing.0.remove(&path(&manifest["layers"][0]));
    let layer = format!("layer 1 of 1 ({})", digest(b"layer").short());
    assert_eq!(chosen(&missing, None).unwrap_err(), format!("{layer} does not exist in it"));
    let mut no_index = files;
    no_index.0.remove("index.json");
    assert_eq!(chosen(&no_index, None).unwrap_err(), "oci:BASE is no OCI layout: it holds no index.json");
}

#[test]
fn a_foreign_layer_is_read_if_present_and_never_fetched() {
    let mut files = Files::default();
    let mut manifest = files.image("linux/amd64", b"layer");
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/"]);
    let entry = files.json(MANIFEST, &manifest);
    let mut files = files.index(&[entry]);
    assert_eq!(chosen(&files, None), found("layer"));
    files.0.retain(|_, content| content != b"layer");
    let expected = "is a foreign layer that is not there, and planish follows no url";
    assert_eq!(chosen(&files, None).unwrap_err(), format!("layer 1 of 1 ({}) {expected}", digest(b"layer").short()));
}

#[test]
fn a_blob_may_be_a_symlink_and_must_be_a_file() {
    let mut files = Files::default();
    let manifest = files.manifest("linux/amd64", b"layer");
    let directory = tempfile::tempdir().unwrap();
    files.index(&[manifest]).write(directory.path());
    let blob = directory.path().join("blobs/sha256").join(digest(b"layer").hex());
    std::fs::rename(&blob, directory.path().join("elsewhere")).unwrap();
    symlink("../../elsewhere", &blob).unwrap();
    assert_eq!(text_of_layer(&open_in(&directory, None, &Limits::default()).unwrap()), "layer");
    let refused = format!("read BASE/blobs/sha256/{}", digest(b"layer").hex());
    std::fs::remove_file(&blob).unwrap();
    std::fs::create_dir(&blob).unwrap();
    assert_eq!(open_in(&directory, None, &Limits::default()).unwrap_err(), refused);
    std::fs::remove_dir(&blob).unwrap();
    mkfifoat(CWD, &blob, Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(open_in(&directory, None, &Limits::default()).unwrap_err(), refused, "and does not hang");
}

#[test]
fn documents_and_layers_are_limited() {
    let mut files = Files::default();
    let entry = files.manifest("linux/amd64", b"layer");
    let files = files.index(std::slice::from_ref(&entry));
    let directory = tempfile::tempdir().unwrap();
    files.write(directory.path());
    let open = |limits| open_in(&directory, None, &limits).unwrap_err();
    let size = files.0["index.json"].len();
    assert_eq!(
        open(Limits { manifest_bytes: 100, ..Limits::default() }),
        format!("oci:BASE: index.json has {size} bytes, --max-manifest-bytes allows 100"),
    );
    let expected = format!("manifest {} has 1 layers, --max-layers allows 0", entry["digest"].as_str().unwrap());
    assert_eq!(open(Limits { layers: 0, ..Limits::default() }), expected);
}

#[test]
fn a_missing_layout_is_an_io_error() {
    let name = ImageReference::Oci { directory: "/nonexistent/layout".into(), image: None };
    let error = open_within(&name, &Limits::default(), "/tmp".as_ref()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }));
    assert_eq!(error.to_string(), "open /nonexistent/layout");
}

/// Small documents that take much memory when parsed are refused before that.
#[test]
fn documents_count_against_the_metadata_limit() {
    let bomb = |field: &str, rest: Value| {
        let mut document = rest;
        document[field] = vec![json!({"a": 0}); 2000].into();
        document
    };
    let limits = Limits { metadata_bytes: 1 << 20, ..Limits::default() };
    let opened = |files: &Files| {
        let directory = tempfile::tempdir().unwrap();
        files.write(directory.path());
        open_in(&directory, None, &limits).map(|_| ()).unwrap_err()
    };
    let memory = |bytes: &[u8]| {
        let count = |what: &[u8]| bytes.iter().filter(|byte| what.contains(byte)).count();
        let strings = 16 * count(b"\"");
        700 * count(b"{") + 140 * count(b":") + 160 * count(b"[") + 64 * count(b",") + strings + bytes.len()
    };
    let index = bomb("manifests", json!({"schemaVersion": 2}));
    let mut files = Files::default();
    files.0.insert("index.json".into(), index.to_string().into());
    let taken = memory(index.to_string().as_bytes());
    let refused = format!("has {taken} bytes of metadata in memory, --max-metadata-bytes allows 1048576");
    assert_eq!(opened(&files), format!("oci:BASE: index.json {refused}"));

    let mut files = Files::default();
    let entry = files.json(INDEX, &index);
    let digest = entry["digest"].as_str().unwrap().to_owned();
    assert_eq!(opened(&files.index(&[entry])), format!("index {digest} {refused}"));

    let mut files = Files::default();
    let config = bomb("rootfs", json!({"os": "linux"}));
    let taken = memory(config.to_string().as_bytes());
    let config = files.json("application/vnd.oci.image.config.v1+json", &config);
    let digest = config["digest"].as_str().unwrap().to_owned();
    let manifest = files.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": []}));
    let refused = format!("has {taken} bytes of metadata in memory, --max-metadata-bytes allows 1048576");
    assert_eq!(opened(&files.index(&[manifest])), format!("config {digest} {refused}"));
}

/// The nearest platform in an index whose documents are read is used, wherever it is in the index.
#[test]
fn a_nested_index_may_have_many_platforms() {
    let mut files = Files::default();
    let arm64 = on(files.manifest("linux/arm64", b"arm64"), "linux/arm64");
    let amd64 = on(files.manifest("linux/amd64", b"amd64"), "linux/amd64");
    let others = vec![arm64.clone(); 200];
    let all = [&others[..], &[amd64]].concat();
    let mixed = files.json(INDEX, &json!({"manifests": all}));
    let foreign = files.json(INDEX, &json!({"manifests": others}));
    assert_eq!(chosen(&files.index(&[foreign, mixed]), None), found("amd64"));
}

/// Puts an index of these entries below `index.json`.
fn nested(mut files: Files, entries: &[Value]) -> (Files, String) {
    let index = files.json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}));
    let digest = index["digest"].as_str().unwrap().to_owned();
    (files.index(&[tagged(index, "t")]), digest)
}

#[test]
fn two_images_for_one_platform_in_a_nested_index_are_refused() {
    let mut files = Files::default();
    let (one, two) = (files.manifest("linux/amd64", b"one"), files.manifest("linux/amd64", b"two"));
    let both = [&one, &two].map(|entry| entry["digest"].as_str().unwrap()).join(", ");
    let for_amd64 = |entry: &Value| on(entry.clone(), "linux/amd64");
    for entries in [[for_amd64(&one), for_amd64(&two)], [one.clone(), two.clone()], [for_amd64(&one), two.clone()]] {
        let (files, index) = nested(files.clone(), &entries);
        let expected = format!("index {index} holds several images for platform linux/amd64, name one: {both}");
        assert_eq!(chosen(&files, Some("t")).unwrap_err(), expected);
        assert_eq!(chosen(&files, two["digest"].as_str()), found("two"), "it can be named");
        assert_eq!(chosen(&files, Some(&format!("@{}", one["digest"].as_str().unwrap()))), found("one"));
        let gone = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(
            chosen(&files, Some(&gone)).unwrap_err(),
            format!("oci:BASE:{gone} has no image named {gone}; it has: t")
        );
    }
    assert_eq!(chosen(&nested(files.clone(), &[for_amd64(&one), for_amd64(&one)]).0, None), found("one"));
    // One image whose layers are compressed in two ways has one config.
    let mut again = files.image("linux/amd64", b"one");
    again["annotations"] = json!({"io.github.containers.compression.zstd": "true"});
    let again = files.json(MANIFEST, &again);
    assert_ne!(again["digest"], one["digest"]);
    assert_eq!(chosen(&nested(files, &[for_amd64(&one), for_amd64(&again)]).0, None), found("one"));
}

#[test]
fn an_invalid_entry_is_refused_only_when_it_is_selected() {
    let mut files = Files::default();
    let (image, other) = (files.manifest("linux/amd64", b"image"), files.manifest("linux/amd64", b"other"));
    let sound = on(image, "linux/amd64");
    let with = |key: &str, value: Value| {
        let mut entry = on(other.clone(), "linux/amd64");
        match key {
            "size" | "platform" => entry[key] = value,
            _ => entry["platform"][key] = value,
        }
        entry
    };
    let name = other["digest"].as_str().unwrap();
    for (odd, fault) in [
        (with("variant", json!(7)), "its variant is not a string"),
        (with("os.version", json!(10)), "its os.version is not a string"),
        (with("os.features", json!("x")), "its os.features is not a list of strings"),
        (with("architecture", json!(["amd64"])), "its architecture is not a string"),
        (with("platform", json!("linux/amd64")), "its platform is not an object"),
        (with("size", Value::Null), "it has no size"),
        (with("size", json!(-1)), "its size is not a number of bytes"),
    ] {
        let expected = format!("is not valid JSON of its kind: {fault} (descriptor of {name})");
        for entries in [[odd.clone(), sound.clone()], [sound.clone(), odd.clone()]] {
            assert_eq!(chosen(&files.clone().index(&entries), None), found("image"), "{fault}");
            assert_eq!(chosen(&nested(files.clone(), &entries).0, None), found("image"), "{fault}");
        }
        let only = files.clone().index(std::slice::from_ref(&odd));
        assert_eq!(chosen(&only, None).unwrap_err(), format!("oci:BASE: index.json {expected}"));
        let (only, index) = nested(files.clone(), &[odd, on(sound.clone(), "linux/arm64")]);
        assert_eq!(chosen(&only, None).unwrap_err(), format!("index {index} {expected}"));
    }
}

#[test]
fn an_empty_index_has_no_images() {
    let with = |index: &str| {
        let mut files = Files::default();
        files.0.insert("index.json".into(), index.into());
        files
    };
    for index in [r#"{"schemaVersion":2,"manifests":[]}"#, r#"{"schemaVersion":2,"manifests":null}"#] {
        assert_eq!(chosen(&with(index), None).unwrap_err(), "oci:BASE holds no image");
        assert_eq!(chosen(&with(index), Some("t")).unwrap_err(), "oci:BASE:t has no image named t; it has no images");
    }
}
