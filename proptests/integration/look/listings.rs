//! Listings of layers in the cache: they spare decoding, and nothing else can be told from the output.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Output;

use planish_proptests::writer::{Compression, Entry, Image, Layer, Layout, SparseFormat};
use serde_json::Value;

use super::{layout, spoil_layers};
use crate::support::registry::{Kind, Plan, Registry};
use crate::support::{Bench, failed, is_root, set_mode, stderr, succeeded};

const COMMANDS: [&[&str]; 4] = [
    &["ls", "-R", "--json"],
    &["layers", "--json"],
    &["explain", "--json", "etc/passwd"],
    &["explain", "--json", "usr/bin/sh"],
];

fn run(bench: &Bench, command: &[&str], source: &str, more: &[&str]) -> Output {
    // A path comes after the source.
    let mut planish = bench.planish();
    let (options, paths): (Vec<&str>, Vec<&str>) = command[1..].iter().partition(|word| word.starts_with('-'));
    planish.arg(command[0]).arg(source).args(paths).args(options).args(["--platform", "linux/amd64"]).args(more);
    planish.output().unwrap()
}

/// Runs a command with the cache `cache`, and returns its output.
#[track_caller]
fn cached(bench: &Bench, command: &[&str], source: &str) -> Vec<u8> {
    let output = run(bench, command, source, &["--cache-dir", "cache"]);
    succeeded(&output);
    assert_eq!(stderr(&output).lines().filter(|line| line.starts_with("warning")).count(), 0, "{}", stderr(&output));
    output.stdout
}

#[track_caller]
fn decoded(bench: &Bench, command: &[&str], source: &str) -> Vec<u8> {
    let output = run(bench, command, source, &["--no-cache"]);
    succeeded(&output);
    output.stdout
}

fn listings(bench: &Bench) -> Vec<PathBuf> {
    bench.cached("listings")
}

