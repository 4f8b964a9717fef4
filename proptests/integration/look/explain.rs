//! `planish explain`: the whole life of a path, written by hand.

use planish_proptests::writer::{Entry, Image, Layer};
use serde_json::{Value, json};

use super::{json as looked, layout, look, text};
use crate::support::{Bench, failed};

fn image() -> Image {
    Image::new([
        Layer::new([
            Entry::dir("d"),
            Entry::file("d/f", "one"),
            Entry::file("o/f", "one"),
            Entry::file("p/q/f", "one"),
            Entry::file("a", "one"),
            Entry::symlink("link", "d"),
            Entry::file("was/file", "one"),
        ]),
        Layer::new([
            Entry::file("d/f", "two").mode(0o600),
            Entry::whiteout(".wh.a"),
            Entry::opaque("o"),
            Entry::file("p", "no directory"),
            Entry::hardlink("d/g", "d/f"),
        ]),
        Layer::new([
            Entry::file("d/f", "two").mode(0o600),
            Entry::file("a", "back"),
            Entry::whiteout("o/.wh.f"),
            Entry::file("p/q/f", "again"),
            Entry::whiteout(".wh.was"),
        ]),
    ])
}

/// Layer, event, causes and attributes of a step.
type Step<'a> = (u64, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

const ENTRY: &str = "entry";

/// The lives of paths: path as given, path as found, whether it exists, steps.
const LIVES: &[(&str, &str, bool, &[Step<'_>])] = &[
    (
        "/d/f",
        "/d/f",
        true,
        &[
            (1, "added", &[(ENTRY, "/d/f")], &[]),
            (2, "changed", &[(ENTRY, "/d/f")], &["mode", "links", "content"]),
            (3, "changed", &[(ENTRY, "/d/f")], &["links"]),
        ],
    ),
    ("link/g", "/d/g", true, &[(2, "added", &[(ENTRY, "/d/g")], &[]), (3, "changed", &[], &["links"])]),
    (
        "a",
        "/a",
        true,
        &[
            (1, "added", &[(ENTRY, "/a")], &[]),
            (2, "removed", &[("whiteout", "/a")], &[]),
            (3, "added", &[(ENTRY, "/a")], &[]),
        ],
    ),
    (
        "/o/f",
        "/o/f",
        false,
        &[
            (1, "added", &[(ENTRY, "/o/f")], &[]),
            (2, "removed", &[("opaque", "/o")], &[]),
            (3, "nothing", &[("whiteout", "/o/f")], &[]),
        ],
    ),
    (
        "/p/q/f",
        "/p/q/f",
        true,
        &[
            (1, "added", &[(ENTRY, "/p/q/f")], &[]),
            (2, "removed", &[("parent-replaced", "/p")], &[]),
            (3, "added", &[(ENTRY, "/p/q/f")], &[]),
        ],
    ),
    (
        "/p",
        "/p",
        true,
        &[
            (1, "added", &[("implied", "/p")], &[]),
            (2, "changed", &[(ENTRY, "/p")], &["type", "mode"]),
            (3, "changed", &[("implied", "/p")], &["type", "mode"]),
        ],
    ),
    (
        "was/file",
        "/was/file",
        false,
        &[(1, "added", &[(ENTRY, "/was/file")], &[]), (3, "removed", &[("whiteout", "/was")], &[])],
    ),
];

#[test]
fn every_step_of_a_life_has_its_layer_and_its_cause() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image().history_empty_layers());
    for (given, path, exists, steps) in LIVES {
        let found = looked(&bench, "explain", &source, &[given]);
        assert_eq!(
            (&found["schema"], &found["path"], &found["exists"]),
            (&json!("planish.explain.v1"), &json!(path), &json!(exists))
        );
        let shown: Vec<Value> = found["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| {
                let causes: Vec<_> = step["causes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|cause| json!([cause["kind"], cause["path"]]))
                    .collect();
                let changes: Vec<_> =
                    step["changes"].as_array().unwrap().iter().map(|change| &change["attribute"]).collect();
                json!([step["layer"], step["event"], causes, changes])
            })
            .collect();
        let expected: Vec<Value> = steps
            .iter()
            .map(|(layer, event, causes, changes)| {
                let causes: Vec<_> = causes.iter().map(|(kind, path)| json!([kind, path])).collect();
                json!([layer, event, causes, changes])
            })
            .collect();
        assert_eq!(shown, expected, "{given}");
        let instruction = &found["steps"][0]["instruction"];
        let inspected = looked(&bench, "inspect", &source, &[]);
        let layer = usize::try_from(found["steps"][0]["layer"].as_u64().unwrap()).unwrap();
        assert_eq!(instruction, &inspected["layers"][layer - 1]["instruction"], "{given}");
    }
}

#[test]
fn the_text_says_what_the_document_says() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    let shown = text(&bench, "explain", &source, &["/o/f"]);
    let expected = "/o/f: not in the final tree\n\
                layer 1     added  layer 0\n            by an entry\n            -rw-r--r-- 0:0, 3 bytes\n\
                layer 2     removed  layer 1\n            by an opaque marker in /o\n\
                layer 3     not there  layer 2\n            by a whiteout of /o/f\n";
    assert_eq!(shown, expected);
}

#[test]
fn a_path_of_no_layer_is_an_error() {
    let bench = Bench::new();
    let source = layout(&bench, "image", &image());
    for (path, why) in [
        ("/d/h", "/d holds no \"h\""),
        ("/d/f/x", "/d/f is not a directory"),
        ("/p/q/z", "/p/q holds no \"z\""),
        ("/o/z", "/o holds no \"z\""),
        ("/was/not", "/ holds no \"was\""),
    ] {
        let error = failed(&look(&bench, "explain", &source, &[path]), 5);
        assert_eq!(error, format!("{source} has no {path}: {why}"));
    }
    // A whiteout of what never was there is about it.
    let idle = layout(
        &bench,
        "idle",
        &Image::new([Layer::new([Entry::file("a", "")]), Layer::new([Entry::whiteout(".wh.b")])]),
    );
    assert_eq!(looked(&bench, "explain", &idle, &["/b"])["steps"][0]["event"], "nothing");
}
