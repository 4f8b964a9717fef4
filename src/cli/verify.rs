//! `planish verify`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use planish::prove::{Proof, ProveOptions, prove};

use super::exit::Failure;
use super::{build, read};

/// Compares an ext4 filesystem, whoever made it, with an image
///
/// Prints a line for each difference and ends with exit code 8 when there is one.
#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    /// The filesystem
    file: PathBuf,
    /// Print the whole proof as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let options = ProveOptions {
        read: job.read,
        digests: arguments.json,
        work_dir: job.work_dir.unwrap_or_else(std::env::temp_dir),
        search_path: job.search_path,
    };
    let result = prove(&job.source, &arguments.file, &options, &*job.observer, &job.cancel);
    job.observer.end();
    let proof = result?;
    if arguments.json {
        build::print(&serde_json::to_string_pretty(&proof).unwrap_or_default())?;
    } else if !proof.holds() {
        build::print(differences(&proof).trim_end())?;
    }
    let compared = &proof.compared;
    let text = format!(
        "compared    {} inodes, {} names, {} xattrs and {} bytes with {}: {} differences; {} {}\n",
        compared.inodes,
        compared.names,
        compared.xattrs,
        compared.bytes,
        proof.source,
        proof.mismatch_count,
        compared.fsck,
        if proof.fsck_found.is_none() { "found nothing" } else { "found errors" },
    );
    // The exit code says it as well.
    let _ = std::io::stderr().write_all(text.as_bytes());
    if proof.holds() { Ok(()) } else { Err(Failure::Different) }
}

fn differences(proof: &Proof) -> String {
    let mut text = String::new();
    for mismatch in &proof.mismatches {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{mismatch}");
    }
    if proof.mismatch_count > proof.mismatches.len() {
        let _ = writeln!(text, "… and {} more", proof.mismatch_count - proof.mismatches.len());
    }
    if let Some(found) = &proof.fsck_found {
        let _ = writeln!(text, "e2fsck: {found}");
    }
    text
}
