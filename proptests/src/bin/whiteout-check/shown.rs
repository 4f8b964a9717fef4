//! The presentation of one law, on the screen and on disk.

use std::io;

use planish_proptests::Stack;
use planish_proptests::check::Checks;
use planish_proptests::command::CommandSubject;
use planish_proptests::model::flatten;
use planish_proptests::subject::{Outcome, Subject};

use crate::args::Args;
use crate::exhibit::{Evidence, Exhibit, Shown};
use crate::findings::{Finding, Found};
use crate::reproduce;
use crate::text;
use crate::watched::Watched;

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
