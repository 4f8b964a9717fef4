//! The pipes of a child, read and written by the thread that waits for it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::Stdout;

/// The number of bytes that are kept of an end: at least this many, at most twice as many.
pub const END_KEPT: usize = 4096;
const BLOCK: usize = 16 << 10;
/// The number of blocks read in a row: a child that writes without end must not delay the check of the time limit.
const BLOCKS_AT_ONCE: usize = 64;

/// The output that was read.
pub enum CapturedOutput {
    /// The part to be kept.
    Bytes(Vec<u8>),
    /// There was more than this limit.
    TooMuch(usize),
}

/// The pipes to and from one child.
pub struct Pipes {
    stdin: Option<(ChildStdin, Vec<u8>)>,
    stdout: Reader<ChildStdout>,
    stderr: Reader<ChildStderr>,
}

impl Pipes {
    /// Takes the pipes of a child that has just been started.
    ///
    /// # Errors
    ///
    /// A pipe cannot be made non-blocking.
    pub fn of(child: &mut Child, stdin: Vec<u8>, stdout: Stdout) -> std::io::Result<Self> {
        let pipes = Self {
            stdin: child.stdin.take().map(|pipe| (pipe, stdin)),
            stdout: Reader { pipe: child.stdout.take(), kept: Vec::new(), keep: stdout },
            stderr: Reader { pipe: child.stderr.take(), kept: Vec::new(), keep: Stdout::End },
        };
        pipes.open().try_for_each(|(pipe, _)| fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK))?;
        Ok(pipes)
    }

    fn open(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let stdin = self.stdin.iter().map(|(pipe, _)| (pipe.as_fd(), PollFlags::OUT));
        let stdout = self.stdout.pipe.iter().map(|pipe| (pipe.as_fd(), PollFlags::IN));
        let stderr = self.stderr.pipe.iter().map(|pipe| (pipe.as_fd(), PollFlags::IN));
        stdin.chain(stdout).chain(stderr)
    }

    /// Waits until a pipe is ready, or for `pause`; then transfers the available bytes.
    pub fn serve(&mut self, pause: Duration) {
        let mut open: Vec<PollFd<'_>> =
            self.open().map(|(pipe, flags)| PollFd::from_borrowed_fd(pipe, flags)).collect();
        let waited = poll(&mut open, Timespec::try_from(pause).ok().as_ref());
        drop(open);
        if waited.is_err() {
            std::thread::sleep(pause);
        }
        if let Some((pipe, bytes)) = &mut self.stdin {
            match pipe.write(bytes) {
                Ok(count) => drop(bytes.drain(..count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // A program that ends without reading its stdin is judged by its exit status.
                Err(_) => bytes.clear(),
            }
            if bytes.is_empty() {
                self.stdin = None;
            }
        }
        self.stdout.read();
        self.stderr.read();
    }

    /// Returns true if the child's stdout and stderr are closed.
    pub fn is_finished(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Returns what was read from stdout, and the end of stderr.
    pub fn finish(self) -> (CapturedOutput, Vec<u8>) {
        let stdout = match self.stdout.keep {
            Stdout::All(max) if self.stdout.kept.len() > max => CapturedOutput::TooMuch(max),
            _ => CapturedOutput::Bytes(self.stdout.kept),
        };
        (stdout, self.stderr.kept)
    }
}

/// One pipe, read to its end or to its limit.
struct Reader<P> {
    pipe: Option<P>,
    kept: Vec<u8>,
    keep: Stdout,
}

impl<P: Read> Reader<P> {
    fn read(&mut self) {
        let mut block = [0; BLOCK];
        for _ in 0..BLOCKS_AT_ONCE {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut block) {
                Ok(count @ 1..) => self.keep(&block[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A broken pipe counts as closed.
                Ok(0) | Err(_) => self.pipe = None,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        match self.keep {
            Stdout::All(max) if self.kept.len() > max => {
                // SIGPIPE ends a child that continues to write.
                self.kept.truncate(max + 1);
                self.pipe = None;
            }
            Stdout::All(_) => {}
            Stdout::Discard | Stdout::End => {
                if self.kept.len() > 2 * END_KEPT {
                    self.kept.drain(..self.kept.len() - END_KEPT);
                }
            }
        }
    }
}
