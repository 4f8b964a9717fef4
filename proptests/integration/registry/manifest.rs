//! Manifests and configs that are unsupported or contradictory.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::registry::documents::{CONFIG, Documents, INDEX, LAYER, MANIFEST, digest, layer};
use crate::registry::row::{Row, row, run};
use crate::support::registry::{Fault, Kind, NONE, On};

const NO_IMAGE: &str = "which is not a container image's";

/// A row with a manifest that is valid except for a change.
fn changed(id: &'static str, what: &'static str, change: impl Fn(&mut Value) + Send + 'static) -> Row {
    row(id, what).documents(move |mut documents| {
        let manifest = documents.manifest(&change);
        documents.tag(manifest)
    })
}

/// A row with a config that is valid except for a change.
fn configured(id: &'static str, what: &'static str, change: impl Fn(&mut Value) + Send + 'static) -> Row {
    row(id, what).documents(move |mut documents| {
        let manifest = documents.image("amd64", &change, |_| {});
        documents.tag(manifest)
    })
}

/// A row with these bytes as the manifest.
fn bytes(id: &'static str, what: &'static str, bytes: Vec<u8>) -> Row {
    row(id, what).documents(move |mut documents| {
        let manifest = documents.blob(MANIFEST, &bytes);
        documents.tag(manifest)
    })
}

