//! `qemu-img`, which converts a finished filesystem to the disk image formats of QEMU.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::{Invocation, Program, Stdout, Surroundings};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ShownPath, ToolProblem};
use crate::path::Escaped;
use crate::progress::{Event, Progress};
use crate::work::PartialFile;

/// The name of the program.
const NAME: &str = "qemu-img";
/// The time limit: a fixed part, and a second for each so many bytes of data.
const SECONDS_FIXED: u64 = 600;
const BYTES_A_SECOND: u64 = 1 << 20;
/// The exit code of a comparison that found a difference.
const DIFFERENT: i32 = 1;
/// The sentence of a comparison that found none.
const IDENTICAL: &str = "Images are identical";
/// The beginning of a qcow2 file (QEMU's `docs/interop/qcow2.txt`): the magic number, and the place of the disk's size.
const MAGIC: [u8; 4] = *b"QFI\xfb";
const SIZE: std::ops::Range<usize> = 24..32;
/// The most bytes of the version.
const VERSION_MAX: usize = 80;

/// The program, found and run once for its version.
#[derive(Debug, Clone)]
pub struct QemuImg {
    program: Program,
    version: String,
}

impl QemuImg {
    /// Finds the program in the directories of `search_path` (in the form of `PATH`), `/usr/sbin` and `/sbin`.
    ///
    /// # Errors
    ///
    /// It is missing, or does not print a version.
    pub fn find(search_path: &OsStr, cancel: &Cancel) -> Result<Self> {
        let program = Program::find(NAME, search_path)?;
        let arguments = vec!["--version".into()];
        let invocation = Invocation { arguments, stdout: Stdout::End, ..Invocation::new(Path::new("/"), 10) };
        let output = program.run(&invocation, cancel)?;
        let line = output.stdout.split(|b| *b == b'\n').next().unwrap_or_default();
        let shown = |bytes: &[u8]| Escaped(&bytes[..bytes.len().min(VERSION_MAX)]).to_string();
        // qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)
        let version = line.strip_prefix(b"qemu-img version ").and_then(|rest| rest.split(|b| *b == b' ').next());
        let Some(version) = version.map(shown) else {
            let (path, said) = (ShownPath(&program.path).to_string(), shown(line));
            return Err(Error::tool(NAME, ToolProblem::NoVersion { path, said }));
        };
        Ok(Self { program, version })
    }

    /// Returns the path of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.program.path
    }

    /// Returns its version, escaped.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Reports the path and the version.
    pub fn report(&self, progress: &dyn Progress) {
        progress.event(&Event::Tool { name: NAME, path: &self.program.path, version: &self.version });
    }

    /// Converts a filesystem to qcow2, in the file `to`, which is empty.
    ///
    /// # Errors
    ///
    /// The program fails; the disk is full; the run was cancelled.
    pub fn to_qcow2(&self, raw: &File, to: &PartialFile, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
        let mut written = 0;
        let mut watch = || {
            let now = blocks(to.file());
            progress.advance(now.saturating_sub(written));
            written = written.max(now);
        };
        let words = ["convert", "-f", "raw", "-O", "qcow2", PartialFile::SOURCE, PartialFile::NAME];
        match self.run(&words, raw, to, cancel, &mut watch)? {
            (0, _) => require_header(raw, to),
            (_, stderr) if stderr.contains("No space left on device") || stderr.contains("Disk quota exceeded") => {
                let path = ShownPath(to.path()).to_string();
                Err(Error::tool(NAME, ToolProblem::NoSpace { path, needed: blocks(raw) }))
            }
            (code, stderr) => Err(Error::tool(NAME, ToolProblem::Failed { code, stderr })),
        }
    }

    /// Requires that a qcow2 file has the bytes of a filesystem.
    ///
    /// # Errors
    ///
    /// It has others; the program fails; the run was cancelled.
    pub fn require_equal(&self, raw: &File, qcow2: &PartialFile, cancel: &Cancel) -> Result<()> {
        let words = ["compare", "-f", "raw", "-F", "qcow2", PartialFile::SOURCE, PartialFile::NAME];
        match self.run(&words, raw, qcow2, cancel, &mut || {})? {
            (0, said) if said.contains(IDENTICAL) => Ok(()),
            (0 | DIFFERENT, found) => Err(ErrorKind::Packed { found }.into()),
            (code, stderr) => Err(Error::tool(NAME, ToolProblem::Failed { code, stderr })),
        }
    }

    /// Runs the program in the private directory of `file`, and returns its exit code and what it printed.
    fn run(
        &self,
        words: &[&str],
        raw: &File,
        file: &PartialFile,
        cancel: &Cancel,
        watch: &mut dyn FnMut(),
    ) -> Result<(i32, String)> {
        let invocation = Invocation {
            arguments: words.iter().map(Into::into).collect(),
            stdout: Stdout::End,
            ..Invocation::inside(
                Surroundings { directory: file.directory(), image: raw.as_fd() },
                SECONDS_FIXED + blocks(raw) / BYTES_A_SECOND,
            )
        };
        let output = self.program.run_watched(&invocation, cancel, watch)?;
        Ok((output.code, output.shown()))
    }
}

/// Requires the header of a qcow2 file for a disk of the size of `raw`: a program that does nothing may end with 0, too.
fn require_header(raw: &File, qcow2: &PartialFile) -> Result<()> {
    let mut header = [0; SIZE.end];
    let read = qcow2.file().read_exact_at(&mut header, 0);
    let expected = raw.metadata().map_err(Error::io("examine", qcow2.path()))?.len();
    match header[SIZE].try_into().map(u64::from_be_bytes) {
        Ok(size) if read.is_ok() && header.starts_with(&MAGIC) && size == expected => Ok(()),
        _ => Err(ErrorKind::Packed { found: format!("it is no qcow2 disk of {expected} bytes") }.into()),
    }
}

/// Returns the bytes that a file takes on disk.
fn blocks(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.blocks() * 512)
}
