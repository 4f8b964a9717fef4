//! `planish layers`.

use planish::{Escaped, LayersReport};

use crate::cli::arguments::{listing, read};
use crate::cli::exit::Failure;
use crate::cli::{stdout, summary};

/// Prints what each layer adds, overrides, hides and wastes
#[derive(Debug, clap::Args)]
pub struct LayersArguments {
    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    listing: listing::ListingArguments,
    #[command(flatten)]
    read: read::ReadArguments,
}

/// Runs the command.
pub fn run(arguments: &LayersArguments) -> Result<(), Failure> {
    let job = arguments.listing.apply(read::Job::of(&arguments.read)?, arguments.read.cache());
    let image = job.open()?;
    let result = image.layers();
    job.observer.end();
    let report = result?;
    if arguments.json { stdout::print_json(&report) } else { stdout::print(text(&report).trim_end()) }
}

fn text(report: &LayersReport) -> String {
    let LayersReport { source, platform, layers, wasted_bytes, .. } = report;
    let mut text = format!("image       {} ({platform})\n", Escaped(source.as_bytes()));
    for layer in layers {
        let mut row =
            |name: &str, value: String| text.push_str(&format!("{}\n", format!("{name:11} {value}").trim_end()));
        let sizes = (summary::bytes(layer.report.blob_bytes), summary::bytes(layer.report.bytes));
        row(
            &format!("layer {}", layer.number),
            layer.instruction.as_deref().map(summary::instruction).unwrap_or_default(),
        );
        row("  diff ID", layer.report.diff_id.to_string());
        row("  stored", format!("{}, {} uncompressed, {}", sizes.0, sizes.1, layer.report.compression));
        row("  entries", format!("{}, {} whiteouts", layer.report.entries, layer.report.whiteouts));
        row("  adds", summary::bytes(layer.added_bytes));
        for (name, bytes) in
            [("  overrides", layer.overridden_bytes), ("  hides", layer.hidden_bytes), ("  wastes", layer.wasted_bytes)]
        {
            if bytes > 0 {
                row(name, summary::bytes(bytes));
            }
        }
        if layer.idle_whiteouts > 0 {
            row("  odd", format!("{}: whiteout hides nothing", layer.idle_whiteouts));
        }
        for (kind, count) in &layer.note_counts {
            row("  odd", format!("{count}: {}", kind.text()));
        }
    }
    text.push_str(&format!("{:11} {}\n", "wasted", summary::bytes(*wasted_bytes)));
    text
}
