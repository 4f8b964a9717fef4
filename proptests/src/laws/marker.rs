//! Laws about whiteouts and opaque markers.

use super::bench::{Bench, directory, settled, steps};
use super::tree::{looks_like_marker, without};
use super::{Breach, Input, Law, Picks, Verdict};
use crate::level::Level;
use crate::listing::{Difference, Kind, escape};
use crate::name::{self, Path};
use crate::oddity::Oddity;
use crate::stack::Stack;
use crate::writer::{Entry, Layer};

/// A marker acts on lower layers, so its position in its own layer does not matter.
///
/// A layer that changes the target of symlinks in a marker's path is not applicable.
pub(super) const POSITION: Law = Law {
    name: "marker-position",
    level: Level::Spec,
    summary: "the position of a marker in its layer does not matter",
    sentence: "\"… is applied first, before creating the new version …, regardless of the ordering in which the whiteout \
               file was encountered.\"",
    run: position,
};

fn position(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let layer = layer_with_marker(input, &mut picks)?;
    let entries = &input.stack.layers[layer].entries;
    let (mut markers, mut others): (Vec<Entry>, Vec<Entry>) = entries.iter().cloned().partition(is_marker);
    let moved = match picks.below(3) {
        0 => [markers, others].concat(),
        1 => [others, markers].concat(),
        _ => {
            let marker = markers.swap_remove(picks.below(markers.len()));
            others = entries.iter().filter(|entry| **entry != marker).cloned().collect();
            others.insert(picks.below(others.len() + 1), marker);
            others
        }
    };
    settled_markers(&input.stack, layer)?;
    bench.same(
        "other positions of the markers change the filesystem",
        &input.stack,
        &replaced(&input.stack, layer, [moved]),
    )
}

/// The markers of a layer can be moved to a layer of their own below the other entries.
pub(super) const FIRST: Law = Law {
    name: "markers-first",
    level: Level::Spec,
    summary: "a layer's markers take effect before its other entries",
    sentence: "\"Whiteout files MUST only apply to resources in lower/parent layers.\"",
    run: first,
};

fn first(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let layer = layer_with_marker(input, &mut picks)?;
    // An entry that needs what its own layer hides cannot be moved.
    let oddities = &bench.meaning(&input.stack)?.oddities[layer];
    for oddity in [Oddity::UsedAndGone, Oddity::SymlinkedParent, Oddity::Bookkeeping] {
        without(oddity, oddities)?;
    }
    settled_markers(&input.stack, layer)?;
    let (markers, others) = input.stack.layers[layer].entries.iter().cloned().partition(is_marker);
    let split = replaced(&input.stack, layer, [markers, others]);
    bench.same("moving the markers to a separate lower layer changes the filesystem", &input.stack, &split)
}

/// An opaque marker is equivalent to a whiteout for each name that lower layers left in its directory.
pub(super) const OPAQUE_AS_WHITEOUTS: Law = Law {
    name: "opaque-as-whiteouts",
    level: Level::Spec,
    summary: "an opaque marker equals one whiteout for each child",
    sentence: "\"Using explicit whiteout files, this would be equivalent …\"",
    run: opaque_as_whiteouts,
};

fn opaque_as_whiteouts(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let (layer, place, parent) = directory_for_marker(input, &mut picks)?;
    let steps = steps(&input.stack, layer)?;
    without(Oddity::Bookkeeping, &bench.meaning(&input.stack)?.all_oddities())?;
    if directory(&steps[place], &parent)?.is_some_and(|resolved| resolved != parent) {
        return Err(Verdict::Inapplicable);
    }
    let below = |path: &Path| path.len() == parent.len() + 1 && path.starts_with(&parent);
    let children: Vec<Path> = steps[0].paths().into_iter().filter(below).collect();
    if children.iter().any(|path| looks_like_marker(&name::absolute(path))) {
        return Err(Verdict::Inapplicable);
    }
    let whiteouts = children.iter().map(|path| Entry::whiteout(name::whiteout_of(path)));
    let opaque = with_entries(&input.stack, layer, place, [Entry::opaque(parent.join(&b'/'))]);
    let explicit = with_entries(&input.stack, layer, place, whiteouts);
    bench.same("an opaque marker does not equal one whiteout for each child", &explicit, &opaque)
}

