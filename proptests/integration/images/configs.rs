//! Configs and media types.

use serde_json::{Value, json};

use crate::images::files::{Files, MANIFEST, annotated, digest_of};
use crate::images::{one, refused, taken};
use crate::support::{Bench, failed, read_clean, succeeded};

type Change = fn(&mut Value);

#[test]
fn unneeded_config_fields_are_ignored() {
    let table: &[(&str, Change)] = &[
        ("a command that is a string", |c| c["config"] = json!({"Cmd": "/bin/sh", "Entrypoint": "sh -c", "User": 0})),
        ("null everywhere", |c| c["config"] = json!({"Cmd": null, "Volumes": null, "Labels": null, "Env": null})),
        ("no config", |c| c["config"] = Value::Null),
        ("lists for maps", |c| c["config"] = json!({"ExposedPorts": ["80/tcp"], "Volumes": ["/v"], "Labels": []})),
        ("maps for lists", |c| c["config"] = json!({"Env": {"A": "b"}, "Cmd": {}, "OnBuild": "x"})),
        ("numbers as strings", |c| c["config"] = json!({"Healthcheck": {"Interval": "30s"}, "StopTimeout": "10"})),
        ("a history that is none", |c| c["history"] = json!("none")),
        ("odd entries of a history", |c| {
            c["history"] = json!([null, 5, {"created": "yesterday", "empty_layer": "true"}, {"created_by": ["a"]}]);
        }),
        ("a history that does not fit the layers", |c| c["history"] = json!([{"empty_layer": true}])),
        ("fields of other tools", |c| c["moby.buildkit.cache.v0"] = json!([{"x": 1.5e300}])),
        ("an empty variant", |c| c["variant"] = json!("")),
        ("the first version of variants", |c| c["variant"] = json!("1")),
        ("a type that is absent", |c| {
            c["rootfs"].as_object_mut().unwrap().remove("type");
        }),
        ("no system", |c| c["os"] = json!("")),
        ("upper case", |c| (c["os"], c["architecture"]) = (json!("Linux"), json!("AMD64"))),
        ("the kernel's name", |c| c["architecture"] = json!("x86_64")),
    ];
    let bench = Bench::new();
    for (number, (what, change)) in table.iter().enumerate() {
        let mut config = None;
        let source = one(&bench, &format!("c{number}"), |files| {
            let (manifest, described) = files.image(("amd64", "content"), change, |_| {});
            config = Some(digest_of(&described));
            files.index(&[manifest]);
        });
        let taken = taken(&bench, &source, &[]);
        assert_eq!((Some(taken.config), taken.notes), (config, Vec::new()), "{what}");
    }
}

#[test]
fn unusual_config_fields_are_noted() {
    let created = "the config's created is no time of RFC 3339, taken as absent: ";
    let table: &[(Change, String)] = &[
        (|c| c["created"] = json!("yesterday"), format!("{created}yesterday")),
        (|c| c["created"] = json!("2023-05-09T01:02:03+0200"), format!("{created}2023-05-09T01:02:03+0200")),
        (|c| c["created"] = json!(1_683_594_123), format!("{created}1683594123")),
        (
            |c| c["architecture"] = Value::Null,
            "the config has no architecture, the requested platform is assumed: linux/amd64".into(),
        ),
    ];
    let bench = Bench::new();
    for (number, (change, note)) in table.iter().enumerate() {
        let source = one(&bench, &format!("c{number}"), |files| {
            let (manifest, _) = files.image(("amd64", "content"), change, |_| {});
            files.index(&[manifest]);
        });
        assert_eq!(taken(&bench, &source, &[]).notes, [note.as_str()]);
    }
}

#[test]
fn an_image_with_an_unusual_config_is_built() {
    let bench = Bench::new();
    let source = one(&bench, "odd", |files| {
        let odd = |config: &mut Value| {
            config["created"] = json!("2023-05-09T01:02:03+99:00");
            config["config"] = json!("none");
        };
        let (manifest, _) = files.image(("amd64", "content"), odd, |m| m["config"]["mediaType"] = json!("text/html"));
        files.index(&[manifest]);
    });
    succeeded(&bench.build(&source, "out.ext4", &["--free", "0"]));
    assert!(read_clean(&bench.at("out.ext4")).get(b"/hello").is_some());
}

