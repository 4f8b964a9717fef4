//! The options of a filesystem: each valid one is read back, checked and reproducible; each invalid one is refused by
//! name.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use planish::ext4::{Filesystem, Superblock};
use planish_proptests::listing::Listing;
use planish_proptests::writer::{Content, Entry, Image, Layer};

use crate::support::{Bench, equal, failed, read_clean, stderr, succeeded, tool};

const UUID: &str = "c0ffee00-0102-0304-0506-0708090a0b0c";

fn image(bench: &Bench, name: &str, entries: impl IntoIterator<Item = Entry>) -> String {
    let layout = bench.shared(name);
    Image::new([Layer::new(entries)]).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

/// Entries of every type, in a directory of several blocks.
fn entries() -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        (0..900).map(|n| Entry::file(format!("d/{}{n}", "n".repeat(n % 150)), vec![7; n * 11]).owner(1, 2)).collect();
    entries.extend([
        Entry::char_device("d/null", 1, 3),
        Entry::symlink("short", "t"),
        Entry::hardlink("d/short2", "short"),
        Entry::symlink("long", vec![b't'; 4095]),
        Entry::hardlink("d/long2", "long"),
        Entry::file("x", "").xattr("user.k", vec![7; 3000]),
        Entry::file("large", Content::Repeat { byte: 7, count: 9 << 20 }),
    ]);
    entries
}

fn superblock(path: &Path) -> Superblock {
    Filesystem::open(File::open(path).unwrap()).unwrap().superblock().clone()
}

/// Builds, including verification and e2fsck; returns the listing of the filesystem.
#[track_caller]
fn built(bench: &Bench, source: &str, more: &[&str]) -> Listing {
    succeeded(&bench.build(source, "out.ext4", &[&["--force"], more].concat()));
    read_clean(&bench.at("out.ext4"))
}

