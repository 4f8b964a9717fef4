//! Errors, grouped by whose fault they are; the group decides the exit code.
//!
//! A message names its subject first (a layer, an entry, a blob, a path), then the fact. Advice is not part of it: the
//! command line adds a `hint:`.

mod image;
mod machine;
mod registry;

use std::fmt;
use std::path::{Path, PathBuf};

pub use image::{EntryPlace, ImageProblem, LayerPlace, Place};
pub use machine::{OutputProblem, ToolProblem};
pub use registry::{Asked, CacheProblem, CertificateProblem, CredentialProblem, RegistryProblem};

use crate::cancel::Signal;
use crate::limits::Limit;

/// What every fallible call of this library returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the library. See [`ErrorKind`] for what can go wrong.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The image is malformed, or holds what planish or ext4 does not: the same bytes fail again.
    #[error("{place} {problem}")]
    Image {
        /// The part of the image at fault.
        place: Place,
        /// What is wrong with it.
        problem: ImageProblem,
    },
    /// The image is larger than a limit allows.
    #[error("{place} has {found} {limit}, --{} allows {allowed}", limit.flag())]
    Limit {
        /// The part of the image at fault.
        place: Place,
        /// The limit.
        limit: Limit,
        /// The bound in force.
        allowed: u64,
        /// What was found, as far as it was read.
        found: Found,
    },
    /// The tree does not fit the size that was asked for.
    #[error("the tree needs {needed} bytes, --size allows {allowed}")]
    Size {
        /// The bytes that the plan needs.
        needed: u64,
        /// The bytes that were asked for.
        allowed: u64,
    },
    /// The filesystem would have more blocks than 32 bits can number.
    #[error("the filesystem would have {bytes} bytes, planish makes at most {max}")]
    Capacity {
        /// The bytes that it would have at least.
        bytes: u64,
        /// The bytes that it can have.
        max: u64,
    },
    /// A registry, or the way to it: trying again may help.
    #[error("{host}: {asked} {problem}")]
    Registry {
        /// The registry, as `HOST[:PORT]`.
        host: String,
        /// What it was asked for.
        asked: Asked,
        /// What it did.
        problem: RegistryProblem,
    },
    /// The credentials for a registry.
    #[error("{host}: {problem}")]
    Credentials {
        /// The registry, as `HOST[:PORT]`.
        host: String,
        /// What is wrong.
        problem: CredentialProblem,
    },
    /// A file of certificates or keys for TLS.
    #[error("{} {problem}", ShownPath(path))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Nothing of its content is in here.
        problem: CertificateProblem,
        /// The system's answer, where it has one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The cache.
    #[error("cache: {what} {problem}")]
    Cache {
        /// The file, or the reference, escaped.
        what: String,
        /// What is wrong with it.
        problem: CacheProblem,
        /// The system's answer, where it has one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// An option was chosen that the direct engine does not know.
    #[error("{0} is a choice that the direct engine cannot make")]
    BeyondDirect(String),
    /// What one engine cannot write, the other cannot either.
    #[error("neither engine can write this image: e2fsprogs: {e2fsprogs}; direct: {direct}")]
    NoEngine {
        /// Why the engine e2fsprogs cannot.
        e2fsprogs: Box<Error>,
        /// Why the direct engine cannot.
        direct: Box<Error>,
    },
    /// The direct engine refused what was planned for it.
    #[error("the direct engine refused its plan: {0}; this is a bug of planish, please report it")]
    Engine(String),
    /// A tool of e2fsprogs is missing, refuses or fails.
    #[error("{tool} {problem}")]
    Tool {
        /// The program's name.
        tool: &'static str,
        /// What it did.
        problem: ToolProblem,
        /// The system's answer, where it has one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The place for the result cannot be used.
    #[error("output {}: {problem}", ShownPath(path))]
    Output {
        /// The path that was asked for.
        path: PathBuf,
        /// Why it cannot be used.
        problem: OutputProblem,
        /// The system's answer, where it has one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The operating system refused.
    #[error("{action} {}", ShownPath(path))]
    Io {
        /// What was tried, as a verb: `write`.
        action: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A private directory ran out of space.
    #[error("no space left in {} after {written} bytes, this image needs more", ShownPath(path))]
    NoSpace {
        /// The directory whose filesystem is full.
        path: PathBuf,
        /// What had been written to it.
        written: u64,
    },
    /// The finished filesystem is not what the image says.
    #[error("the filesystem differs from the tree in {count} places: {first}")]
    Proof {
        /// How many differences there are.
        count: usize,
        /// The first of them, escaped.
        first: String,
    },
    /// A file is not an ext4 filesystem that can be read.
    #[error("{} is no ext4 filesystem that can be read: the filesystem {fault}", ShownPath(path))]
    NotAFilesystem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// e2fsck finds something to repair in the finished filesystem.
    #[error("e2fsck finds errors in the filesystem: {found}")]
    Unsound {
        /// What it says, escaped.
        found: String,
    },
    /// `--strict` was asked for and the image cannot be carried without a loss.
    #[error("{count} {}, and --strict allows none: {first}", if *count == 1 { "loss" } else { "losses" })]
    Strict {
        /// How many losses there are.
        count: u64,
        /// The first of them, escaped.
        first: String,
    },
    /// A signal asked for an end.
    #[error("stopped by {0}")]
    Cancelled(Signal),
    /// An invariant of planish does not hold.
    #[error("{0}; this is a bug of planish, please report it")]
    Bug(&'static str),
}

/// The amount that broke a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Exactly so many.
    Exactly(u64),
    /// Reading stopped when the limit was passed.
    MoreThan(u64),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{n}"),
            Self::MoreThan(n) => write!(f, "more than {n}"),
        }
    }
}

/// Whose fault an error is; each has its documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command line: 2.
    Usage,
    /// A registry or the network: 3.
    Registry,
    /// The credentials for a registry: 4.
    Credentials,
    /// The image: 5.
    Image,
    /// This machine: a tool, a disk, a permission, a path: 6.
    Machine,
    /// A named limit: 7.
    Limit,
    /// The proof found a difference: 8.
    Proof,
    /// planish itself: 70.
    Bug,
    /// A signal: 128 and its number.
    Signal(Signal),
}

