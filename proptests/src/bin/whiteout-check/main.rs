//! `whiteout-check`: runs the laws of layers against any command that flattens an OCI image.

mod args;
mod exhibit;
mod findings;
mod json;
mod reproduce;
mod shown;
mod smaller;
mod text;
mod watched;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use planish_proptests::check::Checks;
use planish_proptests::command::CommandSubject;
use planish_proptests::laws;
use planish_proptests::listing::Field;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::Args;
use crate::exhibit::Shown;
use crate::findings::{Finding, Verdict};
use crate::watched::Watched;

/// The end of the program; `--help` documents the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    AllHold = 0,
    Broken = 1,
    Usage = 2,
    Unusable = 3,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first signal requests an orderly end, the second one ends the program.
        let registered = signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        if let Err(error) = registered {
            eprintln!("whiteout-check: signals cannot be caught: {error}");
            return ExitCode::from(End::Usage as u8);
        }
    }
    let end = run(&args, Arc::clone(&stop), &mut io::stdout().lock(), &mut io::stderr().lock());
    if stop.load(Ordering::Relaxed) {
        // The parent process sees the signal that ended the program. The call returns only on failure.
        let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
    }
    let end = end.unwrap_or_else(|error| {
        eprintln!("whiteout-check: the report cannot be written: {error}");
        End::Usage
    });
    ExitCode::from(end as u8)
}

fn run(args: &Args, stop: Arc<AtomicBool>, out: &mut impl Write, errors: &mut impl Write) -> io::Result<End> {
    let Some(command) = args.subject().filter(|_| !args.list_laws) else {
        text::laws(laws::ALL, out)?;
        return Ok(End::AllHold);
    };
    if let Some(law) = args.laws.iter().find(|law| law.level > args.level) {
        let (name, level) = (law.name, law.level);
        writeln!(errors, "error: the law {name} is asked for at level {level} only")?;
        writeln!(errors, "hint: add --level {level}")?;
        return Ok(End::Usage);
    }
    if !rustix::process::geteuid().is_root() && args.compare.is_none() {
        writeln!(errors, "note: the command runs as an ordinary user, who cannot give files away or make devices")?;
        writeln!(errors, "hint: --compare type,mode,mtime,content,target,links")?;
    }
    let mut subject = Watched::new(command.clone().stop(stop));
    if let Err(no_answer) = findings::smoke(&mut subject) {
        if args.json {
            writeln!(out, "{:#}", json::unusable(args.template(), &no_answer))?;
        }
        text::no_answer(&no_answer, errors)?;
        return Ok(End::Unusable);
    }
    check(args, &command, &mut subject, out)
}

fn check(args: &Args, command: &CommandSubject, subject: &mut Watched, out: &mut impl Write) -> io::Result<End> {
    let checks = checks(args);
    let candidates = laws::ALL.iter().filter(|law| law.level <= checks.level);
    let chosen: Vec<_> = candidates
        .filter(|law| args.laws.is_empty() || args.laws.iter().any(|chosen| chosen.name == law.name))
        .collect();
    if !args.json {
        text::heading(&checks, args.template(), out)?;
    }
    let findings = findings::find(&chosen, &checks, args.keep_going, subject, |finding| {
        if args.json { Ok(()) } else { text::line(finding, out) }
    })?;
    let refusals = findings::refusals(&findings, &checks, subject);
    let mut shown = Vec::new();
    for finding in &findings {
        shown.push(Shown::of(finding, args, &checks, command, subject)?);
    }
    if args.json {
        writeln!(out, "{:#}", json::document(args.template(), &checks, &shown, &refusals, subject.runs))?;
    } else {
        shown.iter().try_for_each(|shown| text::shown(shown, out))?;
        refusals.iter().try_for_each(|refusal| text::refused(refusal, out))?;
        text::summary(&findings, subject.runs, out)?;
    }
    Ok(end(&findings))
}

fn checks(args: &Args) -> Checks {
    let mut checks = Checks::of(args.level);
    checks.cases = args.cases;
    checks.seed = args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    if let Some(fields) = &args.compare {
        // Fields that are not compared need not be generated: a command of an ordinary user would refuse them.
        checks.options.devices = fields.contains(Field::Device);
        checks.options.xattrs = fields.contains(Field::Xattrs);
        checks.fields = fields.clone();
    }
    // Each attempt runs a program, and entries are removed one by one afterwards.
    checks.shrinks = 100;
    checks
}

fn end(findings: &[Finding]) -> End {
    let verdicts: Vec<_> = findings.iter().map(Finding::verdict).collect();
    if verdicts.contains(&Verdict::Broken) {
        End::Broken
    } else if verdicts.iter().all(|verdict| *verdict == Verdict::Holds) {
        End::AllHold
    } else {
        End::Unusable
    }
}

#[cfg(test)]
mod tests;
