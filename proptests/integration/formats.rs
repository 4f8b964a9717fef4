//! `--format`: the published file holds the bytes of the filesystem that was verified, or it is not published.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use planish::{Algorithm, Digest};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Bench, failed, process, script, stderr, succeeded};

fn run(bench: &Bench, output: &str, more: &[&str]) -> Output {
    let source = format!("oci:{}", bench.fixture("layered").display());
    bench.build(&source, output, &[&["--free", "4M", "--json"], more].concat())
}

#[track_caller]
fn report(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Requires that two files have the same bytes.
#[track_caller]
fn same(a: &Path, b: &Path) {
    process::run(process::command("cmp").args([a, b]));
}

#[track_caller]
fn decompressed(path: &Path) -> Vec<u8> {
    zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()
}

#[test]
fn a_compressed_filesystem_is_the_filesystem() {
    let bench = Bench::new();
    let raw = report(&run(&bench, "raw", &[]));
    assert_eq!(raw["packed"], Value::Null);
    let packed = run(&bench, "zst", &["--format", "raw.zst"]);
    assert!(stderr(&packed).contains("\nformat      raw.zst, "), "{}", stderr(&packed));
    assert!(stderr(&packed).contains(": read back, and equal to the filesystem\n"), "{}", stderr(&packed));
    let packed = report(&packed);
    let bytes = std::fs::read(bench.at("zst")).unwrap();
    assert!(decompressed(&bench.at("zst")) == std::fs::read(bench.at("raw")).unwrap());
    for field in ["bytes", "digest", "uuid"] {
        assert_eq!(packed["filesystem"][field], raw["filesystem"][field], "{field}");
    }
    assert_eq!(packed["key"], raw["key"]);
    let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
    let expected = serde_json::json!({"format": "raw.zst", "bytes": bytes.len(), "digest": digest, "program": null});
    assert_eq!(packed["packed"], expected);
    report(&run(&bench, "again", &["--format=raw.zst", "--verify=none"]));
    same(&bench.at("zst"), &bench.at("again"));
    assert_eq!(bench.left(), ["again", "raw", "zst"]);
}

#[test]
fn a_reused_filesystem_and_a_verity_tree_are_packed_too() {
    let bench = Bench::new();
    let more = |format| ["--cache-dir", "cache", "--format", format, "--verity", "append"];
    let first = report(&run(&bench, "a", &more("raw")));
    let second = report(&run(&bench, "b", &more("raw.zst")));
    assert_eq!((&first["reused"], &second["reused"]), (&false.into(), &true.into()));
    assert_eq!(first["verity"]["root_hash"], second["verity"]["root_hash"]);
    assert!(decompressed(&bench.at("b")) == std::fs::read(bench.at("a")).unwrap());
    assert_eq!(bench.left(), ["a", "b", "cache"]);
}

#[test]
fn a_packed_file_is_no_filesystem_for_other_commands() {
    let bench = Bench::new();
    report(&run(&bench, "zst", &["--format", "raw.zst"]));
    let source = format!("oci:{}", bench.fixture("layered").display());
    for command in [
        &["verify", &source, "zst", "--platform", "linux/amd64"][..],
        &["push", "zst", "127.0.0.1:1/x:y", "--no-cache"],
    ] {
        let line = failed(&bench.planish().args(command).output().unwrap(), 6);
        assert!(line.contains("zst is no ext4 filesystem that can be read: it is compressed with zstd"), "{line}");
    }
}

#[test]
fn a_missing_qemu_img_is_named_before_any_work() {
    let bench = Bench::new();
    let mut command = bench.planish();
    command.args(["build", "oci:/nowhere", "-o", "x", "--format", "qcow2"]).env("PATH", "/nowhere");
    let output = command.output().unwrap();
    assert_eq!(failed(&output, 6), "qemu-img is not installed: not in PATH, /usr/sbin or /sbin");
    assert!(stderr(&output).contains("hint: install qemu-utils"), "{}", stderr(&output));
    let doctor = bench.planish().arg("doctor").env("PATH", "/nowhere").output().unwrap();
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("ok       qemu-img         not installed; only --format qcow2 needs it\n"), "{text}");
}