#[test]
fn the_media_type_field_wins_over_a_wrong_content_type() {
    let says = |content_type| Fault { content_type: Some(content_type), ..NONE };
    run([
        row("R28", "text/html").rule(On::kind(Kind::Manifest), says(Some("text/html"))),
        row("R28", "none").rule(On::kind(Kind::Manifest), says(None)),
        row("R28", "with a parameter")
            .rule(On::kind(Kind::Manifest), says(Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"))),
        row("R28", "that of an index").rule(On::kind(Kind::Manifest), says(Some(INDEX))),
        row("R28", "application/json for blobs").rule(On::kind(Kind::Blob), says(Some("application/json"))),
    ]);
}

#[test]
fn documents_are_limited_while_they_are_read() {
    let padded = Fault { pad_json: 100 << 20, ..NONE };
    let limit = "--max-manifest-bytes allows 4194304";
    let little_read = |row: Row| row.check(|seen| assert!(seen.log.sent() < 20 << 20, "{} bytes", seen.log.sent()));
    run([
        little_read(
            row("R32", "a manifest of 100 MiB").rule(On::kind(Kind::Manifest), padded.clone()).fails(7, [limit]),
        ),
        little_read(
            row("R32", "a manifest of 100 MiB in chunks")
                .rule(On::kind(Kind::Manifest), Fault { chunked: true, ..padded })
                .fails(7, [limit]),
        ),
        configured("R32", "a config of 5 MiB", |config| config["padding"] = json!("x".repeat(5 << 20)))
            .fails(7, [limit]),
        changed("R46", "5,000 layers", |manifest| {
            let layer = manifest["layers"][0].clone();
            manifest["layers"] = Value::Array(vec![layer; 5000]);
        })
        .fails(7, ["has 5000 layers, --max-layers allows 1000"]),
    ]);
}

#[test]
fn other_documents_are_refused_by_name() {
    let schema1 = json!({"schemaVersion": 1, "name": "img", "tag": "latest", "fsLayers": [], "history": []});
    let type1 = "application/vnd.docker.distribution.manifest.v1+json";
    run([
        row("R40", "schema 1")
            .documents(move |mut documents| {
                let manifest = documents.json(type1, &schema1);
                documents.tag(manifest)
            })
            .fails(5, [type1]),
        changed("R40", "an artifact", |manifest| {
            manifest["artifactType"] = json!("application/vnd.example+type");
            manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
        })
        .fails(5, ["application/vnd.oci.empty.v1+json", NO_IMAGE]),
        changed("R40", "an encrypted layer", |manifest| {
            manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        })
        .fails(5, ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted", NO_IMAGE]),
        changed("R40", "a config of another kind", |manifest| {
            manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        })
        .fails(5, ["application/vnd.cncf.helm.config.v1+json", NO_IMAGE]),
    ]);
}

#[test]
fn ambiguous_documents_are_refused() {
    run([
        changed("R41", "layers and manifests", |manifest| manifest["manifests"] = json!([]))
            .fails(5, ["has both layers and manifests"]),
        changed("R41", "a manifest that calls itself an index", |manifest| manifest["mediaType"] = json!(INDEX))
            .fails(5, ["is not valid JSON of its kind: it has no manifests"]),
        row("R41", "an index whose entry calls a manifest an index")
            .documents(|mut documents| {
                let mut manifest = documents.manifest(|_| {});
                manifest["mediaType"] = json!(INDEX);
                let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
                let index = documents.json(INDEX, &index);
                documents.tag(index)
            })
            .fails(5, [&*format!("says it is {MANIFEST}, its descriptor says {INDEX}")]),
    ]);
}

#[test]
fn a_foreign_layer_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/layer", elsewhere.local_addr().unwrap());
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    run([changed("R42", "a foreign layer", move |manifest| {
        let layer = &mut manifest["layers"][0];
        *layer = json!({"mediaType": foreign, "digest": digest(b"foreign"), "size": 7, "urls": [url.clone()]});
    })
    .fails(5, ["layer 1 of 1", "is a foreign layer"])]);
    assert!(elsewhere.accept().is_err(), "someone connected");
}

#[test]
fn configs_that_contradict_the_layers_are_refused() {
    let actual = digest(&layer().tar());
    let promised = digest(b"another");
    let other = promised.clone();
    run([
        configured("R43", "a diff ID too few", |config| config["rootfs"]["diff_ids"] = json!([]))
            .fails(5, ["has 1 layers, its config has 0 diff IDs"]),
        configured("R43", "a diff ID too many", |config| {
            let id = config["rootfs"]["diff_ids"][0].clone();
            config["rootfs"]["diff_ids"] = json!([id, id]);
        })
        .fails(5, ["has 1 layers, its config has 2 diff IDs"]),
        configured("R43", "another diff ID", move |config| config["rootfs"]["diff_ids"] = json!([other]))
            .fails(5, ["layer 1 of 1", &actual, &promised]),
        configured("R43", "no rootfs", |config| config["rootfs"] = Value::Null).fails(5, ["config sha256:"]),
        configured("R43", "a rootfs of another type", |config| config["rootfs"]["type"] = json!("windows"))
            .fails(5, ["has a root filesystem of type windows"]),
        row("R43", "a config that is no JSON")
            .documents(|mut documents| {
                let config = documents.blob(CONFIG, b"\x1b[31mnot JSON");
                let manifest = documents.manifest(|manifest| manifest["config"] = config);
                documents.tag(manifest)
            })
            .fails(5, ["config sha256:", "is not valid JSON"]),
        bytes("R43", "a manifest that is no JSON", b"\x1b[31mnot JSON".to_vec()).fails(5, ["is not valid JSON"]),
    ]);
}

#[test]
fn malformed_digests_are_refused() {
    let hex = "0123456789abcdef".repeat(4);
    let spelled = |what, digest: String| {
        let shown = digest.split('\n').next().unwrap()[..12].to_owned();
        let config = digest.clone();
        let layer = changed("R44", what, move |manifest| manifest["layers"][0]["digest"] = json!(digest));
        let config = changed("R44", what, move |manifest| manifest["config"]["digest"] = json!(config));
        [layer, config].map(|row| row.fails(5, ["has an invalid digest", &*shown]))
    };
    run([
        spelled("a path", "sha256:../../../canary/secret".into()),
        spelled("a path of the right length", format!("sha256:{}", &"../".repeat(22)[..64])),
        spelled("upper case", format!("sha256:{}", hex.to_uppercase())),
        spelled("sha512 of the length of sha256", format!("sha512:{hex}")),
        spelled("a digit too few", format!("sha256:{}", &hex[1..])),
        spelled("a line more", format!("sha256:{hex}\n")),
        spelled("no algorithm at all", hex.clone()),
    ]
    .into_iter()
    .flatten());
    // The algorithm is registered in the specification, so the only fault is that the blob is missing.
    let digest = format!("sha512:{hex}{hex}");
    let missing = format!("blob {digest} does not exist there");
    run([
        changed("R44", "sha512", move |manifest| manifest["layers"][0]["digest"] = json!(digest)).fails(3, [&*missing])
    ]);
}

#[test]
fn wrong_blob_sizes_are_refused() {
    let size = layer().blob().len();
    let sized = |what, size: Value, says: &'static str| {
        changed("R45", what, move |manifest| manifest["layers"][0]["size"] = size.clone()).fails(5, [says])
    };
    run([
        sized("a byte too small", json!(size - 1), "sha256:"),
        sized("a byte too large", json!(size + 1), "sha256:"),
        sized("nothing", json!(0), "sha256:"),
        sized("negative", json!(-1), "manifest sha256:"),
        sized("2^63", json!(1_u64 << 63), "sha256:"),
        sized("beyond 64 bits", json!(1e30), "manifest sha256:"),
        sized("a word", json!("many"), "manifest sha256:"),
        changed("R45", "a config a byte too small", |manifest| {
            let size = manifest["config"]["size"].as_u64().unwrap();
            manifest["config"]["size"] = json!(size - 1);
        })
        .fails(5, ["sha256:"]),
    ]);
}

#[test]
fn deep_and_ambiguous_json_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let object = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let mut documents = Documents::new();
    let manifest = documents.manifest(|_| {});
    let twice = format!("{{\"config\":{{}},\"config\":{manifest},\"layers\":[],\"schemaVersion\":2}}");
    let layer_twice = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\"{CONFIG}\",\"size\":2,\
         \"digest\":\"{0}\"}},\"layers\":[{{\"mediaType\":\"{LAYER}\",\"size\":2,\"size\":3,\"digest\":\"{0}\"}}]}}",
        digest(b"{}")
    );
    run([
        bytes("R46", "lists 100,000 deep", deep.into_bytes()).fails(5, ["is not valid JSON"]),
        bytes("R46", "objects 100,000 deep", object.into_bytes()).fails(5, ["is not valid JSON"]),
        bytes("R46", "a key that stands twice", twice.into_bytes()).fails(5, ["is not valid JSON"]),
        bytes("R46", "a key that stands twice in a descriptor", layer_twice.into_bytes())
            .fails(5, ["is not valid JSON"]),
        bytes("R46", "nothing", Vec::new()).fails(5, ["manifest sha256:"]),
    ]);
}
