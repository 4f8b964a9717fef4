//! The lines printed at the end of a build.

use std::fmt::Write;

use planish::Escaped;
use planish::note::{Kind, Notes};
use planish::report::{DiskFormat, FetchVerification, PackedReport, Report};

use super::arguments::read::Summary;

/// Returns the summary of a report.
pub fn of(report: &Report, amount: Summary) -> String {
    let mut text = String::new();
    if amount != Summary::None {
        // Writing to a string cannot fail.
        let _ = write(&mut text, report, amount);
    }
    text
}

fn disk_format(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::RawZst => "raw.zst",
        _ => "raw",
    }
}

fn write(out: &mut String, report: &Report, amount: Summary) -> std::fmt::Result {
    let Report { source, platform, config_digest, filesystem: fs, tree, .. } = report;
    let layers = report.layers.len();
    let blobs = bytes(report.layers.iter().map(|layer| layer.blob_bytes).sum());
    writeln!(out, "image       {} ({platform})", Escaped(source.as_bytes()))?;
    if let Some(manifest) = &report.manifest_digest {
        writeln!(out, "manifest    {manifest}")?;
    }
    writeln!(out, "config      {config_digest}")?;
    writeln!(out, "key         {}", report.key)?;
    writeln!(out, "layers      {layers}: {blobs}, {} entries, {} whiteouts", report.entries, report.whiteouts)?;
    for injection in &report.injections {
        let place = injection.path.as_ref().map_or_else(String::new, |path| format!(" as {path}"));
        writeln!(out, "injected    {}{place}: {} {}", injection.source, injection.kind, injection.digest.short())?;
    }
    writeln!(
        out,
        "tree        {} inodes, {} names: {} in {} files, {} directories, {} symlinks, {} devices",
        tree.inodes,
        tree.names,
        bytes(tree.bytes),
        tree.files,
        tree.directories,
        tree.symlinks,
        tree.devices
    )?;
    writeln!(out, "engine      {}: {}", report.engine.name, report.engine.reason)?;
    writeln!(
        out,
        "filesystem  {}: {}, {} free, {} inodes free, UUID {}",
        fs.path,
        bytes(fs.bytes),
        bytes(fs.free_bytes),
        fs.free_inodes,
        fs.uuid
    )?;
    if let Some(verity) = &report.verity {
        writeln!(out, "verity      root hash {}: {} in {}", verity.root_hash, bytes(verity.hash_bytes), verity.path)?;
        writeln!(out, "            {}", verity.kernel_arguments.dm_mod_create)?;
        writeln!(out, "            {}", verity.kernel_arguments.roothash)?;
    }
    if let Some(PackedReport { format, bytes: size, program, .. }) = &report.packed {
        let how = match (&report.verified, program) {
            (Some(_), Some(program)) => format!("{program} found it equal to the filesystem"),
            (Some(_), None) => "read back, and equal to the filesystem".into(),
            (None, _) => "not read back".into(),
        };
        writeln!(out, "format      {}, {}: {how}", disk_format(*format), bytes(*size))?;
    }
    match &report.verified {
        Some(found) => writeln!(
            out,
            "verified    {} inodes, {} names, {} xattrs and {} equal the image; {}",
            found.inodes,
            found.names,
            found.xattrs,
            bytes(found.bytes),
            found.fsck.map_or("e2fsck was not run".into(), |fsck| format!("{fsck} found nothing"))
        )?,
        None => writeln!(out, "verified    nothing: --verify=none")?,
    }
    match &report.fetched {
        Some(fetched) => writeln!(
            out,
            "reused      from {}: {}",
            fetched.repository,
            match fetched.verification {
                FetchVerification::Full => "verified here, and all its digests checked",
                _ => "verified when it was built, as its report says; all its digests checked",
            }
        )?,
        None if report.reused => writeln!(
            out,
            "reused      from the cache: verified when it was built, its SHA-256 checked while it was copied"
        )?,
        None => {}
    }
    write!(out, "{}", notes(&report.notes))?;
    if amount == Summary::Stages {
        for stage in &report.seconds {
            writeln!(out, "stage       {}: {:.2} s", stage.stage.text(), stage.seconds.as_secs_f64())?;
        }
    }
    let total: f64 = report.seconds.iter().map(|stage| stage.seconds.as_secs_f64()).sum();
    writeln!(out, "done        in {total:.2} s")
}

/// Returns the notes by kind, at most twenty of each.
pub fn notes(notes: &Notes) -> String {
    let mut text = String::new();
    for (kind, Kind { count, first, .. }) in notes.kinds() {
        text.push_str(&format!("note        {count}: {}\n", kind.text()));
        text.extend(first.iter().map(|note| format!("              {note}\n")));
        let more = count - first.len() as u64;
        if more > 0 {
            text.push_str(&format!("              … and {more} more, all with --json\n"));
        }
    }
    text
}

/// The most bytes of an instruction in a line.
const INSTRUCTION: usize = 100;

/// Returns an instruction of a history in one line: white space in a row counts as one space, and the end may be cut off.
pub fn instruction(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(INSTRUCTION).collect();
    let line = words.join(" ");
    match line.floor_char_boundary(INSTRUCTION) {
        end if end < line.len() => format!("{}…", Escaped(&line.as_bytes()[..end])),
        _ => Escaped(line.as_bytes()).to_string(),
    }
}

/// Returns a number of bytes in readable units.
pub fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}
