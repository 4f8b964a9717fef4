//! `planish export`: the stream equals the tree, by planish's own reader and by tar programs.

use std::path::Path;
use std::process::{Command, Stdio};

use planish_proptests::listing::{Field, Fields, Listing, diff};
use planish_proptests::writer::{Content, Entry, Image, Layer};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{layout, look};
use crate::fidelity::rows;
use crate::host::FETCH;
use crate::support::{Bench, equal, failed, generated, is_root, process, script, stderr, succeeded, tree_listing};

/// The flattened tree of an image.
pub fn tree(source: &str) -> Listing {
    let platform = "linux/amd64".parse().unwrap();
    let image = planish::Image::options().platform(platform).open(source).unwrap();
    tree_listing::listing(&image.flatten().unwrap().tree)
}

fn export(bench: &Bench, source: &str) -> Vec<u8> {
    let output = look(bench, "export", source, &[]);
    succeeded(&output);
    assert_eq!(bench.left(), [""; 0]);
    output.stdout
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Returns a docker archive whose only layer is a stream, as `docker import` makes an image of one.
pub fn archive_of(stream: &[u8]) -> Vec<u8> {
    let diff_id = digest(stream);
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let manifest = json!([{"Config": "c.json", "RepoTags": ["imported:1"], "Layers": ["layer.tar"]}]);
    let archive = Layer::new([
        Entry::file("c.json", config.to_string()),
        Entry::file("manifest.json", manifest.to_string()),
        Entry::file("layer.tar", Content::Bytes(stream.to_vec())),
    ]);
    archive.tar()
}

fn imported(bench: &Bench, stream: &[u8]) -> String {
    format!("docker-archive:{}", bench.readable("imported.tar", &archive_of(stream)).display())
}

/// Images with the edges of every attribute.
fn images() -> Vec<(&'static str, Image)> {
    let rows = rows::all().into_iter().filter(|(name, _)| !["modes", "links", "lost+found"].contains(name));
    let one = rows.map(|(name, entries)| (name, Image::new([Layer::new(entries)])));
    one.chain([("generated", generated::image())]).collect()
}

#[test]
fn the_stream_read_as_a_layer_is_the_tree() {
    for (name, image) in images() {
        let bench = Bench::new();
        let source = layout(&bench, "image", &image);
        let stream = export(&bench, &source);
        assert!(stream == export(&bench, &source), "{name}: the same bytes");
        let imported = imported(&bench, &stream);
        eprintln!("{name}");
        equal(&tree(&source), &tree(&imported));
        let notes = look(&bench, "plan", &imported, &[]);
        let notes = String::from_utf8(notes.stdout).unwrap();
        let kinds = notes.lines().filter(|line| line.starts_with("note ") && !line.ends_with("device 0:0 kept"));
        assert_eq!(kinds.count(), 0, "{name}: {notes}");
    }
}

fn extracted(bench: &Bench, program: &str, arguments: &[&str], stream: &[u8], name: &str) -> Listing {
    let directory = bench.shared(&format!("{program}-{name}"));
    std::fs::create_dir(&directory).unwrap();
    let archive = bench.readable("stream.tar", stream);
    let mut command = Command::new(program);
    command.arg("-xpf").arg(&archive).args(arguments).arg("-C").arg(&directory).env("LC_ALL", "C");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {name}: {}", stderr(&output));
    Listing::read_directory(Path::new(&directory)).unwrap()
}

#[test]
#[ignore = "needs root and bsdtar"]
fn tar_and_bsdtar_extract_the_tree() {
    assert!(is_root(), "only root restores owners and devices");
    let gnu = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner"];
    for (name, image) in images() {
        let bench = Bench::new();
        let source = layout(&bench, "image", &image);
        let (stream, expected) = (export(&bench, &source), tree(&source));
        for (program, arguments) in [("tar", &gnu[..]), ("bsdtar", &["--numeric-owner"])] {
            // GNU tar 1.34 reads records of xattrs whose name has no `=` only, and sets none on links.
            if name == "xattrs" && program == "tar" {
                continue;
            }
            let mut found = extracted(&bench, program, arguments, &stream, name);
            // bsdtar does not set the time of the directory that it extracts into.
            if let (Some(root), Some(want)) = (found.get_mut(b"/"), expected.get(b"/")) {
                root.mtime = want.mtime;
            }
            let fields: Fields = Field::ALL.into_iter().collect();
            let differences = diff(&expected, &found, &fields);
            let differences = differences.iter().map(ToString::to_string);
            // Linux itself drops the fraction of ext4's last second; libarchive 3.6 does not see the sign of `-0.000000001`
            // and takes POSIX ACLs from their text alone.
            let of_bsdtar =
                ["mtime 0.000000001, expected -0.000000001", "has xattrs {}, expected {system.posix_acl_access"];
            let known =
                [" 15032385535, expected"].into_iter().chain(of_bsdtar.into_iter().filter(|_| program == "bsdtar"));
            let known: Vec<&str> = known.collect();
            let differences: Vec<String> =
                differences.filter(|text| !known.iter().any(|known| text.contains(known))).collect();
            assert_eq!(differences, [""; 0], "{program} {name}");
        }
    }
}

#[test]
fn a_file_is_published_whole_or_not_at_all() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &generated::image());
    let stream = export(&bench, &source);
    let output = look(&bench, "export", &source, &["--output", "root.tar", "--json"]);
    succeeded(&output);
    assert!(std::fs::read(bench.at("root.tar")).unwrap() == stream);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["schema"], &report["bytes"]), (&json!("planish.export.v1"), &json!(stream.len())));
    let exists = failed(&look(&bench, "export", &source, &["-o", "root.tar"]), 2);
    assert_eq!(exists, "output root.tar: exists already");
    std::fs::write(bench.at("root.tar"), "old").unwrap();
    succeeded(&look(&bench, "export", &source, &["-o", "root.tar", "--force"]));
    assert!(std::fs::read(bench.at("root.tar")).unwrap() == stream);
    let broken = layout(&bench, "broken", &Image::new([Layer::new([Entry::file("a", "")]).wrong_diff_id()]));
    failed(&look(&bench, "export", &broken, &["-o", "root.tar", "--force"]), 5);
    assert!(std::fs::read(bench.at("root.tar")).unwrap() == stream);
    assert_eq!(bench.left(), ["root.tar"]);
}

