//! The laws of layer semantics for every program that flattens layers.
//!
//! Each law takes one generated [`Input`] and compares a subject's results for two equivalent stacks, or one result
//! with the law's statement. Only the first law compares with the reference model; the others use it to find out if
//! they apply and what the level leaves open.

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
    /// The name, in messages and options.
    pub name: &'static str,
    /// The lowest level that includes the law.
    pub level: Level,
    /// The statement.
    pub summary: &'static str,
    /// The sentence of image-spec's `layer.md`, or the reason for the law.
    pub sentence: &'static str,
    /// The function that checks it.
    pub(crate) run: Run,
}

type Run = fn(&mut Bench<'_>, &Input) -> Result<Verdict, Verdict>;

/// All laws, the most comprehensive one first.
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

/// A stack, and numbers by which a law chooses among its entries.
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

/// The result of a law for one input.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It is broken.
    Broken(Breach),
    /// The subject refuses a stack that is valid.
    Refused {
        /// The stack.
        stack: Stack,
        /// The message.
        message: String,
    },
    /// The law does not apply to this input.
    Inapplicable,
    /// The subject cannot be used at all.
    Unusable(String),
}

/// A broken law.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// The expected result.
    pub explanation: String,
    /// The stacks that show it: one, or two equivalent ones.
    pub stacks: Vec<Stack>,
    /// The differences between the subject's result for the last stack and the correct one, or its result for the first
    /// stack.
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

/// The choices of an input, taken one after the other.
struct Picks {
    numbers: [u16; 4],
    next: usize,
}

impl Picks {
    fn of(input: &Input) -> Self {
        Self { numbers: input.picks, next: 0 }
    }

    /// Returns a number below `bound`, which is at least 1.
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
