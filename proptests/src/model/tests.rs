//! The model against the hand-written cases.

use super::*;
use crate::Mtime;
use crate::cases::{Case, Expect, parse};
use crate::writer::Layer;

const CASES: &str = include_str!("../../../fixtures/cases.json");

/// Groups of cases about archives and blobs, which the model does not read.
const OTHER_GROUPS: [&str; 2] = ["tar", "blob"];

fn cases() -> Vec<Case> {
    parse(CASES).unwrap()
}

/// Applies the PAX records of a case to the entry, as a reader of archives does; `None` for a case that only such a
/// reader can judge.
fn read(entry: &Entry) -> Option<Entry> {
    let mut read = entry.clone();
    for (key, value) in &entry.pax {
        let text = std::str::from_utf8(value).ok();
        match &key[..] {
            b"path" => read.name.clone_from(value),
            b"linkpath" => read.linkname.clone_from(value),
            b"mtime" => read.mtime = text?.parse().ok()?,
            b"uid" => read.uid = text?.parse().ok()?,
            b"gid" => read.gid = text?.parse().ok()?,
            b"SCHILY.devmajor" => read.major = text?.parse().ok()?,
            b"SCHILY.devminor" => read.minor = text?.parse().ok()?,
            b"size" => return None,
            _ => {}
        }
    }
    (!entry.bad_checksum).then_some(read)
}

fn stack(case: &Case) -> Option<Stack> {
    let entries = |layer: &Layer| layer.entries.iter().map(read).collect::<Option<Vec<_>>>();
    Some(Stack::new(case.image.layers.iter().map(entries).collect::<Option<Vec<_>>>()?))
}

#[test]
fn the_model_gives_the_tree_of_every_case_that_has_one() {
    let mut judged = 0;
    for case in cases() {
        let (Expect::Tree(tree), Some(stack)) = (&case.expect, stack(&case)) else { continue };
        let meaning = flatten(&stack).unwrap_or_else(|fault| panic!("{}: {fault}", case.id));
        let mismatches = tree.check(&meaning.listing, Mtime::default());
        let text: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
        assert!(text.is_empty(), "{}:\n{}", case.id, text.join("\n"));
        judged += 1;
    }
    println!("{judged} trees judged");
    assert!(judged >= 95, "{judged} cases were judged");
}

#[test]
fn the_model_refuses_every_case_of_layer_semantics_that_has_no_tree() {
    let mut judged = 0;
    for case in cases() {
        let Expect::Error(word) = &case.expect else { continue };
        if OTHER_GROUPS.contains(&&*case.group) {
            continue;
        }
        let stack = stack(&case).unwrap();
        assert!(flatten(&stack).is_err(), "{}: {word}", case.id);
        judged += 1;
    }
    println!("{judged} errors judged");
    assert!(judged >= 10, "{judged} cases were judged");
}
