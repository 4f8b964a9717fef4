//! The report as JSON.

use planish_proptests::Stack;
use planish_proptests::check::{Checks, Refusal};
use planish_proptests::listing::{Difference, escape};
use serde_json::{Value, json};

use crate::exhibit::{Evidence, Exhibit, Shown};
use crate::findings::{Found, NoAnswer};
use crate::reproduce::Written;
use crate::text::field_names;

/// Returns the report.
pub(crate) fn document(command: &str, checks: &Checks, laws: &[Shown<'_>], refusals: &[Refusal], runs: u64) -> Value {
    json!({
        "command": command,
        "level": checks.level.name(),
        "seed": checks.seed,
        "cases": checks.cases,
        "compared": field_names(&checks.fields),
        "runs": runs,
        "laws": laws.iter().map(law).collect::<Vec<_>>(),
        "refusals": refusals.iter().map(refusal).collect::<Vec<_>>(),
    })
}

/// Returns the report about a command that cannot be used at all.
pub(crate) fn unusable(command: &str, no_answer: &NoAnswer) -> Value {
    json!({"command": command, "unusable": no_answer.message})
}

fn law(Shown { finding, evidence, written }: &Shown<'_>) -> Value {
    let mut law = json!({
        "name": finding.law.name,
        "summary": finding.law.summary,
        "sentence": finding.law.sentence,
        "verdict": finding.verdict().name(),
    });
    if let Found::Checked(report) = &finding.found {
        law["cases"] = json!(report.cases());
        law["inapplicable"] = json!(report.inapplicable);
        law["refused"] = json!(report.refused);
    }
    match evidence {
        Evidence::None => {}
        Evidence::Broken(example, exhibits) => {
            law["explanation"] = json!(example.breach.explanation);
            law["images"] = exhibits.iter().map(exhibit).collect();
            law["differences"] = strings(&example.breach.differences);
        }
        Evidence::NoAnswer(no_answer) => {
            law["message"] = json!(no_answer.message);
            law["images"] = no_answer.stack.iter().map(|stack| json!({"layers": lines(stack)})).collect();
        }
    }
    if let Some(Written { directory, commands }) = written {
        law["directory"] = json!(escape(directory.as_os_str().as_encoded_bytes()));
        law["commands"] = json!(commands);
    }
    law
}

fn exhibit(exhibit: &Exhibit) -> Value {
    let differences = exhibit.differences.as_deref().map(strings);
    json!({"layers": lines(&exhibit.stack), "differences": differences})
}

fn strings(differences: &[Difference]) -> Value {
    differences.iter().map(ToString::to_string).collect()
}

fn refusal(refusal: &Refusal) -> Value {
    json!({"layers": lines(&refusal.stack), "message": refusal.message})
}

fn lines(stack: &Stack) -> Vec<String> {
    stack.to_string().lines().map(str::to_owned).collect()
}
