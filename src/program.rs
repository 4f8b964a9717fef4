//! Runs the programs of e2fsprogs and credential helpers: the only place that starts a process.
//!
//! A child gets an absolute path, an empty environment but for what is named here, its own process group, and a time
//! limit; it ends when the caller is asked to stop.

mod capture;
mod credential_helper;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as KillSignal, kill_process_group};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ToolProblem};
use crate::path::Escaped;

pub use self::credential_helper::HelperName;

use self::capture::{Captured, Reader};

/// The oldest e2fsprogs whose `mkfs.ext4 -d` sorts a directory's names.
const OLDEST: (u32, u32) = (1, 46);
const OLDEST_TEXT: &str = "1.46";
/// Where distributions put the programs, and an ordinary user's `PATH` does not lead.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The three programs that make and check a filesystem.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Makes the filesystem.
    pub mkfs: Program,
    /// Corrects what `mkfs.ext4 -d` cannot carry.
    pub debugfs: Program,
    /// Checks the result.
    pub e2fsck: Program,
    /// The version of e2fsprogs, as `mkfs.ext4 -V` says it.
    pub version: String,
}

/// An installed program.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
}

impl Tools {
    /// Finds the programs in the directories of `search_path` (as `PATH` spells them), `/usr/sbin` and `/sbin`.
    ///
    /// # Errors
    ///
    /// A program is missing; e2fsprogs is too old.
    pub fn find(search_path: &OsStr, cancel: &Cancel) -> Result<Self> {
        let mkfs = Program::find("mkfs.ext4", search_path)?;
        let debugfs = Program::find("debugfs", search_path)?;
        let e2fsck = Program::find("e2fsck", search_path)?;
        let version = mkfs.version(cancel)?;
        Ok(Self { mkfs, debugfs, e2fsck, version })
    }
}

impl Program {
    fn find(name: &'static str, search_path: &OsStr) -> Result<Self> {
        let absolute = |dir: &PathBuf| dir.is_absolute();
        std::env::split_paths(search_path)
            .filter(absolute)
            .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
            .map(|dir| dir.join(name))
            .find(|path| is_executable(path))
            .map(|path| Self { name, path })
            .ok_or_else(|| Error::tool(name, ToolProblem::Missing))
    }

    fn version(&self, cancel: &Cancel) -> Result<String> {
        let invocation = Invocation { arguments: vec!["-V".into()], ..Invocation::new(Path::new("/"), 10) };
        let output = self.run(&invocation, cancel)?;
        let version = first_version(&output.stderr).ok_or_else(|| Error::tool(self.name, ToolProblem::NoVersion))?;
        if numbers(&version) < OLDEST {
            return Err(Error::tool(self.name, ToolProblem::TooOld { found: version, needed: OLDEST_TEXT }));
        }
        Ok(version)
    }