fn image() -> Image {
    let acl = "user::rw-,user:web:r--,group::r--,mask::r--,other::---";
    let below = Layer::new([
        Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        Entry::file("usr/bin/sh", "x".repeat(5000)).mode(0o4755),
        Entry::symlink("bin", "usr/bin"),
        Entry::char_device("dev/null", 1, 3),
        Entry::sparse("sparse", SparseFormat::Pax10, [(4096, 4)], 1 << 20, "data"),
        Entry::hardlink("usr/bin/dash", "usr/bin/sh"),
        Entry::file("gone/a", "a"),
    ]);
    let above = Layer::new([
        Entry::file("acl", "secret").mode(0o640).pax("SCHILY.acl.access", acl),
        Entry::opaque("gone"),
        Entry::file("usr/bin/ls", "y".repeat(700)),
    ]);
    let last = Layer::new([Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n")]);
    Image::new([below, above, last]).history_empty_layers()
}

#[test]
fn the_output_is_that_of_decoded_layers() {
    for command in COMMANDS {
        let bench = Bench::new();
        let source = layout(&bench, "image", &image());
        let expected = decoded(&bench, command, &source);
        assert_eq!(bench.left(), [""; 0]);
        for round in ["made", "used"] {
            assert_eq!(cached(&bench, command, &source), expected, "{command:?} {round}");
            assert!(listings(&bench).len() == 3, "{command:?} {round}");
        }
        assert_eq!(bench.left(), ["cache"]);
        assert_eq!(bench.at("cache/partial").read_dir().unwrap().count(), 0);
    }
}

/// An image whose names tell everything.
fn plain() -> Image {
    Image::new([
        Layer::new([Entry::file("etc/passwd", "one"), Entry::file("big", "z".repeat(9000))]),
        Layer::new([Entry::file("etc/passwd", "two"), Entry::file("small", "abc")]),
    ])
}

#[test]
fn a_listed_layer_is_not_decoded_and_a_needed_content_is() {
    let bench = Bench::new();
    let source = layout(&bench, "plain", &plain());
    let names = cached(&bench, COMMANDS[0], &source);
    let life = cached(&bench, COMMANDS[2], &source);
    assert!(String::from_utf8_lossy(&life).contains("\"offset\": 0"), "{}", String::from_utf8_lossy(&life));
    spoil_layers(&bench.shared("plain"), &plain());
    assert_eq!(cached(&bench, COMMANDS[0], &source), names);
    // Whoever needs contents, or proves them, decodes.
    failed(&run(&bench, COMMANDS[2], &source, &["--cache-dir", "cache"]), 5);
    failed(&run(&bench, COMMANDS[0], &source, &["--no-cache"]), 5);
    failed(&run(&bench, COMMANDS[0], &source, &["--cache-dir", "cache", "--listing-bytes", "0"]), 5);
    for command in ["check", "export"] {
        failed(&run(&bench, &[command], &source, &["--cache-dir", "cache"]), 5);
    }
    failed(&bench.build(&source, "out.ext4", &["--cache-dir", "cache"]), 5);
    assert_eq!(bench.left(), ["cache"]);
}

#[test]
fn an_acl_with_names_needs_the_file_that_has_them() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    cached(&bench, COMMANDS[0], &source);
    let shown: Value = serde_json::from_slice(&cached(&bench, COMMANDS[0], &source)).unwrap();
    let names = shown["names"].as_array().unwrap();
    let acl = names.iter().find(|name| name["path"] == "/acl").unwrap();
    // Version 2; user::rw-, user:33:r--, group::r--, mask::r--, other::---.
    let expected = "AgAAAAEABgD/////AgAEACEAAAAEAAQA/////xAABAD/////IAAAAP////8=";
    assert_eq!(acl["xattrs"][0]["value"], expected);
}

#[test]
fn damage_is_found_and_the_listing_made_anew() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    let expected = cached(&bench, COMMANDS[0], &source);
    let all = listings(&bench);
    let path = all.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let whole = std::fs::read(path).unwrap();
    let header = whole.iter().skip(72).position(|byte| *byte == b'\n').unwrap() + 73;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let other = std::fs::read(all.iter().find(|other| *other != path).unwrap()).unwrap();
    let mut damages = vec![Vec::new(), whole[..40].to_vec(), whole[..header].to_vec(), other, b"\n".repeat(4000)];
    damages.extend([whole.len() - 1, whole.len() - 20].map(|end| whole[..end].to_vec()));
    damages.push([&whole[..], b"x"].concat());
    // More than the layer has, under a digest that is right.
    let bomb = [&whole[72..header], &zstd::encode_all(&vec![0; 16 << 20][..], 3).unwrap()].concat();
    let digest = planish::Digest::of(planish::Algorithm::Sha256, &bomb);
    damages.push([format!("{digest}\n").as_bytes(), &bomb].concat());
    damages.extend([0, 10, 71, 72, 80, header - 3, header, header + 5, whole.len() - 1].map(flipped));
    for bytes in damages {
        std::fs::write(path, &bytes).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let line = format!("cache/listings/{name} is damaged: the layer is decoded again");
        let has_its_digest = bytes.ends_with(&bomb);
        if !has_its_digest {
            let verified = bench.cache("verify");
            assert_eq!(failed(&verified, 5), "the cache has 1 damaged listings or decoded layers");
            assert!(stderr(&verified).ends_with("hint: the next command that needs it decodes a layer again\n"));
            assert!(String::from_utf8(verified.stdout).unwrap().contains(&line));
        }
        let output = run(&bench, COMMANDS[0], &source, &["--cache-dir", "cache"]);
        succeeded(&output);
        assert!(stderr(&output).contains(&format!("warning: cache: {line}")), "{}", stderr(&output));
        assert_eq!(output.stdout, expected);
        assert!(std::fs::read(path).unwrap() == whole, "it is made anew");
        succeeded(&bench.cache("verify"));
    }
}

#[test]
fn strange_files_cost_a_decoding_and_are_left_alone() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    let expected = cached(&bench, COMMANDS[0], &source);
    let path = listings(&bench).remove(0);
    let elsewhere = bench.at("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let output = run(&bench, COMMANDS[0], &source, &["--cache-dir", "cache", "-v"]);
    succeeded(&output);
    assert_eq!(output.stdout, expected);
    assert!(stderr(&output).contains("without the cache's listings: "), "{}", stderr(&output));
    assert!(path.is_symlink());
    // The cache did not write it: a stranger is no damage.
    let verified = bench.cache("verify");
    succeeded(&verified);
    let name = path.file_name().unwrap().to_str().unwrap();
    let said = format!("cache/listings/{name} is no file of the cache\n");
    assert_eq!(String::from_utf8(verified.stdout).unwrap(), said);
    succeeded(&bench.cache("prune"));
    assert!(path.is_symlink() && elsewhere.exists());
}

