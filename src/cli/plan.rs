//! `planish plan`.

use planish::foresee::{ForeseeOptions, Foreseen, foresee};

use super::exit::Failure;
use super::{build, read, shape, summary};

/// Says what a build would make of an image: size, inodes and notes, writing nothing
#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    #[command(flatten)]
    shape: shape::ShapeArguments,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &PlanArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let options = ForeseeOptions {
        plan: arguments.shape.options(job.clock)?,
        read: job.read,
        work_dir: job.work_dir.unwrap_or_else(std::env::temp_dir),
    };
    let result = foresee(&job.source, &options, &*job.observer, &job.cancel);
    job.observer.end();
    let plan = result?;
    let text = if arguments.json { serde_json::to_string_pretty(&plan).unwrap_or_default() } else { lines(&plan) };
    build::print(text.trim_end())
}

fn lines(plan: &Foreseen) -> String {
    let rows = [
        ("image", format!("{} ({})", plan.source, plan.platform)),
        ("engine", format!("{}: {}", plan.engine.name, plan.engine.reason)),
        ("size", summary::bytes(plan.bytes)),
        ("content", summary::bytes(plan.content_bytes)),
        ("metadata", summary::bytes(plan.metadata_bytes)),
        ("journal", summary::bytes(plan.journal_bytes)),
        ("free", summary::bytes(plan.free_bytes)),
        ("inodes", format!("{}, {} free", plan.inodes, plan.free_inodes)),
        ("UUID", plan.uuid.clone()),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:11} {value}\n")).collect();
    text.push_str(&summary::notes(&plan.notes));
    text
}
