//! Shows what a run is doing: bars on a terminal, else a line now and then, and only when a stage takes long.

mod bars;
mod lines;
mod transfers;

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use planish::path::Escaped;
use planish::progress::{News, Progress};

use bars::Bars;
use lines::Lines;

/// The forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Bars on a terminal, else plain
    Auto,
    /// A line for each stage that takes long
    Plain,
    /// A JSON line for each stage and for what it does
    Json,
    /// Nothing
    None,
}

/// Returns the observer for a form; a `verbose` one also tells what went as it should.
pub fn observer(form: Form, verbose: bool) -> Box<dyn Progress + Send> {
    match form {
        Form::Auto if std::io::stderr().is_terminal() => Box::new(Bars::new(verbose)),
        Form::Auto | Form::Plain => Box::new(Lines::plain(verbose)),
        Form::Json => Box::new(Lines::json()),
        Form::None => Box::new(planish::progress::Silent),
    }
}

/// Writes a line to stderr. A closed one must not end the work.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Returns news as a line for a person; `None` for what is shown otherwise, or only with `-v`.
fn line(news: &News<'_>, verbose: bool) -> Option<String> {
    Some(match *news {
        News::Warning(text) => format!("warning: {text}"),
        News::Again { why, wait, failed, tries } => {
            format!("planish: {why}: try {} of {tries} in {:.1} s", failed + 1, wait.as_secs_f64())
        }
        News::Waiting { digest, pid: Some(pid) } => {
            format!("planish: blob {digest} is being fetched by process {pid}: waiting for it")
        }
        News::Waiting { digest, pid: None } => {
            format!("planish: blob {digest} is being fetched by another process: waiting for it")
        }
        News::Credentials { host, source } if verbose => {
            format!("planish: {}: credentials: {source}", Escaped(host.as_bytes()))
        }
        News::Cached { digest, bytes } if verbose => format!("planish: blob {digest}: {bytes} bytes, in the cache"),
        News::Fetched { digest, bytes } if verbose => format!("planish: blob {digest}: {bytes} bytes, fetched"),
        _ => return None,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
