//! The rules of layer semantics, one by one, on small trees (image-spec `layer.md`).

use super::*;
use crate::error::ImageProblem;
use crate::layer::entry::{Action, Body, Change, Entry, Metadata};
use crate::layer::whiteout::{self, NameClass};
use crate::note::{Note, NoteKind, Notes};
use crate::path::{Escaped, ImagePath};

/// Parses one entry: `d path`, `f path text`, `l path target`, `h path target`; a file with a marker's name is a
/// marker.
fn change((number, line): (usize, &str)) -> Result<Change, ApplyFault> {
    let mut words = line.splitn(3, ' ');
    let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
    let path = ImagePath::of_entry(name.as_bytes()).unwrap();
    let class = whiteout::classify(&path);
    if let NameClass::Marker(whiteout) = class {
        return Ok(Change { number: number as u64, action: Action::Hide(whiteout) });
    }
    let body = match kind {
        "d" => Body::Directory,
        "f" => Body::File(Content::dense(rest.to_owned().into())),
        "l" => Body::Symlink(rest.as_bytes().into()),
        "h" => Body::HardLink(ImagePath::of_link_target(rest.as_bytes()).unwrap()),
        other => panic!("{other}"),
    };
    let metadata = Metadata { mode: 0o700, ..Metadata::implied(Timestamp::from_seconds(1)) };
    let bookkeeping = class == NameClass::Bookkeeping;
    Ok(Change { number: number as u64, action: Action::Add(Entry { path, bookkeeping, metadata, body }) })
}

fn all(notes: &Notes) -> Vec<Note> {
    let mut all = Vec::new();
    notes
        .each(|note| -> std::io::Result<()> {
            all.push(note);
            Ok(())
        })
        .unwrap();
    all
}

fn apply(layers: &[&[&str]]) -> Result<(Tree, Vec<NoteKind>), ImageProblem> {
    let mut tree = Tree::new(Timestamp::default());
    let notes = Notes::default();
    for (id, lines) in (0..).zip(layers) {
        let changes = lines.iter().copied().enumerate().map(change);
        tree.apply::<ApplyFault>(LayerId(id), changes, &notes, &|| Ok(())).map_err(|fault| fault.problem)?;
    }
    Ok((tree.finish(), all(&notes).iter().map(|note| note.kind).collect()))
}

/// Returns the tree of layers.
pub(super) fn tree(layers: &[&[&str]]) -> Tree {
    apply(layers).unwrap().0
}

/// Returns every path but the root: `path/` for a directory that an entry describes, `path/?` for an implied one, else
/// its content.
fn listing(layers: &[&[&str]]) -> Vec<String> {
    let (tree, _) = apply(layers).unwrap();
    let describe = |visit: Visit<'_>| {
        let path = Escaped(visit.path).to_string();
        let inode = tree.inode(visit.inode);
        match &inode.node {
            Node::Directory(_) if inode.metadata.mode == 0o755 => format!("{path}/?"),
            Node::Directory(_) => format!("{path}/"),
            Node::File(content) => format!("{path}={}", Escaped(content.runs().next().map_or(b"", |run| run.1))),
            Node::Symlink(target) => format!("{path}->{}", Escaped(target)),
            other => panic!("{other:?}"),
        }
    };
    let mut walk = tree.walk();
    walk.advance();
    std::iter::from_fn(|| walk.advance().map(describe)).collect()
}

#[test]
fn a_marker_hides_lower_entries_at_any_position() {
    let lower: &[&str] = &["d a", "f a/old 1", "f b 1"];
    for upper in [["f a/new 2", "f .wh.a", "f .wh.b"], ["f .wh.b", "f .wh.a", "f a/new 2"]] {
        assert_eq!(listing(&[lower, &upper]), ["a/?", "a/new=2"]);
    }
    assert_eq!(listing(&[lower, &["f b 2", "f .wh.b"]]), ["a/", "a/old=1", "b=2"]);
}

#[test]
fn an_opaque_marker_keeps_the_directory_and_what_its_layer_adds() {
    let lower: &[&str] = &["d a", "d a/b", "f a/b/old 1", "f a/c 1"];
    assert_eq!(listing(&[lower, &["f a/.wh..wh..opq"]]), ["a/"]);
    assert_eq!(listing(&[lower, &["f a/b/new 2", "f a/.wh..wh..opq"]]), ["a/", "a/b/?", "a/b/new=2"]);
    assert_eq!(listing(&[lower, &["d a/b", "f a/.wh..wh..opq"]]), ["a/", "a/b/"]);
    assert_eq!(listing(&[lower, &["f .wh..wh..opq", "f x 2"]]), ["x=2"]);
}

