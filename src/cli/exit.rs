//! How a run ends: its exit code, and the lines that say why.

use std::process::ExitCode;

use planish::source::NameError;
use planish::{Error, Fault};

use super::hint;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The library's error.
    Library(Error),
    /// The source that was typed cannot be one.
    Name(NameError),
    /// What was typed, or what the environment says, makes no sense.
    Usage(String),
    /// A comparison was made and printed, and found differences.
    Different,
    /// So many blobs of the cache were found damaged, and printed.
    DamagedBlobs(usize),
    /// Nothing says where the cache is.
    NoCacheDirectory,
    /// The reader of stdout went away.
    ClosedPipe,
    /// stdout cannot be written.
    Stdout(std::io::Error),
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// Prints what went wrong and returns the exit code for it.
pub fn code(result: Result<(), Failure>) -> ExitCode {
    let failure = match result {
        Ok(()) | Err(Failure::ClosedPipe) => return ExitCode::SUCCESS,
        Err(Failure::Different) => return ExitCode::from(Fault::Proof.exit_code()),
        Err(failure) => failure,
    };
    let (text, hint, code) = match failure {
        Failure::Library(error) => (chain(&error), hint::of(&error), error.fault().exit_code()),
        Failure::Name(error) => (error.to_string(), hint::of_name(&error), Fault::Usage.exit_code()),
        Failure::Usage(text) => (text, None, Fault::Usage.exit_code()),
        Failure::DamagedBlobs(count) => (
            format!("the cache has {count} damaged blobs"),
            Some("the next build of its image fetches a damaged blob again".into()),
            Fault::Image.exit_code(),
        ),
        Failure::NoCacheDirectory => (
            "there is no place for a cache: neither XDG_CACHE_HOME nor HOME is an absolute path".into(),
            Some("name one with --cache-dir, or do without with --no-cache".into()),
            Fault::Machine.exit_code(),
        ),
        Failure::Stdout(error) => (format!("write to stdout: {error}"), None, Fault::Machine.exit_code()),
        Failure::ClosedPipe | Failure::Different => unreachable!("handled above"),
    };
    // A closed stderr must not turn an error into another one.
    let mut stderr = std::io::stderr().lock();
    let _ = std::io::Write::write_fmt(&mut stderr, format_args!("error: {text}\n"));
    if let Some(hint) = hint {
        let _ = std::io::Write::write_fmt(&mut stderr, format_args!("hint: {hint}\n"));
    }
    ExitCode::from(code)
}

/// Prints clap's own message: help and version are no errors.
pub fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(Fault::Usage.exit_code()) } else { ExitCode::SUCCESS }
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
