//! Wrong appliers that test the laws.
//!
//! An applier that shares nothing with the model has one defect at a time. Most of its defects were seen in real
//! programs. Without a defect it keeps all laws; with any, it breaks at least one.

mod apply;
mod defect;
mod entry;
mod finish;
mod records;
mod tree;

pub use defect::Defect;

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::subject::{Outcome, Subject};
use crate::writer::{Compression, Layer, TarEnd};

/// An applier with at most one defect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mutant {
    /// The defect.
    pub defect: Option<Defect>,
}

impl Subject for Mutant {
    fn flatten(&mut self, layers: &[Layer]) -> Outcome {
        let mut tree = tree::Tree::new(self.defect);
        for layer in layers {
            let seen = match self.defect {
                Some(Defect::FirstGzipMember) => first_member(layer),
                _ => layer.entries.len(),
            };
            if let Err(message) = tree.apply(&layer.entries[..seen]) {
                return Outcome::Refused(message.to_owned());
            }
        }
        Outcome::Tree(tree.finish())
    }
}

/// Returns the number of entries in the blob's first gzip member.
fn first_member(layer: &Layer) -> usize {
    if layer.compression != Compression::GzipMulti {
        return layer.entries.len();
    }
    let mut read = Vec::new();
    // Bytes that cannot be read count as missing, as in a program that takes an error for the end.
    let _ = GzDecoder::new(&layer.blob()[..]).read_to_end(&mut read);
    let end = |count: usize| {
        let entries = layer.entries[..count].iter().cloned();
        Layer::new(entries).tar_end(TarEnd::None).tar().len()
    };
    (0..=layer.entries.len()).rev().find(|count| end(*count) <= read.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Checks, check};
    use crate::laws::ALL;
    use crate::level::Level;

    #[test]
    fn every_law_holds_for_the_correct_applier() {
        for law in ALL {
            let checks = Checks { cases: 300, seed: 3, ..Checks::of(Level::Planish) };
            let report = check(law, &mut Mutant::default(), &checks).unwrap();
            if let Some(found) = report.broken {
                panic!("{}:\n{}\n{}", law.name, found.input, found.breach);
            }
            assert_eq!(report.refused, 0, "{}: {:?}", law.name, report.refusal);
        }
    }

    #[test]
    fn every_defect_is_refuted_within_a_thousand_cases() {
        for defect in Defect::ALL {
            let refuted = ALL.iter().find_map(|law| {
                let checks = Checks { cases: 1_000, seed: 0, shrinks: 0, ..Checks::of(Level::Planish) };
                let report = check(law, &mut Mutant { defect: Some(defect) }, &checks).unwrap();
                report.broken.is_some().then(|| (law.name, report.cases()))
            });
            let Some((law, cases)) = refuted else { panic!("no law refutes {defect}") };
            println!("{defect}: {law}, {cases} cases");
        }
    }
}
