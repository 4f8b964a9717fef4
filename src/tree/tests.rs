//! The law of layer semantics, rule by rule, on small trees (image-spec `layer.md`).

use super::*;
use crate::error::ImageProblem;
use crate::layer::entry::{Action, Body, Change, Entry, Metadata};
use crate::layer::whiteout::{self, Spelling};
use crate::note::NoteKind;
use crate::path::{Escaped, ImagePath};

/// One line an entry: `d path`, `f path text`, `l path target`, `h path target`; a name that is a marker is one.
fn change((number, line): (usize, &str)) -> Result<Change, ApplyFault> {
    let mut words = line.splitn(3, ' ');
    let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
    let path = ImagePath::of_entry(name.as_bytes()).unwrap();
    let spelling = whiteout::spelling(&path);
    if let Spelling::Marker(whiteout) = spelling {
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
    let bookkeeping = spelling == Spelling::Bookkeeping;
    Ok(Change { number: number as u64, action: Action::Add(Entry { path, bookkeeping, metadata, body }) })
}

fn apply(layers: &[&[&str]]) -> Result<(Tree, Vec<NoteKind>), ImageProblem> {
    let mut tree = Tree::new(Timestamp::default());
    let mut notes = Vec::new();
    for (id, lines) in (0..).zip(layers) {
        let changes = lines.iter().copied().enumerate().map(change);
        let applied = tree.apply::<ApplyFault>(LayerId(id), changes).map_err(|fault| fault.problem)?;
        notes.extend(applied.notes.iter().map(|note| note.kind));
    }
    Ok((tree.finish(), notes))
}

/// Every path but the root: `path/` for a directory an entry describes, `path/?` for an implied one, else its content.
fn listing(layers: &[&[&str]]) -> Vec<String> {
    let (tree, _) = apply(layers).unwrap();
    let describe = |visit: Visit| {
        let path = Escaped(&visit.path).to_string();
        let inode = tree.inode(visit.inode);
        match &inode.node {
            Node::Directory(_) if inode.metadata.mode == 0o755 => format!("{path}/?"),
            Node::Directory(_) => format!("{path}/"),
            Node::File(content) => format!("{path}={}", Escaped(content.runs().next().map_or(b"", |run| run.1))),
            Node::Symlink(target) => format!("{path}->{}", Escaped(target)),
            other => panic!("{other:?}"),
        }
    };
    tree.walk().skip(1).map(describe).collect()
}

#[test]
fn a_marker_hides_lower_layers_only_wherever_it_stands() {
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
fn a_marker_on_nothing_does_and_creates_nothing() {
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
fn a_parent_that_is_a_file_gives_way_with_a_note() {
    let (_, notes) = apply(&[&["f p 1"], &["f p/x 2"]]).unwrap();
    assert_eq!(notes, [NoteKind::ParentReplaced]);
    assert_eq!(listing(&[&["f p 1"], &["f p/x 2"]]), ["p/?", "p/x=2"]);
}

#[test]
fn a_directory_over_a_directory_keeps_the_children_and_anything_else_replaces_them() {
    assert_eq!(listing(&[&["f a/x 1"], &["d a"]]), ["a/", "a/x=1"]);
    assert_eq!(listing(&[&["f a/x 1"], &["f a 2"]]), ["a=2"]);
    assert_eq!(listing(&[&["f a/x 1"], &["l a b"]]), ["a->b"]);
    assert_eq!(listing(&[&["d b", "l a b"], &["d a", "f a/x 1"]]), ["a/", "a/x=1", "b/"]);
}

#[test]
fn hard_links_share_an_inode_that_outlives_its_first_name() {
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
fn links_to_nothing_to_directories_and_to_themselves_are_errors() {
    let fault = |line| apply(&[&["d d", "f a 1", line]]).unwrap_err();
    assert_eq!(fault("h b no"), ImageProblem::LinkTargetMissing("\"no\"".into()));
    assert_eq!(fault("h b d"), ImageProblem::LinkTargetDirectory("\"d\"".into()));
    assert_eq!(fault("h b /"), ImageProblem::LinkTargetDirectory("\"\"".into()));
    assert_eq!(fault("h a ./a"), ImageProblem::LinkToItself);
}

#[test]
fn bookkeeping_is_hidden_but_links_to_it_work() {
    let layer: &[&str] = &["d .wh..wh.plnk", "f .wh..wh.plnk/1.2 x", "h a .wh..wh.plnk/1.2", "f no/.wh..wh.aufs y"];
    assert_eq!(listing(&[layer]), ["a=x"]);
    assert_eq!(listing(&[&["f a/x 1"], &["f a/.wh..wh.z 2", "f .wh.a"]]), [""; 0]);
    assert_eq!(listing(&[&["f .wh..wh.plnk/1.2 x"]]), [""; 0]);
}

#[test]
fn what_one_layer_writes_twice_is_noted_and_the_last_wins() {
    let (_, notes) = apply(&[&["f a/x 1", "d a", "f a/x 2"]]).unwrap();
    assert_eq!(notes, [NoteKind::Duplicate]);
    assert_eq!(listing(&[&["f a/x 1", "d a", "f a/x 2"]]), ["a/", "a/x=2"]);
}

#[test]
fn what_a_layer_did_is_counted_and_noted_by_its_number() {
    let mut tree = Tree::new(Timestamp::default());
    let mut apply = |id, lines: &[&str]| {
        let changes = lines.iter().copied().enumerate().map(change);
        tree.apply::<ApplyFault>(LayerId(id), changes).unwrap()
    };
    let lower = apply(0, &["f a/x 1", "d a", "f a/x 2", "f b 1"]);
    let noted = |applied: &Applied| -> Vec<_> {
        applied.notes.iter().map(|note| (note.kind, note.layer, Escaped(&note.path).to_string())).collect()
    };
    assert_eq!((lower.entries, lower.whiteouts), (4, 0));
    assert_eq!(noted(&lower), [(NoteKind::Duplicate, Some(1), "a/x".into())]);
    let upper = apply(1, &["f .wh.a", "f .wh.b", "f .wh.c", "d d", "f d/x 1"]);
    assert_eq!((upper.entries, upper.whiteouts), (2, 3));
    let third = apply(2, &["f d/x/y 1"]);
    assert_eq!(noted(&third), [(NoteKind::ParentReplaced, Some(3), "d/x".into())]);
}

#[test]
fn a_link_header_is_noted_when_it_differs_from_its_inode() {
    let link = |mode| {
        let Ok(Change { action: Action::Add(entry), .. }) = change((2, "h b a")) else { panic!() };
        let metadata = Metadata { mode, ..entry.metadata };
        Ok(Change { number: 2, action: Action::Add(Entry { metadata, ..entry }) })
    };
    for (mode, expected) in [(0o700, vec![]), (0o600, vec![NoteKind::LinkMetadata])] {
        let mut tree = Tree::new(Timestamp::default());
        let applied = tree.apply::<ApplyFault>(LayerId(0), [change((1, "f a 1")), link(mode)].into_iter()).unwrap();
        assert_eq!(applied.notes.iter().map(|note| note.kind).collect::<Vec<_>>(), expected);
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
    tree.apply::<ApplyFault>(LayerId(0), lines.iter().copied().enumerate().map(change)).unwrap();
    tree.apply::<ApplyFault>(LayerId(1), [(0, "f .wh..wh..opq")].into_iter().map(change)).unwrap();
    assert_eq!(tree.finish().walk().count(), 1);
}