#[test]
fn every_known_spelling_of_media_types_is_accepted() {
    let bench = Bench::new();
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let config_types = [
        "application/vnd.docker.container.image.v1+json",
        "application/octet-stream",
        "application/json",
        "text/html",
        "text/plain; charset=utf-8",
        "",
    ];
    let layer_types = [
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar+gzip",
        "application/vnd.OCI.image.layer.v1.TAR; charset=utf-8",
        "application/octet-stream",
        "",
    ];
    for (number, (config, layer)) in config_types.iter().zip(layer_types).enumerate() {
        let source = one(&bench, &format!("m{number}"), |files| {
            let typed = |manifest: &mut Value| {
                manifest["mediaType"] = json!(["", "application/vnd.OCI.image.manifest.V1+json"][number % 2]);
                manifest["config"]["mediaType"] = json!(config);
                manifest["layers"][0]["mediaType"] = json!(layer);
            };
            let (mut manifest, _) = files.image(("amd64", "content"), |_| {}, typed);
            manifest["mediaType"] = json!(if number % 3 == 0 { "" } else { MANIFEST });
            files.index(&[manifest]);
        });
        taken(&bench, &source, &[]);
    }
    let source = one(&bench, "docker", |files| {
        let (mut manifest, _) = files.image(("amd64", "content"), |_| {}, |m| m["mediaType"] = json!(docker));
        manifest["mediaType"] = json!(docker);
        files.index(&[manifest]);
    });
    taken(&bench, &source, &[]);
}

#[test]
fn other_artifacts_are_refused_by_kind() {
    let table: &[(Change, &str)] = &[
        (
            |m| m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"),
            "has media type application/vnd.cncf.helm.config.v1+json, which is not a container image's: it is a Helm chart's",
        ),
        (
            |m| m["config"]["mediaType"] = json!("application/vnd.wasm.config.v0+json"),
            "has media type application/vnd.wasm.config.v0+json, which is not a container image's: it is a WebAssembly module's",
        ),
        (
            |m| {
                m["config"]["mediaType"] = json!("");
                m["artifactType"] = json!("application/spdx+json");
            },
            "has media type application/spdx+json, which is not a container image's: it is a bill of materials'",
        ),
        (
            |m| m["layers"][0]["mediaType"] = json!("application/vnd.dev.cosign.simplesigning.v1+json"),
            "has media type application/vnd.dev.cosign.simplesigning.v1+json, which is not a container image's: it is a signature's",
        ),
        (
            |m| m["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
            "has media type application/vnd.oci.image.layer.v1.tar+gzip+encrypted, which is not a container image's: it is an encrypted layer's",
        ),
    ];
    let bench = Bench::new();
    for (number, (change, expected)) in table.iter().enumerate() {
        let source = one(&bench, &format!("a{number}"), |files| {
            let (manifest, _) = files.image(("amd64", "content"), |_| {}, change);
            files.index(&[annotated(manifest, "x", "y")]);
        });
        let (error, _) = refused(&bench, &source, 5);
        assert!(error.ends_with(expected), "{error}");
    }
    let empty = one(&bench, "empty", |files| {
        let (manifest, _) = files.image(
            ("amd64", "content"),
            |c| *c = json!({}),
            |m| {
                m["config"]["mediaType"] = json!("application/octet-stream");
            },
        );
        files.index(&[manifest]);
    });
    let (error, _) = refused(&bench, &empty, 5);
    assert!(error.ends_with("is not a container image's config: it has no rootfs"), "{error}");
}

#[test]
fn an_image_for_windows_is_refused_by_name() {
    let bench = Bench::new();
    let mut files = Files::default();
    let windows = |config: &mut Value| {
        config["os"] = json!("windows");
        config["os.version"] = json!("10.0.20348.2582");
    };
    let (manifest, _) = files.image(("amd64", "content"), windows, |_| {});
    files.index(&[manifest]);
    files.write(&bench.shared("windows"));
    let source = format!("oci:{}", bench.shared("windows").display());
    let expected = "is for Windows (windows/amd64), whose layers hold no root filesystem of Linux";
    for platform in ["linux/amd64", "windows/amd64"] {
        let error = failed(&crate::images::plan(&bench, &source, &["--platform", platform]), 5);
        assert!(error.ends_with(expected), "{error}");
    }
}
