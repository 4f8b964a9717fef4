//! Finished filesystems in registries: what is pushed comes back byte for byte, or not at all.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use serde_json::Value;

use super::written::{CHUNK, Written, digest, pack};
use crate::docker_registry::{House, LOGIN};
use crate::support::process::{command, publish, run};
use crate::support::registry::{Fault, Kind, NONE, On, Plan, Registry};
use crate::support::{Bench, failed, stderr, succeeded};

/// A file of three chunks, of which the middle one is a hole.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; 2 * CHUNK + 70_000];
    bytes[..5000].fill(7);
    bytes[CHUNK - 1] = 9;
    bytes[2 * CHUNK + 69_999] = 1;
    bytes
}

/// The artifact of [`content`].
fn right() -> Written {
    let whole = content();
    of_chunks(&[(0, pack(&whole[..CHUNK])), (2, pack(&whole[2 * CHUNK..]))])
}

/// An artifact that claims to be [`content`], with chunks as given.
fn of_chunks(chunks: &[(u64, Vec<u8>)]) -> Written {
    Written::of(&content(), chunks)
}

fn pull_command(bench: &Bench, registry: &Registry, more: &[&str]) -> Command {
    let reference = format!("docker://{}/fs:latest", registry.host());
    let mut command = bench.planish();
    command.env("HOME", bench.home()).args(["pull", &reference, "--output", "out.ext4", "--no-cache"]).args(more);
    command
}

fn pull(bench: &Bench, registry: &Registry, more: &[&str]) -> Output {
    pull_command(bench, registry, more).output().unwrap()
}

#[test]
fn an_artifact_written_by_hand_is_pulled_with_its_holes() {
    let bench = Bench::new();
    let registry = right().serve(&bench.shared("fs"), Plan::new());
    for more in [&["--json"][..], &[]] {
        let mut command = pull_command(&bench, &registry, more);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let line = failed(&command.stdout(full).output().unwrap(), 6);
        assert!(line.starts_with("write to standard output: No space left on device"), "{line}");
        assert_eq!(bench.left(), [""; 0]);
    }
    let output = pull(&bench, &registry, &["--json"]);
    succeeded(&output);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == content());
    assert!(bench.at("out.ext4").metadata().unwrap().blocks() * 512 < 200_000, "zeros are holes");
    assert_eq!((&report["digest"], &report["chunks"]), (&digest(&content()).into(), &2.into()));
    assert_eq!(failed(&pull(&bench, &registry, &[]), 2).split(": ").last(), Some("exists already"));
    let count = registry.log().len();
    assert!(failed(&pull(&bench, &registry, &["--force", "--pull=never"]), 2).ends_with("no request may be sent"));
    assert_eq!(registry.log().len(), count);
    let quiet = pull(&bench, &registry, &["--force", "--quiet"]);
    assert_eq!((quiet.status.code(), &*stderr(&quiet)), (Some(0), ""));
    succeeded(&pull(&bench, &registry, &["--force"]));
    assert_eq!(bench.left(), ["out.ext4"]);
}

