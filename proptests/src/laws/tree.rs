//! Laws about single paths.

use super::bench::Bench;
use super::{Breach, Input, Law, Picks, Verdict};
use crate::level::Level;
use crate::listing::{Kind, Node, escape};
use crate::model::flatten;
use crate::name;
use crate::oddity::Oddity;
use crate::problem::{Fault, Problem};
use crate::subject::Outcome;
use crate::writer::Entry;

/// A subject gives the same filesystem as the model, and refuses invalid stacks.
pub(super) const MODEL_AGREEMENT: Law = Law {
    name: "model-agreement",
    level: Level::Spec,
    summary: "the filesystem equals that of the reference model",
    sentence: "\"Layer Changesets … are applied, rather than simply extracted as tar archives.\"",
    run: model_agreement,
};

fn model_agreement(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let stacks = vec![input.stack.clone()];
    match flatten(&input.stack) {
        Ok(_) => {
            let meaning = bench.meaning(&input.stack)?;
            let actual = bench.listing(&input.stack)?;
            let differences = bench.level.open(&meaning).diff(&meaning.listing, &actual, &bench.fields);
            let explanation = "the filesystem differs from that of the reference model".to_owned();
            Ok(bench.judge(Breach { explanation, stacks, differences }))
        }
        Err(fault) if must_be_refused(&fault, bench.level) => match bench.outcome(&input.stack) {
            Outcome::Refused(_) => Ok(Verdict::Holds),
            Outcome::Unusable(message) => Err(Verdict::Unusable(message)),
            Outcome::Tree(_) => {
                let explanation = format!("an invalid stack is accepted: {fault}");
                Ok(Verdict::Broken(Breach { explanation, stacks, differences: Vec::new() }))
            }
        },
        Err(_) => Err(Verdict::Inapplicable),
    }
}

fn must_be_refused(fault: &Fault, level: Level) -> bool {
    let agreed = [Problem::InvalidWhiteout, Problem::LinkTargetDirectory, Problem::SymlinkTarget, Problem::UnknownType];
    level == Level::Planish || level == Level::Consensus && agreed.contains(&fault.problem)
}

/// A new entry for a directory replaces its metadata and nothing else.
pub(super) const DIRECTORY_KEEPS_CHILDREN: Law = Law {
    name: "directory-keeps-children",
    level: Level::Spec,
    summary: "new metadata of a directory keeps its children",
    sentence: "\"If the entry and the existing path are both directories, then the existing path's attributes MUST be \
               replaced by those of the entry in the changeset.\"",
    run: directory_keeps_children,
};

fn directory_keeps_children(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let mut picks = Picks::of(input);
    let meaning = bench.meaning(&input.stack)?;
    let directory = |&(path, node): &(&[u8], &Node)| node.kind == Kind::Directory && !looks_like_marker(path);
    let directories: Vec<_> = meaning.listing.iter().filter(directory).collect();
    let &(path, old) = picks.one_of(&directories)?;
    let mut node = old.clone();
    node.mode ^= 0o055;
    (node.uid, node.gid) = (7, 8);
    node.mtime = crate::Mtime { seconds: 77, nanos: 0 };
    let attribute = picks.below(2) == 1 && node.xattrs.keys().all(|name| name.starts_with(b"user."));
    node.xattrs = if attribute { [(b"user.c".to_vec(), b"4".to_vec())].into() } else { [].into() };
    let name = if path == b"/" { b"./" } else { &path[1..] };
    let entry = crate::changes::with_metadata(Entry::dir(name), &node);
    let explanation = format!("an entry for the directory {} changes more than its metadata", escape(path));
    let after = input.stack.with([entry]);
    bench.differs_by(explanation, &input.stack, &after, Some(path), |listing| {
        if let Some(there) = listing.get_mut(path).filter(|there| there.kind == Kind::Directory) {
            *there = node;
        }
    })
}

/// An entry that repeats the existing state changes nothing.
pub(super) const REWRITING: Law = Law {
    name: "rewriting-changes-nothing",
    level: Level::Spec,
    summary: "an entry that repeats the existing state changes nothing",
    sentence: "\"In all other cases, the implementation MUST do the semantic equivalent of … removing the file path … \
               recreating the file path, based on the contents and attributes of the changeset entry\"",
    run: rewriting,
};

fn rewriting(bench: &mut Bench<'_>, input: &Input) -> Result<Verdict, Verdict> {
    let meaning = bench.meaning(&input.stack)?;
    // A file with several names would lose the other ones.
    let paths = meaning.listing.iter().map(|(path, _)| path).filter(|path| meaning.listing.names(path).len() == 1);
    let paths: Vec<_> = paths.filter(|path| !looks_like_marker(path)).collect();
    let path = Picks::of(input).one_of(&paths)?;
    let after = input.stack.with([meaning.entry(path)]);
    bench.same("an entry that repeats the existing state changes the filesystem", &input.stack, &after)
}

/// Returns true if the last name of a path has the prefix of markers: such a directory can only be implied.
pub(super) fn looks_like_marker(path: &[u8]) -> bool {
    name::names_of(path).last().is_some_and(|name| name::looks_like_marker(name))
}

/// Requires that no layer has this oddity.
pub(super) fn without(oddity: Oddity, oddities: &crate::Oddities) -> Result<(), Verdict> {
    if oddities.contains(&oddity) { Err(Verdict::Inapplicable) } else { Ok(()) }
}
