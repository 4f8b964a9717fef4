//! The subjects of the laws: programs that flatten layers.

use crate::listing::Listing;
use crate::writer::Layer;

/// A program, or a part of one, that flattens layers.
///
/// ```
/// use planish_proptests::listing::Listing;
/// use planish_proptests::subject::{Outcome, Subject};
/// use planish_proptests::writer::Layer;
///
/// struct Nothing;
///
/// impl Subject for Nothing {
///     fn flatten(&mut self, layers: &[Layer]) -> Outcome {
///         Outcome::Refused(format!("{} layers are too many", layers.len()))
///     }
/// }
/// ```
pub trait Subject {
    /// Flattens layers, the lowest first.
    fn flatten(&mut self, layers: &[Layer]) -> Outcome;
}

/// The result of a subject for a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The filesystem.
    Tree(Listing),
    /// The subject reports that the layers are invalid or unsupported: a finding, but no broken law.
    Refused(String),
    /// The subject cannot be used at all: not installed, killed, an output that cannot be read.
    Unusable(String),
}
