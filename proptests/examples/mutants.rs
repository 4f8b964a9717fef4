//! Prints the law that refutes each mutant, and the number of cases: the test of the tests.
//!
//! `cargo run --release -p planish-proptests --example mutants [SEED [LEVEL]]`

use planish_proptests::check::{Checks, LawReport, check};
use planish_proptests::laws::ALL;
use planish_proptests::level::Level;
use planish_proptests::mutants::{Defect, Mutant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().map_or(Ok(0), |seed| seed.parse())?;
    let level = arguments.next().map_or(Ok(Level::Planish), |level| level.parse())?;
    let checks = Checks { seed, shrinks: 0, ..Checks::of(level) };
    println!("level {level}, seed {seed}, at most {} cases\n", checks.cases);
    println!("| mutant | first law | cases | quickest law but the first | cases | laws that refute it |");
    println!("|---|---|--:|---|--:|--:|");
    for defect in Defect::ALL {
        let mut refuting = Vec::new();
        for law in ALL.iter().filter(|law| law.level <= level) {
            let report = check(law, &mut Mutant { defect: Some(defect) }, &checks)?;
            refuting.extend(report.broken.is_some().then_some(report));
        }
        let cell = |report: Option<&LawReport>| {
            report.map_or("none |".to_owned(), |report| format!("{} | {}", report.law, report.cases()))
        };
        let first = refuting.first();
        let quickest = refuting.iter().skip(1).min_by_key(|report| report.cases());
        println!("| {defect} | {} | {} | {} |", cell(first), cell(quickest), refuting.len());
    }
    Ok(())
}
