//! Runs the programs of e2fsprogs and credential helpers: the only module that starts processes.
//!
//! A child gets an absolute path, an environment with only the variables set here, its own process group, and a time
//! limit; it is killed when the run is cancelled.

mod capture;
mod child;
#[cfg(feature = "registry")]
mod credential_helper;
mod qemu_img;
mod tools;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ToolProblem};
use crate::path::Escaped;

pub use self::child::{Surroundings, kill_children};
#[cfg(feature = "registry")]
pub use self::credential_helper::HelperName;
pub use self::qemu_img::QemuImg;
pub use self::tools::{KnownFault, Tasks, Tools};

use self::capture::{CapturedOutput, Pipes};
use self::child::ChildGuard;

/// The directories of system programs that are not in an ordinary user's `PATH`.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];
/// The time for a process that a child left behind with its stdout or stderr open.
const LEFT_BEHIND: Duration = Duration::from_millis(300);

/// The interval at which a running program is watched.
const WATCH: Duration = Duration::from_millis(200);
/// The time between two looks at a child: it grows from the first to the second.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// An installed program.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
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

    /// Returns the program's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    ///
    /// The program cannot be started, is killed by a signal, writes too much, or does not end in time; the run was
    /// cancelled. An exit code other than 0 is not an error here.
    pub fn run(&self, invocation: &Invocation<'_>, cancel: &Cancel) -> Result<Output> {
        self.run_watched(invocation, cancel, &mut || {})
    }

    /// Runs the program to its end and calls `watch` several times a second.
    ///
    /// # Errors
    ///
    /// The errors of [`Program::run`].
    pub fn run_watched(&self, invocation: &Invocation<'_>, cancel: &Cancel, watch: &mut dyn FnMut()) -> Result<Output> {
        let mut command = self.command(invocation);
        let placed = invocation.inside.map_or(Ok(()), |inside| child::place(&mut command, &inside));
        let child = placed.and_then(|()| command.spawn()).map_err(|source| {
            // Every child has it open, and its absence would be taken for the program's.
            let null = Path::new("/dev/null");
            if source.kind() == std::io::ErrorKind::NotFound && !null.exists() {
                return Error::io("open", null)(source);
            }
            Error::from(ErrorKind::Tool { tool: self.name, problem: ToolProblem::Start, source: Some(source) })
        })?;
        let mut child = ChildGuard::new(child);
        let pipes = Pipes::of(&mut child.child, invocation.stdin.clone(), invocation.stdout);
        let mut pipes = pipes.map_err(Error::io("wait for", &self.path))?;
        let status = self.wait(&mut child, &mut pipes, invocation.seconds, cancel, watch)?;
        let (stdout, stderr) = pipes.finish();
        let stdout = match stdout {
            CapturedOutput::Bytes(bytes) => bytes,
            CapturedOutput::TooMuch(max) => return Err(Error::tool(self.name, ToolProblem::TooMuch(max))),
        };
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
        child::end_with_this(&mut command);
        command
    }

    /// Waits for the child. A process that it leaves behind with its stdout or stderr open is killed after a moment.
    fn wait(
        &self,
        child: &mut ChildGuard,
        pipes: &mut Pipes,
        seconds: u64,
        cancel: &Cancel,
        watch: &mut dyn FnMut(),
    ) -> Result<ExitStatus> {
        let io = |source| Error::io("wait for", &self.path)(source);
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut pause = PAUSE_MIN;
        let mut ended: Option<Instant> = None;
        let mut watched = Instant::now();
        loop {
            if ended.is_none() && child.has_ended().map_err(io)? {
                ended = Some(Instant::now());
            }
            if ended.is_some_and(|at| pipes.is_finished() || at.elapsed() >= LEFT_BEHIND) {
                child.kill_group();
                pipes.serve(Duration::ZERO);
                return child.reap().map_err(io);
            }
            cancel.check()?;
            if ended.is_none() && Instant::now() > deadline {
                return Err(Error::tool(self.name, ToolProblem::TimedOut(seconds)));
            }
            let was_open = !pipes.is_finished();
            pipes.serve(pause);
            if watched.elapsed() >= WATCH {
                watched = Instant::now();
                watch();
            }
            // A program that has just closed its pipes is about to end.
            let ends = was_open && pipes.is_finished();
            pause = if ends { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        }
    }
}

