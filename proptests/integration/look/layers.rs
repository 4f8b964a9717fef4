//! `planish layers`: the bytes of each layer, counted by hand and by a law.

use planish_proptests::listing::{Kind, Listing};
use planish_proptests::writer::{Compression, Entry, Image, Layer};
use serde_json::{Value, json};

use super::{json as looked, layout, text};
use crate::support::{Bench, generated};

/// A stack in which each layer does what the comment beside it says.
fn image() -> Image {
    Image::new([
        // 10 + 20 + 30 + 40 bytes.
        Layer::new([
            Entry::dir("d"),
            Entry::file("d/kept", "k".repeat(10)),
            Entry::file("d/replaced", "r".repeat(20)),
            Entry::file("d/hidden", "h".repeat(30)),
            Entry::file("x/below", "b".repeat(40)),
        ]),
        // Replaces 20 by 5, hides 30 and 40 bytes, and has a whiteout of nothing.
        Layer::new([
            Entry::file("d/replaced", "12345"),
            Entry::whiteout("d/.wh.hidden"),
            Entry::whiteout("d/.wh.nothing"),
            Entry::opaque("x"),
            Entry::file("x/new", "1"),
        ])
        .compression(Compression::Zstd),
        // Writes a path twice, and a second name of a file, which outlives the first.
        Layer::new([
            Entry::file("twice", "1234567"),
            Entry::file("twice", "12"),
            Entry::hardlink("link", "d/kept"),
            Entry::whiteout("d/.wh.kept"),
            Entry::whiteout("no/.wh.where"),
        ]),
    ])
}

#[test]
fn bytes_are_counted_where_they_are_added_and_where_they_go() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image().history_empty_layers());
    let found = looked(&bench, "layers", &source, &[]);
    assert_eq!(found["schema"], "planish.layers.v1");
    let config: Value = serde_json::from_slice(&image().config()).unwrap();
    let fields =
        ["added_bytes", "overridden_bytes", "hidden_bytes", "wasted_bytes", "idle_whiteouts", "opaque", "duplicates"];
    let expected = [[100, 0, 0, 90, 0, 0, 0], [6, 20, 70, 0, 1, 1, 0], [9, 0, 0, 7, 1, 0, 1]];
    for (number, expected) in expected.iter().enumerate() {
        let layer = &found["layers"][number];
        let counts: Vec<u64> = fields.iter().map(|field| layer[field].as_u64().unwrap()).collect();
        assert_eq!(counts, expected, "layer {}", number + 1);
        assert_eq!(layer["number"], number + 1);
        assert_eq!(layer["diff_id"], config["rootfs"]["diff_ids"][number]);
        assert!(layer["instruction"].is_string());
    }
    assert_eq!(found["wasted_bytes"], 97);
    assert_eq!(found["layers"][2]["note_counts"], json!({"duplicate": 1}));
    let shown = text(&bench, "layers", &source, &[]);
    for line in ["  wastes    90 B", "  hides     70 B", "  odd       1: whiteout hides nothing", "wasted      97 B"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

/// The bytes of a tree's files, each inode once.
fn bytes(listing: &Listing) -> u64 {
    let firsts = listing.iter().filter(|(path, _)| listing.first_name(path).is_none_or(|first| first == *path));
    firsts.map(|(_, node)| if let Kind::File(contents) = &node.kind { contents.size() } else { 0 }).sum()
}

#[test]
fn added_minus_wasted_bytes_equal_the_tree() {
    for image in [image(), generated::image()] {
        let bench = Bench::new();
        let source = layout(&bench, "image", &image);
        let found = looked(&bench, "layers", &source, &[]);
        let layers = found["layers"].as_array().unwrap();
        let sum = |field: &str| layers.iter().map(|layer| layer[field].as_u64().unwrap()).sum::<u64>();
        let tree = super::export::tree(&source);
        assert_eq!(sum("added_bytes") - sum("wasted_bytes"), bytes(&tree));
        // What a layer wastes by itself is neither overridden nor hidden by a higher one.
        assert!(sum("overridden_bytes") + sum("hidden_bytes") <= sum("wasted_bytes"));
    }
}
