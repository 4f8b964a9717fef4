//! One process: its time limit, the end of its output, and its exit status.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The number of bytes of each output that are kept: its end.
const KEPT: usize = 4096;
/// The longest time until a stop is noticed if no signal wakes the process.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// The exit status of a process with the ends of its output.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The end of standard output.
    pub(super) stdout: Vec<u8>,
    /// The end of standard error.
    pub(super) stderr: Vec<u8>,
}

/// A process that did not end by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("cannot be watched: {0}")]
    Watch(#[from] io::Error),
    #[error("does not end within {} s", .limit.as_secs_f64())]
    TimeLimit { limit: Duration, stderr: Vec<u8> },
    #[error("was interrupted")]
    Stopped,
}

impl From<Errno> for ProcessError {
    fn from(errno: Errno) -> Self {
        Self::Watch(errno.into())
    }
}

/// Runs a program to its end, with an empty standard input and its own directory for temporary files.
///
/// The program gets a process group, which is killed when the program ends or must end.
pub(super) fn run(
    words: &[OsString],
    temporary: &Path,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<Ended, ProcessError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(ProcessError::Start(io::ErrorKind::InvalidInput.into()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(ProcessError::Start)?;
    let group = Group(Pid::from_child(&child));
    let mut stdout = Tail::new(child.stdout.take())?;
    let mut stderr = Tail::new(child.stderr.take())?;
    let watched = watch(&group, &mut stdout, &mut stderr, limit, stop);
    // The group's number remains ours until the leader is waited for, so the kill comes first.
    drop(group);
    let status = child.wait();
    // Only what is in the pipes when the process ends is read: a daemon of it may keep them open forever.
    stdout.read()?;
    stderr.read()?;
    match watched {
        Err(ProcessError::TimeLimit { limit, .. }) => Err(ProcessError::TimeLimit { limit, stderr: stderr.end() }),
        Err(error) => Err(error),
        Ok(()) => Ok(Ended { status: status?, stdout: stdout.end(), stderr: stderr.end() }),
    }
}

/// Reads both outputs until the process ends.
fn watch(
    group: &Group,
    stdout: &mut Tail<ChildStdout>,
    stderr: &mut Tail<ChildStderr>,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<(), ProcessError> {
    let deadline = Instant::now() + limit;
    let leader = pidfd_open(group.0, PidfdFlags::empty())?;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(ProcessError::Stopped);
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(ProcessError::TimeLimit { limit, stderr: Vec::new() });
        }
        let wait = Timespec::try_from(rest.min(LONGEST_WAIT)).map_err(|_| Errno::INVAL)?;
        let ended = {
            let mut watched = vec![PollFd::new(&leader, PollFlags::IN)];
            watched.extend(stdout.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            watched.extend(stderr.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            match poll(&mut watched, Some(&wait)) {
                Ok(_) => !watched[0].revents().is_empty(),
                Err(Errno::INTR) => false,
                Err(error) => return Err(error.into()),
            }
        };
        stdout.read()?;
        stderr.read()?;
        if ended {
            return Ok(());
        }
    }
}

/// A process group, killed when this is dropped.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // If the group no longer exists, there is nothing to kill.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

/// The end of a pipe's output.
struct Tail<P> {
    /// The pipe; `None` after its other side was closed.
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<P: AsFd + io::Read> Tail<P> {
    fn new(pipe: Option<P>) -> Result<Self, Errno> {
        if let Some(pipe) = &pipe {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { pipe, bytes: Vec::new() })
    }

    /// Reads the available bytes, at most the capacity of a pipe.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                let surplus = self.bytes.len().saturating_sub(KEPT);
                self.bytes.drain(..surplus);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn end(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Ended, ProcessError> {
        let words = ["sh", "-c", script].map(OsString::from);
        run(&words, Path::new("/tmp"), limit, &AtomicBool::new(false))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_last_bytes_of_both_outputs_are_kept() {
        let ended = sh("head -c 300000 /dev/zero; echo out; echo err >&2; exit 3", LONG).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.stdout.len(), KEPT);
        assert!(ended.stdout.ends_with(b"\0out\n"));
        assert_eq!(ended.stderr, b"err\n");
    }

    #[test]
    fn a_process_that_takes_too_long_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; echo said >&2; wait", pid.display());
        let error = sh(&script, Duration::from_millis(500)).unwrap_err();
        assert_eq!(error.to_string(), "does not end within 0.5 s");
        assert!(matches!(error, ProcessError::TimeLimit { stderr, .. } if stderr == b"said\n"));
        let pid = std::fs::read_to_string(pid).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let gone = |stat: &str| stat.is_empty() || stat.contains(") Z ");
        // The kill was sent, but needs time to take effect.
        let patience = Instant::now() + Duration::from_secs(10);
        while !gone(&stat()) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(gone(&stat()), "{}", stat());
    }

    #[test]
    fn a_daemon_with_the_pipes_does_not_delay_the_end() {
        let before = Instant::now();
        let ended = sh("setsid sleep 60 & echo done", LONG).unwrap();
        assert_eq!(ended.stdout, b"done\n");
        assert!(before.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_stop_ends_the_process() {
        let words = ["sleep", "60"].map(OsString::from);
        let error = run(&words, Path::new("/tmp"), LONG, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(error.to_string(), "was interrupted");
    }

    #[test]
    fn other_files_cannot_be_started() {
        let error = run(&["/nowhere/at/all".into()], Path::new("/tmp"), LONG, &AtomicBool::new(false)).unwrap_err();
        assert_eq!(error.to_string(), "cannot be started: No such file or directory (os error 2)");
    }
}