/// The arguments, environment and limits of a program run.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// The arguments.
    pub arguments: Vec<OsString>,
    /// The working directory, unless it is a private one.
    pub directory: &'a Path,
    /// The private directory in which it works on an image.
    pub inside: Option<Surroundings<'a>>,
    /// The environment variables in addition to the locale and a plain `PATH`, or instead of them.
    pub environment: Vec<(&'static str, OsString)>,
    /// The time limit in seconds, after which the program is killed.
    pub seconds: u64,
    /// The bytes for its stdin.
    pub stdin: Vec<u8>,
    /// The part of its stdout that is kept.
    pub stdout: Stdout,
}

impl<'a> Invocation<'a> {
    /// Returns an invocation without arguments in a private directory, on an image.
    #[must_use]
    pub fn inside(inside: Surroundings<'a>, seconds: u64) -> Self {
        Self { inside: Some(inside), ..Self::new(Path::new("/"), seconds) }
    }

    /// Returns an invocation without arguments.
    #[must_use]
    pub fn new(directory: &'a Path, seconds: u64) -> Self {
        Self {
            arguments: Vec::new(),
            directory,
            inside: None,
            environment: Vec::new(),
            seconds,
            stdin: Vec::new(),
            stdout: Stdout::Discard,
        }
    }
}

/// The part of a program's stdout that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// Nothing.
    Discard,
    /// The end.
    End,
    /// All of it; more than this number of bytes is an error.
    All(usize),
}

/// The result of a program run.
#[derive(Debug)]
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// The part of stdout that was kept.
    pub stdout: Vec<u8>,
    /// The end of stderr.
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

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Signal;

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
    fn the_last_bytes_of_stderr_are_kept_and_escaped() {
        let output = shell("printf 'a\\033[31m\\nb' >&2; exit 3", 10, &Cancel::default()).unwrap();
        assert_eq!((output.code, output.shown().as_str()), (3, r"a\x1b[31m; b"));
        let output = shell("yes | head -c 100000 >&2; printf end >&2", 10, &Cancel::default()).unwrap();
        assert!(output.stderr.len() <= 2 * capture::END_KEPT && output.stderr.ends_with(b"end"));
    }

    #[test]
    fn a_child_gets_only_the_listed_environment() {
        let output = shell("env >&2", 10, &Cancel::default()).unwrap();
        let mut lines: Vec<_> = output.stderr.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
        lines.retain(|line| !line.starts_with(b"PWD=") && !line.starts_with(b"_=") && !line.starts_with(b"SHLVL="));
        lines.sort_unstable();
        assert_eq!(lines, [&b"LC_ALL=C"[..], b"PATH=/usr/sbin:/usr/bin:/sbin:/bin", b"TZ=UTC"]);
    }

    #[test]
    fn signals_and_time_limits_are_distinguished() {
        assert_eq!(problem(shell("kill -9 $$", 10, &Cancel::default())), "sh was killed by signal 9");
        assert_eq!(problem(shell("sleep 60", 0, &Cancel::default())), "sh did not end within 0 seconds");
    }

    #[test]
    fn a_grandchild_that_holds_the_pipes_is_killed() {
        let program = Program { name: "sh", path: "/bin/sh".into() };
        let run = |script: &str| {
            let (arguments, stdout) = (vec!["-c".into(), script.into()], Stdout::All(1000));
            let invocation = Invocation { arguments, stdout, ..Invocation::new(Path::new("/"), 60) };
            program.run(&invocation, &Cancel::default()).unwrap()
        };
        let started = Instant::now();
        let output = run("sleep 50 & printf $!; exit 3");
        assert_eq!(output.code, 3);
        let left = PathBuf::from(format!("/proc/{}/stat", String::from_utf8(output.stdout).unwrap()));
        // Another process that adopts it may not have waited for it yet.
        let runs = || std::fs::read_to_string(&left).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!runs());
        assert_eq!(run("(sleep 0.1; printf late) & exit 0").stdout, b"late");
        assert_eq!(run("setsid sleep 3 & printf x").stdout, b"x");
        assert!(started.elapsed() < Duration::from_secs(20));
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
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
