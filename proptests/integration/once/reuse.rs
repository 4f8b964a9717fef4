//! A second build of a key copies the first one's file, and whatever happens to the cache costs time, never correctness.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use planish_proptests::writer::{Content, Entry, Image, Layer};
use serde_json::Value;

use crate::registry::day::Day;
use crate::registry::sample::sample;
use crate::support::registry::{Kind, Plan};
use crate::support::{Bench, failed, mounts, set_mode, stderr, succeeded};

const QUICK: [&str; 6] = ["--platform", "linux/amd64", "--free", "1M", "--force", "--json"];

fn layered(bench: &Bench) -> String {
    format!("oci:{}", bench.fixture("layered").display())
}

fn run(bench: &Bench, source: &str, more: &[&str]) -> Output {
    let mut command = bench.planish();
    command.args(["build", source, "-o", "out.ext4"]).args(QUICK).args(more).output().unwrap()
}

#[track_caller]
fn report(output: &Output) -> Value {
    succeeded(output);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Builds with the cache `cache`; returns the report.
#[track_caller]
fn built(bench: &Bench, source: &str, more: &[&str]) -> Value {
    report(&run(bench, source, &[&["--cache-dir", "cache"], more].concat()))
}

#[track_caller]
fn is_reused(bench: &Bench, source: &str, more: &[&str], expected: bool) {
    assert_eq!(built(bench, source, more)["reused"], expected, "{more:?}");
}

/// The one file in a directory of the cache.
#[track_caller]
fn only_file(directory: &Path) -> PathBuf {
    let files: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn filesystem(bench: &Bench) -> PathBuf {
    only_file(&bench.at("cache/blobs/sha256"))
}

fn record(bench: &Bench) -> PathBuf {
    only_file(&bench.at("cache/built"))
}

fn cache(bench: &Bench, words: &str) -> Output {
    bench.planish().arg("cache").args(words.split(' ')).args(["--cache-dir", "cache"]).output().unwrap()
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// A report without what tells two builds apart.
fn comparable(mut report: Value) -> Value {
    let object = report.as_object_mut().unwrap();
    assert!(object.remove("seconds").is_some_and(|seconds| seconds.is_array()));
    assert!(object.remove("reused").is_some());
    report
}

#[test]
fn a_second_build_copies_the_file_and_its_report() {
    let bench = Bench::new();
    let source = layered(&bench);
    let first = built(&bench, &source, &[]);
    let bytes = std::fs::read(bench.at("out.ext4")).unwrap();
    let blocks = bench.at("out.ext4").metadata().unwrap().blocks();
    let second = run(&bench, &source, &["--cache-dir", "cache", "-v", "--report", "report.json"]);
    let text = stderr(&second);
    assert!(text.contains("\nverified    43 inodes"), "{text}");
    let line = "reused      from the cache: verified when it was built, its SHA-256 checked while it was copied\n";
    assert!(text.contains(line), "{text}");
    let second = report(&second);
    assert_eq!((&first["reused"], &second["reused"]), (&false.into(), &true.into()));
    assert_eq!(comparable(first), comparable(second.clone()));
    let file: Value = serde_json::from_slice(&std::fs::read(bench.at("report.json")).unwrap()).unwrap();
    assert_eq!(file, second);
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == bytes);
    assert!(bench.at("out.ext4").metadata().unwrap().blocks() <= blocks + 64, "the copy is sparse");
    assert_eq!(bench.left(), ["cache", "out.ext4", "report.json"]);
    // The same image in another form, with another name.
    let archive = format!("oci-archive:{}", bench.readable("x.tar", &archive_of(&bench)).display());
    let third = built(&bench, &archive, &[]);
    assert_eq!((&third["reused"], &third["source"]), (&true.into(), &archive.into()));
    assert_eq!(third["manifest_digest"], second["manifest_digest"]);
}

/// The fixture as a tar archive.
fn archive_of(bench: &Bench) -> Vec<u8> {
    let mut command = std::process::Command::new("tar");
    let output = command.args(["-cf", "-", "-C"]).arg(bench.fixture("layered")).arg(".").output().unwrap();
    succeeded(&output);
    output.stdout
}

#[test]
fn only_an_equal_key_is_reused_and_only_what_was_verified_is_kept() {
    let bench = Bench::new();
    let source = layered(&bench);
    let is = |more: &[&str], expected| is_reused(&bench, &source, more, expected);
    is(&["--verify=none"], false);
    is(&["--no-reuse"], false);
    assert!(!bench.at("cache/built").exists());
    is(&[], false);
    is(&["--no-reuse"], false);
    is(&["--verify=none"], true);
    for other in [&["--free", "2M"][..], &["--label", "x"], &["--engine", "direct"], &["--keep-selinux"]] {
        let other = [&["--size", "9M"], other].concat();
        let other = if other.contains(&"--free") { &other[2..] } else { &other[..] };
        let mut command = bench.planish();
        command.args(["build", &source, "-o", "out.ext4", "--platform", "linux/amd64", "--force", "--json"]);
        let output = command.args(["--cache-dir", "cache"]).args(other).output().unwrap();
        if other.contains(&"direct") {
            // It makes none that small.
            failed(&output, 7);
        } else {
            assert_eq!(report(&output)["reused"], false, "{other:?}");
        }
    }
    // Without a cache that is named, a layout is built anew, unless reuse is asked for.
    let home = |more: &[&str]| {
        let mut command = bench.planish();
        command.env("XDG_CACHE_HOME", bench.at("xdg")).args(["build", &source, "-o", "out.ext4"]).args(QUICK);
        report(&command.args(more).output().unwrap())["reused"].clone()
    };
    assert_eq!([home(&[]), home(&[]), home(&["--reuse"]), home(&["--reuse"])], [false, false, false, true]);
    for bad in [&["--reuse", "--no-reuse"][..], &["--reuse", "--no-cache"]] {
        assert_eq!(run(&bench, &source, bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn losses_are_refused_of_a_reused_filesystem_too() {
    let bench = Bench::new();
    let layout = bench.shared("layout");
    let lossy = Entry::file("f", "x").xattr("security.selinux", "label");
    Image::new([Layer::new([lossy])]).write_layout(&layout, "latest").unwrap();
    let source = format!("oci:{}", layout.display());
    is_reused(&bench, &source, &[], false);
    let expected = failed(&run(&bench, &source, &["--strict"]), 5);
    assert_eq!(failed(&run(&bench, &source, &["--strict", "--cache-dir", "cache"]), 5), expected);
    is_reused(&bench, &source, &[], true);
}

#[test]
fn a_tree_of_dm_verity_is_added_to_the_copy() {
    let bench = Bench::new();
    let source = layered(&bench);
    let direct = report(&run(&bench, &source, &["--verity", "append"]));
    let bytes = std::fs::read(bench.at("out.ext4")).unwrap();
    is_reused(&bench, &source, &["--verity", "tree"], false);
    let copied = built(&bench, &source, &["--verity", "append"]);
    assert_eq!((&copied["reused"], &copied["verity"]), (&true.into(), &direct["verity"]));
    assert_eq!(copied["filesystem"], direct["filesystem"]);
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == bytes);
    is_reused(&bench, &source, &[], true);
}

#[test]
fn injections_are_a_part_of_the_key_and_the_configuration_is_written_anew() {
    let bench = Bench::new();
    let source = layered(&bench);
    let content = bench.readable("content", b"one");
    let also = bench.readable("also", b"one");
    let inject = |file: &Path| format!("{}:/etc/injected", file.display());
    let first = built(&bench, &source, &["--inject", &inject(&content), "--config-out", "first.json"]);
    let bytes = std::fs::read(bench.at("out.ext4")).unwrap();
    // The same bytes from another file.
    let second = built(&bench, &source, &["--inject", &inject(&also), "--config-out", "second.json"]);
    assert_eq!((&first["reused"], &second["reused"]), (&false.into(), &true.into()));
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == bytes);
    let source_of = |report: &Value| report["injections"][0]["source"].as_str().unwrap().to_owned();
    assert!(source_of(&first).contains("content") && source_of(&second).contains("also"));
    let [first, second] = ["first.json", "second.json"].map(|name| std::fs::read(bench.at(name)).unwrap());
    assert!(!first.is_empty() && first == second);
    std::fs::write(&also, b"two").unwrap();
    is_reused(&bench, &source, &["--inject", &inject(&also)], false);
    is_reused(&bench, &source, &[], false);
    // Without e2fsck it is not wholly verified, and not kept.
    is_reused(&bench, &source, &["--verify", "compare", "--label", "x"], false);
    is_reused(&bench, &source, &["--verify", "compare", "--label", "x"], false);
}

#[test]
fn damage_is_named_built_again_and_repaired() {
    let bench = Bench::new();
    let source = layered(&bench);
    is_reused(&bench, &source, &[], false);
    let bytes = std::fs::read(bench.at("out.ext4")).unwrap();
    let fits = |name: &str, says: &str| {
        let output = run(&bench, &source, &["--cache-dir", "cache"]);
        assert!(stderr(&output).contains(says), "{name}: {}", stderr(&output));
        assert_eq!(report(&output)["reused"], false, "{name}");
        assert!(std::fs::read(bench.at("out.ext4")).unwrap() == bytes, "{name}");
        is_reused(&bench, &source, &[], true);
        succeeded(&cache(&bench, "verify"));
    };
    let named = || format!("cache: the filesystem of key {} holds bytes of digest sha256:", key(&bench));
    let damaged = || {
        let name = record(&bench).file_name().unwrap().to_str().unwrap().to_owned();
        format!("warning: cache: cache/built/{name} is damaged: the filesystem is built again\n")
    };
    for at in [0, 1024, bytes.len() as u64 - 1] {
        flip(&filesystem(&bench), at);
        assert_eq!(failed(&cache(&bench, "verify"), 5), "the cache has 1 damaged blobs");
        fits(&format!("a bit at {at}"), &named());
    }
    std::fs::write(filesystem(&bench), "").unwrap();
    fits("an empty filesystem", &named());
    std::fs::File::options().write(true).open(filesystem(&bench)).unwrap().set_len(bytes.len() as u64 + 1).unwrap();
    fits("a byte more", &named());
    std::fs::remove_file(filesystem(&bench)).unwrap();
    fits("no filesystem", "");
    for at in [2, 300, record(&bench).metadata().unwrap().len() - 1] {
        flip(&record(&bench), at);
        assert_eq!(failed(&cache(&bench, "verify"), 5), "the cache has 1 damaged blobs");
        let hint = "hint: the next build of its key builds a damaged filesystem again\n";
        assert!(stderr(&cache(&bench, "verify")).contains(hint));
        fits(&format!("a record's bit at {at}"), &damaged());
    }
    for other in ["{}\n", "{\n", ""] {
        std::fs::write(record(&bench), other).unwrap();
        fits("a record of something else", &damaged());
    }
    std::fs::remove_file(record(&bench)).unwrap();
    fits("no record", "");
}

#[test]
fn a_record_of_another_version_is_no_damage() {
    let bench = Bench::new();
    let source = layered(&bench);
    is_reused(&bench, &source, &[], false);
    let text = std::fs::read_to_string(record(&bench)).unwrap();
    let other = text.replacen("\"format\":2", "\"format\":1", 1);
    assert!(other != text);
    std::fs::write(record(&bench), &other).unwrap();
    succeeded(&cache(&bench, "verify"));
    let output = run(&bench, &source, &["--cache-dir", "cache"]);
    assert_eq!(stderr(&output).matches("warning: ").count(), 0, "{}", stderr(&output));
    assert_eq!(report(&output)["reused"], false);
    is_reused(&bench, &source, &[], true);
    std::fs::write(record(&bench), &other).unwrap();
    succeeded(&cache(&bench, "prune"));
    assert_eq!(bench.at("cache/built").read_dir().unwrap().count(), 0);
}

fn key(bench: &Bench) -> String {
    format!("sha256:{}", record(bench).file_name().unwrap().to_str().unwrap())
}

/// Someone else's record under a key, with a filesystem that it names rightly.
#[test]
fn a_record_of_another_key_is_not_believed() {
    let bench = Bench::new();
    let source = layered(&bench);
    is_reused(&bench, &source, &[], false);
    let right = record(&bench);
    let bytes = std::fs::read(bench.at("out.ext4")).unwrap();
    let other = report(&run(&bench, &source, &["--cache-dir", "other", "--label", "other"]));
    let other = bench.at("other/built").join(other["key"].as_str().unwrap().strip_prefix("sha256:").unwrap());
    std::fs::copy(&other, &right).unwrap();
    for blob in bench.at("other/blobs/sha256").read_dir().unwrap() {
        let blob = blob.unwrap();
        std::fs::copy(blob.path(), bench.at("cache/blobs/sha256").join(blob.file_name())).unwrap();
        bench.give(&bench.at("cache/blobs/sha256").join(blob.file_name()));
    }
    bench.give(&right);
    is_reused(&bench, &source, &[], false);
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == bytes);
}

#[test]
fn a_cache_that_others_can_write_is_not_believed() {
    let bench = Bench::new();
    let source = layered(&bench);
    is_reused(&bench, &source, &[], false);
    is_reused(&bench, &source, &[], true);
    let is = |expected| is_reused(&bench, &source, &[], expected);
    for (path, mode) in [("cache/built", 0o777), ("cache", 0o777), (".", 0o777)] {
        let before = bench.at(path).metadata().unwrap().permissions().mode() & 0o7777;
        set_mode(&bench.at(path), mode);
        is(false);
        // Of the directory of the records, each build says that it cannot keep one.
        if path != "cache/built" {
            let warned = |more: &[&str]| stderr(&run(&bench, &source, &[&["--cache-dir", "cache"], more].concat()));
            assert!(!warned(&[]).contains("warning: "), "{}", warned(&[]));
            let said = warned(&["--reuse"]);
            assert!(said.contains("warning: --reuse has no effect: cache: "), "{said}");
            assert!(said.contains("may be written by others (mode 0777)"), "{said}");
            let doctor = bench.planish().args(["doctor", "--cache-dir", "cache"]).output().unwrap();
            let doctor = String::from_utf8(doctor.stdout).unwrap();
            let line = doctor.lines().find(|line| line.contains(" cache ")).unwrap();
            assert!(line.starts_with("warning ") && line.contains("may be written by others (mode 0777)"), "{line}");
        }
        set_mode(&bench.at(path), before);
    }
    is(true);
}

#[test]
fn strange_files_in_the_cache_are_left_alone_and_cost_a_build() {
    let bench = Bench::new();
    let source = layered(&bench);
    is_reused(&bench, &source, &[], false);
    let secret = bench.readable("secret", b"theirs");
    let path = record(&bench);
    std::fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    let output = run(&bench, &source, &["--cache-dir", "cache"]);
    assert!(stderr(&output).contains("without the cache's finished filesystems: cache: "), "{}", stderr(&output));
    assert_eq!(report(&output)["reused"], false);
    assert_eq!(std::fs::read(&secret).unwrap(), b"theirs");
    assert!(path.symlink_metadata().unwrap().is_symlink());
    assert_eq!(failed(&cache(&bench, "verify"), 5), "the cache has 1 damaged blobs");
    succeeded(&cache(&bench, "list"));
    succeeded(&cache(&bench, "prune"));
    assert_eq!(std::fs::read(&secret).unwrap(), b"theirs");
}

#[test]
fn a_cache_that_is_full_read_only_or_none_costs_a_build() {
    let bench = Bench::new();
    let source = layered(&bench);
    let fits = |output: &Output, says: &str| {
        assert!(stderr(output).contains(says), "{}", stderr(output));
        assert_eq!(report(output)["reused"], false);
    };
    std::fs::write(bench.at("file"), "").unwrap();
    std::fs::create_dir(bench.at("closed")).unwrap();
    std::fs::create_dir(bench.at("foreign")).unwrap();
    std::fs::write(bench.at("foreign/thesis"), "").unwrap();
    std::fs::create_dir(bench.at("foreign/blobs")).unwrap();
    for name in ["file", "closed", "foreign", "foreign/blobs"] {
        bench.give(&bench.at(name));
    }
    set_mode(&bench.at("closed"), 0o555);
    for name in ["file", "closed", "foreign"] {
        let says = "warning: without the cache's finished filesystems: cache: ";
        fits(&run(&bench, &source, &["--cache-dir", name]), says);
    }
    let disk = bench.shared("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("{} '{}'", mounts::private_tmpfs("300k"), disk.display());
    let mut command = bench.planish();
    command.args(["build", &source, "-o", "out.ext4"]).args(QUICK).arg("--cache-dir").arg(disk.join("cache"));
    let script = format!("{mount}; trap 'find {0} -type f -size +4k >&2' EXIT", disk.display());
    let output = mounts::run(&bench, &script, &command);
    assert_eq!(report(&output)["reused"], false);
    assert!(!stderr(&output).contains("disk/cache/partial"), "{}", stderr(&output));
}

#[test]
fn the_cache_s_commands_know_filesystems() {
    let bench = Bench::new();
    let source = layered(&bench);
    let first = built(&bench, &source, &[]);
    let second = built(&bench, &source, &["--label", "second"]);
    let listed = cache(&bench, "list --json");
    succeeded(&listed);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let mut keys: Vec<&str> = listed.as_array().unwrap().iter().map(|line| line["key"].as_str().unwrap()).collect();
    let mut expected = [first["key"].as_str().unwrap(), second["key"].as_str().unwrap()];
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    for line in listed.as_array().unwrap() {
        assert_eq!((&line["reference"], &line["present"]), (&source.as_str().into(), &1.into()));
        // On disk, not the length with its holes.
        assert!(line["bytes"].as_u64().unwrap() < first["filesystem"]["bytes"].as_u64().unwrap(), "{line}");
    }
    let text = String::from_utf8(cache(&bench, "list").stdout).unwrap();
    assert!(text.contains(&format!("{source} (built, key {})", keys[0])), "{text}");
    let checked: Value = serde_json::from_slice(&cache(&bench, "verify --json").stdout).unwrap();
    assert_eq!((&checked["blobs"], &checked["damaged_records"]), (&2.into(), &Value::Array(vec![])));

    // Nothing is needless, and then everything goes.
    let prune = |words: &str| -> Value { serde_json::from_slice(&cache(&bench, words).stdout).unwrap() };
    let nothing = prune("prune --json");
    assert_eq!((&nothing["kept"], &nothing["filesystems"]), (&2.into(), &Value::Array(vec![])));
    // The first was used last.
    is_reused(&bench, &source, &[], true);
    let kept = nothing["kept_bytes"].as_u64().unwrap();
    let less = prune(&format!("prune --keep-bytes {} --json", kept - 1));
    assert_eq!((&less["kept"], &less["filesystems"]), (&1.into(), &serde_json::json!([second["key"]])));
    is_reused(&bench, &source, &[], true);
    let text = String::from_utf8(cache(&bench, "prune --keep-bytes 0").stdout).unwrap();
    assert!(text.contains(&format!("filesystem of key {}\n", first["key"].as_str().unwrap())), "{text}");
    assert_eq!(bench.at("cache/built").read_dir().unwrap().count(), 0);
    is_reused(&bench, &source, &[], false);
}

#[test]
fn the_least_recently_used_filesystem_makes_room() {
    let bench = Bench::new();
    let source = layered(&bench);
    let build =
        |label: &str, more: &[&str]| built(&bench, &source, &[&["--label", label], more].concat())["reused"].clone();
    assert_eq!([build("a", &[]), build("b", &[])], [false, false]);
    let disk = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().blocks() * 512;
    let bytes: u64 = bench.at("cache/blobs/sha256").read_dir().unwrap().map(disk).sum();
    // Times of use have a second's or a tick's precision.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(build("a", &[]), true);
    std::thread::sleep(Duration::from_millis(50));
    let room = bytes.to_string();
    assert_eq!(build("c", &["--reuse-bytes", &room]), false);
    assert_eq!(bench.at("cache/built").read_dir().unwrap().count(), 2);
    assert_eq!([build("a", &[]), build("c", &[])], [true, true]);
    assert_eq!([build("b", &["--reuse-bytes", "0"]), build("b", &["--reuse-bytes", "0"])], [false, false]);
    assert_eq!([build("a", &["--no-reuse"]), build("a", &[])], [false, true]);
}

#[test]
fn no_layer_is_fetched_for_a_filesystem_of_the_cache() {
    let day = Day::new("reuse", Plan::new());
    let build = |more: &[&str]| {
        let mut command = day.planish();
        command.args(["build", &day.source(), "-o", "out.ext4", "--platform", "linux/amd64", "--force", "--json"]);
        day.run(command.args(["--free", "0", "--cache-dir", "cache"]).args(more))
    };
    assert_eq!(report(&build(&[]))["reused"], false);
    let bytes = std::fs::read(day.bench.at("out.ext4")).unwrap();
    for layer in &sample().layers {
        std::fs::remove_file(day.blob(&layer.digest)).unwrap();
    }
    let fetched = day.registry.log().kind(Kind::Layer).len();
    for more in [&[][..], &["--offline"]] {
        assert_eq!(report(&build(more))["reused"], true);
        assert!(std::fs::read(day.bench.at("out.ext4")).unwrap() == bytes);
    }
    assert_eq!(day.registry.log().kind(Kind::Layer).len(), fetched);
    assert_eq!(report(&build(&["--no-reuse"]))["reused"], false);
    assert!(day.registry.log().kind(Kind::Layer).len() > fetched);
}

/// An image that takes a second or two.
fn large(bench: &Bench) -> String {
    let layout = bench.shared("large");
    let files = (0..3000).map(|n| Entry::file(format!("d{}/{n}", n % 40), vec![7; 5000]));
    let filler = Entry::file("filler", Content::Repeat { byte: 7, count: 60 << 20 });
    Image::new([Layer::new(files.chain([filler]))]).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

#[test]
fn twenty_builds_of_one_key_at_once_build_it_once() {
    let bench = Bench::new();
    let source = large(&bench);
    let start = |number: usize| {
        let name = format!("out{number}.ext4");
        let mut command = bench.planish();
        command.args(["build", &source, "-o", &name, "--cache-dir", "cache", "-v"]).args(QUICK);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..20).map(start).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let reused = outputs.iter().filter(|output| report(output)["reused"] == true).count();
    assert_eq!(reused, 19);
    let bytes = std::fs::read(bench.at("out0.ext4")).unwrap();
    for number in 1..20 {
        assert!(std::fs::read(bench.at(&format!("out{number}.ext4"))).unwrap() == bytes, "{number}");
    }
    assert_eq!(bench.at("cache/partial").read_dir().unwrap().count(), 0);
    assert_eq!(bench.at("cache/locks").read_dir().unwrap().count(), 0);
    succeeded(&cache(&bench, "verify"));
}

#[test]
fn a_killed_builder_leaves_nothing_half_and_is_not_waited_for() {
    let bench = Bench::new();
    let source = large(&bench);
    let start = |name: &str| {
        let mut command = bench.planish();
        command.args(["build", &source, "-o", name, "--cache-dir", "cache"]).args(QUICK);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for milliseconds in [100, 500, 1000] {
        let mut killed = start("killed.ext4");
        std::thread::sleep(Duration::from_millis(milliseconds));
        let waiting = start("waiting.ext4");
        std::thread::sleep(Duration::from_millis(50));
        killed.kill().unwrap();
        killed.wait().unwrap();
        report(&waiting.wait_with_output().unwrap());
        succeeded(&cache(&bench, "verify"));
        is_reused(&bench, &source, &[], true);
        let _ = std::fs::remove_dir_all(bench.at("cache"));
    }
}
