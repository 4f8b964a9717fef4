//! A subject under the laws.

use std::collections::BTreeSet;

use super::{Breach, Verdict};
use crate::flattened::Flattened;
use crate::level::Level;
use crate::listing::{Fields, Listing};
use crate::model::{Model, flatten};
use crate::name::Path;
use crate::open::Open;
use crate::stack::Stack;
use crate::subject::{Outcome, Subject};

/// A subject with the level of its check.
pub struct Bench<'a> {
    subject: &'a mut dyn Subject,
    /// The level: the permitted oddities, and the open parts of a stack's meaning.
    pub level: Level,
    /// The fields to compare.
    pub fields: Fields,
}

impl<'a> Bench<'a> {
    /// Returns a bench that compares all fields of the level.
    pub fn new(subject: &'a mut dyn Subject, level: Level) -> Self {
        Self { subject, level, fields: level.fields() }
    }

    /// Returns the meaning of a stack. A law does not apply to a stack that is invalid or beyond the level.
    pub(super) fn meaning(&self, stack: &Stack) -> Result<Flattened, Verdict> {
        let meaning = flatten(stack).map_err(|_| Verdict::Inapplicable)?;
        let within = meaning.all_oddities().is_subset(&self.level.oddities());
        if within { Ok(meaning) } else { Err(Verdict::Inapplicable) }
    }

    pub(super) fn outcome(&mut self, stack: &Stack) -> Outcome {
        self.subject.flatten(&stack.layers)
    }

    /// Returns the subject's result for a valid stack.
    pub(super) fn listing(&mut self, stack: &Stack) -> Result<Listing, Verdict> {
        match self.outcome(stack) {
            Outcome::Tree(listing) => Ok(listing),
            Outcome::Refused(message) => Err(Verdict::Refused { stack: stack.clone(), message }),
            Outcome::Unusable(message) => Err(Verdict::Unusable(message)),
        }
    }

    /// Requires the same filesystem from two stacks.
    pub(super) fn same(&mut self, explanation: &str, one: &Stack, other: &Stack) -> Result<Verdict, Verdict> {
        let open = self.open(one)?.or(self.open(other)?);
        let (expected, actual) = (self.listing(one)?, self.listing(other)?);
        let differences = open.diff(&expected, &actual, &self.fields);
        let stacks = vec![one.clone(), other.clone()];
        Ok(self.judge(Breach { explanation: explanation.to_owned(), stacks, differences }))
    }

    /// Requires that one stack gives the result of another, except for a change that the law makes.
    pub(super) fn differs_by(
        &mut self,
        explanation: String,
        before: &Stack,
        after: &Stack,
        settle: Option<&[u8]>,
        change: impl FnOnce(&mut Listing),
    ) -> Result<Verdict, Verdict> {
        let open = self.open(before)?.or(self.open(after)?);
        let open = settle.map_or(open.clone(), |path| open.without(path));
        let (mut expected, actual) = (self.listing(before)?, self.listing(after)?);
        change(&mut expected);
        let differences = open.diff(&expected, &actual, &self.fields);
        let stacks = vec![before.clone(), after.clone()];
        Ok(self.judge(Breach { explanation, stacks, differences }))
    }

    pub(super) fn open(&self, stack: &Stack) -> Result<Open, Verdict> {
        Ok(self.level.open(&self.meaning(stack)?))
    }

    pub(super) fn judge(&self, breach: Breach) -> Verdict {
        if breach.differences.is_empty() { Verdict::Holds } else { Verdict::Broken(breach) }
    }
}

/// Returns the model before each entry of a layer, and after the last.
pub(super) fn steps(stack: &Stack, layer: usize) -> Result<Vec<Model>, Verdict> {
    let mut model = Model::new();
    for below in &stack.layers[..layer] {
        below.entries.iter().try_for_each(|entry| model.apply(entry)).map_err(|_| Verdict::Inapplicable)?;
        model.end_layer();
    }
    let mut steps = vec![model.clone()];
    for entry in &stack.layers[layer].entries {
        model.apply(entry).map_err(|_| Verdict::Inapplicable)?;
        steps.push(model.clone());
    }
    Ok(steps)
}

/// Returns the directory that parents lead to at a step; `None` if there is none.
pub(super) fn directory(step: &Model, parents: &[Vec<u8>]) -> Result<Option<Path>, Verdict> {
    step.clone().resolve(parents, false).map_err(|_| Verdict::Inapplicable)
}

/// Requires that parents lead to the same directory at every step. One that they name without a symlink may be missing,
/// because it then contains nothing of lower layers.
pub(super) fn settled(steps: &[Model], parents: &[Vec<u8>]) -> Result<(), Verdict> {
    let found: BTreeSet<_> = steps.iter().map(|step| directory(step, parents)).collect::<Result<_, _>>()?;
    let named = |found: &Option<Path>| found.as_ref().is_none_or(|path| path == parents);
    if found.len() == 1 || found.iter().all(named) { Ok(()) } else { Err(Verdict::Inapplicable) }
}