/// Requires `planish verify` and e2fsck to find nothing.
#[track_caller]
fn verified(bench: &Bench, source: &str) {
    let mut command = bench.planish();
    succeeded(&command.args(["verify", source, "out.ext4", "--platform", "linux/amd64"]).output().unwrap());
    let checked = Command::new(tool("e2fsck")).arg("-fn").arg(bench.at("out.ext4")).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// The features that `dumpe2fs` reads.
fn features(image: &Path) -> Vec<String> {
    let output = Command::new(tool("dumpe2fs")).arg("-h").arg(image).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Filesystem features:")).unwrap();
    line.split_whitespace().map(Into::into).collect()
}

#[test]
fn every_feature_is_written_read_back_and_clean() {
    let bench = Bench::new();
    let source = image(&bench, "features", entries());
    // Two block groups and more.
    let default = built(&bench, &source, &["--free", "150M", "--engine", "e2fsprogs"]);
    let usual = features(&bench.at("out.ext4"));
    for list in [
        "64bit",
        "^metadata_csum",
        "metadata_csum_seed",
        "^flex_bg",
        "^dir_index",
        "resize_inode",
        "^has_journal",
        "64bit,resize_inode,^metadata_csum,^flex_bg",
        "64bit,metadata_csum_seed,resize_inode,^has_journal",
    ] {
        succeeded(&bench.build(&source, "out.ext4", &["--force", "--features", list, "--free", "150M"]));
        // The other reader supports descriptors of 32 bytes only; the build's reader has compared all of it.
        if !list.contains("64bit") {
            equal(&default, &read_clean(&bench.at("out.ext4")));
        }
        verified(&bench, &source);
        let found = features(&bench.at("out.ext4"));
        for item in list.split(',') {
            match item.strip_prefix('^') {
                Some(gone) => assert!(!found.iter().any(|f| f == gone), "{list}: {found:?}"),
                None => assert!(found.iter().any(|f| f == item), "{list}: {found:?}"),
            }
        }
        let changed: Vec<&str> = list.split(',').map(|item| item.trim_start_matches('^')).collect();
        let rest = |all: &[String]| {
            let mut rest: Vec<String> = all.iter().filter(|f| !changed.contains(&f.as_str())).cloned().collect();
            rest.sort();
            rest
        };
        assert_eq!(rest(&found), rest(&usual), "{list}");
    }
}

#[test]
fn features_of_e2fsprogs_only_are_refused_by_the_direct_engine() {
    let bench = Bench::new();
    let source = image(&bench, "large", (0..5000).map(|n| Entry::file(format!("d/{n}"), "")));
    for (more, name) in [
        (["--features", "64bit"], "64bit"),
        (["--features", "^metadata_csum"], "^metadata_csum"),
        (["--features", "resize_inode"], "resize_inode"),
        (["--journal-size", "none"], "^has_journal"),
    ] {
        let text = format!("{name} is not supported by the direct engine");
        let output = bench.build(&source, "out.ext4", &[&["--force", "--engine", "direct"], &more[..]].concat());
        assert_eq!(failed(&output, 2), text);
        assert!(stderr(&output).contains("hint: drop --engine to let planish choose e2fsprogs"));
        let output = bench.build(&source, "out.ext4", &[&["--force", "--free", "9M"], &more[..]].concat());
        let reason = format!("engine      e2fsprogs: direct cannot write the tree: {text}\n");
        assert!(stderr(&output).contains(&reason), "{}", stderr(&output));
    }
}

#[test]
fn label_uuid_and_journal_are_as_requested() {
    let bench = Bench::new();
    let source = image(&bench, "chosen", [Entry::file("a", "a")]);
    for engine in ["e2fsprogs", "direct"] {
        let more = ["--engine", engine, "--label", "-wurzel größe", "--uuid", UUID, "--journal-size", "8M"];
        built(&bench, &source, &more);
        let found = superblock(&bench.at("out.ext4"));
        assert_eq!(*found.label, *"-wurzel größe".as_bytes());
        let uuid: String = found.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(uuid, UUID.replace('-', ""));
        let filesystem = Filesystem::open(File::open(bench.at("out.ext4")).unwrap()).unwrap();
        assert_eq!(filesystem.inode(planish::ext4::InodeNumber::new(8)).unwrap().size, 8 << 20);
    }
}

#[test]
fn equal_options_give_equal_bytes_and_others_another_uuid() {
    let bench = Bench::new();
    let source = image(&bench, "same", [Entry::file("a", "a"), Entry::symlink("b", "a")]);
    let mut uuids = std::collections::BTreeSet::new();
    let choices: [&[&str]; 9] = [
        &["--free", "1M"],
        &["--free", "2M"],
        &["--free", "1M", "--free-inodes", "0"],
        &["--free", "1M", "--label", "x"],
        &["--free", "9M", "--journal-size", "none"],
        &["--free", "1M", "--journal-size", "8M"],
        &["--free", "1M", "--features", "64bit"],
        &["--size", "3M"],
        &["--free", "1M", "--uuid", UUID],
    ];
    for more in choices {
        let [first, second] = [(); 2].map(|()| {
            built(&bench, &source, more);
            std::fs::read(bench.at("out.ext4")).unwrap()
        });
        assert!(first == second, "{more:?}");
        assert!(uuids.insert(superblock(&bench.at("out.ext4")).hash_seed), "{more:?} is no part of the hash seed");
        uuids.insert(superblock(&bench.at("out.ext4")).uuid);
    }
    assert_eq!(uuids.len(), 2 * choices.len());
}

#[test]
fn impossible_options_are_usage_errors_with_a_reason() {
    let bench = Bench::new();
    let refused = |more: &[&str]| {
        let output = bench.build("oci:/nowhere:x", "out.ext4", more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        stderr(&output)
    };
    let cases: [(&[&str], &str); 12] = [
        (&["--label", "0123456789abcdefg"], "has 17 bytes, ext4 has room for 16"),
        (&["--label", ""], "is empty: a filesystem without a label needs no option"),
        (&["--label", "a\nb"], "holds a control character"),
        (&["--uuid", "random"], "not of the form 01234567-89ab-cdef-0123-456789abcdef"),
        (
            &["--block-size", "1024"],
            "ext4 keeps a symlink's target in one block, and Linux allows targets of 4095 bytes",
        ),
        (&["--block-size", "65536"], "Linux on machines with pages of 4 KiB mounts no larger blocks"),
        (&["--journal-size", "1M"], "a journal has whole MiB, 4M to 40000M"),
        (&["--features", "bigalloc"], "bigalloc is not among the features that planish can verify"),
        (&["--features", "^extent"], "extent cannot be left out"),
        (&["--free-inodes", "1K"], "not a number or a percentage"),
        (&["--features", "^has_journal", "--journal-size", "4M"], "--journal-size contradicts --features ^has_journal"),
        (
            &["--features", "has_journal", "--journal-size", "none"],
            "--journal-size none contradicts --features has_journal",
        ),
    ];
    for (more, reason) in cases {
        let text = refused(more);
        assert!(text.contains(reason), "{more:?}: {text}");
    }
    let source = image(&bench, "taken", [Entry::file("a", "a")]);
    built(&bench, &source, &["--block-size", "4096", "--features", "has_journal,extent"]);
}

#[test]
fn a_lost_and_found_of_another_type_is_written() {
    let bench = Bench::new();
    let cases = [
        ("file", vec![Entry::file("lost+found", "mine").mode(0o640).owner(3, 4).mtime(5, 6)]),
        ("symlink", vec![Entry::symlink("lost+found", "elsewhere"), Entry::file("lost+found!", "")]),
        ("device", vec![Entry::file("a", "a"), Entry::char_device("lost+found", 1, 3), Entry::file("z", "z")]),
        ("linked", vec![Entry::file("a", "a"), Entry::hardlink("lost+found", "a"), Entry::hardlink("m/n", "a")]),
        ("linked symlink", vec![Entry::symlink("lost+found", "t"), Entry::hardlink("zz", "lost+found")]),
    ];
    for (name, entries) in cases {
        let source = image(&bench, name, entries);
        let found = built(&bench, &source, &["--free", "0", "--free-inodes", "0"]);
        assert!(found.get(b"/lost+found").is_some(), "{name}");
        let mut command = bench.planish();
        command.args(["plan", &source, "--platform", "linux/amd64", "--json", "--free", "0", "--free-inodes", "0"]);
        let plan: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let superblock = superblock(&bench.at("out.ext4"));
        assert_eq!(plan["free_bytes"], superblock.free_blocks * 4096, "{name}");
        assert_eq!(plan["free_inodes"], superblock.free_inodes, "{name}");
        let refused = failed(&bench.build(&source, "none.ext4", &["--engine", "direct"]), 5);
        assert_eq!(refused, "/lost+found is not a directory, and only the e2fsprogs engine can write it so");
    }
}
