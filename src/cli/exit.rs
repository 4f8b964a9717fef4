//! The end of a run: its exit code and its error messages.

use std::process::ExitCode;

use planish::{Error, Fault};

use super::{hint, progress};

/// The reason why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The library's error.
    Library(Error),
    /// The library's error, with the advice of a command.
    Advised(Error, String),
    /// The command line or the environment is invalid.
    Usage(String),
    /// A comparison was printed, and found differences.
    Different,
    /// The numbers of damaged files in the cache, which were printed.
    DamagedCache {
        /// Those of images.
        fetched: usize,
        /// Finished filesystems and their records.
        built: usize,
        /// Listings of layers and decoded layers.
        layers: usize,
    },
    /// The findings about this machine were printed, and a build cannot run here.
    NotReady,
    /// The failures of several images were printed; the exit code is the first one's.
    Printed(u8),
    /// No directory of the cache is given or known.
    NoCacheDirectory,
    /// The reader of stdout closed it.
    ClosedPipe,
    /// stdout cannot be written.
    Stdout(std::io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// Prints the error of a command and returns its exit code.
pub fn code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::ClosedPipe) => end(0, None, None),
        Err(Failure::Different) => end(Fault::Proof.exit_code(), None, None),
        Err(Failure::Printed(code)) => end(code, None, None),
        Err(failure) => {
            let Message { text, hint, code } = Message::of(&failure);
            say_error(&text, hint.as_deref());
            end(code, Some(&text), hint.as_deref())
        }
    }
}

/// Prints the error of one of several images and returns its exit code.
pub fn print(failure: &Failure, subject: Option<&str>) -> u8 {
    let Message { text, hint, code } = Message::of(failure);
    let text = subject.map_or_else(|| text.clone(), |subject| format!("{subject}: {text}"));
    say_error(&text, hint.as_deref());
    progress::json_error(&text, hint.as_deref(), code);
    code
}

/// The text of a failure, its hint and its exit code.
struct Message {
    text: String,
    hint: Option<String>,
    code: u8,
}

impl Message {
    fn of(failure: &Failure) -> Self {
        let machine = Fault::Machine.exit_code();
        let (text, hint, code) = match failure {
            Failure::Library(error) => (chain(error), hint::of(error), error.fault().exit_code()),
            Failure::Advised(error, advice) => (chain(error), Some(advice.clone()), error.fault().exit_code()),
            Failure::Usage(text) => (text.clone(), None, Fault::Usage.exit_code()),
            Failure::DamagedCache { fetched, built, layers } => (
                match (fetched + built, layers) {
                    (blobs, 0) => format!("the cache has {blobs} damaged blobs"),
                    (0, layers) => format!("the cache has {layers} damaged listings or decoded layers"),
                    (blobs, layers) => {
                        format!("the cache has {blobs} damaged blobs, and {layers} damaged listings or decoded layers")
                    }
                },
                Some(hint::of_damaged(*fetched, *built, *layers)),
                Fault::Image.exit_code(),
            ),
            Failure::NotReady => ("a build cannot run on this machine".into(), None, machine),
            Failure::NoCacheDirectory => (
                "there is no directory for a cache: neither XDG_CACHE_HOME nor HOME is an absolute path".into(),
                Some("choose one with --cache-dir, or use none with --no-cache".into()),
                machine,
            ),
            Failure::Stdout(error) => (format!("write to stdout: {error}"), None, machine),
            Failure::ClosedPipe => ("stdout is closed".into(), None, machine),
            Failure::Different => ("there are differences".into(), None, Fault::Proof.exit_code()),
            Failure::Printed(code) => (String::new(), None, *code),
        };
        Self { text, hint, code }
    }
}

fn say_error(text: &str, hint: Option<&str>) {
    say(format_args!("error: {text}\n"));
    if let Some(hint) = hint {
        say(format_args!("hint: {hint}\n"));
    }
}

/// Returns an exit code, which a program that reads the progress gets as well.
fn end(code: u8, error: Option<&str>, hint: Option<&str>) -> ExitCode {
    progress::json_end(code, error, hint);
    ExitCode::from(code)
}

/// Prints a panic as a bug, and returns the exit code for it.
pub fn bug(text: &str) -> ExitCode {
    say(format_args!("error: {text}; this is a bug of planish, please report it\n"));
    ExitCode::from(Fault::Bug.exit_code())
}

/// Prints a panic that had no effect on the result.
pub fn warn_of_bug(text: &str) {
    say(format_args!("warning: {text}; this is a bug of planish, please report it\n"));
}

/// Writes to stderr. A closed stderr must not replace one error by another.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), text);
}

/// Prints clap's own message: help and version are not errors. A refused value may come from a variable.
pub fn usage(error: &clap::Error, variable: Option<String>) -> ExitCode {
    let printed = error.print();
    if let Some(name) = variable {
        say(format_args!("hint: the value is that of the variable {name}\n"));
    }
    match super::stdout::require_open().and(printed) {
        _ if error.use_stderr() => ExitCode::from(Fault::Usage.exit_code()),
        Ok(()) => code(Ok(())),
        Err(fault) if fault.kind() == std::io::ErrorKind::BrokenPipe => code(Err(Failure::ClosedPipe)),
        Err(fault) => code(Err(Failure::Stdout(fault))),
    }
}

/// Returns an error and its causes in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
