//! Pushes and shared caches: to whom a login goes, where blobs come from, and what a report says afterwards.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::fleet::wire::Wire;
use super::shared::{direct, report, repository, warnings};
use super::trust::answer;
use super::written::{CHUNK, Written, digest, pack};
use crate::support::registry::{ANY, Auth, Fault, Kind, NONE, On, Plan, Registry};
use crate::support::{Bench, failed, stderr, succeeded};

const LOGIN: &str = "user:hunter2";

fn planish(bench: &Bench, words: &str) -> Command {
    let mut command = bench.planish();
    command.env("HOME", bench.home()).args(words.split(' ')).args(["--retry", "1", "--platform", "linux/amd64"]);
    command
}

fn run(bench: &Bench, words: &str) -> Output {
    planish(bench, words).output().unwrap()
}

/// A registry that wants a login.
fn closed(bench: &Bench, name: &str) -> Registry {
    direct().entry().serve(&bench.shared(name), Plan::new().auth(Auth::basic()))
}

#[test]
fn a_login_goes_to_one_registry() {
    let bench = Bench::new();
    let layout = bench.fixture("layered");
    let source = format!("oci:{}", layout.display());
    let (one, other) = (closed(&bench, "one"), closed(&bench, "other"));
    let image = || Registry::start(&[("app", &layout)], Plan::new().auth(Auth::basic()));
    let images = [image(), image()];
    let secrets = |registry: &Registry| registry.log().with_secrets().len();
    let build = |source: &str, more: &str| {
        run(&bench, &format!("build {source} -o out.ext4 --force --free 1M --no-cache --creds {LOGIN} {more}"))
    };
    // The image is in no registry: both repositories are in one.
    let from = format!("--cache-from {}", repository(&one));
    let output = build(&source, &format!("{from} --cache-to {}/new", one.host()));
    succeeded(&output);
    assert!(secrets(&one) > 0);
    // In two: for which one it is, nobody knows.
    let before = secrets(&one);
    let line = failed(&build(&source, &format!("{from} --cache-to {}", repository(&other))), 2);
    assert!(line.starts_with("--creds is for one registry"), "{line}");
    // The image's registry alone.
    let output = build(&format!("docker://{}/app:latest", images[0].host()), &from);
    succeeded(&output);
    assert!(matches!(&*warnings(&output), [one] if one.contains("requires credentials")), "{}", stderr(&output));
    assert_eq!((secrets(&one), secrets(&other)), (before, 0));
    assert!(secrets(&images[0]) > 0);
    // The first image of a list that is in a registry, whichever part is built.
    let list =
        format!("{source}\ndocker://{}/app:latest\ndocker://{}/app:second\n", images[0].host(), images[1].host());
    std::fs::write(bench.at("list"), list).unwrap();
    for shard in ["", "--shard 2/3"] {
        let words = format!("build --from-list list --output-dir out --force --free 1M --no-cache --creds {LOGIN}");
        let output = run(&bench, format!("{words} {shard}").trim_end());
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert_eq!(secrets(&images[1]), 0, "{shard}");
    }
}

#[test]
fn blobs_come_from_a_repository_of_the_same_registry() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "out.ext4", &["--free", "1M"]));
    let on = |method| On { method: Some(method), ..ANY };
    let plan = Plan::new()
        .rule(on("POST"), answer(202, "Location", "/v2/fs/blobs/uploads/1"))
        .rule(on("PUT"), answer(201, "X-Other", "x"));
    let registry = Written::of(b"", &[]).serve(&bench.shared("fs"), plan);
    let push = |from: &str| run(&bench, &format!("push out.ext4 {}/fs:x --mount-from {from}", registry.host()));
    let own = format!("{}/team/base", registry.host());
    for from in ["team/base", &own] {
        let before = registry.log().len();
        succeeded(&push(from));
        let log = registry.log();
        let mounts = log.0[before..].iter().filter_map(|record| record.query.as_deref());
        let from: Vec<&str> = mounts.filter_map(|query| query.split("from=").nth(1)).collect();
        assert!(!from.is_empty() && from.iter().all(|from| *from == "team%2Fbase"), "{from:?}");
    }
    let before = registry.log().len();
    for wrong in ["Team/Base", "registry.example/team/base", "127.0.0.1:1/fs", "team/base:1", "a//b", "../x", "x?y=z"] {
        let line = failed(&push(wrong), 2);
        assert_eq!(line, format!("{wrong} is no repository of {}, to which the filesystem is pushed", registry.host()));
    }
    assert_eq!(registry.log().len(), before);
}