#[test]
fn a_stream_that_is_cut_off_is_an_error_and_a_terminal_gets_none() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &generated::image());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = bench.planish();
    command.args(["export", &source, "--platform", "linux/amd64"]).stdout(full).stdin(Stdio::null());
    let text = failed(&command.output().unwrap(), 6);
    assert!(text.starts_with("write to the stream: No space left on device"), "{text}");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let words = ["export", &source, "--platform", "linux/amd64", "-o", "root.tar", "--json"];
    let output = bench.planish().args(words).stdout(full).output().unwrap();
    assert!(failed(&output, 6).starts_with("write to standard output: No space left on device"));
    assert_eq!(bench.left(), [""; 0], "no file without its report");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let text = failed(&child.wait_with_output().unwrap(), 6);
    assert!(text.starts_with("write to the stream: Broken pipe"), "{text}");
    let line = format!("{} export {source}", bench.shared("planish").display());
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert_eq!(shown, "error: stdout is a terminal: name a file with --output, or write to a pipe\n");
}

#[test]
fn a_reader_that_waits_does_not_hold_a_stopped_run_up() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &generated::image());
    for command in ["export", "ls"] {
        let mut planish = bench.planish();
        planish.args([command, &source, "--platform", "linux/amd64"]).stdin(Stdio::null());
        if command == "ls" {
            planish.args(["--json", "-R"]);
        }
        let mut child = planish.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The pipe is full, and nobody reads.
        let full = || std::fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
        for _ in 0..100 {
            if full().contains("poll") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let stopped = std::time::Instant::now();
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(143), "{command}");
        assert!(stopped.elapsed() < std::time::Duration::from_secs(20), "{command}: {:?}", stopped.elapsed());
        assert_eq!(bench.left(), [""; 0]);
    }
}

#[test]
fn an_acl_that_a_build_refuses_is_not_exported() {
    let bench = Bench::new();
    let odd = Image::new([Layer::new([Entry::file("f", "x").xattr("system.posix_acl_access", "odd")])]);
    let source = layout(&bench, "odd", &odd);
    let built = failed(&bench.build(&source, "out.ext4", &[]), 5);
    let exported = failed(&look(&bench, "export", &source, &["--output", "out.tar"]), 5);
    assert!(exported.contains("system.posix_acl_access"), "{exported}");
    assert_eq!(exported, built);
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
#[ignore = "needs skopeo"]
fn skopeo_imports_the_tree_as_docker_import_does() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &generated::image());
    let archive = bench.readable("root.tar", &export(&bench, &source));
    let imported = format!("oci:{}:latest", bench.shared("imported").display());
    let from = format!("tarball:{}", archive.display());
    process::run(process::command("skopeo copy -q --insecure-policy").args([&from, &imported]));
    process::publish(&bench.shared("imported"));
    // The platform is that of this machine.
    let image = planish::Image::open(&*imported).unwrap();
    equal(&tree(&source), &tree_listing::listing(&image.flatten().unwrap().tree));
}

/// The newest mke2fs of Debian reads tar streams, with libarchive, which this machine has.
#[test]
#[ignore = "needs root, apt, libarchive and Debian's archive"]
fn mke2fs_reads_the_tree_but_for_what_it_cannot_carry() {
    let bench = Bench::new();
    let suites = bench.shared("suites");
    std::fs::create_dir(&suites).unwrap();
    process::run(process::command("sh -c").arg(FETCH).env("SUITES", "trixie").current_dir(&suites));
    let program = suites.join("trixie/bin/mkfs.ext4");
    let text = std::fs::read_to_string(&program).unwrap();
    // Its own libraries come first.
    let here = process::run(process::command("sh -c").arg("dirname $(find /usr/lib -name libarchive.so.13)"));
    let (start, rest) = text.split_once("--library-path ").unwrap();
    let (own, rest) = rest.split_once(' ').unwrap();
    script(&program, &format!("{start}--library-path {own}:{} {rest}", here.trim()));
    let source = format!("oci:{}", bench.fixture("layered").display());
    let stream = bench.readable("root.tar", &export(&bench, &source));
    let image = bench.at("out.ext4");
    let options = ["-q", "-F", "-b", "4096", "-I", "256", "-d"];
    process::run(Command::new(&program).args(options).arg(stream).arg(&image).arg("30M"));
    bench.give(&image);
    let output = bench.planish().args(["verify", &source, "out.ext4", "--platform", "linux/amd64"]).output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    let found = String::from_utf8(output.stdout).unwrap();
    let expected = [
        "/: mtime is 1700000000.000000000, expected 1700000000.250000000",
        "/opt: xattr is nothing, expected user.origin=\"layer 2\"",
        "/home/alice/.profile: xattr is nothing, expected user.empty=\"\"",
        "/times/after-2038: mtime is 2147483647.000000000, expected 4102444800.000000001",
        "/times/before-1970: mtime is -1.000000000, expected -1.500000000",
        "/times/nanoseconds: mtime is 1700000000.000000000, expected 1700000000.123456789",
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}
