//! Digests of blobs and manifests, tags that move, and the registry's digest header.

use crate::registry::row::{row, run};
use crate::registry::sample::{LAYER, moved, sample};
use crate::support::registry::{Fault, Kind, NONE, On, Plan};
use crate::support::stderr;

fn layer() -> &'static str {
    &sample().layer().digest
}

fn image_by_digest() -> String {
    format!("@{}", sample().manifest)
}

#[test]
fn wrong_bytes_are_refused_after_one_retry() {
    let flip = |at| Fault { flip_byte: Some(at), ..NONE };
    let says = [&*format!("blob {} ", layer()), "has digest sha256:"];
    run([
        row("R08", "one bit wrong").rule(On::layer(LAYER), flip(1234)).fails(3, says).gets(layer(), 2..=2),
        row("R08", "one bit wrong, once").builds().rule(On::layer(LAYER).first(), flip(0)).gets(layer(), 2..=2),
        row("R08", "the last bit wrong").rule(On::layer(LAYER), flip(sample().layer().size - 1)).fails(3, says),
        row("R08", "all zero").rule(On::layer(LAYER), Fault { zeros: true, ..NONE }).fails(3, says),
        row("R08", "another blob of the image, once")
            .rule(On::layer(LAYER).first(), Fault { serve_digest: Some(sample().config.clone()), ..NONE }),
        row("R33", "one bit of the config wrong")
            .rule(On::kind(Kind::Config), flip(10))
            .fails(3, [&*sample().config, "has digest sha256:"])
            .gets(&sample().config, 2..=2),
        row("R33", "one bit of the config wrong, once").rule(On::kind(Kind::Config).first(), flip(10)),
    ]);
}

#[test]
fn a_manifest_requested_by_digest_must_match_it() {
    let other = || Fault { serve_digest: Some(sample().config.clone()), ..NONE };
    run([
        row("R30", "another document")
            .reference(image_by_digest())
            .rule(On::kind(Kind::Manifest), other())
            .fails(3, [&*format!("manifest {} ", sample().manifest), &*sample().config]),
        row("R30", "one bit wrong")
            .reference(image_by_digest())
            .rule(On::kind(Kind::Manifest), Fault { flip_byte: Some(5), ..NONE })
            .fails(3, [&*sample().manifest, "has digest sha256:"]),
        row("R30", "spaces behind it")
            .reference(image_by_digest())
            .rule(On::kind(Kind::Manifest), Fault { pad_json: 1, ..NONE })
            .fails(3, [&*sample().manifest]),
        row("R30", "the right one").reference(image_by_digest()).builds().gets(&sample().manifest, 1..=1),
    ]);
}

#[test]
fn the_digest_header_of_a_tag_is_not_trusted() {
    let lie = |digest: Option<&str>| Fault { digest_header: Some(digest.map(str::to_owned)), ..NONE };
    let wrong = format!("sha256:{}", "0".repeat(64));
    run([
        row("R29", "a wrong Docker-Content-Digest for a tag").rule(On::kind(Kind::Manifest), lie(Some(&wrong))).check(
            |seen| {
                let printed = String::from_utf8(seen.output.stdout.clone()).unwrap();
                assert_eq!(printed.trim_end(), sample().manifest);
                let note = format!("the registry's header says sha256:{}", "0".repeat(64));
                assert!(stderr(seen.output).contains(&note), "no note: {}", stderr(seen.output));
            },
        ),
        row("R29", "no Docker-Content-Digest for a tag").rule(On::kind(Kind::Manifest), lie(None)),
        row("R29", "a wrong Docker-Content-Digest for a digest")
            .reference(image_by_digest())
            .rule(On::kind(Kind::Manifest), lie(Some(&wrong)))
            .fails(3, [&*sample().manifest]),
        row("R29", "junk in Docker-Content-Digest").rule(On::kind(Kind::Manifest), lie(Some("../../etc/passwd"))),
    ]);
}

#[test]
fn a_tag_is_looked_up_once() {
    let plan = || Plan::new().tag("latest", vec![sample().manifest.clone(), moved().manifest.clone()]);
    run([row("R31", "a tag that moves between requests").plan(plan()).builds().check(|seen| {
        let lookups = seen.log.only(|record| record.reference.as_deref() == Some("latest"));
        assert_eq!(lookups.len(), 1);
    })]);
}
