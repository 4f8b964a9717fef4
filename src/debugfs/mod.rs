//! Gives every inode its metadata with `debugfs`, addressed by inode number.
//!
//! debugfs passes a line that begins with `!` to a shell, so no byte of an image ever enters a script: it holds numbers,
//! keywords, names of our own files and the names of xattrs from a safe alphabet, and the file `request.rs` asserts it. debugfs
//! exits with 0 when a request fails; its stderr must hold its banner and nothing else.

mod check;
mod dirent;
mod request;
mod script;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ToolProblem};
use crate::ext4::{Filesystem, ReadError};
use crate::mkfs::Formatted;
use crate::plan::{LOST_FOUND_NAME, Plan};
use crate::program::{Invocation, Tools};
use crate::tree::Tree;
use crate::work::WorkDir;

use script::ScriptFault;

const SECONDS_MAX: u64 = 3600;
const SCRIPT_NAME: &str = "requests";
const FIRST_SCRIPT_NAME: &str = "first-requests";

/// A filesystem that should equal the tree.
#[derive(Debug)]
pub struct Patched<'a> {
    /// The file.
    pub image: &'a Path,
    /// How many requests were made.
    pub requests: u64,
}

/// Corrects a filesystem that mkfs made from the staged tree.
///
/// # Errors
///
/// The inodes are not numbered as planned; debugfs fails or complains; the disk is full; a stop was asked for.
pub fn patch<'a>(
    formatted: Formatted<'a>,
    tree: &Tree,
    plan: &Plan,
    tools: &Tools,
    work: &WorkDir,
    cancel: &Cancel,
) -> Result<Patched<'a>> {
    let Formatted { image } = formatted;
    let replaced = replace_lost_found(tree, plan, tools, work, cancel)?;
    let file = File::open(image).map_err(Error::io("open", image))?;
    let filesystem = Filesystem::open(file).map_err(unreadable)?;
    let records = check::check(&filesystem, tree, plan, cancel)?;
    let requests = write(work, SCRIPT_NAME, |out| {
        let mut script = script::Script::new(out, work);
        script.inodes(tree, plan)?;
        let bytes = dirent::patches(&filesystem, &records).map_err(|fault| ScriptFault::Stop(unreadable(fault)))?;
        script.bytes(&bytes)?;
        Ok(script.len())
    })?;
    drop(filesystem);
    run(SCRIPT_NAME, plan, tools, work, cancel)?;
    Ok(Patched { image, requests: replaced + requests })
}

/// Puts a `lost+found` of the image that is no directory in its place; returns how many requests that took.
///
/// A run of its own: it changes the block of the root's names, of which the next one changes single bytes.
fn replace_lost_found(tree: &Tree, plan: &Plan, tools: &Tools, work: &WorkDir, cancel: &Cancel) -> Result<u64> {
    let Some(stand_in) = plan.lost_found.stand_in() else { return Ok(0) };
    let unplanned = || ErrorKind::Bug("a lost+found was staged that has no number or no plain name");
    let number = tree.get(LOST_FOUND_NAME).and_then(|id| plan.number(id)).ok_or_else(unplanned)?;
    let stand_in = std::str::from_utf8(stand_in).map_err(|_| unplanned())?;
    let requests = write(work, FIRST_SCRIPT_NAME, |out| {
        let mut script = script::Script::new(out, work);
        script.replace_lost_found(number, stand_in)?;
        Ok(script.len())
    })?;
    run(FIRST_SCRIPT_NAME, plan, tools, work, cancel)?;
    Ok(requests)
}

/// Runs a script and requires that debugfs has nothing to say about it.
fn run(script: &str, plan: &Plan, tools: &Tools, work: &WorkDir, cancel: &Cancel) -> Result<()> {
    cancel.check()?;
    let invocation = Invocation {
        arguments: vec!["-w".into(), "-f".into(), script.into(), WorkDir::IMAGE.into()],
        environment: vec![("E2FSPROGS_FAKE_TIME", plan.identity.clock.seconds().to_string().into())],
        ..Invocation::new(work.path(), SECONDS_MAX)
    };
    let output = tools.debugfs.run(&invocation, cancel)?;
    let lines = output.stderr.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count();
    let failed = |problem| Err(Error::tool(tools.debugfs.name(), problem));
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
