//! Laws about whole layers.

use std::collections::BTreeSet;

use super::bench::Bench;
use super::tree::{looks_like_marker, without};
use super::{Input, Law, Picks, Verdict};
use crate::changes::Deletion;
use crate::flattened::Flattened;
use crate::level::Level;
use crate::name::{self, Path, Spelling};
use crate::oddity::Oddity;
use crate::stack::Stack;
use crate::writer::{Entry, EntryType, Layer};

/// A layer without entries changes nothing.
pub(super) const EMPTY_IS_IDENTITY: Law = Law {
    name: "empty-layer-is-identity",
    level: Level::Spec,
    summary: "an empty layer changes nothing",
    sentence: "\"A tar archive is then created which contains only this changeset\"",
    run: empty_is_identity,
};

fn empty_is_identity(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut with = input.stack.clone();
    with.layers.insert(Picks::of(input).below(input.stack.layers.len() + 1), Layer::default());
    bench.same("an empty layer changes the filesystem", &input.stack, &with)
}

/// The lowest layers can be replaced by one layer with their meaning.
pub(super) const SQUASHED_PREFIX: Law = Law {
    name: "squashed-prefix",
    level: Level::Spec,
    summary: "squashing the lowest layers into one changes nothing",
    sentence: "\"One or more layers are applied on top of each other to create a complete filesystem.\"",
    run: squashed_prefix,
};

fn squashed_prefix(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let count = Picks::of(input).below(input.stack.layers.len()) + 1;
    let meaning = bench.meaning(&input.stack.prefix(count))?;
    writable(&meaning)?;
    let mut squashed = input.stack.clone();
    squashed.layers.splice(..count, [Layer::new(meaning.layer())]);
    bench.same("squashing the lowest layers into one changes the filesystem", &input.stack, &squashed)
}

/// Two independent layers commute.
///
/// They touch different children of the root, and not the root; none of their parents is a symlink.
pub(super) const DISJOINT_COMMUTE: Law = Law {
    name: "disjoint-layers-commute",
    level: Level::Spec,
    summary: "layers with disjoint subtrees commute",
    sentence: "\"The directories are compared, looking for files that have been added, modified, or removed.\"",
    run: disjoint_commute,
};

fn disjoint_commute(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let count = input.stack.layers.len();
    if count < 2 {
        return Err(Verdict::Inapplicable);
    }
    let base = input.stack.prefix(count - 2);
    let [below, above] = [count - 2, count - 1].map(|layer| &input.stack.layers[layer].entries);
    let mut tops: Vec<Vec<u8>> = [below, above].into_iter().flatten().filter_map(top).collect();
    tops.sort_unstable();
    tops.dedup();
    if tops.len() < 2 {
        return Err(Verdict::Inapplicable);
    }
    // Every subset except the empty one and the full one.
    let mine = 1 + picks.below((1 << tops.len().min(15)) - 2);
    let is_mine = |top: &[u8]| tops.iter().position(|other| other == top).is_some_and(|index| mine >> index & 1 == 1);
    let of = |side: bool| {
        let mut seen = BTreeSet::new();
        let fits = |entry: &&Entry| top(entry).is_some_and(|top| is_mine(&top) == side);
        // The first of several entries for a name that both layers have.
        let fresh = |entry: &&Entry| seen.insert(name::clean(&entry.name, true));
        [below, above].into_iter().flatten().filter(fits).filter(fresh).cloned().collect::<Vec<Entry>>()
    };
    let (one, other) = (of(true), of(false));
    if one.is_empty() || other.is_empty() {
        return Err(Verdict::Inapplicable);
    }
    let stack = base.with(one.clone()).with(other.clone());
    let swapped = base.with(other).with(one);
    for stack in [&stack, &swapped] {
        let meaning = bench.meaning(stack)?;
        meaning.oddities[count - 2..].iter().try_for_each(|layer| without(Oddity::SymlinkedParent, layer))?;
    }
    bench.same("two layers with disjoint subtrees do not commute", &stack, &swapped)
}

/// Returns the one child of the root that an entry touches; `None` if there is more than one.
fn top(entry: &Entry) -> Option<Vec<u8>> {
    let top_of = |raw: &[u8], clamp| {
        let path = name::clean(raw, clamp).ok()?;
        let (first, below) = path.split_first()?;
        match name::spelling(first) {
            Spelling::Whiteout(hidden) if below.is_empty() => Some(hidden),
            Spelling::Ordinary => Some(first.clone()),
            _ => None,
        }
    };
    let top = top_of(&entry.name, false)?;
    let link = entry.kind == EntryType::HardLink && !name::is_marker(&entry.name);
    (!link || top_of(&entry.linkname, true)? == top).then_some(top)
}

/// The difference of two filesystems, written as a layer, changes one into the other.
pub(super) const DIFFERENCE: Law = Law {
    name: "difference-is-a-layer",
    level: Level::Spec,
    summary: "the difference of two filesystems, written as a layer, changes one into the other",
    sentence: "\"Added and modified files and directories in their entirety. Deleted files or directories marked with a \
               whiteout file.\"",
    run: difference,
};

fn difference(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let count = picks.below(input.stack.layers.len() + 1);
    let from = input.stack.prefix(count);
    // Two steps of one history have much in common, two halves of a stack do not.
    let to =
        if picks.below(2) == 0 { input.stack.clone() } else { Stack { layers: input.stack.layers[count..].to_vec() } };
    let deletion = if picks.below(2) == 0 { Deletion::Explicit } else { Deletion::Opaque };
    let (old, new) = (bench.meaning(&from)?, bench.meaning(&to)?);
    writable(&old)?;
    writable(&new)?;
    let changed = from.with(new.changes(&old, deletion));
    bench.same("the difference of two filesystems does not change one into the other", &to, &changed)
}

/// Requires that a filesystem can be written as a layer.
fn writable(meaning: &Flattened) -> Result<(), Verdict> {
    // A later layer may link to AUFS's names, which are not in the filesystem.
    without(Oddity::Bookkeeping, &meaning.all_oddities())?;
    let named = |path: &[u8]| name::names_of(path);
    let marked = |path: Path| path.iter().any(|name| looks_like_marker(name));
    if meaning.listing.iter().any(|(path, _)| marked(named(path))) { Err(Verdict::Inapplicable) } else { Ok(()) }
}
