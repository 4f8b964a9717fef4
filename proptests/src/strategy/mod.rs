//! Generated stacks.
//!
//! A strategy first generates steps, such as "hide some existing name", and then realizes them one by one with the
//! reference model's current state. Nearly all stacks are valid this way, although their names often collide, and a
//! stack without one of its steps is still valid.

mod realize;
mod step;

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::strategy::{Just, Strategy};

use crate::level::Level;
use crate::oddity::{Oddities, Oddity};
use crate::stack::Stack;

/// The options of generated stacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The permitted oddities.
    pub oddities: Oddities,
    /// True if a few stacks are invalid.
    pub invalid: bool,
    /// True if they have device nodes, which only root can create.
    pub devices: bool,
    /// True if they have xattrs, which not every filesystem can store.
    pub xattrs: bool,
}

impl Level {
    /// Returns the options for stacks of this level.
    #[must_use]
    pub fn options(self) -> Options {
        // layer.md does not say what a subject must refuse.
        Options { oddities: self.oddities(), invalid: self > Self::Spec, devices: true, xattrs: true }
    }
}

/// Generates stacks of two to five layers.
pub fn stacks(options: &Options) -> impl Strategy<Value = Stack> + use<> {
    let all = options.clone();
    // Names collide within three layers of four entries, and a person can still follow them.
    let layers = vec(vec(step::steps(), 0..=8), 2..=5);
    // A third of the oddities is left out of each stack, so that one oddity does not hide the effects of another.
    let odd = vec(weighted(2.0 / 3.0), Oddity::ALL.len());
    // An invalid stack tests one thing only: that it is refused.
    let invalid =
        proptest::prop_oneof![29 => Just(Invalid::Never), 2 => Just(Invalid::Made), 1 => Just(Invalid::Found)];
    (layers, odd, invalid).prop_map(move |(layers, odd, invalid)| {
        let drawn = Oddity::ALL.into_iter().zip(odd).filter_map(|(oddity, drawn)| drawn.then_some(oddity));
        let oddities = drawn.filter(|oddity| all.oddities.contains(oddity)).collect();
        let options = Options { oddities, ..all.clone() };
        realize::realize(&layers, if all.invalid { invalid } else { Invalid::Never }, &options)
    })
}

/// The invalid step that a stack keeps; one, because no program looks beyond the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    /// None: the stack is valid.
    Never,
    /// The first that was generated as invalid.
    Made,
    /// The first of the others that turned out to be invalid.
    Found,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngSeed, TestRunner};

    use super::*;
    use crate::listing::Kind;
    use crate::model::flatten;
    use crate::writer::EntryType;

    const STACKS: usize = 2_000;

    fn generated(level: Level) -> Vec<Stack> {
        let config = Config { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let strategy = stacks(&level.options());
        (0..STACKS).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
    }

    #[test]
    fn stacks_are_valid_and_of_their_level() {
        for level in Level::ALL {
            let stacks = generated(level);
            let valid: Vec<_> = stacks.iter().filter_map(|stack| flatten(stack).ok()).collect();
            println!("{level}: {} of {STACKS} are valid", valid.len());
            assert!(valid.len() * 100 >= STACKS * if level.options().invalid { 90 } else { 100 });
            assert!(valid.iter().all(|meaning| meaning.all_oddities().is_subset(&level.oddities())));
            assert!(stacks.iter().all(|stack| (2..=5).contains(&stack.layers.len())));
        }
    }

    #[test]
    fn every_feature_is_generated_often() {
        let stacks = generated(Level::Planish);
        let meanings: Vec<_> = stacks.iter().filter_map(|stack| flatten(stack).ok()).collect();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for stack in &stacks {
            let mut kinds: Vec<EntryType> =
                stack.layers.iter().flat_map(|layer| &layer.entries).map(|entry| entry.kind).collect();
            kinds.sort();
            kinds.dedup();
            kinds.iter().for_each(|kind| *counts.entry(format!("{kind:?}")).or_default() += 1);
        }
        for meaning in &meanings {
            meaning.all_oddities().iter().for_each(|oddity| *counts.entry(format!("{oddity:?}")).or_default() += 1);
            let linked = meaning.listing.iter().any(|(path, _)| meaning.listing.names(path).len() > 1);
            *counts.entry("two names of one inode".to_owned()).or_default() += usize::from(linked);
            let deep = meaning.listing.iter().any(|(path, _)| path.iter().filter(|&&byte| byte == b'/').count() == 3);
            *counts.entry("three levels".to_owned()).or_default() += usize::from(deep);
            let link = meaning.listing.iter().any(|(_, node)| matches!(node.kind, Kind::Symlink(_)));
            *counts.entry("a symlink".to_owned()).or_default() += usize::from(link);
        }
        println!("{counts:#?}");
        for oddity in Oddity::ALL {
            let count = counts.get(&format!("{oddity:?}")).copied().unwrap_or_default();
            assert!(count * 200 >= STACKS, "{oddity:?}: in {count} of {STACKS} stacks");
        }
    }
}
