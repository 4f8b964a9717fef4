//! The direct engine: writes the planned filesystem in one pass, without staging, `mkfs.ext4` or debugfs.
//!
//! `mkext4` allocates the blocks and writes the metadata; several threads write the contents afterwards. The plan has
//! refused all trees that `mkext4` would write wrongly or refuse late.

mod buffer;
mod content;
mod declare;
mod sink;

use std::fs::File;
use std::path::Path;

use mkext4::Layout;

use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::engine::timing::StageTimer;
use crate::error::{Error, ErrorKind, Result, ShownPath, ToolProblem};
use crate::path::Escaped;
use crate::plan::Plan;
use crate::progress::{Progress, Stage};
use crate::tree::Tree;
use crate::work::PartialFile;

use buffer::ImageFile;
use declare::Declaration;
use sink::Sink;

/// The file that receives the filesystem.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The file, open for writing; its old content is discarded.
    pub file: &'a File,
    /// The path, for error messages.
    pub path: &'a Path,
}

/// The engine that writes the filesystem itself, in one pass.
pub(crate) struct Direct {
    /// The number of files that are written at a time.
    pub jobs: usize,
}

impl Engine for Direct {
    fn write(
        &self,
        tree: &Tree,
        plan: &Plan,
        output: &PartialFile,
        timer: &mut StageTimer<'_>,
        cancel: &Cancel,
    ) -> Result<()> {
        let (inodes, progress) = (plan.stats.inodes, timer.progress());
        let target = Target { file: output.file(), path: output.path() };
        timer.run(Stage::Write, Some(inodes), || write(tree, plan, target, self.jobs, progress, cancel))
    }
}

/// Writes a filesystem planned for the direct engine, `jobs` files at a time.
///
/// # Errors
///
/// The disk is full; the file cannot be written; the run was cancelled.
fn write(
    tree: &Tree,
    plan: &Plan,
    target: Target<'_>,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<()> {
    let Declaration { builder, files } = declare::declare(tree, plan, progress, cancel)?;
    let layout = builder.seal().map_err(refused)?;
    cancel.check()?;
    // Blocks that are not written are zero.
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
    let file = ImageFile::new(target.file);
    let mut sink = Sink::new(&file, cancel);
    // Dropped at once: the writer would also write contents, one after the other.
    let written = layout.writer(&mut sink).map(drop);
    let written = written.and_then(|()| sink.flush().map_err(mkext4::Error::Io));
    match (written, sink.stopped()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(stop)) => Err(stop),
        (Err(mkext4::Error::Io(source)), None) => Err(write_error(source, target, plan)),
        (Err(error), None) => Err(refused(error)),
    }
}

/// Returns an error of the builder: a bug, because the plan should have refused the tree.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: mkext4::Error) -> Error {
    ErrorKind::Engine(Escaped(error.to_string().as_bytes()).to_string()).into()
}

/// Returns the error of a failed write; a full disk has its own kind.
fn write_error(source: std::io::Error, target: Target<'_>, plan: &Plan) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            let path = ShownPath(target.path).to_string();
            Error::tool("the direct engine", ToolProblem::NoSpace { path, needed: plan.file_bytes })
        }
        _ => Error::io("write to", target.path)(source),
    }
}
