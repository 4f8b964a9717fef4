//! Displays the progress of a run: bars on a terminal, otherwise lines for stages that take long.

mod bars;
mod lines;
mod transfers;

use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use planish::Escaped;
use planish::progress::{Event, Progress, Stage};

use bars::Bars;
use lines::Lines;
pub use lines::{json_end, json_error};

/// The stack size of a thread that only displays progress.
const STACK: usize = 256 << 10;

/// The forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Bars on a terminal, else plain
    Auto,
    /// A line for each stage that takes long
    Plain,
    /// A JSON line for each stage and for each event
    Json,
    /// Nothing but warnings
    None,
}

/// Returns the observer of a form; with `verbose` it also reports successful steps.
pub fn observer(form: Form, verbose: bool) -> Arc<dyn Progress> {
    match form {
        Form::Auto if std::io::stderr().is_terminal() => Arc::new(Bars::new(verbose)),
        Form::Auto | Form::Plain => Arc::new(Lines::plain(verbose)),
        Form::Json => Arc::new(Lines::json()),
        Form::None => Arc::new(Warnings),
    }
}

/// An observer that prints warnings only.
struct Warnings;

impl Progress for Warnings {
    fn begin(&self, _: Stage, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Warning(_)) {
            line(event, false).iter().for_each(|line| say(line));
        }
    }
}

/// Writes a line to stderr. A closed stderr must not end the run.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Returns an event as a line of text; `None` if it is displayed otherwise, or only with `-v`.
fn line(event: &Event<'_>, verbose: bool) -> Option<String> {
    Some(match *event {
        Event::Warning(text) => format!("warning: {text}"),
        Event::Retry { why, wait, failed, tries } => {
            format!("planish: {why}: try {} of {tries} in {:.1} s", failed + 1, wait.as_secs_f64())
        }
        Event::Waiting { digest, pid: Some(pid) } => {
            format!("planish: blob {digest} is being fetched by process {pid}: waiting for it")
        }
        Event::Waiting { digest, pid: None } => {
            format!("planish: blob {digest} is being fetched by another process: waiting for it")
        }
        Event::WaitingForBuild { key, pid } => {
            let process = pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"));
            format!("planish: {process} builds the same filesystem, key {key}: waiting for it")
        }
        Event::Remark(text) if verbose => format!("planish: {text}"),
        Event::Credentials { host, source } if verbose => {
            format!("planish: {}: credentials: {source}", Escaped(host.as_bytes()))
        }
        Event::Tool { name, path, version } if verbose => {
            format!("planish: {name} {version}: {}", Escaped(path.as_os_str().as_bytes()))
        }
        Event::Cached { digest, bytes } if verbose => format!("planish: blob {digest}: {bytes} bytes, in the cache"),
        Event::Fetched { digest, bytes } if verbose => format!("planish: blob {digest}: {bytes} bytes, fetched"),
        _ => return None,
    })
}

/// Starts a thread that ends by itself. If the system refuses, progress is displayed on events only.
fn in_background(work: impl FnOnce() + Send + 'static) {
    // The standard library panics in a thread without memory for its second stack, the one for signals.
    if memmap2::MmapMut::map_anon(2 * STACK).is_ok() {
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(work);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
