//! Writes the planned filesystem in one pass, without staging, `mkfs.ext4` and debugfs: the direct engine.
//!
//! `mkext4` decides where everything lies and writes the metadata; contents follow from several threads. What it would
//! take and write wrongly, or refuse late, the plan has refused before.

mod content;
mod declare;
mod sink;

use std::fs::File;
use std::path::Path;

use mkext4::Layout;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ShownPath, ToolProblem};
use crate::path::Escaped;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::tree::Tree;

use declare::Declared;
use sink::Sink;

/// Where the filesystem is written.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The file, open for writing; what it holds is discarded.
    pub file: &'a File,
    /// Its path, for errors.
    pub path: &'a Path,
}

/// Writes the filesystem that was planned for the direct engine; `jobs` files at a time.
///
/// # Errors
///
/// The disk is full; the system refuses; a stop was asked for.
pub fn write(
    tree: &Tree,
    plan: &Plan,
    target: Target<'_>,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<()> {
    let Declared { builder, files } = declare::declare(tree, plan, progress, cancel)?;
    let layout = builder.seal().map_err(refused)?;
    cancel.check()?;
    // Whatever is not written is zero.
    for bytes in [0, plan.file_bytes] {
        target.file.set_len(bytes).map_err(Error::io("extend", target.path))?;
    }
    write_metadata(&layout, target, plan, cancel)?;
    content::write(&layout, tree, &files, target, plan, jobs, progress, cancel)?;
    let written = target.file.metadata().map_err(Error::io("examine", target.path))?.len();
    if written != plan.file_bytes {
        return Err(ErrorKind::Bug("the direct engine wrote a file of another size than planned").into());
    }
    Ok(())
}

fn write_metadata(layout: &Layout, target: Target<'_>, plan: &Plan, cancel: &Cancel) -> Result<()> {
    let mut sink = Sink::new(target.file, cancel);
    // Dropped at once: it would also write contents, one after the other.
    let written = layout.writer(&mut sink).map(drop);
    let written = written.and_then(|()| sink.flush().map_err(mkext4::Error::Io));
    match (written, sink.stopped()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(stop)) => Err(stop),
        (Err(mkext4::Error::Io(source)), None) => Err(write_error(source, target, plan)),
        (Err(error), None) => Err(refused(error)),
    }
}

/// Returns an error of the builder, which can only mean that the plan forgot something.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: mkext4::Error) -> Error {
    ErrorKind::Engine(Escaped(error.to_string().as_bytes()).to_string()).into()
}

/// Returns the error of a failed write: a full disk is told from the rest.
fn write_error(source: std::io::Error, target: Target<'_>, plan: &Plan) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            let path = ShownPath(target.path).to_string();
            Error::tool("the direct engine", ToolProblem::NoSpace { path, needed: plan.file_bytes })
        }
        _ => Error::io("write to", target.path)(source),
    }
}
