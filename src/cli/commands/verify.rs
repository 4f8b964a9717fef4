//! `planish verify`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use planish::{Escaped, RootHash, Verification, VerityPlace};

use crate::cli::arguments::{inject, read};
use crate::cli::commands::build;
use crate::cli::exit::Failure;
use crate::cli::stdout;

/// Compares an ext4 filesystem, from any builder, with an image
///
/// Prints a line for each difference; the exit code is then 8.
#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    read: read::ReadArguments,
    /// The filesystem
    file: PathBuf,
    /// Check the dm-verity tree, and every block, against this root hash: 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = root_hash)]
    root_hash: Option<RootHash>,
    /// File of the dm-verity tree [default: append, behind the filesystem]
    #[arg(
        long,
        value_name = "FILE|append",
        value_parser = OsStringValueParser::new().try_map(build::verity_place)
    )]
    verity: Option<VerityPlace>,
    /// Print the whole result as JSON on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    inject: inject::InjectArguments,
}

fn root_hash(text: &str) -> Result<RootHash, &'static str> {
    RootHash::parse(text).ok_or("not 64 hexadecimal digits")
}

/// Runs the command.
pub fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    let job = read::Job::of(&arguments.read)?;
    let mut builder = arguments.inject.apply(job.builder()?)?.digests(arguments.json);
    if let Some(root) = arguments.root_hash {
        builder = builder.root_hash(root);
    }
    if let Some(place) = &arguments.verity {
        builder = builder.verity(place.clone());
    }
    if let Some(seconds) = job.clock {
        builder = builder.clock(seconds);
    }
    let result = builder.verify(&arguments.file);
    job.observer.end();
    let proof = result?;
    if arguments.json {
        stdout::print_json(&proof)?;
    } else if !proof.holds() {
        stdout::print(differences(&proof).trim_end())?;
    }
    let compared = &proof.compared;
    let mut text = format!(
        "compared    {} inodes, {} names, {} xattrs and {} bytes with {}: {} difference{}; {} {}\n",
        compared.inodes,
        compared.names,
        compared.xattrs,
        compared.bytes,
        Escaped(proof.source.as_bytes()),
        proof.mismatch_count,
        if proof.mismatch_count == 1 { "" } else { "s" },
        compared.fsck.unwrap_or("e2fsck"),
        if proof.fsck_found.is_none() { "found nothing" } else { "found errors" },
    );
    if let Some(verity) = proof.verity.as_ref().filter(|verity| verity.holds()) {
        let _ =
            writeln!(text, "verity      root hash {}: {} blocks have their hash", verity.root_hash, verity.data_blocks);
    }
    if job.summary != read::Summary::None {
        // The exit code has the result, too.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    if proof.holds() { Ok(()) } else { Err(Failure::Different) }
}

fn differences(proof: &Verification) -> String {
    let mut text = String::new();
    for mismatch in &proof.mismatches {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mismatch}");
    }
    if proof.mismatch_count > proof.mismatches.len() {
        let _ = writeln!(text, "… and {} more", proof.mismatch_count - proof.mismatches.len());
    }
    if let Some(found) = &proof.fsck_found {
        let _ = writeln!(text, "e2fsck: {found}");
    }
    if let Some(verity) = &proof.verity {
        if verity.root_hash != verity.expected {
            let _ = writeln!(text, "dm-verity: the root hash is {}, expected {}", verity.root_hash, verity.expected);
        }
        if !verity.covers() {
            let (covered, blocks) = (verity.data_blocks, verity.filesystem_blocks);
            let _ = writeln!(text, "dm-verity: the tree covers {covered} data blocks, the filesystem has {blocks}");
        }
        if let Some(first) = &verity.first_wrong {
            let _ = writeln!(text, "dm-verity: {first} differs from its hash, the first of {}", verity.wrong_blocks);
        }
    }
    text
}
