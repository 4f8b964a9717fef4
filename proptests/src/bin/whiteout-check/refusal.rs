//! The smallest image that a command refuses.

use planish_proptests::Stack;
use planish_proptests::check::Refusal;
use planish_proptests::level::Level;
use planish_proptests::model::flatten;
use planish_proptests::subject::{Outcome, Subject};

/// Takes layers and entries away as long as the command still refuses what remains, and what remains is valid.
///
/// The command may refuse it for another reason then; what it said is that of the smallest.
pub(crate) fn smallest(found: &Refusal, level: Level, subject: &mut dyn Subject) -> Refusal {
    let mut smallest = found.clone();
    'smaller: loop {
        for stack in one_less(&smallest.stack) {
            let valid = flatten(&stack).is_ok_and(|meaning| meaning.all_oddities().is_subset(&level.oddities()));
            if valid && let Outcome::Refused(message) = subject.flatten(&stack.layers) {
                smallest = Refusal { stack, message };
                continue 'smaller;
            }
        }
        return smallest;
    }
}

/// Returns the stack without one of its layers, then without one of its entries.
fn one_less(stack: &Stack) -> Vec<Stack> {
    let mut stacks = Vec::new();
    // An image without a layer is another matter.
    for index in (0..stack.layers.len()).filter(|_| stack.layers.len() > 1) {
        let mut less = stack.clone();
        less.layers.remove(index);
        stacks.push(less);
    }
    for (index, layer) in stack.layers.iter().enumerate() {
        for entry in 0..layer.entries.len() {
            let mut less = stack.clone();
            less.layers[index].entries.remove(entry);
            stacks.push(less);
        }
    }
    stacks
}

#[cfg(test)]
mod tests {
    use planish_proptests::listing::Listing;
    use planish_proptests::writer::{Entry, EntryType, Layer};

    use super::*;

    /// Refuses fifos.
    struct NoFifos;

    impl Subject for NoFifos {
        fn flatten(&mut self, layers: &[Layer]) -> Outcome {
            let fifo = layers.iter().flat_map(|layer| &layer.entries).any(|entry| entry.kind == EntryType::Fifo);
            if fifo { Outcome::Refused("a fifo".to_owned()) } else { Outcome::Tree(Listing::new()) }
        }
    }

    #[test]
    fn only_what_is_refused_remains() {
        let stack = Stack::new([
            vec![Entry::dir("a"), Entry::file("a/b", "1"), Entry::fifo("a/c")],
            vec![Entry::whiteout("a/.wh.b")],
            vec![Entry::fifo("c")],
        ]);
        let found = Refusal { stack: stack.prefix(2), message: String::new() };
        let smallest = smallest(&found, Level::Spec, &mut NoFifos);
        assert_eq!(smallest.stack.to_string(), "layer 1: fifo a/c 0644\n");
        assert_eq!(smallest.message, "a fifo");
    }

    #[test]
    fn a_smaller_stack_without_meaning_is_no_refusal() {
        let found = Stack::new([vec![Entry::fifo("a"), Entry::hardlink("b", "a")]]);
        let found = Refusal { stack: found, message: String::new() };
        let smallest = smallest(&found, Level::Spec, &mut NoFifos);
        assert_eq!(smallest.stack.to_string(), "layer 1: fifo a 0644\n");
    }
}
