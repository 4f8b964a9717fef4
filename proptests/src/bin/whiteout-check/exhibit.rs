//! The exhibits of one law: the finding, and the images that show it.

use planish_proptests::Stack;
use planish_proptests::check::Counterexample;
use planish_proptests::listing::Difference;

use crate::findings::{Finding, NoAnswer};
use crate::reproduce::Written;

/// A finding with the images that reproduce it.
pub(crate) struct Shown<'a> {
    pub(crate) finding: &'a Finding,
    pub(crate) evidence: Evidence<'a>,
    /// The paths of the images.
    pub(crate) written: Option<Written>,
}

pub(crate) enum Evidence<'a> {
    /// The law holds.
    None,
    /// The law is broken: the counterexample, and the result of the command for each image.
    Broken(&'a Counterexample, Vec<Exhibit>),
    /// The command gives no result.
    NoAnswer(&'a NoAnswer),
}

/// An image that breaks a law.
pub(crate) struct Exhibit {
    pub(crate) stack: Stack,
    /// The differences between the results of the command and of the reference model; `None` if one of them has no
    /// result.
    pub(crate) differences: Option<Vec<Difference>>,
}
