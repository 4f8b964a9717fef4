//! Decoded layers in the cache: they spare fetching and decoding, and nothing else can be told from the filesystem.

use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Output;

use planish_proptests::writer::{Compression, Entry, Image, Layer};
use serde_json::Value;

use crate::look::{layout, spoil_layers};
use crate::support::registry::{Kind, Plan, Registry};
use crate::support::{Bench, failed, set_mode, stderr, succeeded};

const QUICK: [&str; 7] = ["--platform", "linux/amd64", "--free", "1M", "--force", "--json", "--no-reuse"];
const DECODED: [&str; 4] = ["--cache-dir", "cache", "--layer-cache-bytes", "64M"];

fn run(bench: &Bench, source: &str, more: &[&str]) -> Output {
    let mut command = bench.planish();
    command.args(["build", source, "-o", "out.ext4"]).args(QUICK).args(more).output().unwrap()
}

/// Builds, and returns the report and the bytes of the filesystem.
#[track_caller]
fn built(bench: &Bench, source: &str, more: &[&str]) -> (Value, Vec<u8>) {
    let output = run(bench, source, more);
    succeeded(&output);
    assert_eq!(stderr(&output).lines().filter(|line| line.starts_with("warning")).count(), 0, "{}", stderr(&output));
    (comparable(&output), std::fs::read(bench.at("out.ext4")).unwrap())
}

/// A report without times.
fn comparable(output: &Output) -> Value {
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.as_object_mut().unwrap().remove("seconds").is_some());
    report
}

fn decoded(bench: &Bench) -> Vec<PathBuf> {
    bench.cached("layers")
}

