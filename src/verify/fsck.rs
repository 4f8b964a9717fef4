//! Asks e2fsck, which knows what no comparison of files sees: bitmaps, checksums, the journal.

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ToolProblem};
use crate::program::{Invocation, Stdout, Tools};
use crate::work::WorkDir;

const SECONDS_MAX: u64 = 3600;
/// The exit code that says: errors, and they are still there.
const ERRORS_LEFT: i32 = 4;

/// What e2fsck said: nothing to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsckResult;

/// Runs `e2fsck -fn`, which changes nothing, on the image of a work directory.
///
/// # Errors
///
/// e2fsck finds anything, or cannot be run; a stop was asked for.
pub fn fsck(tools: &Tools, work: &WorkDir, cancel: &Cancel) -> Result<FsckResult> {
    let invocation = Invocation {
        arguments: vec!["-fn".into(), WorkDir::IMAGE.into()],
        stdout: Stdout::End,
        ..Invocation::new(work.path(), SECONDS_MAX)
    };
    let output = tools.e2fsck.run(&invocation, cancel)?;
    match output.code {
        0 => Ok(FsckResult),
        ERRORS_LEFT => Err(ErrorKind::Unsound { found: output.shown() }.into()),
        code => Err(Error::tool(tools.e2fsck.name(), ToolProblem::Failed { code, stderr: output.shown() })),
    }
}
