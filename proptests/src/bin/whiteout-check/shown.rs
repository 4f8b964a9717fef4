//! The presentation of one law, on the screen and on disk.

use std::io;

use planish_proptests::Stack;
use planish_proptests::check::{Checks, Counterexample};
use planish_proptests::command::CommandSubject;
use planish_proptests::listing::Difference;
use planish_proptests::model::flatten;
use planish_proptests::subject::{Outcome, Subject};

use crate::args::Args;
use crate::findings::{Finding, Found, NoAnswer};
use crate::reproduce::{self, Written};
use crate::text;
use crate::watched::Watched;

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

impl<'a> Shown<'a> {
    pub(crate) fn of(
        finding: &'a Finding,
        args: &Args,
        checks: &Checks,
        command: &CommandSubject,
        subject: &mut Watched,
    ) -> io::Result<Self> {
        let (evidence, stacks) = match &finding.found {
            Found::Checked(report) => match &report.broken {
                Some(example) => {
                    let stacks = example.breach.stacks.clone();
                    let exhibits = stacks.iter().map(|stack| exhibit(stack, checks, subject)).collect();
                    (Evidence::Broken(example, exhibits), stacks)
                }
                None => (Evidence::None, Vec::new()),
            },
            Found::Unusable(no_answer) => (Evidence::NoAnswer(no_answer), no_answer.stack.iter().cloned().collect()),
        };
        let mut shown = Self { finding, evidence, written: None };
        if !stacks.is_empty() {
            let mut text = Vec::new();
            text::shown(&shown, &mut text)?;
            let directory = args.reproduce.join(finding.law.name);
            shown.written = Some(reproduce::write(&directory, &stacks, &text, command)?);
        }
        Ok(shown)
    }
}

fn exhibit(stack: &Stack, checks: &Checks, subject: &mut Watched) -> Exhibit {
    let differences = match (flatten(stack), subject.flatten(&stack.layers)) {
        (Ok(meaning), Outcome::Tree(actual)) => {
            Some(checks.level.open(&meaning).diff(&meaning.listing, &actual, &checks.fields))
        }
        _ => None,
    };
    Exhibit { stack: stack.clone(), differences }
}
