//! The report as text.

use std::io::{self, Write};

use planish_proptests::check::{Checks, Counterexample, Refusal};
use planish_proptests::laws::Law;
use planish_proptests::listing::{Difference, Field, Fields, escape};

use crate::exhibit::{Evidence, Exhibit, Shown};
use crate::findings::{Finding, Found, NoAnswer, Verdict};
use crate::reproduce::Written;

/// Writes the parameters of the run.
pub(crate) fn heading(checks: &Checks, command: &str, out: &mut impl Write) -> io::Result<()> {
    let command: String = command.chars().flat_map(printable).collect();
    writeln!(out, "command: {command}")?;
    writeln!(out, "level {}, {} images for each law, seed {}", checks.level, checks.cases, checks.seed)?;
    writeln!(out, "compared: {}", field_names(&checks.fields).join(", "))?;
    writeln!(out)
}

/// The command comes from the caller, so only characters that would disturb a terminal are escaped.
fn printable(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}

/// Returns the names of fields in their order.
pub(crate) fn field_names(fields: &Fields) -> Vec<&'static str> {
    Field::ALL.into_iter().filter(|field| fields.contains(*field)).map(Field::name).collect()
}

/// Writes the line of one law.
pub(crate) fn line(finding: &Finding, out: &mut impl Write) -> io::Result<()> {
    // A broken law must stand out among many lines.
    let verdict = finding.verdict();
    let word = if verdict == Verdict::Broken { "BROKEN" } else { verdict.name() };
    write!(out, "{:26} {word:8}", finding.law.name)?;
    if let Found::Checked(report) = &finding.found {
        write!(out, " {:5} images", report.cases())?;
        for (count, what) in [(report.inapplicable, "not applicable"), (report.refused, "refused")] {
            if count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
    }
    writeln!(out)?;
    out.flush()
}

/// Writes the details of a law that does not hold.
pub(crate) fn shown(shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let law = shown.finding.law;
    match &shown.evidence {
        Evidence::None => {}
        Evidence::Broken(example, exhibits) => {
            writeln!(out, "\n{} is broken: {}", law.name, law.summary)?;
            writeln!(out, "  {}", law.sentence)?;
            broken(example, exhibits, out)?;
        }
        Evidence::NoAnswer(unusable) => {
            writeln!(out, "\n{} has no result", law.name)?;
            no_answer(unusable, out)?;
        }
    }
    if let Some(Written { directory, commands }) = &shown.written {
        writeln!(out, "  written to {}; the command on it:", escape(directory.as_os_str().as_encoded_bytes()))?;
        commands.iter().try_for_each(|command| writeln!(out, "    {command}"))?;
    }
    Ok(())
}

fn broken(example: &Counterexample, exhibits: &[Exhibit], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  {}", example.breach.explanation)?;
    for (index, Exhibit { stack, differences }) in exhibits.iter().enumerate() {
        let number = if exhibits.len() == 1 { String::new() } else { format!(" {}", index + 1) };
        write!(out, "  image{number}:\n{}", indented(&stack.to_string()))?;
        match differences.as_deref() {
            Some([]) => writeln!(out, "  the command's filesystem equals the reference model's")?,
            Some(found) => lines("the command's filesystem, compared with the reference model's", found, out)?,
            None => {}
        }
    }
    if exhibits.len() > 1 {
        let what = "the command's filesystem of the last image, compared with the one that follows from the first";
        lines(what, &example.breach.differences, out)?;
    }
    Ok(())
}

fn lines(what: &str, differences: &[Difference], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  {what}:")?;
    differences.iter().try_for_each(|difference| writeln!(out, "    {difference}"))
}

/// Writes an image that was refused.
pub(crate) fn refused(refusal: &Refusal, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nthe command refuses a valid image:\n{}", indented(&refusal.stack.to_string()).trim_end())?;
    writeln!(out, "  with {}", indented(&refusal.message).trim_start().trim_end())
}

/// Writes that the command gave no result, and for which image.
pub(crate) fn no_answer(no_answer: &NoAnswer, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "the command cannot be used: {}", indented(&no_answer.message).trim())?;
    match &no_answer.stack {
        Some(stack) => write!(out, "  image:\n{}", indented(&stack.to_string())),
        None => Ok(()),
    }
}

/// Writes the last line.
pub(crate) fn summary(findings: &[Finding], runs: u64, out: &mut impl Write) -> io::Result<()> {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict() == verdict).count();
    let (holds, all) = (count(Verdict::Holds), findings.len());
    write!(out, "\n{holds} of {all} laws hold")?;
    for verdict in [Verdict::Broken, Verdict::Unjudged, Verdict::Unusable] {
        let count = count(verdict);
        if count > 0 {
            write!(out, ", {count} {}", verdict.name())?;
        }
    }
    writeln!(out, "; the command ran {runs} times")
}

/// Writes all laws.
pub(crate) fn laws(laws: &[Law], out: &mut impl Write) -> io::Result<()> {
    for law in laws {
        writeln!(out, "{} ({}): {}\n  {}", law.name, law.level, law.summary, law.sentence)?;
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