#[test]
fn a_cache_that_others_can_write_has_no_listing() {
    let bench = Bench::new();
    let source = layout(&bench, "plain", &plain());
    let expected = cached(&bench, COMMANDS[0], &source);
    spoil_layers(&bench.shared("plain"), &plain());
    for (path, said) in [("cache", true), ("cache/listings", false)] {
        set_mode(&bench.at(path), 0o777);
        let output = run(&bench, COMMANDS[1], &source, &["--cache-dir", "cache", "-v"]);
        failed(&output, 5);
        let remark = "no listing is taken from the cache or kept there";
        assert_eq!(stderr(&output).contains(remark), said, "{path}: {}", stderr(&output));
        set_mode(&bench.at(path), 0o700);
    }
    if is_root() {
        let root = std::os::unix::fs::chown(bench.at("cache/listings"), Some(12345), None);
        root.unwrap();
        failed(&run(&bench, COMMANDS[0], &source, &["--cache-dir", "cache"]), 5);
        bench.give(&bench.at("cache/listings"));
    }
    assert_eq!(cached(&bench, COMMANDS[0], &source), expected);
}

#[test]
fn a_cache_that_is_full_closed_or_none_costs_a_decoding() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    let expected = decoded(&bench, COMMANDS[0], &source);
    std::fs::write(bench.at("file"), "").unwrap();
    std::fs::create_dir(bench.at("other")).unwrap();
    std::fs::write(bench.at("other/file"), "").unwrap();
    std::fs::create_dir(bench.at("closed")).unwrap();
    set_mode(&bench.at("closed"), 0o555);
    bench.give(&bench.at("closed"));
    for directory in ["file", "other", "closed", "/dev/full/cache"] {
        let output = run(&bench, COMMANDS[0], &source, &["--cache-dir", directory]);
        succeeded(&output);
        assert_eq!(output.stdout, expected, "{directory}");
    }
    assert_eq!(bench.left(), ["closed", "file", "other"]);
    assert_eq!(bench.at("other").read_dir().unwrap().count(), 1);
}

