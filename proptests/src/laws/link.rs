//! Laws about hard links.

use super::bench::Bench;
use super::tree::looks_like_marker;
use super::{Input, Law, Picks, Verdict};
use crate::changes::with_metadata;
use crate::flattened::Flattened;
use crate::level::Level;
use crate::listing::{Kind, escape};
use crate::name;
use crate::oddity::Oddity;
use crate::stack::Stack;
use crate::writer::Entry;

/// A hard link is a further name of its target's inode, of any type.
pub(super) const SHARES_INODE: Law = Law {
    name: "hard-link-shares-inode",
    level: Level::Spec,
    summary: "a hard link only adds a name to an inode",
    sentence: "\"Hardlinked files … have the same inode.\"",
    run: shares_inode,
};

fn shares_inode(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let meaning = bench.meaning(&input.stack)?;
    let files = linkable(bench, &meaning);
    let path = picks.one_of(&files)?;
    let (link, second) = second_name(&meaning, path)?;
    let explanation = format!("a hard link to {} does not add exactly one name to its inode", escape(path));
    bench.differs_by(explanation, &input.stack, &input.stack.with([link]), None, |listing| {
        listing.link(&second[..], path);
    })
}

/// A name of an inode can be removed or replaced, and the other names are unchanged.
pub(super) const NAMES_ARE_INDEPENDENT: Law = Law {
    name: "link-names-are-independent",
    level: Level::Spec,
    summary: "removing or replacing one name of an inode keeps its other names",
    sentence: "\"Hardlinks are … one or more directory entries for the same file\"",
    run: names_are_independent,
};

fn names_are_independent(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let (stack, names) = linked(bench, input, &mut picks)?;
    let name = picks.one_of(&names)?;
    let path = name::names_of(name);
    let replace = picks.below(2) == 1;
    let entry = if replace {
        Entry::file(path.join(&b'/'), "replaced").mode(0o640).owner(7, 8)
    } else {
        Entry::whiteout(name::whiteout_of(&path))
    };
    let after = stack.with([entry]);
    let replacement = bench.meaning(&after)?.listing.get(name).cloned();
    let explanation =
        format!("a change of {}, one of {} names of an inode, changes other names", escape(name), names.len());
    bench.differs_by(explanation, &stack, &after, None, |listing| match replacement {
        Some(node) => listing.insert(&name[..], node),
        None => listing.remove(name),
    })
}

/// Returns a stack and all names of an inode with several names; if the input has none, one file gets a second name.
fn linked(bench: &Bench<'_>, input: &Input, picks: &mut Picks) -> Result<(Stack, Vec<Vec<u8>>), Verdict> {
    let meaning = bench.meaning(&input.stack)?;
    let files = linkable(bench, &meaning);
    let names = |path: &[u8]| meaning.listing.names(path).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let several: Vec<_> = files.iter().filter(|path| names(path).len() > 1).collect();
    if let Ok(path) = picks.one_of(&several) {
        return Ok((input.stack.clone(), names(path)));
    }
    let path = picks.one_of(&files)?;
    let (link, second) = second_name(&meaning, path)?;
    Ok((input.stack.with([link]), vec![path.clone(), second]))
}

/// Returns the paths that can be hard-linked at the level of the bench.
fn linkable(bench: &Bench<'_>, meaning: &Flattened) -> Vec<Vec<u8>> {
    let symlinks = bench.level.oddities().contains(&Oddity::LinkToSymlink);
    let fits = |kind: &Kind| match kind {
        Kind::Directory => false,
        Kind::Symlink(_) => symlinks,
        _ => true,
    };
    let files = meaning.listing.iter().filter(|(path, node)| fits(&node.kind) && !looks_like_marker(path));
    files.map(|(path, _)| path.to_vec()).collect()
}

/// Returns a hard link to a path, and its own new path.
fn second_name(meaning: &Flattened, path: &[u8]) -> Result<(Entry, Vec<u8>), Verdict> {
    let second = [path, b"2"].concat();
    let node = meaning.listing.get(path).ok_or(Verdict::Inapplicable)?;
    if meaning.listing.get(&second).is_some() {
        return Err(Verdict::Inapplicable);
    }
    Ok((with_metadata(Entry::hardlink(&second[1..], &path[1..]), node), second))
}
