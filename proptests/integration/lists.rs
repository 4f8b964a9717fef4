//! Lists of images that several machines build: each image is in one part, by its place or by its build key.

use std::os::unix::fs::symlink;
use std::process::Output;

use crate::support::{Bench, failed, stderr};

const PARTS: usize = 3;

/// A list of five images, of which three are the same, and one is missing.
fn list(bench: &Bench) {
    let (layered, other) = (bench.fixture("layered"), bench.fixture("whiteout"));
    for (name, to) in [("a", &layered), ("b", &layered), ("c", &other), ("d", &layered)] {
        symlink(to, bench.at(name)).unwrap();
    }
    std::fs::write(bench.at("list"), "oci:a\noci:b\n# a comment\noci:missing\noci:c\noci:d\n").unwrap();
}

fn build(bench: &Bench, more: &str) -> Output {
    let mut command = bench.planish();
    command.args(["build", "--from-list", "list", "--output-dir", "out", "--platform", "linux/amd64", "--force"]);
    command.args(["--free", "1M"]).args(more.split(' ')).output().unwrap()
}

/// The filesystems of a part, and its exit code.
fn part(bench: &Bench, index: usize, by: &str) -> (Vec<String>, Output) {
    let _ = std::fs::remove_dir_all(bench.at("out"));
    let output = build(bench, &format!("--shard {index}/{PARTS} --shard-by {by}"));
    let names = bench.at("out").read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    (names, output)
}

#[test]
fn the_parts_of_a_list_have_each_image_once() {
    let bench = Bench::new();
    list(&bench);
    for by in ["place", "key"] {
        let parts: Vec<(Vec<String>, Output)> = (0..PARTS).map(|index| part(&bench, index, by)).collect();
        let mut all: Vec<&str> = parts.iter().flat_map(|(names, _)| names).map(String::as_str).collect();
        all.sort_unstable();
        assert_eq!(all, ["a.ext4", "b.ext4", "c.ext4", "d.ext4"], "{by}");
        for (index, (names, output)) in parts.iter().enumerate() {
            // The missing image is the third of the list.
            let (code, reports) = if index == 2 { (6, 1) } else { (0, 0) };
            let text = stderr(output);
            assert_eq!(output.status.code(), Some(code), "{by} {index}: {text}");
            assert_eq!(text.matches("error: out/missing.ext4: ").count(), reports, "{by} {index}: {text}");
            let warned = text.matches("warning: oci:missing: no build key: part 2 of the list reports it\n").count();
            assert_eq!(warned, usize::from(by == "key" && index != 2), "{by} {index}: {text}");
            // Equal filesystems are in one part.
            let same = names.iter().filter(|name| **name != "c.ext4").count();
            assert!(by == "place" || same == 0 || same == 3, "{by} {index}: {names:?}");
        }
    }
    assert!(failed(&build(&bench, "--shard 3/3"), 2).contains("a part is I/N"));
}

#[test]
fn a_stop_ends_the_search_for_keys() {
    let bench = Bench::new();
    list(&bench);
    std::fs::write(bench.at("list"), "docker-archive:pipe\n").unwrap();
    let pipe = bench.at("pipe");
    assert!(std::process::Command::new("mkfifo").arg("-m").arg("0666").arg(&pipe).status().unwrap().success());
    let line = failed(&build(&bench, "--shard 0/2 --shard-by key --deadline 1"), 7);
    assert!(line.contains("--deadline allows"), "{line}");
}
