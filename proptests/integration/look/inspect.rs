//! `planish inspect`: what stands in manifest and config, and nothing more is read.

use std::fs::File;

use planish_proptests::writer::{Entry, Image, Layer, Layout, Platform};
use serde_json::{Value, json};

use super::{forms, json as inspected, layout, look, text, written};
use crate::support::{Bench, failed, succeeded};

fn image() -> Image {
    Image::new([Layer::new([Entry::file("a", "1")]), Layer::new([Entry::file("b", "22")])])
}

/// Returns the file of a blob in a layout.
fn blob(bench: &Bench, name: &str, digest: &str) -> Vec<u8> {
    std::fs::read(bench.shared(name).join("blobs").join(digest.replace(':', "/"))).unwrap()
}

#[test]
fn an_inspection_is_the_manifest_and_the_config() {
    let bench = Bench::new();
    let source = format!("oci:{}:latest", bench.fixture("layered").display());
    let found = inspected(&bench, "inspect", &source, &[]);
    let digest = |value: &Value| value.as_str().unwrap().to_owned();
    let manifest: Value =
        serde_json::from_slice(&blob(&bench, "layered", &digest(&found["manifest"]["digest"]))).unwrap();
    let config: Value = serde_json::from_slice(&blob(&bench, "layered", &digest(&found["config"]["digest"]))).unwrap();
    assert_eq!(found["schema"], "planish.inspect.v1");
    assert_eq!(found["manifest"]["media_type"], manifest["mediaType"]);
    assert_eq!(found["config"]["digest"], manifest["config"]["digest"]);
    assert_eq!(found["config"]["size"], manifest["config"]["size"]);
    assert_eq!(found["created"], config["created"]);
    assert_eq!(found["platform"], "linux/amd64");
    assert_eq!(found["manifest"]["descriptor_annotations"], json!({"org.opencontainers.image.ref.name": "latest"}));
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    for (number, layer) in layers.iter().enumerate() {
        let described = &manifest["layers"][number];
        assert_eq!(layer["digest"], described["digest"]);
        assert_eq!(layer["size"], described["size"]);
        assert_eq!(layer["media_type"], described["mediaType"]);
        assert_eq!(layer["diff_id"], config["rootfs"]["diff_ids"][number]);
        assert_eq!(layer["instruction"], config["history"][number]["created_by"]);
    }
    let sizes: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(found["bytes"], sizes);
}

#[test]
fn documents_are_printed_byte_for_byte() {
    let bench = Bench::new();
    let source = layout(&bench, "one", &image());
    let found = inspected(&bench, "inspect", &source, &[]);
    for (flag, document) in [("--raw", &found["manifest"]), ("--config", &found["config"])] {
        let output = look(&bench, "inspect", &source, &[flag]);
        succeeded(&output);
        assert_eq!(output.stdout, blob(&bench, "one", document["digest"].as_str().unwrap()), "{flag}");
    }
}

#[test]
fn the_raw_document_is_the_index_without_a_platform() {
    let bench = Bench::new();
    let arm = image().platform(Platform::new("linux", "arm64"));
    let source = written(&bench, "two", &Layout::new().tag_index("latest", [&image(), &arm]));
    let found = inspected(&bench, "inspect", &source, &[]);
    let index = found["manifest"]["index"].as_str().unwrap();
    let raw = bench.planish().args(["inspect", &source, "--raw"]).output().unwrap();
    succeeded(&raw);
    assert_eq!(raw.stdout, blob(&bench, "two", index));
    let manifest = look(&bench, "inspect", &source, &["--raw"]);
    assert_eq!(manifest.stdout, blob(&bench, "two", found["manifest"]["digest"].as_str().unwrap()));
    let platforms: Vec<&Value> = found["platforms"].as_array().unwrap().iter().map(|one| &one["platform"]).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let listed: Value = serde_json::from_slice(&raw.stdout).unwrap();
    for number in [0, 1] {
        assert_eq!(found["platforms"][number]["digest"], listed["manifests"][number]["digest"]);
    }
}

#[test]
fn no_layer_is_read() {
    let bench = Bench::new();
    let source = layout(&bench, "one", &image());
    let before = inspected(&bench, "inspect", &source, &[]);
    for layer in before["layers"].as_array().unwrap() {
        let path = bench.shared("one").join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "/"));
        std::fs::write(path, "junk").unwrap();
    }
    let junk = inspected(&bench, "inspect", &source, &[]);
    assert_eq!(junk["manifest"], before["manifest"]);
    assert_eq!(junk["history"], before["history"]);
    assert!(failed(&look(&bench, "ls", &source, &[]), 5).contains("layer 1 of 2"));
}

#[test]
fn every_form_of_an_image_has_its_config_layers_and_history() {
    let bench = Bench::new();
    let image = image().history_empty_layers();
    for (source, stdin) in forms(&bench, &image) {
        let mut command = bench.planish();
        command.args(["inspect", &source, "--json", "--platform", "linux/amd64"]);
        if let Some(path) = stdin {
            command.stdin(File::open(path).unwrap());
        }
        let output = command.output().unwrap();
        succeeded(&output);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let config: Value = serde_json::from_slice(&image.config()).unwrap();
        let diff_ids: Vec<&Value> = found["layers"].as_array().unwrap().iter().map(|one| &one["diff_id"]).collect();
        assert_eq!(json!(diff_ids), config["rootfs"]["diff_ids"], "{source}");
        let layers: Vec<&Value> = found["history"].as_array().unwrap().iter().map(|one| &one["layer"]).collect();
        assert_eq!(layers, [&json!(null), &json!(1), &json!(null), &json!(2)], "{source}");
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
fn text_of_an_image_is_escaped() {
    let bench = Bench::new();
    let odd = "RUN \u{1b}[31m\u{9b}é\n  two";
    let image = image().config_field("history", json!([{"created_by": odd}, {"created_by": 7}]));
    let source = layout(&bench, "odd", &image.annotation("a\u{1b}", "\u{7}"));
    let shown = text(&bench, "inspect", &source, &[]);
    assert!(shown.bytes().all(|b| matches!(b, b'\n' | 0x20..=0x7e)), "{shown:?}");
    assert!(shown.contains(r"RUN \x1b[31m\xc2\x9b\xc3\xa9 two"), "{shown}");
    let found = inspected(&bench, "inspect", &source, &[]);
    assert_eq!(found["layers"][0]["instruction"], odd);
    assert_eq!(found["layers"][1]["instruction"], Value::Null);
    assert_eq!(found["manifest"]["descriptor_annotations"]["a\u{1b}"], "\u{7}");
}

#[test]
#[ignore = "needs skopeo"]
fn skopeo_prints_the_same_documents() {
    let bench = Bench::new();
    let arm = image().platform(Platform::new("linux", "arm64"));
    let source = written(&bench, "two", &Layout::new().tag_index("latest", [&image(), &arm]));
    let skopeo = |arguments: &[&str]| {
        let output = std::process::Command::new("skopeo").arg("inspect").args(arguments).arg(&source).output().unwrap();
        succeeded(&output);
        output.stdout
    };
    let raw = bench.planish().args(["inspect", &source, "--raw"]).output().unwrap();
    assert_eq!(raw.stdout, skopeo(&["--raw"]));
    let config = look(&bench, "inspect", &source, &["--config"]);
    assert_eq!(config.stdout, skopeo(&["--override-arch", "amd64", "--config", "--raw"]));
}
