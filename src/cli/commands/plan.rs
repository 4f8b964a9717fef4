//! `planish plan`.

use planish::Escaped;
use planish::PlanReport;

use crate::cli::arguments::{inject, read, shape};
use crate::cli::exit::Failure;
use crate::cli::stdout;
use crate::cli::summary;

/// Prints the size, inodes and notes of a build without writing a filesystem
#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    #[command(flatten)]
    shape: shape::ShapeArguments,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inject: inject::InjectArguments,
}

/// Runs the command.
pub fn run(arguments: &PlanArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let result = arguments.shape.apply(arguments.inject.apply(job.builder()?)?, job.clock)?.plan();
    job.observer.end();
    let plan = result?;
    if arguments.json { stdout::print_json(&plan) } else { stdout::print(lines(&plan).trim_end()) }
}

fn lines(plan: &PlanReport) -> String {
    let key = ToString::to_string;
    let rows = [
        ("image", format!("{} ({})", Escaped(plan.source.as_bytes()), plan.platform)),
        ("engine", format!("{}: {}", plan.engine.name, plan.engine.reason)),
        ("size", summary::bytes(plan.bytes)),
        ("content", summary::bytes(plan.content_bytes)),
        ("metadata", summary::bytes(plan.metadata_bytes)),
        ("journal", summary::bytes(plan.journal_bytes)),
        ("free", summary::bytes(plan.free_bytes)),
        ("inodes", format!("{}, {} free", plan.inodes, plan.free_inodes)),
        ("UUID", plan.uuid.clone()),
        ("key", plan.key.as_ref().map_or("unknown: it names the versions of tools that cannot be run".into(), key)),
    ];
    let mut text: String = rows.into_iter().map(|(name, value)| format!("{name:11} {value}\n")).collect();
    text.push_str(&summary::notes(&plan.notes));
    text
}
