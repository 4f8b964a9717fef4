//! `planish diff`: each single difference of two final trees, by path and attribute.

use planish_proptests::writer::{Content, Entry, Image, Layer};
use serde_json::{Value, json};

use super::{layout, look};
use crate::support::{Bench, failed, generated, stderr, succeeded};

fn one(entries: impl IntoIterator<Item = Entry>) -> Image {
    Image::new([Layer::new(entries)])
}

fn base() -> Vec<Entry> {
    vec![
        Entry::dir("d"),
        Entry::file("d/f", "content").mode(0o644).owner(1, 2).mtime(100, 5).xattr("user.a", "1"),
        Entry::symlink("l", "one"),
        Entry::char_device("c", 1, 3),
        Entry::hardlink("h", "d/f"),
    ]
}

/// The base with one entry replaced.
fn with(at: usize, entry: Entry) -> Vec<Entry> {
    let mut entries = base();
    entries[at] = entry;
    entries
}

fn file(content: &str) -> Entry {
    Entry::file("d/f", content.to_owned()).mode(0o644).owner(1, 2).mtime(100, 5).xattr("user.a", "1")
}

#[test]
fn each_difference_is_found_by_path_and_attribute() {
    let table: Vec<(&str, Vec<Entry>)> = vec![
        ("C /d/f: mode 0644 -> 4755", with(1, file("content").mode(0o4755))),
        ("C /d/f: uid 1 -> 4294967294", with(1, file("content").owner(4_294_967_294, 2))),
        ("C /d/f: gid 2 -> 3", with(1, file("content").owner(1, 3))),
        ("C /d/f: mtime 100.000000005 -> 100.000000006", with(1, file("content").mtime(100, 6))),
        ("C /d/f: content from byte 3 on", with(1, file("conTent"))),
        ("C /d/f: size 7 -> 8, content from byte 7 on", with(1, file("content!"))),
        (r#"C /d/f: xattr user.a="1" -> nothing, xattr nothing -> user.b="\xff""#, {
            let plain = Entry::file("d/f", "content").mode(0o644).owner(1, 2).mtime(100, 5);
            with(1, plain.xattr("user.b", vec![255]))
        }),
        (r#"C /l: target "one" -> "\x1b""#, with(2, Entry::symlink("l", "\x1b"))),
        ("C /c: device 1,3 -> 1,5", with(3, Entry::char_device("c", 1, 5))),
        ("C /c: type character device -> block device", with(3, Entry::block_device("c", 1, 3))),
        ("A /new", base().into_iter().chain([Entry::fifo("new")]).collect()),
    ];
    let bench = Bench::new();
    let first = layout(&bench, "first", &one(base()));
    for (number, (want, entries)) in table.into_iter().enumerate() {
        let second = layout(&bench, &format!("second{number}"), &one(entries));
        let output = look(&bench, "diff", &first, &[&second]);
        assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
        let found = String::from_utf8(output.stdout).unwrap();
        let expected: Vec<&str> = want.lines().collect();
        // The other name is one inode with the first in both images, so it is compared once.
        assert_eq!(found.lines().collect::<Vec<_>>(), expected);
        let back = look(&bench, "diff", &second, &[&first]);
        assert_eq!(back.status.code(), Some(8));
        if want.starts_with('A') {
            assert_eq!(back.stdout, b"D /new\n");
        }
    }
}

#[test]
fn another_form_of_the_same_tree_is_equal() {
    let bench = Bench::new();
    let whole = layout(&bench, "whole", &one(base()));
    // The same tree by other means: a lower file that is replaced, one that is whited out, and two layers.
    let mut lower = vec![Entry::file("gone", "x"), Entry::file("d/f", "older")];
    lower.extend(base().into_iter().filter(|entry| entry.name != b"h" && entry.name != b"d/f"));
    let upper = vec![Entry::whiteout(".wh.gone"), Entry::dir("d"), file("content"), Entry::hardlink("h", "d/f")];
    let layered = layout(&bench, "layered", &Image::new([Layer::new(lower), Layer::new(upper)]));
    let output = look(&bench, "diff", &whole, &[&layered]);
    succeeded(&output);
    assert_eq!(output.stdout, b"");
    assert!(stderr(&output).ends_with("compared    0 added, 0 removed, 0 changed\n"));
    let generated = layout(&bench, "generated", &generated::image());
    succeeded(&look(&bench, "diff", &generated, &[&generated]));
}

#[test]
fn differences_are_there_as_json() {
    let bench = Bench::new();
    let first = layout(&bench, "first", &one([Entry::file("a", "1"), Entry::file("b", "")]));
    let large = Content::Bytes(vec![7; 300_000]);
    let second =
        layout(&bench, "second", &one([Entry::file("a", "2").mode(0o600), Entry::dir("c"), Entry::file("c/d", large)]));
    let output = look(&bench, "diff", &first, &[&second, "--json"]);
    assert_eq!(output.status.code(), Some(8));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["schema"], &found["first"]["source"]), (&json!("planish.diff.v1"), &json!(first)));
    let mode = json!({"attribute": "mode", "before": "0644", "after": "0600", "offset": null});
    let content = json!({"attribute": "content", "before": null, "after": null, "offset": 0});
    let expected = json!([
        {"path": "/a", "difference": "changed", "type": "file", "changes": [mode, content]},
        {"path": "/b", "difference": "removed", "type": "file", "changes": []},
        {"path": "/c", "difference": "added", "type": "directory", "changes": []},
        {"path": "/c/d", "difference": "added", "type": "file", "changes": []},
    ]);
    assert_eq!(found["differences"], expected);
}

#[test]
fn standard_input_is_one_image() {
    let bench = Bench::new();
    let output = bench.planish().args(["diff", "-", "-"]).stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(failed(&output, 2), "only one image can be read from standard input");
}