#[test]
fn the_report_comes_back_as_it_was_pushed() {
    let bench = Bench::new();
    let origin = json!({
        "repository": "other.example/fs",
        "manifest_digest": digest(b"x"),
        "verification": "full",
        "signed_by": null,
    });
    let mut pushed = direct().report.clone();
    pushed["fetched"] = origin;
    pushed["reused"] = true.into();
    let bytes = &direct().bytes;
    let tree = vec![7; 8192];
    let whole = [bytes.clone(), tree.clone()].concat();
    let mut with_tree = direct().report.clone();
    with_tree["verity"] =
        json!({"hash_offset": bytes.len(), "hash_bytes": tree.len(), "digest": digest(&whole), "root_hash": "00"});
    let mut named = direct().report.clone();
    named["filesystem"]["path"] = "/home/\u{fc}/a.ext4".into();
    let texts = [pushed.to_string(), format!("{:#}\n", direct().report), with_tree.to_string(), named.to_string()];
    for (number, text) in texts.iter().enumerate() {
        let file = if number == 2 { &whole } else { bytes };
        let entry = Written::entry(direct().key(), file, text.as_bytes());
        let registry = entry.serve(&bench.shared(&format!("fs{number}")), Plan::new());
        let reference = format!("{}:{}", repository(&registry), entry.tag);
        succeeded(&run(&bench, &format!("pull {reference} -o out.ext4 --report report.json --force")));
        assert!(std::fs::read(bench.at("out.ext4")).unwrap() == *file, "{number}");
        let back = std::fs::read_to_string(bench.at("report.json")).unwrap();
        if number == 3 {
            let back: Value = serde_json::from_str(&back).unwrap();
            assert_eq!(back["filesystem"]["path"], "/home/\\xc3\\xbc/a.ext4");
        } else {
            assert_eq!(back, *text, "{number}");
        }
        // A build takes filesystems alone.
        let build = format!("build oci:{} -o built.ext4 --force --free 1M --json", bench.fixture("layered").display());
        let output = run(&bench, &format!("{build} --no-cache --cache-from {}", repository(&registry)));
        assert_eq!(report(&output)["reused"], number != 2, "{number}: {}", stderr(&output));
    }
    // A tree elsewhere, or of another file.
    for (name, value) in [("hash_offset", json!(4096)), ("hash_bytes", json!(1)), ("digest", digest(b"").into())] {
        let mut wrong = with_tree.clone();
        wrong["verity"][name] = value;
        let entry = Written::entry(direct().key(), &whole, wrong.to_string().as_bytes());
        let registry = entry.serve(&bench.shared(name), Plan::new());
        let reference = format!("{}:{}", repository(&registry), entry.tag);
        let line = failed(&run(&bench, &format!("pull {reference} -o no.ext4 --report no.json")), 5);
        assert!(line.ends_with("its report is that of another filesystem"), "{name}: {line}");
    }
}

#[test]
#[ignore = "needs docker-registry"]
fn a_filesystem_with_its_tree_goes_with_its_report() {
    let bench = Bench::new();
    let wire = Wire::new(&bench);
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "out.ext4", &["--free", "1M", "--verity", "append", "--report", "out.json"]));
    succeeded(&run(&bench, &format!("push out.ext4 {}/fs:x --report out.json", wire.images())));
    succeeded(&run(&bench, &format!("pull {}/fs:x -o back.ext4 --report back.json", wire.images())));
    let read = |name: &str| std::fs::read(bench.at(name)).unwrap();
    assert!(read("out.ext4") == read("back.ext4") && read("out.json") == read("back.json"));
    let report: Value = serde_json::from_slice(&read("back.json")).unwrap();
    let root = report["verity"]["root_hash"].as_str().unwrap();
    succeeded(&run(&bench, &format!("verify {source} back.ext4 --root-hash {root}")));
    // The filesystem without its tree is another file.
    let file = std::fs::File::options().write(true).open(bench.at("out.ext4")).unwrap();
    file.set_len(report["verity"]["hash_offset"].as_u64().unwrap()).unwrap();
    succeeded(&run(&bench, &format!("push out.ext4 {}/fs:y --report out.json", wire.images())));
    file.set_len(report["verity"]["hash_offset"].as_u64().unwrap() + 4096).unwrap();
    failed(&run(&bench, &format!("push out.ext4 {}/fs:z --report out.json", wire.images())), 2);
}

#[test]
fn a_repository_that_fails_is_named_once_for_a_list() {
    let bench = Bench::new();
    let layout = bench.fixture("layered");
    let registry =
        Written::of(b"", &[]).serve(&bench.shared("fs"), Plan::new().rule(ANY, Fault { status: Some(403), ..NONE }));
    let to = repository(&registry);
    let names = ["a", "b", "c"].map(|name| {
        let link = bench.shared(name);
        std::os::unix::fs::symlink(&layout, &link).unwrap();
        format!("oci:{}", link.display())
    });
    let build = format!("build {} --output-dir out --free 1M --force --no-cache --cache-to {to}", names.join(" "));
    let output = run(&bench, &build);
    succeeded(&output);
    assert!(matches!(&*warnings(&output), [one] if one.contains("denies access")), "{}", stderr(&output));
    // Where it is required, each image fails, and is tried.
    let output = run(&bench, &format!("{build} --cache-to-required"));
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(stderr(&output).matches("denies access").count(), 3, "{}", stderr(&output));
}

#[test]
fn a_chunk_without_end_is_cut_off_at_its_size() {
    let bench = Bench::new();
    let whole = vec![9; CHUNK];
    let long = Fault { extra_bytes: 40 << 20, ..NONE };
    let written = Written::of(&whole, &[(0, pack(&whole))]);
    let registry = written.serve(&bench.shared("fs"), Plan::new().rule(On::kind(Kind::Layer), long));
    let line = failed(&run(&bench, &format!("pull {}:latest -o out.ext4", repository(&registry))), 3);
    assert!(line.contains("bytes by its descriptor") && !line.contains("--max"), "{line}");
    assert!(registry.log().kind(Kind::Layer).sent() < 30 << 20);
}
