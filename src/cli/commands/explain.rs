//! `planish explain`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use planish::LifeReport;
use planish::tree::{Cause, LifeEvent};

use super::ls::mode;
use crate::cli::arguments::{listing, read};
use crate::cli::exit::Failure;
use crate::cli::{stdout, summary};

/// Prints the life of a path: which layer and instruction added, changed or removed it, and how
#[derive(Debug, clap::Args)]
pub struct ExplainArguments {
    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    listing: listing::ListingArguments,
    #[command(flatten)]
    read: read::ReadArguments,
    /// The path in the image; symlinks among its parents are followed in the final tree
    #[arg(help_heading = clap::builder::Resettable::Reset)]
    path: OsString,
}

/// Runs the command.
pub fn run(arguments: &ExplainArguments) -> Result<(), Failure> {
    let job = arguments.listing.apply(read::Job::of(&arguments.read)?, arguments.read.cache());
    let image = job.open()?;
    let result = image.explain(arguments.path.as_bytes());
    job.observer.end();
    let life = result?;
    if arguments.json { stdout::print_json(&life) } else { stdout::print(text(&life).trim_end()) }
}

fn text(life: &LifeReport) -> String {
    let LifeReport { path, exists, steps, notes, .. } = life;
    let mut text = format!("{path}{}\n", if *exists { "" } else { ": not in the final tree" });
    for step in steps {
        let event = match step.event {
            LifeEvent::Added => "added",
            LifeEvent::Changed => "changed",
            LifeEvent::Kept => "written again, nothing changed",
            LifeEvent::Removed => "removed",
            _ => "not there",
        };
        let instruction = step.instruction.as_deref().map(|text| format!("  {}", summary::instruction(text)));
        text.push_str(&format!("layer {:<5} {event}{}\n", step.layer, instruction.unwrap_or_default()));
        let mut row = |line: String| text.push_str(&format!("            {line}\n"));
        for cause in &step.causes {
            row(match cause.kind {
                Cause::Entry => "by an entry".into(),
                Cause::Implied => "by an entry below it, which needs a directory".into(),
                Cause::Whiteout => format!("by a whiteout of {}", cause.path),
                Cause::Opaque => format!("by an opaque marker in {}", cause.path),
                _ => format!("by an entry for {}, which is no directory", cause.path),
            });
        }
        if step.causes.is_empty() {
            row("by entries or whiteouts of its other names".into());
        }
        step.changes.iter().for_each(|change| row(change.to_string()));
        if let (LifeEvent::Added, Some(after)) = (step.event, &step.after) {
            let size = after.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
            let target = after.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
            row(format!("{} {}:{}{size}{target}", mode(after).trim_end(), after.uid, after.gid));
        }
    }
    notes.iter().for_each(|note| text.push_str(&format!("note        {note}\n")));
    text
}
