//! Problems of this machine: its tools and its paths.

use std::fmt;

use super::Fault;

/// A failure of a tool of e2fsprogs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum ToolProblem {
    #[error("is not installed: not in PATH, /usr/sbin or /sbin")]
    Missing,
    #[error("has version {found}, planish needs {needed} or later: {path}")]
    TooOld { path: String, found: String, needed: &'static str },
    #[error("is not of e2fsprogs: {path} prints {said} as its version")]
    Stranger { path: String, said: String },
    #[error("of version {version} fails on files above {max} bytes, and /{path} has {bytes}")]
    LargeFile { version: String, max: u64, path: String, bytes: u64 },
    #[error("is another program: {path} prints {said} as its version")]
    NoVersion { path: String, said: String },
    #[error("cannot be started")]
    Start,
    #[error("failed with exit code {code}: {stderr}")]
    Failed { code: i32, stderr: String },
    #[error("was killed by signal {0}")]
    Killed(i32),
    #[error("did not end within {0} seconds")]
    TimedOut(u64),
    #[error("wrote more than {0} bytes to stdout")]
    TooMuch(usize),
    #[error("refused a request: {0}")]
    Refused(String),
    #[error("ran out of space in {path}: the filesystem needs {needed} bytes")]
    NoSpace { path: String, needed: u64 },
    #[error("numbered the inodes in another way than planned: {0}")]
    Numbering(String),
    #[error("wrote a filesystem that cannot be read back: {0}")]
    Unreadable(String),
}

/// A result that has a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFile {
    /// The filesystem.
    Filesystem,
    /// The report.
    Report,
    /// The tree of dm-verity.
    Verity,
    /// A runtime configuration.
    Config,
}

impl fmt::Display for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filesystem => "output",
            Self::Report => "report",
            Self::Verity => "verity",
            Self::Config => "configuration",
        })
    }
}

/// The reason why an output path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum OutputProblem {
    #[error("exists already")]
    Exists,
    #[error("is a directory")]
    Directory,
    #[error("is a symlink, and planish does not write through one")]
    Symlink,
    #[error("is not a regular file")]
    Special,
    #[error("has no file name")]
    NoName,
    #[error("its name has {0} bytes, more than its filesystem allows")]
    LongName(usize),
    #[error("is inside the image that is read")]
    InsideSource,
    #[error("is a file of credentials or certificates that this run reads")]
    Read,
    #[error("exists already, and is no report of planish")]
    NotReport,
    #[error("the filesystem and its report would have the same path")]
    Report,
    #[error("another result of this run would have the same path")]
    SamePath,
    #[error("its directory cannot be used")]
    Parent,
    #[error("its filesystem cannot give a file a name without replacing another file")]
    NoFreeName,
    #[error("another file took its place, or its directory's, before planish was done")]
    Replaced,
}

impl OutputProblem {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Parent | Self::NoFreeName | Self::Replaced => Fault::Machine,
            _ => Fault::Usage,
        }
    }
}

/// The actual kind of a file that is not an ext4 filesystem: the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum NotExt4 {
    #[error("it is empty")]
    Empty,
    #[error("its beginning is zeros")]
    Zeros,
    #[error("it is a directory")]
    Directory,
    #[error("it is {0}, not a file or a block device")]
    Special(&'static str),
    #[error("it is compressed with {0}")]
    Compressed(&'static str),
    #[error("it is a disk image of the format {0}")]
    Disk(&'static str),
    #[error("it is a disk with partitions")]
    Partitions,
    #[error("it is {0}")]
    Filesystem(&'static str),
    #[error("it is {0}")]
    Other(&'static str),
    #[error("it ends after {0} bytes, before the end of a superblock")]
    Short(u64),
    #[error("it ends after {bytes} bytes, and its superblock says {promised}")]
    CutOff { bytes: u64, promised: u64 },
    #[error("the filesystem {0}")]
    Unreadable(String),
}

/// A signal that ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: the terminal was closed.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: termination was requested.
    Terminate,
}

impl Signal {
    /// Returns the signal's number on Linux.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl Signal {
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Hangup, Self::Interrupt, Self::Terminate].into_iter().find(|signal| signal.number() == number)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}
