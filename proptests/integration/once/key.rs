//! The build key: documented, cheap, equal for equal bytes, different for different ones.

use std::collections::BTreeMap;
use std::process::Command;

use planish::{Algorithm, Digest};
use planish_proptests::writer::{Compression, DockerArchive, Flavour, Layout};
use serde_json::Value;

use super::{key, line};
use crate::registry::day::Day;
use crate::support::registry::{Kind, Plan};
use crate::support::{Bench, failed, generated, mounts, succeeded, tool};

fn text_of(key: &Value) -> String {
    let lines = key["lines"].as_array().unwrap().iter();
    lines.map(|line| format!("{}\n", line.as_str().unwrap())).collect()
}

#[test]
fn the_key_is_the_digest_of_its_sorted_lines_in_every_command() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let found = key(&bench, &source, &[]);
    let text = text_of(&found);
    assert_eq!(found["key"], Digest::of(Algorithm::Sha256, text.as_bytes()).to_string());
    let mut sorted: Vec<&str> = text.lines().collect();
    sorted.sort_unstable();
    assert_eq!(text.lines().collect::<Vec<_>>(), sorted);
    // The fixture's config and its `created`.
    assert_eq!(line(&found, "config"), found["config_digest"].as_str());
    assert_eq!(line(&found, "clock"), Some("1700000000"));
    let run = |arguments: &[&str]| {
        let output = bench.planish().args(arguments).args(["--platform", "linux/amd64"]).output().unwrap();
        succeeded(&output);
        output.stdout
    };
    let json = |arguments: &[&str]| serde_json::from_slice::<Value>(&run(arguments)).unwrap()["key"].clone();
    assert_eq!(run(&["key", &source]), format!("{}\n", found["key"].as_str().unwrap()).as_bytes());
    assert_eq!(json(&["plan", &source, "--json"]), found["key"]);
    assert_eq!(json(&["build", &source, "-o", "out.ext4", "--json", "--report", "report.json"]), found["key"]);
    let report: Value = serde_json::from_slice(&std::fs::read(bench.at("report.json")).unwrap()).unwrap();
    assert_eq!(report["key"], found["key"]);
    assert_eq!(bench.left(), ["out.ext4", "report.json"]);
}

#[test]
fn the_key_has_the_versions_of_the_writing_programs() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let version = |name: &str| {
        let output = Command::new(tool(name)).arg("-V").output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    };
    for engine in ["auto", "e2fsprogs"] {
        let found = key(&bench, &source, &["--engine", engine]);
        for name in ["mkfs.ext4", "debugfs"] {
            assert_eq!(line(&found, name), Some(&*version(name)), "{engine}");
        }
        assert_eq!((line(&found, "engine"), line(&found, "e2fsck")), (Some(engine), None));
    }
    let direct = key(&bench, &source, &["--engine", "direct"]);
    assert_eq!((line(&direct, "mkfs.ext4"), line(&direct, "debugfs")), (None, None));
    // Without its programs the e2fsprogs engine has a plan but no key; the direct engine needs no program.
    let run = |arguments: &str| {
        let mut command = bench.planish();
        command.args(arguments.split(' ')).args([&source, "--platform", "linux/amd64"]);
        mounts::run(&bench, "mount -t tmpfs none /usr/sbin", &command)
    };
    assert!(failed(&run("key"), 6).starts_with("mkfs.ext4"));
    let output = run("plan --json");
    succeeded(&output);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["key"], Value::Null);
    let output = run("key --engine direct");
    succeeded(&output);
    assert_eq!(output.stdout, format!("{}\n", direct["key"].as_str().unwrap()).as_bytes());
}

