//! Errors, grouped by whose fault they are; the group determines the exit code.
//!
//! The subject of a message (a layer, an entry, a blob, a path) comes first, then the fact. The command line adds
//! advice as a `hint:`.

mod image;
mod injection;
mod machine;
mod registry;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

pub use image::{EntryPlace, ImageProblem, LayerPlace, MissingPath, Place};
pub use injection::InjectionProblem;
pub use machine::{NotExt4, OutputFile, OutputProblem, Signal, ToolProblem};
pub use registry::{CacheProblem, CertificateProblem, CredentialProblem, KeyProblem, RegistryProblem, Resource};
pub(crate) use source::ReferenceProblem;
pub use source::{BareKind, NameError, ReferenceFault};

use crate::limits::Limit;

/// The result of a fallible call of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the library. See [`ErrorKind`] for the kinds.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

/// The kind of an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A text is not an image reference.
    #[error(transparent)]
    Source(NameError),
    /// The image is malformed, or contains something that planish or ext4 does not support: the same bytes fail again.
    #[error("{place} {problem}")]
    Image {
        /// The part of the image.
        place: Place,
        /// The problem.
        problem: ImageProblem,
    },
    /// The image is larger than a limit allows.
    #[error("{place} has {found} {limit}, --{} allows {allowed}", limit.flag())]
    Limit {
        /// The part of the image.
        place: Place,
        /// The limit.
        limit: Limit,
        /// The value of the limit.
        allowed: u64,
        /// The amount that was found before reading stopped.
        found: Amount,
    },
    /// The tree does not fit the requested size.
    #[error("the tree needs {needed} bytes, --size allows {allowed}")]
    Size {
        /// The bytes that the plan needs.
        needed: u64,
        /// The bytes that were requested.
        allowed: u64,
    },
    /// The filesystem would have more blocks than 32 bits can number.
    #[error("the filesystem would have {bytes} bytes, planish makes at most {max}")]
    Capacity {
        /// The least number of bytes of the filesystem.
        bytes: u64,
        /// The largest possible number of bytes.
        max: u64,
    },
    /// The filesystem would have more inodes than 32 bits can number.
    #[error("the filesystem would have {inodes} inodes, ext4 numbers at most {max}")]
    InodeCapacity {
        /// The least number of inodes of the filesystem.
        inodes: u64,
        /// The largest possible number of inodes.
        max: u64,
    },
    /// A registry or the connection to it failed: another attempt may succeed.
    #[error("{host}: {resource} {problem}")]
    Registry {
        /// The registry, as `HOST[:PORT]`.
        host: String,
        /// The requested resource.
        resource: Resource,
        /// The problem.
        problem: RegistryProblem,
    },
    /// The credentials for a registry are wrong or missing.
    #[error("{host}: {problem}")]
    Credentials {
        /// The registry, as `HOST[:PORT]`.
        host: String,
        /// The problem.
        problem: CredentialProblem,
    },
    /// A file of certificates or keys for TLS cannot be used.
    #[error("{} {problem}", ShownPath(path))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The problem, without any content of the file.
        problem: CertificateProblem,
        /// The system's error, if there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The cache cannot be used.
    #[error("cache: {what} {problem}")]
    Cache {
        /// The file, or the reference, escaped.
        what: String,
        /// The problem.
        problem: CacheProblem,
        /// The system's error, if there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// An option is not supported by the direct engine.
    #[error("{0} is not supported by the direct engine")]
    BeyondDirect(String),
    /// Neither engine can write the tree.
    #[error("neither engine can write this image: e2fsprogs: {e2fsprogs}; direct: {direct}")]
    NoEngine {
        /// The error of the e2fsprogs engine.
        e2fsprogs: Box<Error>,
        /// The error of the direct engine.
        direct: Box<Error>,
    },
    /// The direct engine refused a tree that was planned for it.
    #[error("the direct engine refused its plan: {0}; this is a bug of planish, please report it")]
    Engine(String),
    /// A tool of e2fsprogs is missing, refuses or fails.
    #[error("{tool} {problem}")]
    Tool {
        /// The program's name.
        tool: &'static str,
        /// The problem.
        problem: ToolProblem,
        /// The system's error, if there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The output path cannot be used.
    #[error("{file} {}: {problem}", ShownPath(path))]
    Output {
        /// The result that was to be there.
        file: OutputFile,
        /// The path.
        path: PathBuf,
        /// The problem.
        problem: OutputProblem,
        /// The system's error, if there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// Something cannot be injected into the tree of an image.
    #[error("injection {injected} {problem}")]
    Injection {
        /// Its source or destination, escaped.
        injected: String,
        /// The problem.
        problem: InjectionProblem,
    },
    /// A system call failed.
    #[error("{action} {}", ShownPath(path))]
    Io {
        /// The action, as a verb: `write`.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A private directory, or that of a result, ran out of space.
    #[error("no space left in {} after {written} bytes, this image needs more", ShownPath(path))]
    NoSpace {
        /// The result, if the directory is that of one.
        file: Option<OutputFile>,
        /// The directory whose filesystem is full.
        path: PathBuf,
        /// The bytes written to it before.
        written: u64,
    },
    /// The system refuses to allocate memory.
    #[error("out of memory")]
    NoMemory,
    /// The finished filesystem differs from the image.
    #[error("the filesystem differs from the tree in {count} places: {first}")]
    Proof {
        /// The number of differences.
        count: usize,
        /// The first difference, escaped.
        first: String,
    },
    /// The converted file does not give the bytes of the filesystem.
    #[error("the converted file differs from the filesystem: {found}")]
    Packed {
        /// The first difference, escaped.
        found: String,
    },
    /// A file is not an ext4 filesystem that can be read.
    #[error("{} is no ext4 filesystem that can be read: {found}", ShownPath(path))]
    NotAFilesystem {
        /// The file.
        path: PathBuf,
        /// The actual kind of the file.
        found: NotExt4,
    },
    /// A finished filesystem is pushed to something that is no repository, or pulled from there.
    #[error("a finished filesystem is pushed to a registry and pulled from there, and this is no reference of one")]
    NotInRegistry,
    /// A finished filesystem is pushed to a digest.
    #[error("a finished filesystem is pushed to a tag: a digest names what is there already")]
    PushToDigest,
    /// Blobs are to be taken from something that is no repository of the registry.
    #[error("{} is no repository of {registry}, to which the filesystem is pushed", crate::path::Escaped(.name.as_bytes()))]
    MountFrom {
        /// The repository, as given.
        name: String,
        /// The registry.
        registry: String,
    },
    /// A finished filesystem of a registry is asked for, and no request may be sent.
    #[error("a finished filesystem is pushed to a registry and pulled from there, and no request may be sent")]
    NoRequests,
    /// A repository of finished filesystems cannot be used.
    #[error("{repository}: {problem}")]
    SharedCache {
        /// The repository.
        repository: String,
        /// The reason.
        problem: String,
    },
    /// An image is to have a referrer, and has no manifest.
    #[error("{} has no manifest that a filesystem can refer to", crate::path::Escaped(.0.as_bytes()))]
    NoManifest(String),
    /// A file has no key for signatures.
    #[error("{} {problem}", ShownPath(path))]
    Key {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: KeyProblem,
    },
    /// A report is not that of the filesystem.
    #[error("report {} is not that of the filesystem", ShownPath(path))]
    OtherReport {
        /// The report.
        path: PathBuf,
    },
    /// A file has no tree of dm-verity that planish can check.
    #[error("{} has no dm-verity tree that can be checked: {found}", ShownPath(path))]
    NotVerity {
        /// The file.
        path: PathBuf,
        /// The reason.
        found: String,
    },
    /// e2fsck finds something to repair in the finished filesystem.
    #[error("e2fsck finds errors in the filesystem: {found}")]
    Unsound {
        /// The output of e2fsck, escaped.
        found: String,
    },
    /// `--strict` was given, and the image cannot be converted without a loss.
    #[error("{count} {}, and --strict allows none: {first}", if *count == 1 { "loss" } else { "losses" })]
    Strict {
        /// The number of losses.
        count: u64,
        /// The first loss, escaped.
        first: String,
    },
    /// A signal cancelled the run.
    #[error("stopped by {0}")]
    Cancelled(Signal),
    /// The run exceeded its time limit.
    #[error("the run is not done after {seconds} {}, which --deadline allows", if *seconds == 1 { "second" } else { "seconds" })]
    Deadline {
        /// The limit in seconds.
        seconds: u64,
    },
    /// An invariant of planish does not hold.
    #[error("{0}; this is a bug of planish, please report it")]
    Bug(&'static str),
}

/// An amount that exceeded a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// The exact amount.
    Exactly(u64),
    /// More than this: reading stopped when the limit was exceeded.
    MoreThan(u64),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(n) => write!(f, "{n}"),
            Self::MoreThan(n) => write!(f, "more than {n}"),
        }
    }
}

/// The group of an error: whose fault it is. Each has its documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The verification found a difference: 8.
    Proof,
    /// planish itself: 70.
    Bug,
    /// A signal: 128 and its number.
    Signal(Signal),
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        ErrorKind::Source(error).into()
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
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
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Returns true if an error of the cache must end a run that could go on without the cache.
    pub(crate) fn ends_the_run(&self) -> bool {
        matches!(self.fault(), Fault::Signal(_) | Fault::Bug)
            || matches!(self.kind(), ErrorKind::Deadline { .. } | ErrorKind::NoMemory)
    }

    /// Returns whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.kind() {
            ErrorKind::Image { .. } | ErrorKind::Strict { .. } => Fault::Image,
            ErrorKind::Limit { .. }
            | ErrorKind::Size { .. }
            | ErrorKind::Capacity { .. }
            | ErrorKind::InodeCapacity { .. }
            | ErrorKind::Deadline { .. } => Fault::Limit,
            // Raising a limit may help, whatever the other error is.
            ErrorKind::NoEngine { e2fsprogs, direct } => match (e2fsprogs.fault(), direct.fault()) {
                (Fault::Limit, _) | (_, Fault::Limit) => Fault::Limit,
                (fault, _) => fault,
            },
            ErrorKind::BeyondDirect(_)
            | ErrorKind::NotInRegistry
            | ErrorKind::PushToDigest
            | ErrorKind::MountFrom { .. }
            | ErrorKind::NoRequests
            | ErrorKind::NoManifest(_)
            | ErrorKind::OtherReport { .. }
            | ErrorKind::Source(_) => Fault::Usage,
            ErrorKind::Injection { problem, .. } => problem.fault(),
            ErrorKind::Output { problem, .. } => problem.fault(),
            ErrorKind::Registry { problem, .. } => problem.fault(),
            ErrorKind::SharedCache { .. } => Fault::Registry,
            ErrorKind::Credentials { .. } => Fault::Credentials,
            ErrorKind::Cache { problem, .. } => problem.fault(),
            ErrorKind::Tool { .. }
            | ErrorKind::Io { .. }
            | ErrorKind::NoSpace { .. }
            | ErrorKind::NoMemory
            | ErrorKind::NotAFilesystem { .. }
            | ErrorKind::NotVerity { .. }
            | ErrorKind::Key { .. }
            | ErrorKind::Certificate { .. } => Fault::Machine,
            ErrorKind::Proof { .. } | ErrorKind::Packed { .. } | ErrorKind::Unsound { .. } => Fault::Proof,
            ErrorKind::Cancelled(signal) => Fault::Signal(*signal),
            ErrorKind::Bug(_) | ErrorKind::Engine(_) => Fault::Bug,
        }
    }

    /// Returns an error about a part of an image.
    #[must_use]
    pub(crate) fn image(place: Place, problem: ImageProblem) -> Self {
        ErrorKind::Image { place, problem }.into()
    }

    /// Returns an error about a tool.
    #[must_use]
    pub(crate) fn tool(tool: &'static str, problem: ToolProblem) -> Self {
        ErrorKind::Tool { tool, problem, source: None }.into()
    }

    /// Returns an error about a file of the cache.
    #[must_use]
    pub(crate) fn cache(path: &Path, problem: CacheProblem) -> Self {
        ErrorKind::Cache { what: ShownPath(path).to_string(), problem, source: None }.into()
    }

    /// Returns a closure for `map_err` on calls of the operating system that concern the cache.
    pub(crate) fn cache_io<E: Into<std::io::Error>>(path: &Path, problem: CacheProblem) -> impl FnOnce(E) -> Self {
        move |source| {
            let what = ShownPath(path).to_string();
            ErrorKind::Cache { what, problem, source: Some(source.into()) }.into()
        }
    }

    /// Returns an error about a file of certificates or keys.
    #[must_use]
    pub(crate) fn certificate(path: &Path, problem: CertificateProblem) -> Self {
        ErrorKind::Certificate { path: path.to_owned(), problem, source: None }.into()
    }

    /// Returns an error about an output path.
    #[must_use]
    pub(crate) fn output(path: &Path, problem: OutputProblem) -> Self {
        let file = OutputFile::Filesystem;
        ErrorKind::Output { file, path: path.to_owned(), problem, source: None }.into()
    }

    /// Returns the error as one about this result, where it is about the place for one.
    pub(crate) fn of_output(mut self, role: OutputFile) -> Self {
        match &mut *self.0 {
            ErrorKind::Output { file, .. } => *file = role,
            ErrorKind::NoSpace { file, .. } => *file = Some(role),
            _ => {}
        }
        self
    }

    /// Returns the error as one about the report, where it is about the place for a result.
    pub(crate) fn of_report(self) -> Self {
        self.of_output(OutputFile::Report)
    }

    /// Returns the error of a failed write below `directory`, after `written` bytes; a full disk has its own kind.
    #[must_use]
    pub(crate) fn write(directory: &Path, written: u64, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::NoSpace { file: None, path: directory.to_owned(), written }.into()
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
