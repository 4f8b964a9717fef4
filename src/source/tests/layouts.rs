use crate::source::LayerData;
use std::io::Read as _;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sample::{Files, INDEX, MANIFEST, config, digest, on, open_within, outcome, tagged};
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::source::{Image, SourceName};

fn open_in(directory: &TempDir, image: Option<&str>, limits: &Limits) -> Result<Image, String> {
    let name = SourceName::Oci { directory: directory.path().into(), image: image.map(Into::into) };
    outcome(open_within(&name, limits, directory.path()), directory.path())
}

fn open(files: &Files, image: Option<&str>) -> Result<Image, String> {
    let directory = tempfile::tempdir().unwrap();
    files.write(directory.path());
    open_in(&directory, image, &Limits::default())
}

fn text_of_layer(image: &Image) -> String {
    let mut text = String::new();
    let LayerData::Here(data) = &image.layers[0].data else { panic!("a layout's layers are here") };
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
fn an_image_is_handed_out_with_what_it_must_turn_out_to_be() {
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
fn one_of_several_images_is_named_by_tag_or_digest() {
    let mut files = Files::default();
    let (one, two) = (files.manifest("linux/amd64", b"one"), files.manifest("linux/amd64", b"two"));
    let digest = one["digest"].as_str().unwrap().to_owned();
    let single = files.clone().index(std::slice::from_ref(&one));
    assert_eq!(chosen(&single, None), found("one"));
    let twice = files.clone().index(&[tagged(one.clone(), "a"), tagged(one.clone(), "b")]);
    assert_eq!(chosen(&twice, None), found("one"));
    let untagged = files.clone().index(&[one.clone(), two.clone()]);
    let several = chosen(&untagged, None).unwrap_err();
    assert!(several.ends_with(&format!("several images, name one: {digest}, {}", two["digest"].as_str().unwrap())));

    let files = files.index(&[tagged(one, "a"), tagged(two, "b")]);
    assert_eq!(chosen(&files, Some("b")), found("two"));
    assert_eq!(chosen(&files, Some(&digest)), found("one"));
    assert_eq!(chosen(&files, Some(&format!("@{digest}"))), found("one"));
    assert_eq!(chosen(&files, None).unwrap_err(), "oci:BASE holds several images, name one: a, b");
    assert_eq!(chosen(&files, Some("c")).unwrap_err(), "oci:BASE:c has no image named c; it has: a, b");
    assert_eq!(chosen(&Files::default().index(&[]), None).unwrap_err(), "oci:BASE holds no image");
}

#[test]
fn an_index_is_asked_for_the_nearest_platform() {
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
fn an_entry_without_a_platform_is_taken_when_no_other_could_be_meant() {
    let mut files = Files::default();
    let (amd64, arm64) = (files.manifest("linux/amd64", b"amd64"), files.manifest("linux/arm64", b"arm64"));
    assert_eq!(chosen(&files.clone().index(&[on(arm64.clone(), "linux/arm64"), amd64.clone()]), None), found("amd64"));
    let error = chosen(&files.clone().index(std::slice::from_ref(&arm64)), None).unwrap_err();
    assert!(error.ends_with("is for platform linux/arm64, asked was linux/amd64"), "{error}");
    let lies = files.index(&[on(arm64, "linux/amd64")]);
    let error = chosen(&lies, None).unwrap_err();
    assert!(
        error.starts_with("config sha256:") && error.ends_with("is for platform linux/arm64, asked was linux/amd64")
    );
}

#[test]
fn indexes_nest_two_deep_below_the_first() {
    let mut files = Files::default();
    let mut entry = files.manifest("linux/amd64", b"deep");
    let mut innermost = None;
    for depth in 0..=3 {
        let result = chosen(&files.clone().index(std::slice::from_ref(&entry)), None);
        if depth <= 2 {
            assert_eq!(result, found("deep"), "{depth}");
        } else {
            let want = "has more than 2 levels of nested indexes, --max-index-depth allows 2";
            assert_eq!(result.unwrap_err(), format!("index {} {want}", innermost.as_deref().unwrap()));
        }
        entry = files.json(INDEX, &json!({"manifests": [entry]}));
        innermost.get_or_insert_with(|| entry["digest"].as_str().unwrap().to_owned());
    }
}

#[test]
fn documents_that_are_not_what_was_promised_are_refused() {
    type Change = fn(&mut Value);
    let table: [(Change, &str); 9] = [
        (|m| m["layers"][0]["digest"] = "sha256:../../etc".into(), "MANIFEST has an invalid digest sha256:../../etc"),
        (|m| m["config"]["size"] = 1.into(), "CONFIG has 151 bytes, its descriptor promises 1"),
        (
            |m| m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into(),
            "CONFIG has media type application/vnd.oci.empty.v1+json, which is not a container image's",
        ),
        (|m| m["manifests"] = json!([]), "MANIFEST has both layers and manifests"),
        (
            |m| m["mediaType"] = INDEX.into(),
            "MANIFEST says it is application/vnd.oci.image.index.v1+json, its descriptor says application/vnd.oci.image.manifest.v1+json",
        ),
        (|m| m["layers"] = json!([]), "MANIFEST has 0 layers, its config has 1 diff IDs"),
        (
            |m| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+encrypted".into(),
            "LAYER has media type application/vnd.oci.image.layer.v1.tar+encrypted, which is not a container image's",
        ),
        (
            |m| m["config"] = m["layers"][0].clone(),
            "CONFIG has media type application/vnd.oci.image.layer.v1.tar, which is not a container image's",
        ),
        (
            |m| m["schemaVersion"] = 1.into(),
            "MANIFEST has media type application/vnd.docker.distribution.manifest.v1+json, which is not a container image's",
        ),
    ];
    for (change, want) in table {
        let mut files = Files::default();
        let mut manifest = files.image("linux/amd64", b"layer");
        change(&mut manifest);
        let entry = files.json(MANIFEST, &manifest);
        let want = want
            .replace("MANIFEST", &format!("manifest {}", entry["digest"].as_str().unwrap()))
            .replace("CONFIG", &format!("config {}", manifest["config"]["digest"].as_str().unwrap()))
            .replace("LAYER", &format!("layer 1 of 1 ({})", digest(b"layer").short()));
        assert_eq!(chosen(&files.index(&[entry]), None).unwrap_err(), want);
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
        let want = format!("{} has 0 bytes, its descriptor promises {}", place(kind, descriptor), descriptor["size"]);
        assert_eq!(chosen(&empty, None).unwrap_err(), want);
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
fn a_foreign_layer_is_taken_when_it_is_there_and_never_fetched() {
    let mut files = Files::default();
    let mut manifest = files.image("linux/amd64", b"layer");
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/"]);
    let entry = files.json(MANIFEST, &manifest);
    let mut files = files.index(&[entry]);
    assert_eq!(chosen(&files, None), found("layer"));
    files.0.retain(|_, content| content != b"layer");
    let want = "is a foreign layer that is not there, and planish follows no url";
    assert_eq!(chosen(&files, None).unwrap_err(), format!("layer 1 of 1 ({}) {want}", digest(b"layer").short()));
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
    let want = format!("manifest {} has 1 layers, --max-layers allows 0", entry["digest"].as_str().unwrap());
    assert_eq!(open(Limits { layers: 0, ..Limits::default() }), want);
}

#[test]
fn a_layout_that_does_not_exist_is_this_machines_fault() {
    let name = SourceName::Oci { directory: "/nonexistent/layout".into(), image: None };
    let error = open_within(&name, &Limits::default(), "/tmp".as_ref()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }));
    assert_eq!(error.to_string(), "open /nonexistent/layout");
}
