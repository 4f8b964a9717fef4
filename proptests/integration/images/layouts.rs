//! Layouts: the selection of an image.

use serde_json::{Value, json};

use crate::images::files::{CONFIG, CONTAINERD_NAME, Files, INDEX, MANIFEST, REF_NAME, annotated, digest_of, on};
use crate::images::{plan, refused, taken};
use crate::support::{Bench, failed};

/// Writes an `index.json` of entries beside files, and returns the source.
fn layout(bench: &Bench, name: &str, files: &Files, entries: &[Value]) -> String {
    let mut files = files.clone();
    files.index(entries);
    files.write(&bench.shared(name));
    format!("oci:{}", bench.shared(name).display())
}

#[test]
fn an_entry_without_a_platform_has_the_one_of_its_config() {
    let bench = Bench::new();
    let mut files = Files::default();
    let ((amd64, amd64_config), (arm64, arm64_config)) = (files.plain("amd64", "a"), files.plain("arm64", "b"));
    let source = layout(&bench, "silent", &files, &[arm64.clone(), amd64.clone()]);
    assert_eq!(taken(&bench, &source, &[]).config, amd64_config);
    assert_eq!(taken(&bench, &source, &["--platform", "linux/arm64"]).config, arm64_config);
    let error = failed(&plan(&bench, &source, &["--platform", "linux/s390x"]), 5);
    assert!(error.ends_with("has no manifest for platform linux/s390x; it has: linux/arm64, linux/amd64"), "{error}");
    let index = files.json(INDEX, &json!({"schemaVersion": 2, "manifests": [arm64.clone(), amd64.clone()]}));
    let nested = layout(&bench, "nested", &files, &[index]);
    assert_eq!(taken(&bench, &nested, &[]).config, amd64_config);
    let empty = on(amd64, json!({"os": "", "architecture": ""}));
    let source = layout(&bench, "empty", &files, &[on(arm64, json!({})), empty]);
    assert_eq!(taken(&bench, &source, &[]).config, amd64_config);
}

#[test]
fn platform_variants_and_features_are_matched() {
    let bench = Bench::new();
    let mut files = Files::default();
    let (plain, plain_config) = files.plain("amd64", "plain");
    let (erofs, _) = files.plain("amd64", "erofs");
    let feature = on(erofs, json!({"os": "linux", "architecture": "amd64", "os.features": ["erofs"]}));
    let amd64 = |extra: Value| {
        let mut platform = json!({"os": "linux", "architecture": "amd64"});
        platform.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        on(plain.clone(), platform)
    };
    let source = layout(&bench, "features", &files, &[feature.clone(), amd64(json!({}))]);
    assert_eq!(taken(&bench, &source, &[]).config, plain_config);
    let (error, hint) = refused(&bench, &layout(&bench, "only", &files, &[feature]), 5);
    assert!(error.ends_with("has no manifest for platform linux/amd64; it has: linux/amd64 with erofs"), "{error}");
    assert_eq!(hint.unwrap(), "choose one that is there with --platform");
    for (number, extra) in
        [json!({"variant": "v1"}), json!({"variant": "V1", "os.version": "5.4"}), json!({"os": "Linux"})]
            .iter()
            .enumerate()
    {
        let source = layout(&bench, &format!("v{number}"), &files, &[amd64(extra.clone())]);
        assert_eq!(taken(&bench, &source, &[]).config, plain_config, "{extra}");
    }
    let (arm, arm_config) = files.plain("aarch64", "arm");
    let spelled = on(arm, json!({"os": "linux", "architecture": "AArch64", "variant": "8"}));
    let source = layout(&bench, "arm", &files, &[amd64(json!({})), spelled]);
    for platform in ["linux/arm64", "linux/arm64/v8", "linux/aarch64", "arm64"] {
        assert_eq!(taken(&bench, &source, &["--platform", platform]).config, arm_config, "{platform}");
    }
    let newer = layout(&bench, "newer", &files, &[amd64(json!({"variant": "v3"}))]);
    let (error, _) = refused(&bench, &newer, 5);
    assert!(error.ends_with("has no manifest for platform linux/amd64; it has: linux/amd64/v3"), "{error}");
}

