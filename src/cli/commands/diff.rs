//! `planish diff`.

use std::ffi::OsString;
use std::io::{BufWriter, Write};

use planish::{DifferenceKind, DifferenceReport, Error};
use serde::Serialize;

use crate::cli::arguments::read;
use crate::cli::exit::Failure;
use crate::cli::json::{ImageHead, ListDocument};
use crate::cli::stdout;

/// The schema of differences in JSON.
const SCHEMA: &str = "planish.diff.v1";

/// Compares the final trees of two images: names, attributes and every byte
///
/// Prints A for what only the second image has, D for what only the first has, and C for what differs; the exit code is then
/// 8.
#[derive(Debug, clap::Args)]
pub struct DiffArguments {
    /// Print the differences as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    read: read::ReadArguments,
    /// The other image, in the same forms
    #[arg(help_heading = clap::builder::Resettable::Reset)]
    other: OsString,
}

#[derive(Serialize)]
struct Heads<'a> {
    schema: &'static str,
    first: ImageHead<'a>,
    second: ImageHead<'a>,
}

/// Runs the command.
pub fn run(arguments: &DiffArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let other = job.other(&arguments.read, &arguments.other)?;
    let (first, second) = (job.open()?, job.open_other(other)?);
    let out = stdout::patient(&job.cancel);
    let result = if arguments.json {
        let head = Heads { schema: SCHEMA, first: ImageHead::of(&first), second: ImageHead::of(&second) };
        let mut document = ListDocument::begin(out, &head, "differences").map_err(unwritten)?;
        let counts = first.diff(&second, &mut |difference| document.item(difference).map_err(unwritten));
        counts.and_then(|counts| document.end().map_err(unwritten).map(|()| counts))
    } else {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let counts = first.diff(&second, &mut |difference| writeln!(out, "{}", line(difference)).map_err(unwritten));
        counts.and_then(|counts| out.flush().map_err(unwritten).map(|()| counts))
    };
    job.observer.end();
    job.cancel.check()?;
    let counts = result?;
    if job.summary != read::Summary::None {
        let text =
            format!("compared    {} added, {} removed, {} changed\n", counts.added, counts.removed, counts.changed);
        // The exit code has the result, too.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    if counts.are_none() { Ok(()) } else { Err(Failure::Different) }
}

fn unwritten(error: std::io::Error) -> Error {
    Error::io("write to", "standard output")(error)
}

fn line(difference: &DifferenceReport) -> String {
    let DifferenceReport { path, difference: kind, changes, .. } = difference;
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    match kind {
        DifferenceKind::Added => format!("A {path}"),
        DifferenceKind::Removed => format!("D {path}"),
        _ => format!("C {path}: {}", changes.join(", ")),
    }
}