/// A duplicate marker has no further effect.
///
/// A layer "MUST NOT include duplicate entries", and containers/storage refuses them, markers too.
pub(super) const TWICE: Law = Law {
    name: "marker-twice",
    level: Level::Consensus,
    summary: "a duplicate marker has no further effect",
    sentence: "\"A whiteout file is an empty file with a special filename that signifies a path should be deleted.\"",
    run: twice,
};

fn twice(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let layer = layer_with_marker(input, &mut picks)?;
    let entries = &input.stack.layers[layer].entries;
    let markers: Vec<_> = entries.iter().filter(|entry| is_marker(entry)).collect();
    let marker = Entry::clone(picks.one_of(&markers)?);
    settled(&steps(&input.stack, layer)?, &parents(&marker))?;
    let place = picks.below(entries.len() + 1);
    bench.same(
        "a duplicate marker changes the filesystem",
        &input.stack,
        &with_entries(&input.stack, layer, place, [marker]),
    )
}

/// A marker for a name that no lower layer left has no effect, even if its own layer adds that name.
pub(super) const ON_NOTHING: Law = Law {
    name: "marker-on-nothing",
    level: Level::Spec,
    summary: "a marker without a lower target changes nothing",
    sentence: "\"Files that are present in the same layer as a whiteout file can only be hidden by whiteout files in \
               subsequent layers.\"",
    run: on_nothing,
};

fn on_nothing(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let (layer, place, mut parent) = directory_for_marker(input, &mut picks)?;
    let steps = steps(&input.stack, layer)?;
    if bench.level == Level::Planish && picks.below(4) == 3 {
        parent.push(b"z".to_vec());
    }
    if directory(&steps[place], &parent)?.is_some_and(|resolved| resolved != parent) {
        return Err(Verdict::Inapplicable);
    }
    let missing = |name: &&str| steps[0].node(&[&parent[..], &[name.as_bytes().to_vec()]].concat()).is_none();
    let names: Vec<_> = ["a", "b", "c", "z"].into_iter().filter(missing).collect();
    let path = [&parent[..], &[picks.one_of(&names)?.as_bytes().to_vec()]].concat();
    let marked = with_entries(&input.stack, layer, place, [Entry::whiteout(name::whiteout_of(&path))]);
    bench.same("a marker without a lower target changes the filesystem", &input.stack, &marked)
}

/// A whiteout hides a name with everything below it, and nothing else.
pub(super) const HIDES_SUBTREE: Law = Law {
    name: "whiteout-hides-subtree",
    level: Level::Spec,
    summary: "a whiteout hides only its name and all names below it",
    sentence: "\"… the resource … MUST be removed when the changeset is applied\"",
    run: hides_subtree,
};

fn hides_subtree(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let meaning = bench.meaning(&input.stack)?;
    let paths = meaning.listing.iter().map(|(path, _)| path);
    let paths: Vec<_> = paths.filter(|path| *path != b"/" && !looks_like_marker(path)).collect();
    let path = *Picks::of(input).one_of(&paths)?;
    let after = input.stack.with([Entry::whiteout(name::whiteout_of(&name::names_of(path)))]);
    let explanation = format!("a whiteout of {} does not hide exactly this name and all names below it", escape(path));
    bench.differs_by(explanation, &input.stack, &after, None, |listing| {
        let within = |other: &[u8]| name::names_of(other).starts_with(&name::names_of(path));
        let gone: Vec<_> = listing.iter().map(|(other, _)| other.to_vec()).filter(|other| within(other)).collect();
        gone.iter().for_each(|other| listing.remove(other));
    })
}

/// An opaque marker hides all names of a directory, and leaves the directory unchanged.
pub(super) const OPAQUE_KEEPS_DIRECTORY: Law = Law {
    name: "opaque-keeps-directory",
    level: Level::Spec,
    summary: "an opaque marker hides all children and keeps the directory",
    sentence: "\"An opaque whiteout file hides all children … including sub-directories and all descendants.\"",
    run: opaque_keeps_directory,
};