#[test]
fn attachments_do_not_hide_an_image() {
    let bench = Bench::new();
    let mut files = Files::default();
    let (image, config) = files.plain("amd64", "image");
    let named = annotated(image.clone(), REF_NAME, "latest");
    let artifact = |files: &mut Files, change: &dyn Fn(&mut Value)| {
        files.image(("amd64", "artifact"), |_| {}, |manifest| change(manifest)).0
    };
    let empty = "application/vnd.oci.empty.v1+json";
    let cosign = "application/vnd.dev.cosign.simplesigning.v1+json";
    let beside: Vec<(&str, Value)> = vec![
        ("a subject", artifact(&mut files, &|m| m["subject"] = image.clone())),
        (
            "an artifactType in the manifest",
            artifact(&mut files, &|m| {
                m["artifactType"] = json!("application/spdx+json");
                m["config"]["mediaType"] = json!(empty);
            }),
        ),
        ("an artifactType in the descriptor", {
            let mut entry = artifact(&mut files, &|_| {});
            entry["artifactType"] = json!("application/vnd.example.sbom");
            entry
        }),
        ("a signature with an image's config", artifact(&mut files, &|m| m["layers"][0]["mediaType"] = json!(cosign))),
        ("a signature by its tag", {
            let tag = format!("{}.sig", digest_of(&image).replace(':', "-"));
            annotated(artifact(&mut files, &|m| m["x"] = json!(1)), REF_NAME, &tag)
        }),
        (
            "an attestation",
            on(
                annotated(
                    artifact(&mut files, &|m| m["x"] = json!(2)),
                    "vnd.docker.reference.type",
                    "attestation-manifest",
                ),
                json!({"os": "unknown", "architecture": "unknown"}),
            ),
        ),
        ("a manifest of another kind", files.json("application/vnd.oci.artifact.manifest.v1+json", &json!({}))),
    ];
    for (number, (what, entry)) in beside.iter().enumerate() {
        for (order, entries) in [[entry.clone(), named.clone()], [named.clone(), entry.clone()]].iter().enumerate() {
            let source = layout(&bench, &format!("b{number}-{order}"), &files, entries);
            assert_eq!(taken(&bench, &source, &[]).config, config, "{what}");
        }
    }
    let all: Vec<Value> = beside.iter().map(|(_, entry)| entry.clone()).chain([image]).collect();
    let index = files.json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": all}));
    let source = layout(&bench, "nested", &files, &[index]);
    assert_eq!(taken(&bench, &source, &[]).config, config);
}

#[test]
fn an_ambiguous_selection_names_both_images() {
    let bench = Bench::new();
    let mut files = Files::default();
    let ((one, one_config), (two, two_config)) = (files.plain("amd64", "one"), files.plain("amd64", "two"));
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    let both = format!("{}, {}", digest_of(&one), digest_of(&two));
    for (number, entries) in [
        [one.clone(), two.clone()],
        [on(one.clone(), amd64.clone()), on(two.clone(), amd64.clone())],
        [on(one.clone(), amd64.clone()), two.clone()],
    ]
    .iter()
    .enumerate()
    {
        let source = layout(&bench, &format!("n{number}"), &files, entries);
        let (error, hint) = refused(&bench, &source, 5);
        let shown = format!("oci:/n{number}");
        assert_eq!(error, format!("{shown} holds several images for platform linux/amd64, name one: {both}"));
        assert_eq!(hint.unwrap(), format!("{shown}:{} is the first of them", digest_of(&one)));
        assert_eq!(taken(&bench, &format!("{source}:{}", digest_of(&two)), &[]).config, two_config);
    }
    let twice = [&one, &two].map(|entry| annotated(entry.clone(), REF_NAME, "t"));
    let source = layout(&bench, "twice", &files, &twice);
    let (error, hint) = refused(&bench, &format!("{source}:t"), 5);
    assert_eq!(error, format!("oci:/twice:t holds several images named t for platform linux/amd64, name one: {both}"));
    assert_eq!(hint.unwrap(), format!("oci:/twice:{} is the first of them", digest_of(&one)));
    let same = [annotated(one.clone(), REF_NAME, "t"), annotated(one.clone(), REF_NAME, "t"), one];
    assert_eq!(taken(&bench, &layout(&bench, "same", &files, &same), &[]).config, one_config);
}

#[test]
fn names_of_containerd_and_docker_are_listed_and_selected() {
    let bench = Bench::new();
    let mut files = Files::default();
    let ((one, one_config), (two, two_config)) = (files.plain("amd64", "one"), files.plain("amd64", "two"));
    let named = |entry: &Value, name: &str, tag: &str| {
        annotated(annotated(entry.clone(), CONTAINERD_NAME, name), REF_NAME, tag)
    };
    let (alpine, app) = ("docker.io/library/alpine:3.19", "ghcr.io/team/app:latest");
    let source = layout(&bench, "both", &files, &[named(&one, alpine, "3.19"), named(&two, app, "latest")]);
    for name in ["3.19", "alpine:3.19", alpine, &digest_of(&one), &format!("{alpine}@{}", digest_of(&one))] {
        assert_eq!(taken(&bench, &format!("{source}:{name}"), &[]).config, one_config, "{name}");
    }
    for name in ["latest", "ghcr.io/team/app", app] {
        assert_eq!(taken(&bench, &format!("{source}:{name}"), &[]).config, two_config, "{name}");
    }
    let listed = format!("{alpine}, {app}");
    let (error, hint) = refused(&bench, &source, 5);
    assert_eq!(error, format!("oci:/both holds several images, name one: {listed}"));
    assert_eq!(hint.unwrap(), format!("oci:/both:{alpine} is the first of them"));
    let (error, _) = refused(&bench, &format!("{source}:3.18"), 5);
    assert_eq!(error, format!("oci:/both:3.18 has no image named 3.18; it has: {listed}"));
    let full = layout(&bench, "full", &files, &[annotated(one, REF_NAME, alpine), annotated(two, REF_NAME, app)]);
    assert_eq!(taken(&bench, &format!("{full}:3.19"), &[]).config, one_config);
}