fn base() -> Layer {
    let names = (0..300).map(|n| Entry::file(format!("usr/lib/{n}"), format!("{n}").repeat(n)));
    Layer::new(names.chain([Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\n"), Entry::file("gone", "x")]))
}

fn app(name: &str) -> Layer {
    Layer::new([Entry::file("srv/app", name.repeat(1000)), Entry::whiteout("gone")])
}

fn image(name: &str) -> Image {
    Image::new([base(), app(name)])
}

/// Removes the blobs of all layers from the cache.
fn drop_blobs(bench: &Bench, image: &Image) {
    for layer in &image.layers {
        let digest = planish::Digest::of(planish::Algorithm::Sha256, &layer.blob());
        let _ = std::fs::remove_file(bench.at("cache/blobs/sha256").join(digest.hex()));
    }
}

#[test]
fn images_share_decoded_layers_and_fetch_none_of_them() {
    let bench = Bench::new();
    let (one, two) = (image("one"), image("two"));
    layout(&bench, "one", &one);
    layout(&bench, "two", &two);
    let layouts = [("one", &*bench.shared("one")), ("two", &bench.shared("two"))];
    let registry = Registry::start(&layouts, Plan::new());
    let source = |name: &str| format!("docker://{}/{name}:latest", registry.host());
    let fetched = || registry.log().kind(Kind::Layer).len();
    let direct = built(&bench, &source("two"), &["--no-cache"]);
    let before = fetched();
    built(&bench, &source("one"), &DECODED);
    assert_eq!((fetched(), decoded(&bench).len()), (before + 2, 2));
    drop_blobs(&bench, &one);
    let (report, bytes) = built(&bench, &source("two"), &DECODED);
    assert_eq!(fetched(), before + 3, "the shared layer is not fetched");
    assert!(bytes == direct.1);
    let compressions = |report: &Value| [0, 1].map(|n| report["layers"][n]["compression"].clone());
    assert_eq!(compressions(&report), ["not read", "gzip"]);
    let unread = |mut report: Value| {
        report["layers"][0]["compression"].take();
        report
    };
    assert_eq!(unread(report), unread(direct.0.clone()));
    // Where the blob is in the cache, its compression is known.
    built(&bench, &source("two"), &["--cache-dir", "cache"]);
    assert_eq!(fetched(), before + 4);
    assert_eq!(built(&bench, &source("two"), &DECODED), direct);
    drop_blobs(&bench, &two);
    assert!(built(&bench, &source("two"), &[&DECODED[..], &["--offline"]].concat()).1 == direct.1);
    assert_eq!(fetched(), before + 4);
    let verified =
        bench.planish().args(["verify", &source("two"), "out.ext4"]).args(&QUICK[..2]).args(DECODED).output();
    succeeded(&verified.unwrap());
    assert_eq!(fetched(), before + 4);
    failed(&run(&bench, &source("two"), &["--cache-dir", "cache", "--offline"]), 6);
    assert_eq!(bench.at("cache/partial").read_dir().unwrap().count(), 0);
}

#[test]
fn a_layout_profits_and_its_blob_is_not_decoded_again() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image("one"));
    let direct = built(&bench, &source, &["--no-cache"]);
    for round in ["made", "used"] {
        assert!(built(&bench, &source, &DECODED) == direct, "{round}");
        assert_eq!(decoded(&bench).len(), 2, "{round}");
    }
    for layer in [base(), app("one")] {
        let digest = planish::Digest::of(planish::Algorithm::Sha256, &layer.tar());
        let file = bench.at(&format!("cache/layers/sha256-{}", digest.hex()));
        assert!(std::fs::read(&file).unwrap() == layer.tar(), "the file is the stream");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
    }
    spoil_layers(&bench.shared("image"), &image("one"));
    assert!(built(&bench, &source, &DECODED) == direct);
    failed(&run(&bench, &source, &["--cache-dir", "cache"]), 5);
    failed(&run(&bench, &source, &["--no-cache", "--layer-cache-bytes", "64M"]), 5);
    let names = bench.planish().args(["ls", "-R", &source]).args(&QUICK[..2]).args(DECODED).output().unwrap();
    succeeded(&names);
    // A blob of another size is refused.
    let blob = planish::Digest::of(planish::Algorithm::Sha256, &base().blob());
    let blob = bench.shared("image").join("blobs/sha256").join(blob.hex());
    std::fs::File::options().write(true).open(blob).unwrap().set_len(100).unwrap();
    failed(&run(&bench, &source, &DECODED), 5);
}

#[test]
fn damage_is_named_and_the_layer_decoded_anew() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image("one"));
    let direct = built(&bench, &source, &DECODED);
    let stream = base().tar();
    let digest = planish::Digest::of(planish::Algorithm::Sha256, &stream);
    let name = format!("cache/layers/sha256-{}", digest.hex());
    let path = bench.at(&name);
    let flipped = |at: usize| {
        let mut bytes = stream.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut damages = vec![Vec::new(), stream[..stream.len() - 1].to_vec(), [&stream[..], &[0]].concat()];
    damages.extend([base().blob(), app("one").tar(), flipped(0), flipped(stream.len() / 2), flipped(stream.len() - 1)]);
    for bytes in damages {
        std::fs::write(&path, &bytes).unwrap();
        let line = format!("{name} is damaged: the layer is decoded again");
        let verified = bench.cache("verify");
        assert_eq!(failed(&verified, 5), "the cache has 1 damaged listings or decoded layers");
        assert_eq!(String::from_utf8(verified.stdout).unwrap(), format!("{line}\n"));
        let output = run(&bench, &source, &DECODED);
        succeeded(&output);
        assert!(stderr(&output).contains(&format!("warning: cache: {line}\n")), "{}", stderr(&output));
        assert!((comparable(&output), std::fs::read(bench.at("out.ext4")).unwrap()) == direct);
        assert!(std::fs::read(&path).unwrap() == stream, "it is made anew");
        succeeded(&bench.cache("verify"));
    }
    // More than all layers may have, where the layer is small.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(built(&bench, &source, &[&DECODED[..], &["--max-bytes", "4M"]].concat()) == direct);
}

#[test]
fn a_damaged_layer_of_a_registry_is_fetched() {
    let bench = Bench::new();
    layout(&bench, "one", &image("one"));
    let registry = Registry::start(&[("one", &bench.shared("one"))], Plan::new());
    let source = format!("docker://{}/one:latest", registry.host());
    let direct = built(&bench, &source, &DECODED);
    drop_blobs(&bench, &image("one"));
    let path = decoded(&bench).remove(0);
    std::fs::File::options().write(true).open(&path).unwrap().write_all_at(b"x", 700).unwrap();
    let output = run(&bench, &source, &DECODED);
    succeeded(&output);
    assert!(stderr(&output).contains("is damaged: the layer is decoded again"), "{}", stderr(&output));
    assert_eq!(registry.log().kind(Kind::Layer).len(), 3, "only this one is fetched");
    assert!(std::fs::read(bench.at("out.ext4")).unwrap() == direct.1);
}

