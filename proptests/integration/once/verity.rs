//! dm-verity: the hash tree equals that of `veritysetup`, and each wrong bit is found.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use planish::{Algorithm, Digest};
use serde_json::Value;

use crate::support::{Bench, failed, stderr, succeeded};

/// Builds with a hash tree and returns the report.
#[track_caller]
fn built(bench: &Bench, source: &str, more: &[&str]) -> Value {
    let output = bench.build(source, "out.ext4", &[&["--force", "--json", "--free", "1M"], more].concat());
    succeeded(&output);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn layered(bench: &Bench) -> String {
    format!("oci:{}", bench.fixture("layered").display())
}

fn verify(bench: &Bench, source: &str, more: &[&str]) -> Output {
    let mut command = bench.planish();
    command.args(["verify", source, "out.ext4", "--platform", "linux/amd64"]).args(more).output().unwrap()
}

fn text<'a>(report: &'a Value, name: &str) -> &'a str {
    report["verity"][name].as_str().unwrap()
}

fn digest_of(path: &Path) -> String {
    Digest::of(Algorithm::Sha256, &std::fs::read(path).unwrap()).to_string()
}

/// Runs `veritysetup format` with a report's salt and UUID and more options, and returns its root hash.
fn format(report: &Value, data: &Path, tree: &Path, more: &[String]) -> String {
    let output = Command::new("/usr/sbin/veritysetup")
        .arg("format")
        .args([data, tree])
        .args(["--salt", text(report, "salt"), "--uuid", text(report, "uuid")])
        .args(more)
        .output()
        .unwrap();
    succeeded(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs veritysetup"]
fn the_hash_tree_equals_that_of_veritysetup() {
    let bench = Bench::new();
    let source = layered(&bench);
    let shapes: [&[&str]; 4] = [&[], &["--engine", "direct"], &["--free", "200M"], &["--size", "70000001"]];
    for shape in shapes {
        let shape = if shape.contains(&"--size") { [shape, &["--free-inodes", "0"]].concat() } else { shape.to_vec() };
        let build = |more: &[&str]| {
            let mut all = vec!["--force", "--json"];
            all.extend(shape.iter().chain(more));
            let output = bench.build(&source, "out.ext4", &all);
            succeeded(&output);
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let (out, tree) = (bench.at("out.ext4"), bench.at("tree"));
        let _ = std::fs::remove_file(bench.shared("expected"));
        let separate = build(&["--verity", "tree"]);
        let expected: PathBuf = bench.shared("expected");
        let root = format(&separate, &out, &expected, &[]);
        assert_eq!(root, text(&separate, "root_hash"), "{shape:?}");
        assert!(std::fs::read(&tree).unwrap() == std::fs::read(&expected).unwrap(), "{shape:?}");
        succeeded(
            &Command::new("/usr/sbin/veritysetup").arg("verify").args([&out, &tree]).arg(&root).output().unwrap(),
        );
        let data = std::fs::read(&out).unwrap();

        let appended = build(&["--verity", "append"]);
        let blocks = data.len().div_ceil(4096);
        std::fs::write(&expected, &data).unwrap();
        let offset = blocks * 4096;
        std::fs::File::options().write(true).open(&expected).unwrap().set_len(offset as u64).unwrap();
        let more = [format!("--hash-offset={offset}"), format!("--data-blocks={blocks}")];
        assert_eq!(format(&appended, &expected, &expected, &more), text(&appended, "root_hash"), "{shape:?}");
        assert!(std::fs::read(&out).unwrap() == std::fs::read(&expected).unwrap(), "{shape:?}");
        for name in ["out.ext4", "tree"] {
            std::fs::remove_file(bench.at(name)).unwrap();
        }
    }
}

#[test]
fn a_separate_or_appended_hash_tree_is_reported_and_verified() {
    let bench = Bench::new();
    let source = layered(&bench);
    let plain = built(&bench, &source, &[]);
    assert_eq!(plain["verity"], Value::Null);
    let data = std::fs::read(bench.at("out.ext4")).unwrap();
    let beside = built(&bench, &source, &["--verity", "tree", "--report", "report.json"]);
    let behind = built(&bench, &source, &["--verity", "append"]);
    let salt = key_of(&plain);
    for (report, offset, hash_block, device) in
        [(&beside, 0, 1, "/dev/vdb"), (&behind, data.len(), data.len() / 4096 + 1, "/dev/vda")]
    {
        // The hash tree changes neither the filesystem nor the key.
        assert_eq!((&report["key"], &report["filesystem"]), (&plain["key"], &plain["filesystem"]));
        assert_eq!(text(report, "salt"), salt);
        assert_eq!(report["verity"]["hash_offset"], offset);
        assert_eq!(text(report, "root_hash"), text(&beside, "root_hash"));
        let (sectors, blocks) = (data.len() / 512, data.len() / 4096);
        let arguments = &report["verity"]["kernel_arguments"];
        let root = text(report, "root_hash");
        let table = format!(
            "dm-mod.create=\"rootfs,,,ro,0 {sectors} verity 1 /dev/vda {device} 4096 4096 {blocks} {hash_block} sha256 \
             {root} {salt}\" root=/dev/dm-0"
        );
        assert_eq!(arguments["dm_mod_create"], table);
        assert_eq!(arguments["roothash"], format!("roothash={root}"));
    }
    let whole = std::fs::read(bench.at("out.ext4")).unwrap();
    let tree = std::fs::read(bench.at("tree")).unwrap();
    assert!(whole == [data.as_slice(), &tree].concat());
    assert_eq!(behind["verity"]["digest"], digest_of(&bench.at("out.ext4")));
    assert_eq!(beside["verity"]["digest"], digest_of(&bench.at("tree")));
    let report: Value = serde_json::from_slice(&std::fs::read(bench.at("report.json")).unwrap()).unwrap();
    assert_eq!(report["verity"], beside["verity"]);

    let root = text(&behind, "root_hash");
    let more = ["--root-hash", root, "--verity"];
    for place in [&["append"][..], &["tree"]] {
        let output = verify(&bench, &source, &[&more, place].concat());
        succeeded(&output);
        let line = format!("verity      root hash {root}: {} blocks have their hash\n", data.len() / 4096);
        assert!(stderr(&output).ends_with(&line), "{}", stderr(&output));
    }
    succeeded(&verify(&bench, &source, &["--root-hash", &root.to_uppercase()]));
    let json: Value =
        serde_json::from_slice(&verify(&bench, &source, &["--root-hash", root, "--json"]).stdout).unwrap();
    assert_eq!((&json["verity"]["root_hash"], &json["verity"]["wrong_blocks"]), (&root.into(), &0.into()));
    assert_eq!(bench.left(), ["out.ext4", "report.json", "tree"]);
}

fn key_of(report: &Value) -> String {
    report["key"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned()
}

/// The summary of a build has the arguments that a kernel needs.
#[test]
fn the_root_hash_is_printed() {
    let bench = Bench::new();
    let source = layered(&bench);
    let root = text(&built(&bench, &source, &["--verity", "append"]), "root_hash").to_owned();
    let output = bench.build(&source, "out.ext4", &["--force", "--free", "1M", "--verity", "append"]);
    succeeded(&output);
    let summary = stderr(&output);
    assert!(summary.contains(&format!("verity      root hash {root}: 20.00 KiB in ")), "{summary}");
    assert!(summary.contains(&format!("            roothash={root}\n")), "{summary}");
}

#[test]
fn a_wrong_bit_or_root_hash_exits_with_8_and_a_missing_tree_with_6() {
    let bench = Bench::new();
    let source = layered(&bench);
    let report = built(&bench, &source, &["--verity", "append"]);
    let root = text(&report, "root_hash");
    let blocks = report["verity"]["data_blocks"].as_u64().unwrap();
    let different = |more: &[&str], line: &str| {
        let output = verify(&bench, &source, more);
        let summary = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
        assert!(summary.contains(line), "{line}: {summary}");
    };
    let zeros = "0".repeat(64);
    different(&["--root-hash", &zeros], &format!("dm-verity: the root hash is {root}, expected {zeros}\n"));
    let file = std::fs::File::options().read(true).write(true).open(bench.at("out.ext4")).unwrap();
    let flip = |at: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    };
    // The last block, which is free; a block of the lowest level; the block of the root.
    let tree = blocks * 4096;
    let block_of_root = "dm-verity: block 1 of level 0 of the tree differs from its hash, the first of 1\n";
    for (at, line) in [
        (tree - 1, format!("dm-verity: data block {} differs from its hash, the first of 1\n", blocks - 1)),
        (tree + 2 * 4096 + 32, "dm-verity: data block 1 differs from its hash, the first of 2\n".into()),
        (tree + 4096 + 32, block_of_root.into()),
    ] {
        flip(at);
        different(&["--root-hash", root], &line);
        flip(at);
    }
    succeeded(&verify(&bench, &source, &["--root-hash", root]));
    flip(tree);
    let text = failed(&verify(&bench, &source, &["--root-hash", root]), 6);
    assert_eq!(text, "out.ext4 has no dm-verity tree that can be checked: it has no superblock of dm-verity");
    built(&bench, &source, &[]);
    let output = verify(&bench, &source, &["--root-hash", root]);
    assert!(failed(&output, 6).starts_with("out.ext4 has no dm-verity tree that can be checked: "));
    assert!(stderr(&output).contains("hint: --verity FILE names the file of the tree"), "{}", stderr(&output));
    let output = verify(&bench, &source, &["--root-hash", root, "--verity", "nowhere"]);
    assert!(failed(&output, 6).starts_with("open nowhere"));
}

/// The root hash does not depend on the number of blocks that the superblock of a tree has at byte 72.
#[test]
fn a_hash_tree_that_covers_less_than_the_filesystem_exits_with_8() {
    for place in ["append", "tree"] {
        let bench = Bench::new();
        let source = layered(&bench);
        let report = built(&bench, &source, &["--verity", place]);
        let root = text(&report, "root_hash");
        let blocks = report["verity"]["data_blocks"].as_u64().unwrap();
        let offset = report["verity"]["hash_offset"].as_u64().unwrap();
        let options = || std::fs::File::options().write(true).to_owned();
        let data = options().open(bench.at("out.ext4")).unwrap();
        let tree =
            if place == "append" { options().open(bench.at("out.ext4")) } else { options().open(bench.at(place)) };
        tree.unwrap().write_all_at(&(blocks - 1).to_le_bytes(), offset + 72).unwrap();
        // The last block is free: no comparison with the image finds it.
        data.write_all_at(b"changed", (blocks - 1) * 4096).unwrap();
        let output = verify(&bench, &source, &["--root-hash", root, "--verity", place]);
        assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
        let line = format!("dm-verity: the tree covers {} data blocks, the filesystem has {blocks}\n", blocks - 1);
        assert_eq!(String::from_utf8_lossy(&output.stdout), line, "{place}");
        assert!(!stderr(&output).contains("have their hash"));
    }
}

#[test]
fn the_hash_tree_path_is_checked_like_the_output_path() {
    let bench = Bench::new();
    let source = layered(&bench);
    std::fs::write(bench.at("there"), "theirs").unwrap();
    std::fs::create_dir(bench.at("directory")).unwrap();
    let refused = |more: &[&str], code, line: &str| {
        let text = failed(&bench.build(&source, "out.ext4", more), code);
        assert!(text.contains(line), "{more:?}: {text}");
        assert_eq!(bench.left(), ["directory", "there"], "{more:?}");
    };
    refused(&["--verity", "there"], 2, "verity there: exists already");
    refused(&["--verity", "directory"], 2, "verity directory: is a directory");
    refused(&["--verity", "no/tree"], 6, "verity no/tree: its directory cannot be used");
    refused(&["--verity", "out.ext4"], 2, "verity out.ext4: another result of this run would have the same path");
    refused(
        &["--verity", "report", "--report", "report"],
        2,
        "verity report: another result of this run would have the same path",
    );
    for bad in ["", "-"] {
        assert_eq!(bench.build(&source, "out.ext4", &["--verity", bad]).status.code(), Some(2), "{bad}");
    }
    // A failed build leaves neither file and does not change an older tree.
    let output = bench.build(&source, "out.ext4", &["--verity", "there", "--force", "--size", "64K"]);
    failed(&output, 7);
    assert_eq!(std::fs::read(bench.at("there")).unwrap(), b"theirs");
    assert_eq!(bench.left(), ["directory", "there"]);
    succeeded(&bench.build(&source, "out.ext4", &["--verity", "there", "--force", "--free", "1M"]));
    assert!(std::fs::read(bench.at("there")).unwrap().starts_with(b"verity\0\0"));
    for bad in [&["--root-hash", "12"][..], &["--verity", "append"]] {
        assert_eq!(verify(&bench, &source, bad).status.code(), Some(2), "{bad:?}");
    }
}
