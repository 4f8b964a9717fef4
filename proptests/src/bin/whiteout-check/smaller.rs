//! Reduces images as long as they still reproduce a finding.

use planish_proptests::check::{Checks, Counterexample, Refusal};
use planish_proptests::laws::{Bench, Input, Law, Verdict};
use planish_proptests::level::Level;
use planish_proptests::model::flatten;
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::{Compression, Entry, EntryType, TarEnd};
use planish_proptests::{Mtime, Stack};

/// Returns a smaller image that the command refuses.
///
/// The reason may differ; the message is that of the smaller image.
pub(crate) fn refusal(found: &Refusal, level: Level, subject: &mut dyn Subject) -> Refusal {
    let valid = |stack: &Stack| flatten(stack).is_ok_and(|meaning| meaning.all_oddities().is_subset(&level.oddities()));
    let (stack, message) = smallest((found.stack.clone(), found.message.clone()), |stack| {
        match valid(stack).then(|| subject.flatten(&stack.layers)) {
            Some(Outcome::Refused(message)) => Some(message),
            _ => None,
        }
    });
    Refusal { stack, message }
}

/// Returns a smaller input that breaks the law.
///
/// The runner has reduced the input by undoing steps of the generator. This reduction does not depend on the generator,
/// so any entry can be removed.
pub(crate) fn counterexample(
    law: &Law,
    found: &Counterexample,
    checks: &Checks,
    subject: &mut dyn Subject,
) -> Counterexample {
    let mut bench = Bench::new(subject, checks.level);
    bench.fields = checks.fields.clone();
    let picks = found.input.picks;
    let (stack, breach) = smallest((found.input.stack.clone(), found.breach.clone()), |stack| {
        match law.check(&mut bench, &Input { stack: stack.clone(), picks }) {
            Verdict::Broken(breach) => Some(breach),
            _ => None,
        }
    });
    Counterexample { input: Input { stack, picks }, breach }
}

/// Applies simplifications until none of them reproduces the finding.
fn smallest<T>(found: (Stack, T), mut still: impl FnMut(&Stack) -> Option<T>) -> (Stack, T) {
    let mut smallest = found;
    let mut next = 0;
    // Simplifications that failed before the last success are retried only after all others have failed.
    let mut failed = 0;
    loop {
        let simpler = simpler(&smallest.0);
        if failed >= simpler.len() {
            return smallest;
        }
        let stack = &simpler[next % simpler.len()];
        match still(stack) {
            Some(shown) => {
                smallest = (stack.clone(), shown);
                failed = 0;
            }
            None => {
                next += 1;
                failed += 1;
            }
        }
    }
}

/// Returns the stacks without one layer, without one entry, or with one simplified entry.
fn simpler(stack: &Stack) -> Vec<Stack> {
    let with = |change: &dyn Fn(&mut Stack)| {
        let mut changed = stack.clone();
        change(&mut changed);
        changed
    };
    let mut stacks = Vec::new();
    for index in 0..stack.layers.len() {
        // An image without layers is a different case.
        if stack.layers.len() > 1 {
            stacks.push(with(&|stack| drop(stack.layers.remove(index))));
        }
        for entry in 0..stack.layers[index].entries.len() {
            stacks.push(with(&|stack| drop(stack.layers[index].entries.remove(entry))));
        }
    }
    for (index, layer) in stack.layers.iter().enumerate() {
        stacks.push(with(&|stack| {
            stack.layers[index].compression = Compression::default();
            stack.layers[index].tar_end = TarEnd::default();
        }));
        for (place, entry) in layer.entries.iter().enumerate() {
            for plainer in plainer(entry) {
                stacks.push(with(&|stack| stack.layers[index].entries[place] = plainer.clone()));
            }
        }
    }
    stacks.retain(|simpler| simpler != stack);
    stacks
}

fn plainer(entry: &Entry) -> [Entry; 4] {
    let mode = match entry.kind {
        EntryType::Directory => 0o755,
        EntryType::Symlink => 0o777,
        _ => 0o644,
    };
    [
        Entry { xattrs: Vec::new(), ..entry.clone() },
        Entry { mtime: Mtime::default(), ..entry.clone() },
        entry.clone().owner(0, 0),
        entry.clone().mode(mode),
    ]
}

#[cfg(test)]
mod tests {
    use planish_proptests::listing::Listing;
    use planish_proptests::writer::Layer;

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
    fn a_refused_stack_shrinks_to_its_cause() {
        let stack = Stack::new([
            vec![Entry::dir("a"), Entry::file("a/b", "1"), Entry::fifo("a/c").owner(1, 2).mtime(3, 0).mode(0o600)],
            vec![Entry::whiteout("a/.wh.b")],
            vec![Entry::dir("c")],
        ]);
        let smallest = refusal(&Refusal { stack, message: String::new() }, Level::Spec, &mut NoFifos);
        assert_eq!(smallest.stack.to_string(), "layer 1: fifo a/c 0644\n");
        assert_eq!(smallest.message, "a fifo");
    }

    #[test]
    fn an_invalid_smaller_stack_is_discarded() {
        let valid = |stack: &Stack| flatten(stack).is_ok() && stack.to_string().contains(" = ");
        let stack = Stack::new([vec![Entry::fifo("a"), Entry::hardlink("b", "a"), Entry::dir("c")]]);
        let (stack, ()) = smallest((stack, ()), |stack| valid(stack).then_some(()));
        assert_eq!(stack.to_string(), "layer 1: fifo a 0644\nlayer 1: hardlink b = a 0644\n");
    }

    #[test]
    fn a_counterexample_keeps_what_breaks_the_law() {
        struct Empty;
        impl Subject for Empty {
            fn flatten(&mut self, _: &[Layer]) -> Outcome {
                Outcome::Tree("/ d 0755 0:0 0".parse().unwrap())
            }
        }
        let law = planish_proptests::laws::named("model-agreement").unwrap();
        let stack = Stack::new([
            vec![Entry::dir("a").owner(7, 7), Entry::file("a/b", "").xattr("user.a", "1")],
            vec![Entry::whiteout(".wh.a"), Entry::fifo("c").mtime(5, 0)],
        ]);
        let checks = Checks::of(Level::Spec);
        let input = Input { stack, picks: [0; 4] };
        let Verdict::Broken(breach) = law.check(&mut Bench::new(&mut Empty, Level::Spec), &input) else { panic!() };
        let smallest = counterexample(law, &Counterexample { input, breach }, &checks, &mut Empty);
        assert_eq!(smallest.input.stack.to_string(), "layer 1: fifo c 0644\n");
        assert_eq!(smallest.breach.stacks, [smallest.input.stack]);
    }
}