#[test]
fn an_older_opaque_marker_does_not_mask_a_newer_whiteout() {
    let layers: &[&[&str]] = &[&["f a/x 1"], &["f a/.wh..wh..opq", "f a/y 2"], &["f a/.wh.y", "f a/z 3"]];
    assert_eq!(listing(layers), ["a/?", "a/z=3"]);
}

#[test]
fn a_marker_without_a_target_changes_nothing() {
    assert_eq!(listing(&[&["f a 1"], &["f .wh.x", "f no/.wh.y", "f no/.wh..wh..opq"]]), ["a=1"]);
    assert_eq!(listing(&[&["l s /no"], &["f s/.wh.y"]]), ["s->/no"]);
}

#[test]
fn parents_are_resolved_through_symlinks_inside_the_root() {
    assert_eq!(listing(&[&["d a", "l s ../../a", "f s/x 1"]]), ["a/", "a/x=1", "s->../../a"]);
    assert_eq!(listing(&[&["l lib usr/lib", "f lib/b 1"]]), ["lib->usr/lib", "usr/?", "usr/lib/?", "usr/lib/b=1"]);
    assert_eq!(listing(&[&["d a", "f a/x 1", "l s a"], &["f s/.wh.x"]]), ["a/", "s->a"]);
    assert_eq!(apply(&[&["l s s", "f s/x 1"]]).unwrap_err(), ImageProblem::SymlinkLoop);
    let through_file = apply(&[&["f f 1", "l s f", "f s/x 1"]]).unwrap_err();
    assert_eq!(through_file, ImageProblem::ParentNotDirectory("\"f\"".into()));
}

#[test]
fn a_file_that_is_a_parent_is_replaced_and_noted() {
    let (_, notes) = apply(&[&["f p 1"], &["f p/x 2"]]).unwrap();
    assert_eq!(notes, [NoteKind::ParentReplaced]);
    assert_eq!(listing(&[&["f p 1"], &["f p/x 2"]]), ["p/?", "p/x=2"]);
}

#[test]
fn only_a_directory_over_a_directory_keeps_children() {
    assert_eq!(listing(&[&["f a/x 1"], &["d a"]]), ["a/", "a/x=1"]);
    assert_eq!(listing(&[&["f a/x 1"], &["f a 2"]]), ["a=2"]);
    assert_eq!(listing(&[&["f a/x 1"], &["l a b"]]), ["a->b"]);
    assert_eq!(listing(&[&["d b", "l a b"], &["d a", "f a/x 1"]]), ["a/", "a/x=1", "b/"]);
}

#[test]
fn a_hard_link_keeps_its_inode_after_the_first_name_is_deleted() {
    let (tree, _) = apply(&[&["f a 1", "h b a", "h c b"], &["f .wh.a"]]).unwrap();
    assert_eq!(tree.get(b"a"), None);
    assert!(tree.get(b"b").is_some());
    assert_eq!(tree.get(b"b"), tree.get(b"c"));
    let (tree, _) = apply(&[&["f a 1"], &["h b a", "f a 2"]]).unwrap();
    assert_ne!(tree.get(b"a"), tree.get(b"b"));
}

#[test]
fn a_link_to_a_lower_name_survives_the_lower_names_whiteout() {
    for upper in [["h b a", "f .wh.a"], ["f .wh.a", "h b a"]] {
        assert_eq!(listing(&[&["f a 1"], &upper]), ["b=1"]);
    }
}

#[test]
fn hard_links_to_nothing_directories_and_themselves_are_refused() {
    let fault = |line| apply(&[&["d d", "f a 1", line]]).unwrap_err();
    assert_eq!(fault("h b no"), ImageProblem::LinkTargetMissing("\"no\"".into()));
    assert_eq!(fault("h b d"), ImageProblem::LinkTargetDirectory("\"d\"".into()));
    assert_eq!(fault("h b /"), ImageProblem::LinkTargetDirectory("\"\"".into()));
    assert_eq!(fault("h a ./a"), ImageProblem::LinkToItself);
}