#[test]
fn a_cache_that_others_can_write_has_no_decoded_layer() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image("one"));
    let direct = built(&bench, &source, &DECODED);
    spoil_layers(&bench.shared("image"), &image("one"));
    for (path, said) in [("cache", true), ("cache/layers", false)] {
        set_mode(&bench.at(path), 0o777);
        let output = run(&bench, &source, &DECODED);
        failed(&output, 5);
        let warning = "no decoded layer is taken from the cache or kept there";
        assert_eq!(stderr(&output).matches(warning).count(), usize::from(said), "{path}: {}", stderr(&output));
        set_mode(&bench.at(path), 0o700);
    }
    assert!(built(&bench, &source, &DECODED) == direct);
}

#[test]
fn strange_files_cost_a_decoding_and_are_left_alone() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image("one"));
    let direct = built(&bench, &source, &DECODED);
    let path = decoded(&bench).remove(0);
    let elsewhere = bench.at("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let output = run(&bench, &source, &DECODED);
    succeeded(&output);
    assert_eq!(stderr(&output).matches("warning: without the cache's decoded layers: ").count(), 1);
    assert!((comparable(&output), std::fs::read(bench.at("out.ext4")).unwrap()) == direct);
    assert!(path.is_symlink() && elsewhere.exists());
    let verified = bench.cache("verify");
    succeeded(&verified);
    assert!(String::from_utf8(verified.stdout).unwrap().ends_with(" is no file of the cache\n"));
    succeeded(&bench.cache("prune"));
    assert!(path.is_symlink() && elsewhere.exists());
}

#[test]
fn a_cache_that_is_full_or_closed_costs_a_decoding_and_one_warning() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image("one"));
    let direct = built(&bench, &source, &["--no-cache"]);
    std::fs::write(bench.at("file"), "").unwrap();
    std::fs::create_dir(bench.at("closed")).unwrap();
    set_mode(&bench.at("closed"), 0o555);
    bench.give(&bench.at("closed"));
    for directory in ["file", "closed", "/dev/full/cache"] {
        let more = ["--cache-dir", directory, "--layer-cache-bytes", "64M", "-j", "1"];
        let output = run(&bench, &source, &more);
        succeeded(&output);
        assert!(stderr(&output).matches("warning: ").count() == 1, "{directory}: {}", stderr(&output));
        assert!((comparable(&output), std::fs::read(bench.at("out.ext4")).unwrap()) == direct, "{directory}");
    }
    assert_eq!(bench.left(), ["closed", "file", "out.ext4"]);
}

#[test]
fn decoded_layers_are_bounded_and_the_least_recently_used_ones_go() {
    let bench = Bench::new();
    let one = |name: &str| layout(&bench, name, &Image::new([Layer::new([Entry::file(name, name.repeat(100_000))])]));
    let sources = ["a", "b", "c"].map(one);
    let build = |source: &str, bytes: u64| {
        built(&bench, source, &["--cache-dir", "cache", "--layer-cache-bytes", &bytes.to_string()]);
        decoded(&bench)
    };
    let first = build(&sources[0], 1 << 20);
    let size = first[0].metadata().unwrap().blocks() * 512;
    assert_eq!(first.len(), 1);
    assert_eq!(build(&sources[1], size - 4096), first, "too large to be kept");
    assert_eq!(build(&sources[1], 0), first, "none is kept");
    let two = build(&sources[1], 2 * size);
    assert_eq!(two.len(), 2);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let touched = two.iter().find(|path| !first.contains(path)).unwrap();
    std::fs::File::options().write(true).open(touched).unwrap().set_modified(old).unwrap();
    let after = build(&sources[2], 2 * size);
    assert_eq!(after.len(), 2);
    assert!(after.contains(&first[0]) && !after.contains(touched), "{after:?}");
    assert_eq!(bench.at("cache/partial").read_dir().unwrap().count(), 0);
}