#[test]
fn layouts_written_by_editors_and_other_tools_are_read() {
    let bench = Bench::new();
    let mut files = Files::default();
    let (image, config) = files.plain("amd64", "image");
    files.index(std::slice::from_ref(&image));
    let index = String::from_utf8(files.0["index.json"].clone()).unwrap();
    let with_layout = |version: &str| {
        let mut files = files.clone();
        files.0.insert("oci-layout".into(), version.into());
        files
    };
    let with_index = |text: String| {
        let mut files = files.clone();
        files.0.insert("index.json".into(), text.into());
        files
    };
    let table = [
        ("no oci-layout", files.clone()),
        ("a version of the future", with_layout(r#"{"imageLayoutVersion":"2.0.0"}"#)),
        ("an oci-layout that is none", with_layout("")),
        ("a byte order mark", with_index(format!("\u{feff}{index}"))),
        ("line ends of Windows", with_index(format!("\r\n{}\r\n\r\n", index.replace(',', ",\r\n")))),
        (
            "fields of newer tools",
            with_index(index.replace("\"schemaVersion\":2", "\"schemaVersion\":2,\"x\":[{}],\"subject\":null")),
        ),
        (
            "an empty media type",
            with_index(index.replace("\"schemaVersion\":2", "\"schemaVersion\":2,\"mediaType\":\"\"")),
        ),
        (
            "fields in another case",
            with_index(index.replace("manifests", "Manifests").replace("mediaType", "MediaType")),
        ),
    ];
    for (number, (what, files)) in table.iter().enumerate() {
        files.write(&bench.shared(&format!("s{number}")));
        let source = format!("oci:{}", bench.shared(&format!("s{number}")).display());
        assert_eq!(taken(&bench, &source, &[]).config, config, "{what}");
    }
    with_index(index.replace("\"manifests\":", "\"Manifests\":[],\"manifests\":")).write(&bench.shared("two"));
    let (error, _) = refused(&bench, &format!("oci:{}", bench.shared("two").display()), 5);
    assert!(error.ends_with("the key manifests occurs twice"), "{error}");
}

#[test]
fn a_descriptor_may_embed_its_blob() {
    let bench = Bench::new();
    let mut files = Files::default();
    let (mut image, config) = files.plain("amd64", "image");
    let blob = |descriptor: &Value| format!("blobs/{}", digest_of(descriptor).replace(':', "/"));
    let bytes = files.0.remove(&blob(&image)).unwrap();
    image["data"] = json!(base64(&bytes));
    let source = layout(&bench, "data", &files, std::slice::from_ref(&image));
    assert_eq!(taken(&bench, &source, &[]).config, config);
    image["data"] = json!(base64(b"{}"));
    let (error, _) = refused(&bench, &layout(&bench, "wrong", &files, &[image]), 5);
    assert!(error.contains("has 2 bytes, its descriptor promises"), "{error}");
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { DIGITS[value as usize].into() } else { '=' });
        }
    }
    text
}

#[test]
fn schema_1_manifests_are_refused_with_a_hint() {
    let bench = Bench::new();
    let mut files = Files::default();
    let schema1 = json!({"schemaVersion": 1, "name": "a", "fsLayers": [], "history": []});
    let entry = files.json("application/vnd.docker.distribution.manifest.v1+prettyjws", &schema1);
    let (error, hint) = refused(&bench, &layout(&bench, "old", &files, &[entry]), 5);
    assert!(error.ends_with("it is a manifest's of schema 1, which docker gave up"), "{error}");
    assert!(hint.unwrap().contains("skopeo copy --format oci"));
    let config = files.json(CONFIG, &json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": null}}));
    let no_layers = files.json(MANIFEST, &json!({"schemaVersion": "2", "config": config, "layers": null}));
    taken(&bench, &layout(&bench, "none", &files, &[no_layers]), &[]);
}