    /// Returns the program's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    ///
    /// It cannot be started, is killed by a signal, writes too much, or does not end in time; a stop was asked for. An
    /// exit code other than 0 is no error here.
    pub fn run(&self, invocation: &Invocation<'_>, cancel: &Cancel) -> Result<Output> {
        let child = self.command(invocation).spawn().map_err(|source| {
            Error::from(ErrorKind::Tool { tool: self.name, problem: ToolProblem::Start, source: Some(source) })
        })?;
        let mut child = Running(child);
        if let Some(mut stdin) = child.0.stdin.take() {
            let bytes = invocation.stdin.clone();
            // A program that ends without reading is judged by how it ends.
            std::thread::spawn(move || stdin.write_all(&bytes));
        }
        let stdout = Reader::start(child.0.stdout.take(), invocation.stdout);
        let stderr = Reader::start(child.0.stderr.take(), Stdout::End);
        let status = self.wait(&mut child, [&stdout, &stderr], invocation.seconds, cancel)?;
        let stdout = match stdout.finish() {
            Captured::Bytes(bytes) => bytes,
            Captured::TooMuch(max) => return Err(Error::tool(self.name, ToolProblem::TooMuch(max))),
        };
        let Captured::Bytes(stderr) = stderr.finish() else { return Err(ErrorKind::Bug("stderr has no bound").into()) };
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(Output { code, stdout, stderr }),
            (None, signal) => Err(Error::tool(self.name, ToolProblem::Killed(signal.unwrap_or_default()))),
        }
    }

    fn command(&self, invocation: &Invocation<'_>) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&invocation.arguments)
            .current_dir(invocation.directory)
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(invocation.environment.iter().map(|(key, value)| (key, value)))
            .stdin(if invocation.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(if invocation.stdout == Stdout::Discard { Stdio::null() } else { Stdio::piped() })
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    /// Waits until the child has ended and nobody holds its stdout and stderr: a process that it leaves behind may.
    fn wait(&self, child: &mut Running, readers: [&Reader; 2], seconds: u64, cancel: &Cancel) -> Result<ExitStatus> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut pause = Duration::from_millis(1);
        loop {
            let ended = child.0.try_wait().map_err(Error::io("wait for", &self.path))?;
            match ended {
                Some(status) if readers.iter().all(|reader| reader.is_finished()) => return Ok(status),
                _ => cancel.check()?,
            }
            if Instant::now() > deadline {
                return Err(Error::tool(self.name, ToolProblem::TimedOut(seconds)));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// How a program is to be run.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working directory.
    pub directory: &'a Path,
    /// What its environment holds beside the locale and a plain `PATH`, or instead of them.
    pub environment: Vec<(&'static str, OsString)>,
    /// The time after which it is killed.
    pub seconds: u64,
    /// What it reads from stdin.
    pub stdin: Vec<u8>,
    /// What is kept of its stdout.
    pub stdout: Stdout,
}

impl<'a> Invocation<'a> {
    /// Returns an invocation without arguments.
    #[must_use]
    pub fn new(directory: &'a Path, seconds: u64) -> Self {
        Self {
            arguments: Vec::new(),
            directory,
            environment: Vec::new(),
            seconds,
            stdin: Vec::new(),
            stdout: Stdout::Discard,
        }
    }
}

/// What is kept of a program's stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// Nothing.
    Discard,
    /// Its end.
    End,
    /// All of it; more than so many bytes are an error.
    All(usize),
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stdout, as far as that was to be kept.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns the ends of stdout and stderr as one escaped line.
    #[must_use]
    pub fn shown(&self) -> String {
        let lines = self.stdout.split(|&b| b == b'\n').chain(self.stderr.split(|&b| b == b'\n'));
        let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
        Escaped(&lines.join(&b"; "[..])).to_string()
    }
}

/// A child that does not outlive its owner: dropped while it runs, it is killed with its process group.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                // The group may be gone already; then there is nothing to kill.
                let _ = kill_process_group(pid, KillSignal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Returns the first word that begins like `1.47`.
fn first_version(text: &[u8]) -> Option<String> {
    std::str::from_utf8(text)
        .ok()?
        .split_whitespace()
        .find(|word| numbers(word) > (0, 0))
        .map(|word| Escaped(word.as_bytes()).to_string())
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Signal;

    fn shell(script: &str, seconds: u64, cancel: &Cancel) -> Result<Output> {
        let program = Program { name: "sh", path: "/bin/sh".into() };
        let arguments = vec!["-c".into(), script.into()];
        program.run(&Invocation { arguments, ..Invocation::new(Path::new("/"), seconds) }, cancel)
    }

    fn problem(result: Result<Output>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Program::find("mkfs.planish", OsStr::new("/nowhere:relative:")).unwrap_err();
        assert_eq!(error.to_string(), "mkfs.planish is not installed: not in PATH, /usr/sbin or /sbin");
        assert_eq!(error.fault().exit_code(), 6);
    }

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(first_version(b"mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS").unwrap(), "1.47.0");
        assert_eq!(first_version(b"no version here"), None);
        assert!(numbers("1.42.9") < OLDEST);
        assert!(numbers("1.46.2") >= OLDEST);
        assert!(numbers("2.0") >= OLDEST);
    }

    #[test]
    fn the_end_of_stderr_is_kept_and_escaped() {
        let output = shell("printf 'a\\033[31m\\nb' >&2; exit 3", 10, &Cancel::default()).unwrap();
        assert_eq!((output.code, output.shown().as_str()), (3, r"a\x1b[31m; b"));
        let output = shell("yes | head -c 100000 >&2; printf end >&2", 10, &Cancel::default()).unwrap();
        assert!(output.stderr.len() <= 2 * capture::END_KEPT && output.stderr.ends_with(b"end"));
    }

    #[test]
    fn the_environment_is_ours_alone() {
        let output = shell("env >&2", 10, &Cancel::default()).unwrap();
        let mut lines: Vec<_> = output.stderr.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
        lines.retain(|line| !line.starts_with(b"PWD=") && !line.starts_with(b"_=") && !line.starts_with(b"SHLVL="));
        lines.sort_unstable();
        assert_eq!(lines, [&b"LC_ALL=C"[..], b"PATH=/usr/sbin:/usr/bin:/sbin:/bin", b"TZ=UTC"]);
    }

    #[test]
    fn signals_and_time_limits_are_told_apart() {
        assert_eq!(problem(shell("kill -9 $$", 10, &Cancel::default())), "sh was killed by signal 9");
        assert_eq!(problem(shell("sleep 60", 0, &Cancel::default())), "sh did not end within 0 seconds");
    }

    #[test]
    fn a_child_left_behind_with_our_pipes_does_not_hold_us() {
        let started = Instant::now();
        assert_eq!(problem(shell("sleep 3 & exit 0", 0, &Cancel::default())), "sh did not end within 0 seconds");
        assert!(started.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn stdin_is_given_and_stdout_bounded() {
        let program = Program { name: "sh", path: "/bin/sh".into() };
        let run = |script: &str, max| {
            let arguments = vec!["-c".into(), script.into()];
            let stdin = b"asked\n".to_vec();
            let invocation =
                Invocation { arguments, stdin, stdout: Stdout::All(max), ..Invocation::new(Path::new("/"), 20) };
            program.run(&invocation, &Cancel::default())
        };
        assert_eq!(run("cat", 6).unwrap().stdout, b"asked\n");
        assert_eq!(problem(run("cat", 5)), "sh wrote more than 5 bytes to stdout");
        assert_eq!(problem(run("exec yes", 65_536)), "sh wrote more than 65536 bytes to stdout");
        assert_eq!(run("exit 3", 5).unwrap().code, 3);
    }

    #[test]
    fn a_stop_ends_the_child_and_its_children() {
        let cancel = Cancel::default();
        cancel.raise(Signal::Terminate);
        let started = Instant::now();
        let error = shell("sleep 60 & sleep 60", 100, &cancel).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cancelled(Signal::Terminate)));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
