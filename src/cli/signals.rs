//! Turns the signals that end a program into a request to stop, so that it can clean up first.

use planish::{Cancel, Error, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Failure;

/// Begins to listen, and returns what a signal raises.
pub fn cancel() -> Result<Cancel, Failure> {
    let cancel = Cancel::default();
    listen(cancel.clone()).map_err(Error::io("listen to", "signals"))?;
    Ok(cancel)
}

/// Sent for a write beyond the largest file that a process may make; the same on all of Linux's architectures but MIPS.
const SIGXFSZ: i32 = 25;

/// Starts to listen on a thread of its own.
///
/// A SIGHUP that the caller ignores (`nohup`) stays ignored.
fn listen(cancel: Cancel) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // With a handler, a write beyond RLIMIT_FSIZE fails instead of ending the program; the handler has nothing to do.
    let _ = signal(SignalKind::from_raw(SIGXFSZ))?;
    let mut hangup = if ignored(Signal::Hangup) { None } else { Some(signal(SignalKind::hangup())?) };
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let signal = tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
                _ = hung_up => Signal::Hangup,
            };
            cancel.raise(signal);
            std::future::pending::<()>().await;
        });
    });
    Ok(())
}

/// Returns whether this process was started with the signal ignored.
fn ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal.number() - 1) & 1 == 1)
}