#[test]
fn aufs_names_are_hidden_but_may_be_link_targets() {
    let layer: &[&str] = &["d .wh..wh.plnk", "f .wh..wh.plnk/1.2 x", "h a .wh..wh.plnk/1.2", "f no/.wh..wh.aufs y"];
    assert_eq!(listing(&[layer]), ["a=x"]);
    assert_eq!(listing(&[&["f a/x 1"], &["f a/.wh..wh.z 2", "f .wh.a"]]), [""; 0]);
    assert_eq!(listing(&[&["f .wh..wh.plnk/1.2 x"]]), [""; 0]);
}

#[test]
fn a_duplicate_in_one_layer_is_noted_and_the_last_wins() {
    let (_, notes) = apply(&[&["f a/x 1", "d a", "f a/x 2"]]).unwrap();
    assert_eq!(notes, [NoteKind::Duplicate]);
    assert_eq!(listing(&[&["f a/x 1", "d a", "f a/x 2"]]), ["a/", "a/x=2"]);
}

#[test]
fn changes_are_counted_and_noted_by_layer() {
    let mut tree = Tree::new(Timestamp::default());
    let mut apply = |id, lines: &[&str]| {
        let (changes, notes) = (lines.iter().copied().enumerate().map(change), Notes::default());
        (tree.apply::<ApplyFault>(LayerId(id), changes, &notes, &|| Ok(())).unwrap(), all(&notes))
    };
    let (lower, notes) = apply(0, &["f a/x 1", "d a", "f a/x 2", "f b 1"]);
    let noted = |notes: &[Note]| -> Vec<_> {
        notes.iter().map(|note| (note.kind, note.layer, Escaped(&note.path).to_string())).collect()
    };
    assert_eq!((lower.entries, lower.whiteouts), (4, 0));
    assert_eq!(noted(&notes), [(NoteKind::Duplicate, Some(1), "a/x".into())]);
    let (upper, _) = apply(1, &["f .wh.a", "f .wh.b", "f .wh.c", "d d", "f d/x 1"]);
    assert_eq!((upper.entries, upper.whiteouts), (2, 3));
    let (_, notes) = apply(2, &["f d/x/y 1"]);
    assert_eq!(noted(&notes), [(NoteKind::ParentReplaced, Some(3), "d/x".into())]);
}

#[test]
fn a_link_header_that_differs_from_its_inode_is_noted() {
    let link = |mode| {
        let Ok(Change { action: Action::Add(entry), .. }) = change((2, "h b a")) else { panic!() };
        let metadata = Metadata { mode, ..entry.metadata };
        Ok(Change { number: 2, action: Action::Add(Entry { metadata, ..entry }) })
    };
    for (mode, expected) in [(0o700, vec![]), (0o600, vec![NoteKind::LinkMetadata])] {
        let mut tree = Tree::new(Timestamp::default());
        let (changes, notes) = ([change((1, "f a 1")), link(mode)].into_iter(), Notes::default());
        tree.apply::<ApplyFault>(LayerId(0), changes, &notes, &|| Ok(())).unwrap();
        assert_eq!(all(&notes).iter().map(|note| note.kind).collect::<Vec<_>>(), expected);
        assert_eq!(tree.inode(tree.get(b"b").unwrap()).metadata.mode, 0o700);
    }
}

#[test]
fn the_root_is_always_a_directory() {
    assert_eq!(apply(&[&["f . 1"]]).unwrap_err(), ImageProblem::RootNotDirectory);
    let (tree, _) = apply(&[&["d ./"]]).unwrap();
    assert_eq!(tree.inode(InodeId::ROOT).metadata.mode, 0o700);
}

