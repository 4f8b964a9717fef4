//! Indexes: platforms, nesting, and attachments of images.

use std::path::Path;

use serde_json::{Value, json};

use crate::registry::documents::{Documents, INDEX};
use crate::registry::row::{row, run};
use crate::registry::sample::sample;

/// A layout of additional documents beside the sample's blobs, so that its manifest can be referred to.
fn beside_the_sample(directory: &Path, make: impl FnOnce(&mut Documents, Value) -> Value) {
    let mut documents = Documents::new();
    let image = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": sample().manifest,
        "size": sample().files[&format!("blobs/{}", sample().manifest.replace(':', "/"))].len(),
        "platform": {"os": "linux", "architecture": "amd64"},
    });
    let index = make(&mut documents, image);
    sample().write(directory);
    documents.tag(index).write(directory);
}

fn index(documents: &mut Documents, manifests: &[Value]) -> Value {
    documents.json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))
}

fn nested(depth: usize) -> impl Fn(&Path) + Send + 'static {
    move |directory| {
        beside_the_sample(directory, |documents, image| (0..=depth).fold(image, |inner, _| index(documents, &[inner])));
    }
}

#[test]
fn a_missing_platform_is_refused_with_the_available_ones() {
    run([
        row("R37", "no matching platform")
            .documents(|mut documents| {
                let others = ["arm64", "s390x"].map(|name| documents.image(name, |_| {}, |_| {}));
                let index = index(&mut documents, &others);
                documents.tag(index)
            })
            .fails(5, ["linux/amd64", "linux/arm64", "linux/s390x"]),
        row("R37", "a platform whose name is an escape")
            .documents(|mut documents| {
                let mut other = documents.manifest(|_| {});
                other["platform"]["architecture"] = json!("\u{1b}[31m\u{202e}");
                let index = index(&mut documents, &[other]);
                documents.tag(index)
            })
            .fails(5, [r"\x1b[31m"]),
        row("R37", "an image for another platform, without an index")
            .documents(|mut documents| {
                let other = documents.image("arm64", |_| {}, |_| {});
                documents.tag(other)
            })
            .fails(5, ["is for platform linux/arm64, not linux/amd64"]),
        row("R37", "several platforms, one of them asked for").builds().image(|directory| {
            beside_the_sample(directory, |documents, image| {
                let other = documents.image("arm64", |_| {}, |_| {});
                index(documents, &[other, image])
            });
        }),
    ]);
}

#[test]
fn indexes_nest_up_to_the_limit() {
    run([
        row("R38", "an index in an index in an index").builds().image(nested(2)),
        row("R38", "one more").image(nested(3)).fails(7, ["levels of nested indexes, --max-index-depth allows 2"]),
        row("R38", "50 deep")
            .image(nested(50))
            .fails(7, ["levels of nested indexes, --max-index-depth allows 2"])
            .check(|seen| assert!(seen.log.len() < 10, "{} requests", seen.log.len())),
    ]);
}

#[test]
fn attestations_are_not_selected() {
    run([row("R39", "attestation manifests beside the image").builds().image(|directory| {
        beside_the_sample(directory, |documents, image| {
            let mut attestation = documents.manifest(|manifest| manifest["layers"] = json!([]));
            attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
            attestation["annotations"] = json!({
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            });
            index(documents, &[attestation.clone(), image, attestation])
        });
    })]);
}
