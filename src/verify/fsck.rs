//! Runs e2fsck, which checks what no comparison of files covers: bitmaps, checksums, the journal.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ToolProblem};
use crate::program::{Invocation, Stdout, Surroundings, Tools};
use crate::work::WorkDir;

/// The time limit: a fixed part, and a second for each so many bytes. A crafted filesystem can make e2fsck run for ever.
const SECONDS_FIXED: u64 = 600;
const BYTES_A_SECOND: u64 = 1 << 20;
/// The exit code for errors left uncorrected.
const ERRORS_LEFT: i32 = 4;

/// The result of e2fsck: nothing to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsckResult;

/// Runs `e2fsck -fn`, which changes nothing, on an image, through a name in the work directory.
///
/// # Errors
///
/// e2fsck finds a problem or cannot be run; the run was cancelled.
pub fn fsck(tools: &Tools, image: &File, work: &WorkDir, cancel: &Cancel) -> Result<FsckResult> {
    let bytes = image.metadata().map_err(Error::io("examine", WorkDir::IMAGE))?.blocks() * 512;
    let seconds = SECONDS_FIXED + bytes / BYTES_A_SECOND;
    let invocation = Invocation {
        arguments: vec!["-fn".into(), WorkDir::IMAGE.into()],
        stdout: Stdout::End,
        ..Invocation::inside(Surroundings { directory: work.directory(), image: image.as_fd() }, seconds)
    };
    let e2fsck = tools.e2fsck()?;
    let output = e2fsck.run(&invocation, cancel)?;
    match output.code {
        0 => Ok(FsckResult),
        ERRORS_LEFT => Err(ErrorKind::Unsound { found: output.shown() }.into()),
        code => Err(Error::tool(e2fsck.name(), ToolProblem::Failed { code, stderr: output.shown() })),
    }
}
