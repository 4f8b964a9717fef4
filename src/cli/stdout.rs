//! Standard output, which carries data only.

use std::io::{StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use planish::report::Report;
use planish::{Cancel, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::json;

/// The interval at which a blocked writer checks for cancellation.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The bytes that a writable pipe accepts without blocking.
const PIECE: usize = 4096;

/// True if the caller closed stdout. The standard library opens `/dev/null` in its place before `main`, so that what is
/// written would be lost without an error.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look() {
    // SAFETY: the call reads a flag of a descriptor, open or not.
    if unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1 {
        IS_CLOSED.store(true, Ordering::Relaxed);
    }
}

// SAFETY: the section holds functions of this type, which the loader calls before the standard library begins; this one
// uses nothing of it that has to be prepared.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Requires that the caller has not closed stdout.
pub fn require_open() -> std::io::Result<()> {
    if IS_CLOSED.load(Ordering::Relaxed) { Err(Errno::BADF.into()) } else { Ok(()) }
}

/// Prints a text on stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    print_with(|stdout| writeln!(stdout, "{text}").and_then(|()| stdout.flush()))
}

/// Prints bytes on stdout as they are.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    print_with(|stdout| stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Prints a document on stdout.
pub fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    print_with(|stdout| json::write(stdout, document))
}

/// Prints what `write` writes.
pub fn print_with(write: impl FnOnce(&mut StdoutLock<'static>) -> std::io::Result<()>) -> Result<(), Failure> {
    printed(require_open().and_then(|()| write(&mut std::io::stdout().lock())))
}

/// Returns the failure of writing to stdout.
pub fn printed(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::ClosedPipe),
        Err(error) => Err(Failure::Stdout(error)),
    }
}

/// Prints the report on stdout before a file is published.
pub fn print_report(report: &Report, cancel: &Cancel) -> planish::Result<()> {
    print_first(cancel, |stdout| report.write_json(stdout))
}

/// Prints on stdout before a file is published, so that no file appears if that fails. The reader may block or close it.
pub fn print_first(
    cancel: &Cancel,
    write: impl FnOnce(&mut PatientStdout<'_>) -> std::io::Result<()>,
) -> planish::Result<()> {
    let printed = write(&mut patient(cancel));
    cancel.check()?;
    printed.map_err(Error::io("write to", "standard output"))
}

/// Returns standard output for data of any length.
pub fn patient(cancel: &Cancel) -> PatientStdout<'_> {
    PatientStdout { stdout: std::io::stdout().lock(), cancel }
}

/// Standard output; writes block until the reader is ready or the run is cancelled.
pub struct PatientStdout<'a> {
    stdout: StdoutLock<'static>,
    cancel: &'a Cancel,
}

impl Write for PatientStdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        require_open()?;
        loop {
            if self.cancel.check().is_err() {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            match poll(&mut [PollFd::new(&self.stdout, PollFlags::OUT)], Some(&PATIENCE)) {
                Ok(0) | Err(Errno::INTR) => continue,
                // The write returns the error.
                _ => {}
            }
            match rustix::io::write(&self.stdout, &bytes[..bytes.len().min(PIECE)]) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