/// Blobs that are what their digests say, and make no filesystem.
#[test]
fn what_makes_another_file_is_refused_and_leaves_none() {
    let whole = content();
    let (first, last) = (pack(&whole[..CHUNK]), pack(&whole[2 * CHUNK..]));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut written = right();
        change(&mut written.manifest);
        written
    };
    let mut other = whole[..CHUNK].to_vec();
    other[77] ^= 1;
    let table: [(&str, Written); 10] = [
        ("its chunks make a file of digest", of_chunks(&[(0, pack(&other)), (2, last.clone())])),
        ("its chunks make a file of digest", of_chunks(&[(0, first.clone())])),
        ("chunk 2 is no 70000 bytes of zstd", of_chunks(&[(0, first.clone()), (2, pack(&whole[..CHUNK]))])),
        ("chunk 0 is no 16777216 bytes of zstd", of_chunks(&[(0, last.clone())])),
        ("chunk 0 is no 16777216 bytes of zstd", of_chunks(&[(0, pack(&vec![0; 400 << 20]))])),
        ("chunk 0 is no 16777216 bytes of zstd", of_chunks(&[(0, b"no zstd".to_vec())])),
        ("chunk 3 is not where one can be", of_chunks(&[(3, first.clone())])),
        ("chunk 0 is not where one can be", of_chunks(&[(2, last), (0, first)])),
        ("its artifact type is not", with(&|manifest| manifest["artifactType"] = "x".into())),
        (
            "--max-bytes allows",
            with(&|manifest| {
                manifest["annotations"]["planish.filesystem.bytes"] = "99999999999999".into();
            }),
        ),
    ];
    for (number, (says, written)) in table.iter().enumerate() {
        let bench = Bench::new();
        let registry = written.serve(&bench.shared("fs"), Plan::new());
        let line = failed(&pull(&bench, &registry, &[]), 5);
        assert!(line.contains("is no filesystem that planish pushed: ") && line.contains(says), "{number}: {line}");
        assert_eq!(bench.left(), [""; 0], "{number}");
        std::fs::write(bench.at("out.ext4"), "older").unwrap();
        bench.give(&bench.at("out.ext4"));
        failed(&pull(&bench, &registry, &["--force"]), 5);
        assert_eq!(std::fs::read(bench.at("out.ext4")).unwrap(), b"older", "{number}");
    }
}