impl Fault {
    /// Returns the exit code of the group.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Registry => 3,
            Self::Credentials => 4,
            Self::Image => 5,
            Self::Machine => 6,
            Self::Limit => 7,
            Self::Proof => 8,
            Self::Bug => 70,
            Self::Signal(signal) => 128 + signal.number(),
        }
    }
}

impl Error {
    /// Returns what went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Returns whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.kind() {
            ErrorKind::Image { .. } | ErrorKind::Strict { .. } => Fault::Image,
            ErrorKind::Limit { .. } | ErrorKind::Size { .. } | ErrorKind::Capacity { .. } => Fault::Limit,
            // A raised limit may help, whatever else is said.
            ErrorKind::NoEngine { e2fsprogs, direct } => match (e2fsprogs.fault(), direct.fault()) {
                (Fault::Limit, _) | (_, Fault::Limit) => Fault::Limit,
                (fault, _) => fault,
            },
            ErrorKind::BeyondDirect(_) => Fault::Usage,
            ErrorKind::Output { problem, .. } => problem.fault(),
            ErrorKind::Registry { problem, .. } => problem.fault(),
            ErrorKind::Credentials { .. } => Fault::Credentials,
            ErrorKind::Cache { problem, .. } => problem.fault(),
            ErrorKind::Tool { .. }
            | ErrorKind::Io { .. }
            | ErrorKind::NoSpace { .. }
            | ErrorKind::Certificate { .. } => Fault::Machine,
            ErrorKind::Proof { .. } | ErrorKind::Unsound { .. } | ErrorKind::NotAFilesystem { .. } => Fault::Proof,
            ErrorKind::Cancelled(signal) => Fault::Signal(*signal),
            ErrorKind::Bug(_) | ErrorKind::Engine(_) => Fault::Bug,
        }
    }

    /// Returns an error about a part of an image.
    #[must_use]
    pub fn image(place: Place, problem: ImageProblem) -> Self {
        ErrorKind::Image { place, problem }.into()
    }

    /// Returns an error about a tool.
    #[must_use]
    pub fn tool(tool: &'static str, problem: ToolProblem) -> Self {
        ErrorKind::Tool { tool, problem, source: None }.into()
    }

    /// Returns an error about a file of the cache.
    #[must_use]
    pub fn cache(path: &Path, problem: CacheProblem) -> Self {
        ErrorKind::Cache { what: ShownPath(path).to_string(), problem, source: None }.into()
    }

    /// Returns a closure for `map_err` on calls of the operating system that concern the cache.
    pub fn cache_io<E: Into<std::io::Error>>(path: &Path, problem: CacheProblem) -> impl FnOnce(E) -> Self {
        move |source| {
            let what = ShownPath(path).to_string();
            ErrorKind::Cache { what, problem, source: Some(source.into()) }.into()
        }
    }

    /// Returns an error about a file of certificates or keys.
    #[must_use]
    pub fn certificate(path: &Path, problem: CertificateProblem) -> Self {
        ErrorKind::Certificate { path: path.to_owned(), problem, source: None }.into()
    }

    /// Returns an error about the place for the result.
    #[must_use]
    pub fn output(path: &Path, problem: OutputProblem) -> Self {
        ErrorKind::Output { path: path.to_owned(), problem, source: None }.into()
    }

    /// Returns the error of a failed write below `directory`, after `written` bytes: a full disk is told from the rest.
    #[must_use]
    pub fn write(directory: &Path, written: u64, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::NoSpace { path: directory.to_owned(), written }.into()
            }
            _ => Self::io("write to", directory)(source),
        }
    }

    /// Returns a closure for `map_err` on calls of the operating system.
    pub fn io<E: Into<std::io::Error>>(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |source| ErrorKind::Io { action, path: path.as_ref().to_owned(), source: source.into() }.into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// A path of this machine, escaped: the caller chose it, but a directory may hold any bytes.
pub(crate) struct ShownPath<'a>(pub &'a Path);

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::os::unix::ffi::OsStrExt;
        write!(f, "{}", crate::path::Escaped(self.0.as_os_str().as_bytes()))
    }
}

#[cfg(test)]
mod tests;
