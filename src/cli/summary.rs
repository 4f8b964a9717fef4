//! The lines that a build ends with.

use std::collections::BTreeMap;
use std::fmt::Write;

use planish::note::NoteKind;
use planish::report::{NoteReport, Report};

/// How many notes of a kind are shown.
const NOTES_SHOWN: usize = 20;

/// Returns a few lines for a person.
pub fn of(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, report);
    text
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let Report { source, platform, config_digest, filesystem: fs, tree, .. } = report;
    let layers = report.layers.len();
    let blobs = bytes(report.layers.iter().map(|layer| layer.blob_bytes).sum());
    writeln!(out, "image       {source} ({platform})")?;
    if let Some(manifest) = &report.manifest_digest {
        writeln!(out, "manifest    {manifest}")?;
    }
    writeln!(out, "config      {config_digest}")?;
    writeln!(out, "layers      {layers}: {blobs}, {} entries, {} whiteouts", report.entries, report.whiteouts)?;
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
    match &report.verified {
        Some(found) => writeln!(
            out,
            "verified    {} inodes, {} names, {} xattrs and {} equal the image; {} found nothing",
            found.inodes,
            found.names,
            found.xattrs,
            bytes(found.bytes),
            found.fsck
        )?,
        None => writeln!(out, "verified    nothing: --verify=none")?,
    }
    write!(out, "{}", notes(&report.notes))?;
    let stages: Vec<String> =
        report.seconds.iter().map(|s| format!("{} {:.2}", s.stage.text(), s.seconds.as_secs_f64())).collect();
    let total: f64 = report.seconds.iter().map(|s| s.seconds.as_secs_f64()).sum();
    writeln!(out, "seconds     {total:.2}: {}", stages.join(", "))
}

/// Returns notes kind by kind, at most twenty of each.
pub fn notes(notes: &[NoteReport]) -> String {
    let mut kinds: BTreeMap<NoteKind, Vec<&NoteReport>> = BTreeMap::new();
    for note in notes {
        kinds.entry(note.kind).or_default().push(note);
    }
    let mut text = String::new();
    for (kind, notes) in kinds {
        let shown = notes.iter().take(NOTES_SHOWN).map(|note| format!("              {}\n", note.text));
        text.push_str(&format!("note        {}: {}\n", notes.len(), kind.text()));
        text.extend(shown);
        if notes.len() > NOTES_SHOWN {
            text.push_str(&format!("              … and {} more, all with --json\n", notes.len() - NOTES_SHOWN));
        }
    }
    text
}

/// Returns a number of bytes as a person reads it.
pub fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}
