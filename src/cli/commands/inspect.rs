//! `planish inspect`.

use std::io::Write as _;

use planish::{Escaped, Inspection};

use crate::cli::arguments::read;
use crate::cli::exit::Failure;
use crate::cli::{stdout, summary};

/// Prints the manifest, config, platforms, layers and history of an image
///
/// Reads the manifest and the config only: no layer is fetched or decompressed.
#[derive(Debug, clap::Args)]
pub struct InspectArguments {
    /// Print the config, byte for byte
    #[arg(long, conflicts_with = "raw", help_heading = "Output")]
    config: bool,
    /// Print the document that the source names, byte for byte: an index, or with --platform the manifest in it
    #[arg(long, help_heading = "Output")]
    raw: bool,
    /// Print the result as JSON
    #[arg(long, conflicts_with_all = ["config", "raw"], help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    read: read::ReadArguments,
}

/// Runs the command.
pub fn run(arguments: &InspectArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let image = job.open()?;
    if arguments.config {
        return print_bytes(&job, image.config());
    }
    if arguments.raw {
        let index = image.index().filter(|_| !arguments.read.has_platform());
        return match index.or(image.manifest()) {
            Some(document) => print_bytes(&job, document),
            None => Err(Failure::Usage("--raw: this source has no manifest; --config prints the config".into())),
        };
    }
    let inspection = image.inspect();
    if arguments.json { stdout::print_json(&inspection) } else { stdout::print(text(&inspection).trim_end()) }
}

fn print_bytes(job: &read::Job, bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout::patient(&job.cancel);
    job.printed(out.write_all(bytes))
}

fn text(inspection: &Inspection) -> String {
    let Inspection { source, manifest, config, platform, platforms, created, bytes, layers, history, .. } = inspection;
    let mut text = String::new();
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:11} {value}\n"));
    row("image", format!("{} ({platform})", Escaped(source.as_bytes())));
    if let Some(manifest) = manifest {
        let media_type = Escaped(manifest.media_type.as_bytes());
        row("manifest", format!("{}, {} bytes, {media_type}", manifest.digest, manifest.size));
        if let Some(index) = &manifest.index {
            row("index", index.to_string());
        }
        for (key, value) in manifest.annotations.iter().chain(&manifest.descriptor_annotations) {
            row("annotation", format!("{}={}", Escaped(key.as_bytes()), Escaped(value.as_bytes())));
        }
    }
    row("config", format!("{}, {} bytes", config.digest, config.size));
    row("created", created.clone().unwrap_or_else(|| "not said".into()));
    for listed in platforms {
        let platform = listed.platform.as_deref().unwrap_or("not said");
        row("platform", format!("{platform} {}", listed.digest));
    }
    row("layers", format!("{}: {}", layers.len(), summary::bytes(*bytes)));
    for (number, layer) in (1..).zip(layers) {
        let digest = layer.digest.as_ref().unwrap_or(&layer.diff_id);
        row(&format!("{number:>4}"), format!("{:>11}  {digest}", summary::bytes(layer.size)));
    }
    if !history.is_empty() {
        row("history", format!("{} instructions", history.len()));
    }
    for entry in history {
        let layer = match entry.layer {
            Some(number) => number.to_string(),
            None if entry.empty_layer => "-".into(),
            None => "?".into(),
        };
        let instruction = entry.created_by.as_deref().or(entry.comment.as_deref()).unwrap_or_default();
        row(&format!("{layer:>4}"), summary::instruction(instruction));
    }
    text.push_str(&summary::notes(&inspection.notes));
    text
}