#[test]
fn listings_are_bounded_and_the_least_recently_used_ones_go() {
    let bench = Bench::new();
    let one = |name: &str| {
        let entries = (0..200).map(|n| Entry::file(format!("{name}{n:03}-{}", n * n), ""));
        layout(&bench, name, &Image::new([Layer::new(entries)]))
    };
    let sources = ["a", "b", "c"].map(one);
    let list = |source: &str, bytes: u64| {
        succeeded(&run(&bench, COMMANDS[0], source, &["--cache-dir", "cache", "--listing-bytes", &bytes.to_string()]));
        listings(&bench)
    };
    let first = list(&sources[0], 1 << 20);
    // A listing of a few hundred bytes takes whole blocks.
    let size = first[0].metadata().unwrap().blocks() * 512;
    assert_eq!(first.len(), 1);
    assert_eq!(list(&sources[1], size / 2), first, "too large to be kept");
    assert_eq!(list(&sources[1], size - 1), first, "too large on disk to be kept");
    assert_eq!(list(&sources[1], 0), first, "none is kept");
    let two = list(&sources[1], size * 5 / 2);
    assert_eq!(two.len(), 2);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let touched = two.iter().find(|path| !first.contains(path)).unwrap();
    std::fs::File::options().write(true).open(touched).unwrap().set_modified(old).unwrap();
    let after = list(&sources[2], size * 5 / 2);
    assert_eq!(after.len(), 2);
    assert!(after.contains(&first[0]) && !after.contains(touched), "{after:?}");
    assert_eq!(after[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(bench.at("cache/partial").read_dir().unwrap().count(), 0);
}

#[test]
fn limits_count_what_the_layer_holds() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    cached(&bench, COMMANDS[0], &source);
    for limit in [["--max-bytes", "10000"], ["--max-entries", "5"], ["--max-file-bytes", "4000"]] {
        let limited = |cache: [&str; 2]| {
            let output = run(&bench, COMMANDS[0], &source, &[&limit[..], &cache[..]].concat());
            failed(&output, 7)
        };
        assert_eq!(limited(["--cache-dir", "cache"]), limited(["--cache-dir", "none"]), "{limit:?}");
    }
}

#[test]
fn a_smaller_window_of_zstd_is_a_limit_where_there_is_a_listing_too() {
    let bench = Bench::new();
    let window = |compression| {
        let layer = Layer::new([Entry::file("f", "x".repeat(3 << 20))]).compression(compression);
        layout(&bench, &format!("{compression:?}"), &Image::new([layer]))
    };
    let few = ["--max-zstd-window-log", "20"];
    let with =
        |source: &str, more: &[&str]| run(&bench, COMMANDS[0], source, &[more, &["--cache-dir", "cache"]].concat());
    let zstd = window(Compression::Zstd);
    let refused = failed(&with(&zstd, &few), 7);
    cached(&bench, COMMANDS[0], &zstd);
    assert_eq!(failed(&with(&zstd, &few), 7), refused);
    // Another blob of the same diff ID.
    succeeded(&with(&window(Compression::Gzip), &few));
}

#[test]
fn the_cache_lists_counts_and_prunes_listings() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    cached(&bench, COMMANDS[0], &source);
    let listed = bench.cache("list");
    succeeded(&listed);
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(text.starts_with("listings of 3 layers  ") && text.lines().count() == 1, "{text}");
    let listed: Value = serde_json::from_slice(&bench.cache("list --json").stdout).unwrap();
    let items = listed.as_array().unwrap();
    assert!(items.iter().all(|item| item["listing"] == true) && items.len() == 3, "{items:?}");
    let bytes: u64 = items.iter().map(|item| item["bytes"].as_u64().unwrap()).sum();
    let prune = |words: &str| -> Value {
        let output = bench.cache(words);
        succeeded(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let kept = prune(&format!("prune --json --keep-bytes {bytes}"));
    assert_eq!((&kept["bytes"], &kept["kept_bytes"]), (&0.into(), &bytes.into()));
    let some = prune(&format!("prune --json --keep-bytes {}", bytes - 1));
    assert_eq!(some["listings"].as_array().unwrap().len(), 1);
    assert_eq!(listings(&bench).len(), 2);
    assert_eq!(prune("prune --json --dry-run")["listings"].as_array().unwrap().len(), 2);
    assert_eq!(listings(&bench).len(), 2);
    let rest = prune("prune --json");
    assert_eq!((rest["listings"].as_array().unwrap().len(), &rest["kept_bytes"]), (2, &0.into()));
    assert_eq!(listings(&bench), [""; 0].map(PathBuf::from));
}

#[test]
fn images_of_registries_share_listings_with_those_of_layouts() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    let expected = cached(&bench, COMMANDS[0], &source);
    let registry = Registry::start(&[("img", &bench.shared("image"))], Plan::new());
    let remote = format!("docker://{}/img:latest", registry.host());
    let names = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["names"].clone();
    for _ in 0..2 {
        assert_eq!(names(&cached(&bench, COMMANDS[0], &remote)), names(&expected));
    }
    assert_eq!(registry.log().kind(Kind::Layer).len(), 3, "each layer is fetched once");
    assert_eq!(listings(&bench).len(), 3);
    // The manifest's image is pruned as before.
    succeeded(&bench.cache("prune"));
    let left = bench.cache("list");
    assert_eq!(String::from_utf8(left.stdout).unwrap().lines().count(), 1);
}

#[test]
fn a_layer_that_is_no_tar_stream_has_no_listing() {
    let bench = Bench::new();
    let cut = Image::new([Layer::new([Entry::file("a", "b".repeat(3000))]).cut_tar(2000)]);
    let layout_of_cut = Layout::new().tag("latest", &cut);
    let source = super::written(&bench, "cut", &layout_of_cut);
    let plain = failed(&run(&bench, COMMANDS[0], &source, &["--no-cache"]), 5);
    for _ in 0..2 {
        assert_eq!(failed(&run(&bench, COMMANDS[0], &source, &["--cache-dir", "cache"]), 5), plain);
        assert_eq!(listings(&bench).len(), 0);
    }
    assert_eq!(bench.at("cache/partial").read_dir().unwrap().count(), 0);
}
