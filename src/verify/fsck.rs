//! Asks e2fsck, which knows what no comparison of files sees: bitmaps, checksums, the journal.

use std::path::Path;

use crate::cancel::Cancel;
use crate::error::{Error, Result, ToolProblem};
use crate::program::{Invocation, Tools};
use crate::work::WorkDir;

const SECONDS_MAX: u64 = 3600;

/// What e2fsck said: nothing to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsckResult;

/// Runs `e2fsck -fn`, which changes nothing.
///
/// # Errors
///
/// e2fsck finds anything, or cannot be run; a stop was asked for.
pub fn fsck(image: &Path, tools: &Tools, work: &WorkDir, cancel: &Cancel) -> Result<FsckResult> {
    let invocation =
        Invocation { arguments: vec!["-fn".into(), image.into()], ..Invocation::new(work.path(), SECONDS_MAX) };
    let output = tools.e2fsck.run(&invocation, cancel)?;
    if output.code == 0 {
        return Ok(FsckResult);
    }
    Err(Error::tool(tools.e2fsck.name(), ToolProblem::Failed { code: output.code, stderr: output.shown() }))
}
