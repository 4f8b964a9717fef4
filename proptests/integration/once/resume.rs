//! Transfers that are cut off: what was sent or fetched before is not transferred again.

use std::os::unix::fs::FileExt as _;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::fleet::wire::{Dice, Wire};
use super::written::{CHUNK, Written, pack};
use crate::support::process::{command, run};
use crate::support::registry::{Fault, Kind, NONE, On, Plan};
use crate::support::{Bench, failed, succeeded, tool};

/// The bytes that requests and answers take beside blobs.
const BESIDE: u64 = 50_000;
/// The bytes of a chunk that are not zero.
const NOISE: usize = 300_000;

/// Bytes that cannot be compressed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..length).map(|_| u8::try_from(dice.below(256)).unwrap()).collect()
}

/// Makes an ext4 filesystem of five chunks, each with some noise.
fn filesystem(bench: &Bench) {
    let path = bench.at("fs.ext4");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(5 * CHUNK as u64).unwrap();
    run(command(tool("mkfs.ext4").to_str().unwrap()).arg("-q").arg(&path));
    for number in 0..5 {
        file.write_all_at(&noise(number, NOISE), number * CHUNK as u64 + (8 << 20)).unwrap();
    }
    bench.give(&path);
}

fn planish(bench: &Bench, words: &str) -> Output {
    let mut command = bench.planish();
    command.env("HOME", bench.home()).args(words.split(' ')).args(["--jobs", "1", "--retry", "1", "--json"]);
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn transferred(output: &Output) -> u64 {
    succeeded(output);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["transferred_bytes"].as_u64().unwrap()
}

/// Returns the sizes of the chunks' blobs.
fn sizes(reference: &str) -> Vec<u64> {
    let mut inspect = command("skopeo inspect --raw --tls-verify=false");
    let manifest: Value = serde_json::from_str(&run(inspect.arg(format!("docker://{reference}")))).unwrap();
    manifest["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).collect()
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn a_push_that_was_cut_off_sends_only_the_rest() {
    let bench = Bench::new();
    filesystem(&bench);
    let wire = Wire::new(&bench);
    let whole = transferred(&planish(&bench, &format!("push fs.ext4 {}/whole:x", wire.images())));
    let sizes = sizes(&format!("{}/whole:x", wire.images()));
    assert_eq!(sizes.len(), 5);
    // In the middle of the third chunk.
    let before = sizes[0] + sizes[1];
    wire.bytes();
    wire.cut_after(before + sizes[2] / 2);
    let push = format!("push fs.ext4 {}/fs:x", wire.filesystems());
    failed(&planish(&bench, &push), 3);
    wire.mend();
    wire.bytes();
    let second = transferred(&planish(&bench, &push));
    let (_, sent) = wire.bytes();
    assert_eq!(second, whole - before);
    assert!((second..second + BESIDE).contains(&sent), "{sent} of {second}");
    assert_eq!(transferred(&planish(&bench, &push)), 0);
    succeeded(&planish(&bench, &format!("pull {}/fs:x -o back.ext4", wire.filesystems())));
    assert!(std::fs::read(bench.at("fs.ext4")).unwrap() == std::fs::read(bench.at("back.ext4")).unwrap());
}

#[test]
fn a_pull_that_was_cut_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let mut whole = vec![0; 3 * CHUNK];
    for (number, chunk) in (0..).zip(whole.chunks_mut(CHUNK)) {
        chunk[..NOISE].copy_from_slice(&noise(number, NOISE));
    }
    let chunks: Vec<(u64, Vec<u8>)> = (0..).zip(whole.chunks(CHUNK).map(pack)).collect();
    let written = Written::of(&whole, &chunks);
    let digest = |number: usize| written.manifest["layers"][number]["digest"].as_str().unwrap().to_owned();
    let cut = chunks[1].1.len() as u64 / 2;
    for ranges in [true, false] {
        let plan = Plan::new().rule(On::layer(1).first(), Fault { reset_after: Some(cut), ..NONE });
        let whole_only = Fault { ignore_range: true, ..NONE };
        let plan = if ranges { plan } else { plan.rule(On::kind(Kind::Layer), whole_only) };
        let registry = written.serve(&bench.shared("fs"), plan);
        let mut pull = bench.planish();
        pull.env("HOME", bench.home()).args([
            "pull",
            &format!("{}/fs:latest", registry.host()),
            "--no-cache",
            "--force",
        ]);
        succeeded(&pull.args(["--output", "out.ext4"]).output().unwrap());
        assert!(std::fs::read(bench.at("out.ext4")).unwrap() == whole);
        let requests = |number| registry.log().gets(&digest(number));
        assert_eq!((requests(0).len(), requests(1).len(), requests(2).len()), (1, 2, 1), "{ranges}");
        let second = &requests(1).0[1];
        let begin =
            second.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        assert!(begin.is_some_and(|begin: u64| (1..=cut).contains(&begin)), "{:?}", second.range);
        let rest = chunks[1].1.len() as u64 - if ranges { begin.unwrap() } else { 0 };
        assert_eq!(second.sent, rest, "{ranges}");
    }
}
