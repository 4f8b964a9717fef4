//! Runs a law on many inputs, and reduces the first one that breaks it.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};

use crate::laws::{Bench, Breach, Input, Law, Verdict, inputs};
use crate::level::Level;
use crate::listing::Fields;
use crate::stack::Stack;
use crate::strategy::Options;
use crate::subject::Subject;

/// The parameters of a check.
#[derive(Debug, Clone)]
pub struct Checks {
    /// The number of inputs.
    pub cases: u32,
    /// The seed: the same seed gives the same inputs for a law, on every machine.
    pub seed: u64,
    /// The level.
    pub level: Level,
    /// The fields to compare.
    pub fields: Fields,
    /// The options of the stacks.
    pub options: Options,
    /// The maximum number of attempts to find a smaller counterexample.
    pub shrinks: u32,
}

impl Checks {
    /// Returns the checks of a level: 1,000 cases, seed 0.
    #[must_use]
    pub fn of(level: Level) -> Self {
        Self { cases: 1_000, seed: 0, level, fields: level.fields(), options: level.options(), shrinks: 4_000 }
    }
}

/// The result of checking a law.
#[derive(Debug, Clone)]
pub struct LawReport {
    /// The law.
    pub law: &'static str,
    /// The number of inputs for which it holds.
    pub holds: u32,
    /// The number of inputs to which it does not apply.
    pub inapplicable: u32,
    /// The number of inputs of which the subject refuses a valid stack.
    pub refused: u32,
    /// The first refusal.
    pub refusal: Option<Refusal>,
    /// The input that breaks it; the check ended there.
    pub broken: Option<Counterexample>,
}

impl LawReport {
    /// Returns the number of inputs tried, including the one that breaks the law.
    #[must_use]
    pub fn cases(&self) -> u32 {
        self.holds + self.inapplicable + self.refused + u32::from(self.broken.is_some())
    }
}

/// A valid stack that the subject refuses.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The stack.
    pub stack: Stack,
    /// The message of the subject.
    pub message: String,
}

/// The smallest input found that breaks a law.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// The input.
    pub input: Input,
    /// The breach.
    pub breach: Breach,
}

/// A subject that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the subject cannot be used: {0}")]
pub struct Unusable(pub String);

/// Checks a law until it breaks or all cases are used.
///
/// # Errors
///
/// The subject cannot be used.
///
/// # Panics
///
/// The model contradicts itself.
pub fn check(law: &'static Law, subject: &mut dyn Subject, checks: &Checks) -> Result<LawReport, Unusable> {
    let mut bench = Bench::new(subject, checks.level);
    bench.fields = checks.fields.clone();
    let mut report = LawReport { law: law.name, holds: 0, inapplicable: 0, refused: 0, refusal: None, broken: None };
    let mut runner = TestRunner::new(Config {
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(checks.seed),
        failure_persistence: None,
        ..Config::default()
    });
    let inputs = inputs(&checks.options);
    for _ in 0..checks.cases {
        let mut tree = inputs.new_tree(&mut runner).expect("no strategy of this crate rejects a value");
        match law.check(&mut bench, &tree.current()) {
            Verdict::Holds => report.holds += 1,
            Verdict::Inapplicable => report.inapplicable += 1,
            Verdict::Refused { stack, message } => {
                report.refused += 1;
                report.refusal.get_or_insert(Refusal { stack, message });
            }
            Verdict::Unusable(message) => return Err(Unusable(message)),
            Verdict::Broken(breach) => {
                let found = Counterexample { input: tree.current(), breach };
                report.broken = Some(smallest(law, &mut bench, &mut tree, found, checks.shrinks));
                break;
            }
        }
    }
    Ok(report)
}

/// Applies proptest's simplifications as long as the law stays broken.
fn smallest(
    law: &Law,
    bench: &mut Bench<'_>,
    tree: &mut impl ValueTree<Value = Input>,
    mut found: Counterexample,
    attempts: u32,
) -> Counterexample {
    let mut more = tree.simplify();
    for _ in 0..attempts {
        if !more {
            break;
        }
        let input = tree.current();
        more = match law.check(bench, &input) {
            Verdict::Broken(breach) => {
                found = Counterexample { input, breach };
                tree.simplify()
            }
            _ => tree.complicate(),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::{ALL, named};
    use crate::model::Reference;
    use crate::mutants::{Defect, Mutant};
    use crate::subject::Outcome;
    use crate::writer::Layer;

    /// A subject that gives the same result for every stack.
    struct Always(Outcome);

    impl Subject for Always {
        fn flatten(&mut self, _: &[Layer]) -> Outcome {
            self.0.clone()
        }
    }

    fn agreement(subject: &mut dyn Subject, cases: u32) -> Result<LawReport, Unusable> {
        let law = named("model-agreement").unwrap();
        check(law, subject, &Checks { cases, seed: 1, ..Checks::of(Level::Spec) })
    }

    #[test]
    fn every_law_holds_for_the_model_at_every_level() {
        for level in Level::ALL {
            for law in ALL.iter().filter(|law| law.level <= level) {
                let checks = Checks { seed: 7, cases: 300, ..Checks::of(level) };
                let report = check(law, &mut Reference, &checks).unwrap();
                println!("{level} {}: {} hold, {} inapplicable", law.name, report.holds, report.inapplicable);
                if let Some(Counterexample { input, breach }) = report.broken {
                    panic!("{level} {}:\n{input}\n{breach}", law.name);
                }
                assert_eq!(report.refused, 0, "{level} {}", law.name);
                assert!(report.holds >= 150, "{level} {} applies to {} of 300", law.name, report.holds);
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_small_counterexamples() {
        let mut mutant = Mutant { defect: Some(Defect::SameLayerWhiteout) };
        let [one, other] = [(); 2].map(|()| agreement(&mut mutant, 1_000).unwrap());
        let found = one.broken.as_ref().unwrap();
        assert_eq!(found.input, other.broken.as_ref().unwrap().input);
        assert!(found.input.stack.entries() <= 4, "{}", found.input);
        assert_eq!(one.cases(), one.holds + one.inapplicable + one.refused + 1);
    }

    #[test]
    fn a_refusal_breaks_no_law_and_is_counted() {
        let report = agreement(&mut Always(Outcome::Refused("no".to_owned())), 20).unwrap();
        assert_eq!((report.refused, report.holds, report.cases()), (20, 0, 20));
        assert_eq!(report.refusal.unwrap().message, "no");
        assert!(report.broken.is_none());
    }

    #[test]
    fn an_unusable_subject_ends_the_check() {
        let error = agreement(&mut Always(Outcome::Unusable("not installed".to_owned())), 20).unwrap_err();
        assert_eq!(error.to_string(), "the subject cannot be used: not installed");
    }
}
