//! Problems of injections: what a caller puts into the tree of an image.

use std::fmt;

use super::Fault;
use crate::path::PathFault;

/// The reason why something cannot be injected: the predicate of a sentence whose subject is the injection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum InjectionProblem {
    #[error("has a destination that no image can hold: it {fault}", fault = Shown(.0))]
    Destination(PathFault),
    #[error("has a name that begins with .wh., which deletes in a layer")]
    WhiteoutName,
    #[error("has the root of the image as its destination")]
    Root,
    #[error("has no file name of its own to keep")]
    NoName,
    #[error("has an owner that no file can have: the largest ID is 4294967294")]
    Owner,
    #[error("is {0}, not a file or a directory")]
    Kind(&'static str),
    #[error("is a directory, and only a file can be put there")]
    Directory,
    #[error("is no file that holds a tar archive")]
    NoTar,
    #[error("is no host name: letters, digits and inner hyphens between dots, 64 at most")]
    Hostname,
    #[error("has the directory for temporary files in it: {0}")]
    HoldsWorkDir(String),
    #[error("changed while it was read")]
    Changed,
}

impl InjectionProblem {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Changed => Fault::Machine,
            _ => Fault::Usage,
        }
    }
}

struct Shown<'a>(&'a PathFault);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            PathFault::Nul => f.write_str("contains a NUL byte"),
            PathFault::Climbs => f.write_str("climbs above the root"),
            PathFault::LongName(len) => write!(f, "has a name of {len} bytes, more than 255"),
            PathFault::LongPath(len) => write!(f, "has {len} bytes, more than 4095"),
        }
    }
}
