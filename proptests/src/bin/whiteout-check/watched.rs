//! The command, observed while the laws are checked.

use planish_proptests::Stack;
use planish_proptests::command::CommandSubject;
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::Layer;

/// A command that records the last stack on which it failed.
pub(crate) struct Watched {
    command: CommandSubject,
    /// The number of runs.
    pub(crate) runs: u64,
    /// The last stack on which it could not be used.
    pub(crate) unusable_on: Option<Stack>,
}

impl Watched {
    pub(crate) fn new(command: CommandSubject) -> Self {
        Self { command, runs: 0, unusable_on: None }
    }
}

impl Subject for Watched {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        self.runs += 1;
        let outcome = self.command.flatten(layers);
        if matches!(outcome, Outcome::Unusable(_)) {
            self.unusable_on = Some(Stack { layers: layers.to_vec() });
        }
        outcome
    }
}
