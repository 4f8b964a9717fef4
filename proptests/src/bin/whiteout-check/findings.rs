//! The findings about a command.

use std::io;

use planish_proptests::Stack;
use planish_proptests::check::{Checks, LawReport, Refusal, check};
use planish_proptests::laws::Law;
use planish_proptests::subject::{Outcome, Subject};
use planish_proptests::writer::Entry;

use crate::smaller;
use crate::watched::Watched;

/// The finding about one law.
pub(crate) struct Finding {
    pub(crate) law: &'static Law,
    pub(crate) found: Found,
}

pub(crate) enum Found {
    /// The law was checked.
    Checked(LawReport),
    /// The command gave no result.
    Unusable(NoAnswer),
}

/// A command that cannot be used.
pub(crate) struct NoAnswer {
    pub(crate) message: String,
    /// The image on which the command failed.
    pub(crate) stack: Option<Stack>,
}

/// The verdict on a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Broken,
    /// All images were refused or not applicable, which shows nothing.
    Unjudged,
    Unusable,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Broken => "broken",
            Self::Unjudged => "unjudged",
            Self::Unusable => "unusable",
        }
    }
}

impl Finding {
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.found {
            Found::Checked(LawReport { broken: Some(_), .. }) => Verdict::Broken,
            Found::Checked(LawReport { holds: 0, .. }) => Verdict::Unjudged,
            Found::Checked(_) => Verdict::Holds,
            Found::Unusable(_) => Verdict::Unusable,
        }
    }
}

/// Runs the command on an image of a directory and a file.
pub(crate) fn smoke(subject: &mut Watched) -> Result<(), NoAnswer> {
    let stack = Stack::new([vec![Entry::dir("a"), Entry::file("a/b", "content")]]);
    match subject.flatten(&stack.layers) {
        Outcome::Tree(_) => Ok(()),
        Outcome::Refused(message) => Err(NoAnswer {
            message: format!("it refuses an image of one directory and one file: {message}"),
            stack: None,
        }),
        Outcome::Unusable(message) => Err(NoAnswer { message, stack: None }),
    }
}

/// Checks laws, and passes on each finding immediately.
///
/// Stops at the first law on which the command cannot be used, unless `keep_going`.
pub(crate) fn find(
    laws: &[&'static Law],
    checks: &Checks,
    keep_going: bool,
    subject: &mut Watched,
    mut seen: impl FnMut(&Finding) -> io::Result<()>,
) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for &law in laws {
        let found = match check(law, subject, checks) {
            Ok(mut report) => {
                let smaller = |found| smaller::counterexample(law, &found, checks, subject);
                report.broken = report.broken.map(smaller);
                Found::Checked(report)
            }
            Err(unusable) => Found::Unusable(NoAnswer { message: unusable.0, stack: subject.unusable_on.take() }),
        };
        let finding = Finding { law, found };
        seen(&finding)?;
        let last = matches!(finding.found, Found::Unusable(_)) && !keep_going;
        findings.push(finding);
        if last {
            break;
        }
    }
    Ok(findings)
}

/// Returns the smallest images that the command refuses, without duplicates.
pub(crate) fn refusals(findings: &[Finding], checks: &Checks, subject: &mut Watched) -> Vec<Refusal> {
    let mut smallest: Vec<Refusal> = Vec::new();
    for finding in findings {
        let Found::Checked(LawReport { refusal: Some(refusal), .. }) = &finding.found else { continue };
        let refusal = smaller::refusal(refusal, checks.level, subject);
        if smallest.iter().all(|other| other.stack != refusal.stack) {
            smallest.push(refusal);
        }
    }
    smallest
}