/// Runs a build with a `qemu-img` of this test.
fn with_script(bench: &Bench, text: &str) -> Command {
    let directory = bench.shared("bin");
    std::fs::create_dir(&directory).unwrap();
    script(&directory.join("qemu-img"), &format!("#!/bin/sh\n{text}\n"));
    let source = bench.fixture("layered");
    let mut command = bench.planish();
    command.arg("build").arg(format!("oci:{}", source.display())).args(["--platform", "linux/amd64", "-o", "x"]);
    command.args(["--format", "qcow2", "--free", "4M"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", directory.display()));
    command
}

const VERSION: &str = "[ $1 = --version ] && echo 'qemu-img version 7.2.0 (x)' && exit 0";

#[test]
fn a_qemu_img_that_fails_publishes_nothing() {
    let table = [
        ("exit 0", "qemu-img is another program: "),
        (
            &format!("{VERSION}\necho 'qemu-img: it broke' >&2; exit 1"),
            "qemu-img failed with exit code 1: qemu-img: it broke",
        ),
        (&format!("{VERSION}\necho 'No space left on device' >&2; exit 1"), "qemu-img ran out of space in "),
        (&format!("{VERSION}\nkill -9 $$"), "qemu-img was killed by signal 9"),
    ];
    for (text, expected) in table {
        let bench = Bench::new();
        let line = failed(&with_script(&bench, text).output().unwrap(), 6);
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
fn a_qemu_img_that_does_nothing_publishes_nothing() {
    // A header alone, for a disk of the right size, is not compared with anything.
    let header = r#"perl -e 'print "QFI\xfb", pack("N", 3), "\0" x 16, pack("Q>", -s "source")' > image"#;
    for work in ["exit 0", &format!("[ $1 = compare ] || {{ {header}; }}; exit 0")] {
        let bench = Bench::new();
        let line = failed(&with_script(&bench, &format!("{VERSION}\n{work}")).output().unwrap(), 8);
        assert!(line.starts_with("the converted file differs from the filesystem: "), "{line}");
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
fn a_stop_ends_qemu_img() {
    let bench = Bench::new();
    let started = bench.at("started");
    let text = format!("{VERSION}\necho $$ > '{}.new'\nmv '{0}.new' '{0}'\nexec sleep 1000", started.display());
    let mut child = with_script(&bench, &text).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !started.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let program: PathBuf = format!("/proc/{}/exe", std::fs::read_to_string(&started).unwrap().trim()).into();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(process::wait(&mut child, Duration::from_secs(60)).and_then(|status| status.code()), Some(143));
    assert!(std::fs::read_link(program).is_err(), "the program runs on");
    assert_eq!(bench.left(), ["started"]);
}

#[test]
#[ignore = "needs qemu-img"]
fn a_disk_of_qemu_is_the_filesystem() {
    let bench = Bench::new();
    for (name, more) in [("plain", &[][..]), ("verity", &["--verity", "append"])] {
        let (raw, disk) = (format!("{name}.ext4"), format!("{name}.qcow2"));
        let first = report(&run(&bench, &raw, more));
        let second = run(&bench, &disk, &[&["--format", "qcow2"], more].concat());
        assert!(stderr(&second).contains(" found it equal to the filesystem\n"), "{}", stderr(&second));
        let second = report(&second);
        process::run(process::command("qemu-img compare -f raw -F qcow2").args([bench.at(&raw), bench.at(&disk)]));
        process::run(process::command("qemu-img check -q").arg(bench.at(&disk)));
        assert_eq!(first["filesystem"]["digest"], second["filesystem"]["digest"]);
        assert_eq!(second["packed"]["format"], "qcow2");
        let digest = Digest::of(Algorithm::Sha256, &std::fs::read(bench.at(&disk)).unwrap());
        assert_eq!(second["packed"]["digest"], digest.to_string());
        assert!(second["packed"]["program"].as_str().unwrap().starts_with("qemu-img "));
    }
    assert_eq!(bench.left(), ["plain.ext4", "plain.qcow2", "verity.ext4", "verity.qcow2"]);
}

#[test]
#[ignore = "needs qemu-img"]
fn a_disk_with_other_bytes_is_not_published() {
    let bench = Bench::new();
    let text = format!(
        "{VERSION}\n[ $1 = compare ] && exec /usr/bin/qemu-img \"$@\"\nexec /usr/bin/qemu-img create -q -f qcow2 image $(stat -Lc %s source)"
    );
    let line = failed(&with_script(&bench, &text).output().unwrap(), 8);
    assert!(line.starts_with("the converted file differs from the filesystem: "), "{line}");
    assert_eq!(bench.left(), [""; 0]);
    let unproved = with_script(&Bench::new(), &text).arg("--verify=none").output().unwrap();
    succeeded(&unproved);
    assert!(stderr(&unproved).contains(": not read back\n"), "{}", stderr(&unproved));
}

#[test]
#[ignore = "needs qemu-img"]
fn an_output_directory_has_the_format_s_endings() {
    for (format, ending) in [("raw", "ext4"), ("qcow2", "qcow2"), ("raw.zst", "ext4.zst")] {
        let bench = Bench::new();
        let (one, other) = (bench.fixture("layered"), bench.fixture("whiteout"));
        let source = |path: &Path| format!("oci:{}", path.display());
        let mut command = bench.planish();
        command.args(["build", &source(&one), &source(&other), "--output-dir", ".", "--format", format]);
        succeeded(&command.args(["--platform", "linux/amd64", "--free", "1M"]).output().unwrap());
        assert_eq!(bench.left(), [format!("layered.{ending}"), format!("whiteout.{ending}")]);
    }
}
