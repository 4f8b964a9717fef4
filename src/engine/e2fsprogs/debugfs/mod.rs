//! Sets the metadata of every inode with `debugfs`, by inode number.
//!
//! debugfs passes a line that begins with `!` to a shell, so no byte of an image ever enters a script: a script
//! contains numbers, keywords, names of our own files and xattr names of a safe alphabet, and the file `request.rs`
//! asserts it. debugfs exits with 0 when a request fails; its stderr must contain its banner and nothing else.

mod check;
mod dirent;
mod request;
mod script;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;

use crate::cancel::Cancel;
use crate::engine::e2fsprogs::mkfs::RawFilesystem;
use crate::error::{Error, ErrorKind, Result, ToolProblem};
use crate::ext4::{Filesystem, ReadError};
use crate::plan::{LOST_FOUND_NAME, Plan};
use crate::program::{Invocation, Surroundings, Tools};
use crate::tree::Tree;
use crate::work::WorkDir;

use request::ScriptFault;

const SECONDS_MAX: u64 = 3600;
const SCRIPT_NAME: &str = "requests";
const FIRST_SCRIPT_NAME: &str = "first-requests";

/// Corrects a filesystem that mkfs made from the staged tree, and returns the number of requests.
///
/// # Errors
///
/// An inode has another number than planned; debugfs fails or prints an error; the disk is full; the run was cancelled.
pub fn patch(
    raw: &RawFilesystem<'_>,
    tree: &Tree,
    plan: &Plan,
    tools: &Tools,
    work: &WorkDir,
    cancel: &Cancel,
) -> Result<u64> {
    let image = raw.image.file();
    let replaced = replace_lost_found(tree, plan, image, tools, work, cancel)?;
    let filesystem = Filesystem::open(image).map_err(unreadable)?;
    let check::Findings { records, inherited } = check::check(&filesystem, tree, plan, cancel)?;
    let requests = write(work, SCRIPT_NAME, |out| {
        let mut script = script::Script::new(out, work);
        script.inherited(&inherited)?;
        script.inodes(tree, plan, cancel)?;
        let bytes = dirent::patches(&filesystem, &records).map_err(|fault| ScriptFault::Stop(unreadable(fault)))?;
        script.bytes(&bytes)?;
        Ok(script.len())
    })?;
    drop(filesystem);
    run(SCRIPT_NAME, plan, image, tools, work, cancel)?;
    Ok(replaced + requests)
}

/// Moves a `lost+found` of the image that is no directory into place; returns the number of requests.
///
/// It needs its own run of debugfs: it changes the block of the root's names, in which the next run changes single
/// bytes.
fn replace_lost_found(
    tree: &Tree,
    plan: &Plan,
    image: &File,
    tools: &Tools,
    work: &WorkDir,
    cancel: &Cancel,
) -> Result<u64> {
    let Some(stand_in) = plan.lost_found.stand_in() else { return Ok(0) };
    let unplanned = || ErrorKind::Bug("a lost+found was staged that has no number or no plain name");
    let number = tree.get(LOST_FOUND_NAME).and_then(|id| plan.number(id)).ok_or_else(unplanned)?;
    let stand_in = std::str::from_utf8(stand_in).map_err(|_| unplanned())?;
    let requests = write(work, FIRST_SCRIPT_NAME, |out| {
        let mut script = script::Script::new(out, work);
        script.replace_lost_found(number, stand_in)?;
        Ok(script.len())
    })?;
    run(FIRST_SCRIPT_NAME, plan, image, tools, work, cancel)?;
    Ok(requests)
}

/// Runs a script and requires that debugfs prints nothing about it.
fn run(script: &str, plan: &Plan, image: &File, tools: &Tools, work: &WorkDir, cancel: &Cancel) -> Result<()> {
    cancel.check()?;
    let invocation = Invocation {
        arguments: vec!["-w".into(), "-f".into(), script.into(), WorkDir::IMAGE.into()],
        environment: vec![("E2FSPROGS_FAKE_TIME", plan.identity.clock.seconds().to_string().into())],
        ..Invocation::inside(Surroundings { directory: work.directory(), image: image.as_fd() }, SECONDS_MAX)
    };
    let debugfs = tools.debugfs()?;
    let output = debugfs.run(&invocation, cancel)?;
    let lines = output.stderr.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count();
    let failed = |problem| Err(Error::tool(debugfs.name(), problem));
    if output.code != 0 {
        return failed(ToolProblem::Failed { code: output.code, stderr: output.shown() });
    }
    if lines != 1 || !output.stderr.starts_with(b"debugfs ") {
        return failed(ToolProblem::Refused(output.shown()));
    }
    Ok(())
}

fn unreadable(fault: ReadError) -> Error {
    Error::tool("mkfs.ext4", ToolProblem::Unreadable(fault.to_string()))
}

fn write(
    work: &WorkDir,
    name: &str,
    fill: impl FnOnce(&mut dyn Write) -> std::result::Result<u64, ScriptFault>,
) -> Result<u64> {
    let (file, path) = work.make_file(name)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let written = fill(&mut out).and_then(|n| out.flush().map(|()| n).map_err(ScriptFault::Write));
    written.map_err(|fault| match fault {
        ScriptFault::Write(source) => Error::write(&path, 0, source),
        ScriptFault::Unsafe => ErrorKind::Bug("a debugfs request holds a byte that it must not").into(),
        ScriptFault::Stop(error) => error,
    })
}

/// Returns the requests for a planned tree, for a fuzz target.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzed_requests(tree: &Tree, plan: &Plan, work: &WorkDir) -> Result<Vec<u8>> {
    let mut requests = Vec::new();
    script::Script::new(&mut requests, work).inodes(tree, plan, &Cancel::default()).map_err(|fault| match fault {
        ScriptFault::Write(source) => Error::write(work.path(), 0, source),
        ScriptFault::Unsafe => ErrorKind::Bug("a debugfs request holds a byte that it must not").into(),
        ScriptFault::Stop(error) => error,
    })?;
    Ok(requests)
}