#[test]
fn zeros_of_a_decoded_layer_take_no_space() {
    let bench = Bench::new();
    let source = layout(&bench, "zeros", &Image::new([Layer::new([Entry::file("zeros", vec![0; 4 << 20])])]));
    let direct = built(&bench, &source, &["--no-cache"]);
    for round in ["made", "used"] {
        let limited = ["--cache-dir", "cache", "--layer-cache-bytes", "1M"];
        assert!(built(&bench, &source, &limited) == direct, "{round}");
        assert_eq!(decoded(&bench).len(), 1, "{round}");
    }
    assert!(decoded(&bench)[0].metadata().unwrap().blocks() * 512 < 1 << 20);
    succeeded(&bench.cache("verify"));
}

#[test]
fn only_what_another_run_would_accept_is_kept_and_taken() {
    let bench = Bench::new();
    let entries = || [Entry::file("f", "x".repeat(3 << 20))];
    let of = |compression| {
        let layer = Layer::new(entries()).compression(compression);
        layout(&bench, &format!("{compression:?}"), &Image::new([layer]))
    };
    let [plain, gzip, zstd] = [Compression::None, Compression::Gzip, Compression::Zstd].map(of);
    let kept = |source: &str, more: &[&str]| {
        built(&bench, source, &[&DECODED[..], more].concat());
        decoded(&bench).len()
    };
    assert_eq!(kept(&plain, &[]), 0, "it is not compressed");
    assert_eq!(kept(&zstd, &["--max-zstd-window-log", "28"]), 0, "others may refuse it");
    assert_eq!(kept(&zstd, &[]), 1);
    let with = |source: &str, limit: [&str; 2]| run(&bench, source, &[&DECODED[..], &limit].concat());
    let small = ["--max-zstd-window-log", "20"];
    failed(&with(&zstd, small), 7);
    succeeded(&with(&gzip, small));
    for limit in [["--max-bytes", "10000"], ["--max-file-bytes", "4000"]] {
        let expected = failed(&run(&bench, &gzip, &[&["--no-cache"], &limit[..]].concat()), 7);
        assert_eq!(failed(&with(&gzip, limit), 7), expected, "{limit:?}");
    }
    // Whoever refuses a blob keeps nothing of it.
    let broken = Image::new([Layer::new(entries()).wrong_diff_id()]);
    failed(&run(&bench, &layout(&bench, "broken", &broken), &DECODED), 5);
    assert_eq!(decoded(&bench).len(), 1);
}

#[test]
fn the_cache_lists_counts_and_prunes_decoded_layers() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image("one"));
    built(&bench, &source, &DECODED);
    let listed = String::from_utf8(bench.cache("list").stdout).unwrap();
    assert!(listed.starts_with("decoded 2 layers  ") && listed.lines().count() == 1, "{listed}");
    let listed: Value = serde_json::from_slice(&bench.cache("list --json").stdout).unwrap();
    let items = listed.as_array().unwrap();
    assert!(items.iter().all(|item| item["decoded"] == true && item["listing"] == false) && items.len() == 2);
    let bytes: u64 = items.iter().map(|item| item["bytes"].as_u64().unwrap()).sum();
    let on_disk: u64 = decoded(&bench).iter().map(|path| path.metadata().unwrap().blocks() * 512).sum();
    assert_eq!(bytes, on_disk);
    let prune = |words: &str| -> Value {
        let output = bench.cache(words);
        succeeded(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let kept = prune(&format!("prune --json --keep-bytes {bytes}"));
    assert_eq!((&kept["bytes"], &kept["kept_bytes"]), (&0.into(), &bytes.into()));
    let some = prune(&format!("prune --json --keep-bytes {}", bytes - 1));
    assert_eq!((some["decoded_layers"].as_array().unwrap().len(), decoded(&bench).len()), (1, 1));
    assert_eq!(prune("prune --json --dry-run")["decoded_layers"].as_array().unwrap().len(), 1);
    let rest = prune("prune --json");
    assert_eq!((rest["decoded_layers"].as_array().unwrap().len(), &rest["kept_bytes"]), (1, &0.into()));
    assert_eq!(decoded(&bench), [""; 0].map(PathBuf::from));
}
