//! What holds for every program that flattens layers, whatever the layers are.
//!
//! Each law takes one generated [`Input`] and compares what a subject makes of two stacks that mean the same, or what
//! it makes of one with what the law says. Only the first law compares with the reference model; the others ask it
//! whether they apply and what the level leaves open.

mod bench;
mod bytes;
mod layer;
mod link;
mod marker;
mod tree;

use std::fmt;

use proptest::array::uniform4;
use proptest::prelude::{Strategy, any};

pub use bench::Bench;

use crate::level::Level;
use crate::listing::Difference;
use crate::stack::Stack;
use crate::strategy::{Options, stacks};

/// A law.
#[derive(Debug, Clone, Copy)]
pub struct Law {
    /// Its name, in messages and options.
    pub name: &'static str,
    /// The lowest level at which it is asked for.
    pub level: Level,
    /// What it says.
    pub summary: &'static str,
    /// The sentence of image-spec's `layer.md`, or the reason, behind it.
    pub sentence: &'static str,
    /// Checks it.
    pub(crate) run: Run,
}

type Run = fn(&mut Bench<'_>, &Input) -> Result<Verdict, Verdict>;

/// All laws, the one that says most first.
pub static ALL: &[Law] = &[
    tree::MODEL_AGREEMENT,
    marker::POSITION,
    marker::FIRST,
    marker::OPAQUE_AS_WHITEOUTS,
    marker::TWICE,
    marker::ON_NOTHING,
    marker::HIDES_SUBTREE,
    marker::OPAQUE_KEEPS_DIRECTORY,
    marker::NONE_SURVIVES,
    link::SHARES_INODE,
    link::NAMES_ARE_INDEPENDENT,
    layer::EMPTY_IS_IDENTITY,
    layer::SQUASHED_PREFIX,
    layer::DISJOINT_COMMUTE,
    layer::DIFFERENCE,
    tree::DIRECTORY_KEEPS_CHILDREN,
    tree::REWRITING,
    bytes::SPELLING,
    bytes::SHORT_READS,
];

/// Returns the law of a name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Law> {
    ALL.iter().find(|law| law.name == name)
}

impl Law {
    /// Checks the law on one input.
    pub fn check(&self, bench: &mut Bench<'_>, input: &Input) -> Verdict {
        (self.run)(bench, input).unwrap_or_else(|verdict| verdict)
    }
}

/// A stack, and numbers by which a law chooses among what the stack holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The stack.
    pub stack: Stack,
    /// The choices.
    pub picks: [u16; 4],
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}choices: {:?}", self.stack, self.picks)
    }
}

/// Generates inputs.
pub fn inputs(options: &Options) -> impl Strategy<Value = Input> + use<> {
    (stacks(options), uniform4(any::<u16>())).prop_map(|(stack, picks)| Input { stack, picks })
}

/// What a law says of one input.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Broken(Breach),
    /// The subject refuses a stack that is valid.
    Refused {
        /// The stack.
        stack: Stack,
        /// What it says.
        message: String,
    },
    /// The law says nothing about this input.
    Inapplicable,
    /// The subject cannot be used at all.
    Unusable(String),
}

/// How a law is broken.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// What was to be.
    pub explanation: String,
    /// The stacks that show it: one, or two that mean the same.
    pub stacks: Vec<Stack>,
    /// How what the subject makes of the last stack differs from what is right, or from what it makes of the first.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.explanation)?;
        for (index, stack) in self.stacks.iter().enumerate() {
            if self.stacks.len() > 1 {
                writeln!(f, "stack {}:", index + 1)?;
            }
            write!(f, "{stack}")?;
        }
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        Ok(())
    }
}

/// The choices of an input, one after the other.
struct Picks {
    numbers: [u16; 4],
    next: usize,
}

impl Picks {
    fn of(input: &Input) -> Self {
        Self { numbers: input.picks, next: 0 }
    }

    /// Returns a number below the bound, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        let number = self.numbers[self.next % self.numbers.len()];
        self.next += 1;
        usize::from(number) % bound
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> Result<&'a T, Verdict> {
        if items.is_empty() {
            return Err(Verdict::Inapplicable);
        }
        Ok(&items[self.below(items.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let mut names: Vec<_> = ALL.iter().map(|law| law.name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        assert!(names.iter().all(|name| named(name).is_some_and(|law| law.name == *name)));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(named("none").is_none());
    }
}