#[test]
fn no_layer_is_fetched() {
    let day = Day::new("key", Plan::new());
    let mut command = day.planish();
    command.args(["key", &day.source(), "--platform", "linux/amd64", "--cache-dir", "cache"]);
    let output = day.run(&mut command);
    day.succeeds(&output);
    let log = day.registry.log();
    assert_eq!(log.kind(Kind::Layer).len(), 0);
    assert_eq!((log.kind(Kind::Manifest).len(), log.kind(Kind::Config).len()), (1, 1));
    // The cache is filled and has no layers; the run is offline.
    let offline = |name: &str| {
        let mut command = day.planish();
        command.args([name, &day.source(), "--platform", "linux/amd64", "--cache-dir", "cache", "--offline"]);
        day.run(&mut command)
    };
    let again = offline("key");
    day.succeeds(&again);
    assert_eq!(again.stdout, output.stdout);
    day.fails(&offline("plan"), 6, &["is not there, and nothing may be fetched"]);
    assert_eq!(day.registry.log().len(), log.len());
}

#[test]
fn every_form_of_an_image_has_the_same_key() {
    let bench = Bench::new();
    let image = generated::image();
    let mut sources = Vec::new();
    for (name, compression) in [("zstd", Compression::ZstdMulti), ("plain", Compression::None)] {
        let layout = bench.shared(name);
        let layers = image.layers.iter().cloned().map(|layer| layer.compression(compression));
        planish_proptests::writer::Image::new(layers).write_layout(&layout, "latest").unwrap();
        sources.push(format!("oci:{}", layout.display()));
    }
    let archive = bench.readable("oci.tar", &Layout::new().tag("latest", &image).to_tar());
    sources.push(format!("oci-archive:{}", archive.display()));
    let docker = DockerArchive::new(Flavour::Layout).image(["planish/test:latest"], &image).to_tar();
    sources.push(format!("docker-archive:{}", bench.readable("docker.tar", &docker).display()));
    let keys: Vec<Value> = sources.iter().map(|source| key(&bench, source, &[])["key"].clone()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

/// Each option that changes bytes has a different key, and each other option has the same key.
#[test]
fn keys_differ_when_bytes_differ() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    let uuid = ["--uuid", "c0ffee00-0102-0304-0506-0708090a0b0c"];
    let choices: [&[&str]; 14] = [
        &[],
        &["--free", "0"],
        &["--free", "10%"],
        &["--size", "300M"],
        &["--free-inodes", "0"],
        &["--free-inodes", "7%"],
        &["--journal-size", "none"],
        &["--journal-size", "8M"],
        &["--label", "x"],
        &uuid,
        &["--features", "64bit"],
        &["--keep-selinux"],
        &["--engine", "direct"],
        &["--engine", "e2fsprogs"],
    ];
    let mut keys = BTreeMap::new();
    for more in choices {
        let found = key(&bench, &source, more)["key"].to_string();
        assert_eq!(keys.insert(found, more), None, "{more:?}");
    }
    let usual = key(&bench, &source, &[])["key"].clone();
    let harmless: [&[&str]; 6] = [
        &["--free", "256M"],
        &["--jobs", "1"],
        &["--progress", "none"],
        &["--max-bytes", "1G"],
        &["--work-dir", "/dev/shm"],
        &["--block-size", "4K"],
    ];
    for more in harmless {
        assert_eq!(key(&bench, &source, more)["key"], usual, "{more:?}");
    }
    let at = |seconds: &str| {
        let mut command = bench.planish();
        command.args(["key", &source, "--platform", "linux/amd64"]).env("SOURCE_DATE_EPOCH", seconds);
        let output = command.output().unwrap();
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    // The image's own time is the clock and also the time of directories without an entry.
    assert!(!at("1700000000").contains(usual.as_str().unwrap()));
    assert_ne!(at("5"), at("6"));
}

#[test]
fn a_missing_image_is_an_error_as_for_build() {
    let bench = Bench::new();
    let output = bench.planish().args(["key", "oci:/nowhere:x"]).output().unwrap();
    assert!(failed(&output, 6).starts_with("open /nowhere"), "{output:?}");
}
