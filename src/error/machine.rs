//! What can be wrong with this machine: its tools and its paths.

use super::Fault;

/// What a tool of e2fsprogs did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum ToolProblem {
    #[error("is not installed: not in PATH, /usr/sbin or /sbin")]
    Missing,
    #[error("has version {found}, planish needs {needed} or later")]
    TooOld { found: String, needed: &'static str },
    #[error("does not say its version")]
    NoVersion,
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
    #[error("numbered the inodes unlike planish expects: {0}")]
    Numbering(String),
    #[error("wrote a filesystem that cannot be read back: {0}")]
    Unreadable(String),
}

/// Why a path cannot take the result.
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
    #[error("lies inside the image that is read")]
    InsideSource,
    #[error("its directory cannot be used")]
    Parent,
}

impl OutputProblem {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Parent => Fault::Machine,
            _ => Fault::Usage,
        }
    }
}
