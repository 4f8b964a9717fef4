//! Large numbers of layers, markers and nested directories. Each ends in time, as a filesystem or as a refusal.

use std::time::{Duration, Instant};

use planish_proptests::listing::{Contents, Kind, Listing};
use planish_proptests::writer::{Entry, Layer};

use crate::hostile::{Yard, paths};
use crate::support::raw::Raw;

fn tiny(n: usize) -> Raw {
    Raw::tar(Layer::new([Entry::file("f", n.to_string().as_bytes())]).tar())
}

/// Rows: L06.
#[test]
fn a_thousand_layers_are_built_and_more_are_refused() {
    let yard = Yard::new();
    let mut layers: Vec<Raw> = (1..=1000).map(tiny).collect();
    let found = yard.made(&layers);
    assert_eq!(found.get(b"/f").unwrap().kind, Kind::File(Contents::of(b"1000")));
    layers.extend((1001..=5000).map(tiny));
    let text = yard.refused(&layers, &[], 7);
    assert!(text.ends_with(" has 5000 layers, --max-layers allows 1000"), "{text}");
}

/// Rows: L06.
#[test]
fn a_hundred_thousand_markers_are_applied_in_time() {
    let yard = Yard::new();
    let files = (0..10_000).map(|n| Entry::file(format!("d{}/f{n}", n % 10), ""));
    let missing = (0..100_000).map(|n| Entry::whiteout(format!("d{}/.wh.missing{n}", n % 10)));
    let found =
        yard.made(&[Layer::new(files).into(), Layer::new(missing).into(), Layer::new([Entry::opaque("")]).into()]);
    assert_eq!(paths(&found), "");
}

/// A naive applier visits all names of the same layer for each marker.
/// Rows: L06.
#[test]
fn repeated_markers_cost_as_much_as_one() {
    let yard = Yard::new();
    let files = (0..4000).map(|n| Entry::file(format!("d/f{n}"), ""));
    let markers = (0..100_000).map(|n| if n % 2 == 0 { Entry::opaque("") } else { Entry::whiteout(".wh.d") });
    let started = Instant::now();
    let found = yard.made(&[Layer::new(files.chain(markers)).into()]);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(found.len(), 4002);
}

/// A name may imply two thousand directories, so that few entries make many inodes.
/// Rows: L06.
#[test]
fn implied_directories_count_against_the_limit_of_entries() {
    let deep = "d/".repeat(2000);
    let entries = (0..500).map(|n| Entry::file(format!("{n}/{deep}f"), ""));
    let text = Yard::new().refused(&[Layer::new(entries).into()], &["--max-entries", "100000"], 7);
    assert_eq!(text, "the image has more than 100000 entries in all layers, --max-entries allows 100000");
}

/// A path of a given length in bytes whose directories have names of 100 bytes.
fn long_path(length: usize) -> String {
    let parents = format!("{}/", "d".repeat(100));
    let parents = parents.repeat((length - 1) / parents.len());
    format!("{parents}{}", "n".repeat(length - parents.len()))
}

/// mke2fs 1.47 writes one byte after a buffer for a path of this length, and may crash.
#[test]
fn the_path_length_that_breaks_mkfs_is_avoided() {
    let yard = Yard::new();
    let layer = |length| [Layer::new([Entry::file(long_path(length), "")]).into()];
    let there = |found: Listing, length| assert!(found.get(format!("/{}", long_path(length)).as_bytes()).is_some());
    for length in [254, 255, 509, 1019, 2038, 2040, 4079, 4094, 4095] {
        there(yard.made_with(&layer(length), &["--engine", "e2fsprogs"]), length);
    }
    there(yard.made(&layer(2039)), 2039);
    let text = yard.refused(&layer(2039), &["--engine", "e2fsprogs"], 5);
    let expected =
        "… (2039 bytes) has a path of 2039 bytes, and one of just this length overflows a buffer of mkfs.ext4";
    assert!(text.ends_with(expected), "{text}");
}

/// Rows: L12.
#[test]
fn each_engine_builds_two_thousand_nested_directories() {
    let yard = Yard::new();
    let steps = "d/".repeat(1000);
    let path = format!("{steps}{}/{steps}d", "n".repeat(60));
    for engine in ["e2fsprogs", "direct"] {
        let found = yard.made_with(&[Layer::new([Entry::dir(&*path)]).into()], &["--engine", engine]);
        assert_eq!(found.len(), 2003);
    }
}

/// Directories deeper than the longest path: each layer continues at a symlink that an earlier one made.
fn deeper_than_paths(links: usize) -> Raw {
    let steps = "direct/".repeat(290);
    let at = |n: usize| if n == 0 { String::new() } else { format!("l{}/", n - 1) };
    let pair =
        |n| [Entry::dir(format!("{}{steps}", at(n))), Entry::symlink(format!("l{n}"), format!("{}{steps}", at(n)))];
    Layer::new((0..links).flat_map(pair)).into()
}

/// Rows: L12.
#[test]
fn a_tree_deeper_than_path_max_is_refused() {
    let yard = Yard::new();
    for links in [3, 30] {
        let text = yard.refused(&[deeper_than_paths(links)], &[], 5);
        let shown = &"direct/".repeat(29)[..200];
        assert_eq!(text, format!("/{shown}… (4101 bytes) has a path of 4101 bytes, Linux allows 4095"));
    }
}
