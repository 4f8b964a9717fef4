//! Cancels the run on the signals that end a program, so that it can remove its files first.
//!
//! All of this happens in the signal handlers, without a thread or a descriptor. The first signal raises a flag that
//! every stage checks, and starts a timer. When the timer ends, or on a second signal, the process ends immediately,
//! with its children; it prints the directories that it leaves, which the next run removes.

use std::sync::OnceLock;
use std::time::Duration;

use planish::kill_children;
use planish::{Cancel, Error, Fault, Signal};
use planish::{CancelOutcome, LINE_MAX};

use super::exit::Failure;
use super::memory;

/// The time in which a cancelled run must end.
const PATIENCE: i32 = 900_000;
/// Signals within this time count as one: `timeout` and terminals send it to a process and to its group.
const ONE: Duration = Duration::from_millis(50);

/// The flag that the signals of this process raise.
static LISTENING: OnceLock<Cancel> = OnceLock::new();

/// Installs the handlers, and returns the flag that a signal raises.
///
/// A SIGHUP that the caller ignores (`nohup`) stays ignored.
pub fn cancel() -> Result<Cancel, Failure> {
    let cancel = Cancel::default();
    for signal in [Signal::Interrupt, Signal::Terminate, Signal::Hangup] {
        if signal == Signal::Hangup && ignored(signal) {
            continue;
        }
        let cancel = cancel.clone();
        listen(signal.number().into(), move || stop(&cancel, signal))?;
    }
    let late = cancel.clone();
    listen(libc::SIGALRM, move || end_late(&late))?;
    memory::stops(&cancel);
    let _ = LISTENING.set(cancel.clone());
    Ok(cancel)
}

fn listen(signal: libc::c_int, action: impl Fn() + Send + Sync + 'static) -> Result<(), Failure> {
    // SAFETY: the actions use atomic values and system calls that a signal handler may make, and do not panic.
    unsafe { signal_hook::low_level::register(signal, action) }.map_err(Error::io("listen to", "signals"))?;
    Ok(())
}

fn stop(cancel: &Cancel, signal: Signal) {
    match cancel.raise(signal) {
        CancelOutcome::Stops(first, since) if since > ONE => end(cancel, first),
        _ => start_timer(),
    }
}

fn end_late(cancel: &Cancel) {
    match cancel.raised() {
        Some(CancelOutcome::Stops(first, _)) => end(cancel, first),
        // The run has succeeded and is only blocked while printing to a reader.
        Some(CancelOutcome::Done) => exit(0),
        // The files are being published, and their names must be consistent with the exit code.
        Some(CancelOutcome::Committed) => start_timer(),
        None => {}
    }
}

fn start_timer() {
    let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let once = libc::itimerval { it_interval: never, it_value: libc::timeval { tv_sec: 0, tv_usec: PATIENCE.into() } };
    // SAFETY: the call only reads one local value and is a single system call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const once, std::ptr::null_mut()) };
}

/// Ends a process that has not stopped in time, and prints what it leaves.
fn end(cancel: &Cancel, signal: Signal) {
    kill_children();
    say_remains(cancel);
    exit(128 + libc::c_int::from(signal.number()));
}

/// Ends a process that has no memory left even to clean up, and prints what it leaves. Allocates nothing.
pub fn end_without_memory(cancel: Option<&Cancel>) -> ! {
    // No child may write into a directory that is left.
    kill_children();
    write_at_once(b"error: out of memory\nhint: raise the limit of this process (ulimit -v, ulimit -d)\n");
    cancel.into_iter().for_each(say_remains);
    exit(Fault::Machine.exit_code().into())
}

/// Prints the directories that remain after a stop, or when memory has run out, unless they were printed already.
pub fn say_what_stays() {
    if let Some(cancel) = LISTENING.get()
        && cancel.check().is_err()
    {
        say_remains(cancel);
    }
}

/// Prints the directories that remain. A signal handler may call it.
fn say_remains(cancel: &Cancel) {
    let mut line = [0; LINE_MAX];
    write_at_once(cancel.take_remains(&mut line));
}

/// Writes to stderr without blocking. A signal handler may call it.
fn write_at_once(line: &[u8]) {
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the calls access only values of ours; a signal handler may make both.
    unsafe {
        // A pipe that is ready accepts the whole line at once.
        if !line.is_empty() && libc::poll(&raw mut stderr, 1, 0) == 1 && stderr.revents & libc::POLLOUT != 0 {
            libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        }
    }
}

/// Ends the process and its children at once.
fn exit(code: libc::c_int) -> ! {
    kill_children();
    // SAFETY: nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}

/// Returns true if this process was started with the signal ignored.
fn ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal.number() - 1) & 1 == 1)
}