fn opaque_keeps_directory(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let meaning = bench.meaning(&input.stack)?;
    let directories = meaning.listing.iter().filter(|(_, node)| node.kind == Kind::Directory).map(|(path, _)| path);
    let directories: Vec<_> = directories.collect();
    let path = *Picks::of(input).one_of(&directories)?;
    let after = input.stack.with([Entry::opaque(&path[1..])]);
    let explanation = format!("an opaque marker in {} does not hide exactly its children", escape(path));
    bench.differs_by(explanation, &input.stack, &after, None, |listing| {
        let below = |other: &[u8]| other != path && name::names_of(other).starts_with(&name::names_of(path));
        let gone: Vec<_> = listing.iter().map(|(other, _)| other.to_vec()).filter(|other| below(other)).collect();
        gone.iter().for_each(|other| listing.remove(other));
    })
}

/// No name in the filesystem has the prefix of markers.
pub(super) const NONE_SURVIVES: Law = Law {
    name: "no-marker-survives",
    level: Level::Spec,
    summary: "the filesystem has no markers",
    sentence: "\"Once a whiteout is applied, the whiteout itself MUST also be hidden.\"",
    run: none_survives,
};

fn none_survives(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let meaning = bench.meaning(&input.stack)?;
    without(Oddity::MarkerInPath, &meaning.all_oddities())?;
    let listing = bench.listing(&input.stack)?;
    let marked = listing.iter().filter(|(path, _)| looks_like_marker(path));
    let differences =
        marked.map(|(path, node)| Difference::Unexpected { path: path.to_vec(), actual: node.clone() }).collect();
    let explanation = "a marker is in the filesystem".to_owned();
    Ok(bench.judge(Breach { explanation, stacks: vec![input.stack.clone()], differences }))
}

fn is_marker(entry: &Entry) -> bool {
    name::is_marker(&entry.name)
}

/// Requires that no entry of the layer changes the directory that a marker's path leads to.
fn settled_markers(stack: &Stack, layer: usize) -> Result<(), Verdict> {
    let steps = steps(stack, layer)?;
    let markers = stack.layers[layer].entries.iter().filter(|entry| is_marker(entry));
    markers.map(parents).try_for_each(|parents| settled(&steps, &parents))
}

/// Returns the directory of a marker.
fn parents(marker: &Entry) -> Path {
    let mut path = name::clean(&marker.name, true).unwrap_or_default();
    path.pop();
    path
}

fn layer_with_marker(input: &Input, picks: &mut Picks) -> Result<usize, Verdict> {
    let marked = |layer: &usize| input.stack.layers[*layer].entries.iter().any(is_marker);
    let layers: Vec<usize> = (0..input.stack.layers.len()).filter(marked).collect();
    picks.one_of(&layers).copied()
}

/// Chooses a layer, a position in it, and a directory that lower layers left.
fn directory_for_marker(input: &Input, picks: &mut Picks) -> Result<(usize, usize, Path), Verdict> {
    let layer = picks.below(input.stack.layers.len());
    let lower = &steps(&input.stack, layer)?[0];
    let place = picks.below(input.stack.layers[layer].entries.len() + 1);
    let mut directories = lower.paths();
    directories.retain(|path| lower.node(path).is_some_and(|node| node.kind == Kind::Directory));
    Ok((layer, place, picks.one_of(&directories)?.clone()))
}

/// Returns the stack with one layer replaced by others.
pub(super) fn replaced(stack: &Stack, layer: usize, by: impl IntoIterator<Item = Vec<Entry>>) -> Stack {
    let mut layers = stack.layers.clone();
    layers.splice(layer..=layer, by.into_iter().map(Layer::new));
    Stack { layers }
}

fn with_entries(stack: &Stack, layer: usize, place: usize, entries: impl IntoIterator<Item = Entry>) -> Stack {
    let mut stack = stack.clone();
    stack.layers[layer].entries.splice(place..place, entries);
    stack
}