#[test]
fn a_registry_that_lies_once_is_asked_again_and_one_that_always_does_is_refused() {
    let faults = [
        Fault { flip_byte: Some(20), ..NONE },
        Fault { zeros: true, ..NONE },
        Fault { short_body: Some(10), ..NONE },
        Fault { reset_after: Some(10), ..NONE },
        Fault { status: Some(503), ..NONE },
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let bench = Bench::new();
        let once = On::kind(Kind::Layer).first();
        let registry = right().serve(&bench.shared("fs"), Plan::new().rule(once, fault.clone()));
        let output = pull(&bench, &registry, &[]);
        assert_eq!(output.status.code(), Some(0), "{number}: {}", stderr(&output));
        assert!(std::fs::read(bench.at("out.ext4")).unwrap() == content(), "{number}");
        std::fs::remove_file(bench.at("out.ext4")).unwrap();
        registry.follow(Plan::new().rule(On::kind(Kind::Layer), fault));
        failed(&pull(&bench, &registry, &["--retry", "2"]), 3);
        assert_eq!(bench.left(), [""; 0], "{number}");
    }
    let bench = Bench::new();
    let registry = right().serve(&bench.shared("fs"), Plan::new());
    let layer = right().manifest["layers"][1]["digest"].as_str().unwrap().replace(':', "/");
    std::fs::remove_file(bench.shared("fs").join("blobs").join(layer)).unwrap();
    failed(&pull(&bench, &registry, &[]), 3);
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn what_is_no_filesystem_or_no_reference_of_a_registry_is_not_pushed() {
    let bench = Bench::new();
    let source = format!("oci:{}", bench.fixture("layered").display());
    for (name, label) in [("out", "a"), ("other", "b")] {
        let (file, report) = (format!("{name}.ext4"), format!("{name}.json"));
        succeeded(&bench.build(&source, &file, &["--free", "1M", "--label", label, "--report", &report]));
    }
    std::fs::write(bench.at("text"), "text").unwrap();
    let push = |words: &str| {
        let mut command = bench.planish();
        command.env("HOME", bench.home()).arg("push").args(words.split(' ')).output().unwrap()
    };
    assert!(failed(&push("text 127.0.0.1:1/fs:x"), 6).starts_with("text is no ext4 filesystem"));
    assert!(failed(&push("nowhere 127.0.0.1:1/fs:x"), 6).starts_with("open nowhere"));
    let other = failed(&push("out.ext4 127.0.0.1:1/fs:x --report other.json"), 2);
    assert_eq!(other, "report other.json is not that of the filesystem");
    failed(&push("out.ext4 127.0.0.1:1/fs:x --report text"), 2);
    failed(&push(&format!("out.ext4 {source}")), 2);
    let fixed = format!("out.ext4 127.0.0.1:1/fs@sha256:{}", "0".repeat(64));
    assert!(failed(&push(&fixed), 2).starts_with("a finished filesystem is pushed to a tag"));
    assert!(failed(&push("out.ext4 127.0.0.1:1/fs:x --offline"), 2).ends_with("no request may be sent"));
    assert!(failed(&push("out.ext4 127.0.0.1:1/fs:x --retry 1"), 3).contains("cannot be reached"));
}

/// Runs planish with the login of a house.
fn house_run(house: &House, words: &str, login: &str) -> Output {
    let mut command = house.bench.planish();
    command.env("HOME", house.bench.home()).args(words.split(' ')).arg("--authfile").arg(house.authfile(login));
    command.arg("--ca-file").arg(&house.ca).output().unwrap()
}

#[test]
#[ignore = "needs docker-registry, skopeo and htpasswd"]
fn a_filesystem_goes_to_a_registry_and_back_and_wherever_skopeo_takes_it() {
    let house = House::new();
    let bench = &house.bench;
    let source = format!("oci:{}", bench.fixture("layered").display());
    succeeded(&bench.build(&source, "out.ext4", &["--report", "report.json"]));
    let bytes = std::fs::read(bench.at("out.ext4")).unwrap();
    let reference = format!("docker://{}/planish/fs", house.host);
    let report = |output: &Output| -> Value {
        succeeded(output);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let push = format!("push out.ext4 {reference}:one --report report.json --json");
    let first = report(&house_run(&house, &push, LOGIN));
    assert!(first["transferred_bytes"].as_u64().unwrap() > 0);
    // Everything is there: the same push again, and under another tag.
    for tag in ["one", "two"] {
        let again = report(&house_run(&house, &push.replace(":one", &format!(":{tag}")), LOGIN));
        assert_eq!((&again["transferred_bytes"], &again["manifest_digest"]), (&0.into(), &first["manifest_digest"]));
    }
    let pull = |from: &str, code: i32| {
        let output = house_run(&house, &format!("pull {from} --output back.ext4 --force --json"), LOGIN);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        if code == 0 {
            assert!(std::fs::read(bench.at("back.ext4")).unwrap() == bytes, "{from}");
        }
        output
    };
    let built: Value = serde_json::from_slice(&std::fs::read(bench.at("report.json")).unwrap()).unwrap();
    let back = report(&pull(&format!("{reference}:two"), 0));
    assert_eq!((&back["key"], &back["digest"]), (&built["key"], &built["filesystem"]["digest"]));
    pull(&format!("{reference}@{}", first["manifest_digest"].as_str().unwrap()), 0);

    // skopeo copies it to another repository, and to a layout.
    let copied = format!("docker://{}/planish/copied:x", house.host);
    let layout = bench.shared("copy");
    for to in [&copied, &format!("oci:{}:x", layout.display())] {
        let mut copy: Command = command("skopeo copy -q --insecure-policy --src-creds");
        copy.arg(LOGIN).args(["--dest-creds", LOGIN]);
        copy.arg("--src-cert-dir").arg(bench.shared("certificates"));
        copy.arg("--dest-cert-dir").arg(bench.shared("certificates"));
        run(copy.args([&format!("{reference}:one"), to]));
    }
    publish(&layout);
    pull(&copied, 0);
    let inside = layout.join("blobs/sha256").read_dir().unwrap().count();
    // The manifest, the empty config, the report, and two chunks.
    assert_eq!(inside, 5);

    // No login, no push and no pull; a registry that is gone is an error of the network.
    failed(&house_run(&house, &push, "user:wrong"), 4);
    failed(&house_run(&house, &format!("pull {reference}:one --output no.ext4"), "user:wrong"), 4);
    let mut house = house;
    house.child.kill().unwrap();
    house.child.wait().unwrap();
    failed(&house_run(&house, &format!("{push} --retry 1"), LOGIN), 3);
    failed(&house_run(&house, &format!("pull {reference}:one --output no.ext4 --retry 1"), LOGIN), 3);
    assert!(!house.bench.at("no.ext4").exists());
}