#[test]
fn deep_trees_are_purged_without_recursion() {
    let hop = "d/".repeat(2000);
    let mut lines = vec![format!("d {hop}")];
    for n in 0..30 {
        let at = if n == 0 { String::new() } else { format!("s{}/", n - 1) };
        lines.push(format!("l s{n} {at}{hop}"));
        lines.push(format!("d s{n}/{hop}"));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let mut tree = Tree::new(Timestamp::default());
    tree.apply::<ApplyFault>(LayerId(0), lines.iter().copied().enumerate().map(change), &Notes::default(), &|| Ok(()))
        .unwrap();
    tree.apply::<ApplyFault>(
        LayerId(1),
        [(0, "f .wh..wh..opq")].into_iter().map(change),
        &Notes::default(),
        &|| Ok(()),
    )
    .unwrap();
    let tree = tree.finish();
    let mut walk = tree.walk();
    assert!(walk.advance().is_some() && walk.advance().is_none());
}

/// Applies layers and counts the calls of `stop` while the markers of the last one take effect.
fn applied_with_stop_calls(layers: [&[String]; 2]) -> (Tree, usize) {
    let mut tree = Tree::new(Timestamp::default());
    let calls = std::cell::Cell::new(0);
    for (id, lines) in (0..).zip(layers) {
        let changes = lines.iter().map(String::as_str).enumerate().map(change);
        calls.set(0);
        let stop = || {
            calls.set(calls.get() + 1);
            Ok(())
        };
        tree.apply::<ApplyFault>(LayerId(id), changes, &Notes::default(), &stop).unwrap();
    }
    (tree.finish(), calls.get())
}

#[test]
fn many_markers_clear_a_directory_once() {
    let work = |depth: usize, width: usize| {
        let chain = |length: usize| vec!["d"; length].join("/");
        let old = (0..width).map(|n| format!("f {}/old{n} 1", chain(depth)));
        let new = (0..width).map(|n| format!("d {}/new{n}", chain(depth)));
        // From the bottom upwards and back again, with both kinds of markers.
        let markers = (1..depth).rev().chain(1..depth).map(|n| format!("f {}/.wh..wh..opq", chain(n)));
        let hides = (1..depth).map(|n| format!("f {}/.wh.d", chain(n)));
        let upper: Vec<_> = new.chain(markers).chain(hides).collect();
        let (tree, calls) = applied_with_stop_calls([&old.collect::<Vec<_>>(), &upper]);
        assert_eq!(tree.get(format!("{}/old0", chain(depth)).as_bytes()), None);
        let bottom = tree.get(chain(depth).as_bytes()).and_then(|id| tree.directory(id));
        assert_eq!(bottom.map(Directory::len), Some(width));
        calls
    };
    let (once, twice) = (work(20, 100), work(40, 200));
    assert!(once > 100 && twice < 3 * once, "{once} {twice}");
}

#[test]
fn markers_obey_a_stop() {
    let mut tree = Tree::new(Timestamp::default());
    let lower = ["f a/x 1", "f b 1"].into_iter().enumerate().map(change);
    tree.apply::<ApplyFault>(LayerId(0), lower, &Notes::default(), &|| Ok(())).unwrap();
    let stopped = || Err(ApplyFault { number: 0, path: ImagePath::default(), problem: ImageProblem::SymlinkLoop });
    for marker in ["f .wh.b", "f a/.wh..wh..opq"] {
        let fault =
            tree.apply(LayerId(1), [(0, marker)].into_iter().map(change), &Notes::default(), &stopped).unwrap_err();
        assert_eq!(fault.problem, ImageProblem::SymlinkLoop);
    }
}

#[test]
fn names_from_symlink_targets_are_limited() {
    let apply = |most: u64, lines: &[&str]| {
        let mut tree = Tree::new(Timestamp::default()).with_link_steps_max(most);
        let changes = lines.iter().copied().enumerate().map(change);
        tree.apply::<ApplyFault>(LayerId(0), changes, &Notes::default(), &|| Ok(()))
            .map(drop)
            .map_err(|fault| (fault.number, fault.problem))
    };
    let lines: &[&str] = &["d a/b", "l s ./a//b", "f a/b/x/y/z 1", "f s/x 1", "f s/y 1"];
    assert_eq!(apply(8, lines), Ok(()), "`.`, `a`, nothing and `b`, twice; the entry's own names do not count");
    assert_eq!(apply(7, lines), Err((4, ImageProblem::TooManySymlinkSteps)));
}

#[test]
fn a_replaced_parent_is_noted_by_its_path_in_the_tree() {
    let mut tree = Tree::new(Timestamp::default());
    let lines = ["f a/b/file 1", "l s ./a/../a/b", "f s/file/x 2", "l a/t /a/b/..//g", "f a/g/h 3", "f a/t/h/i 4"];
    let notes = Notes::default();
    tree.apply::<ApplyFault>(LayerId(0), lines.into_iter().enumerate().map(change), &notes, &|| Ok(())).unwrap();
    let noted: Vec<_> = all(&notes).iter().map(|note| (note.kind, Escaped(&note.path).to_string())).collect();
    assert_eq!(noted, [(NoteKind::ParentReplaced, "a/b/file".into()), (NoteKind::ParentReplaced, "a/g/h".into())]);
}
