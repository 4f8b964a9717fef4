//! The faults of a tar stream, with their positions.

use std::io;
use std::path::Path;

use crate::error::{Amount, EntryPlace, Error, ErrorKind, ImageProblem, LayerPlace, Place};
use crate::limits::Limit;

/// The reason why a stream cannot be read further.
#[derive(Debug)]
pub struct TarFault {
    /// The faulty member; `None` if the fault is of the stream as a whole.
    pub entry: Option<EntryPlace>,
    /// The problem.
    pub problem: TarProblem,
}

/// The problem of a member or a stream.
#[derive(Debug)]
pub enum TarProblem {
    /// The bytes are not a tar stream.
    Image(ImageProblem),
    /// The extension headers of one entry are larger than the limit.
    Extension {
        /// The limit in force.
        allowed: u64,
        /// The number of bytes that they claim.
        found: u64,
    },
    /// The maps of sparse files have more extents than the limit.
    SparseExtents {
        /// The limit in force.
        allowed: u64,
    },
    /// The source of the bytes failed.
    Io(io::Error),
}

impl From<ImageProblem> for TarProblem {
    fn from(problem: ImageProblem) -> Self {
        Self::Image(problem)
    }
}

impl From<io::Error> for TarProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl TarFault {
    /// Returns the error of a stream that is a layer, read from the file `spool`.
    #[must_use]
    pub fn in_layer(self, layer: &LayerPlace, spool: &Path) -> Error {
        let place = match self.entry {
            Some(entry) => Place::Entry(layer.clone(), entry),
            None => Place::Layer(layer.clone()),
        };
        self.problem.at(place, spool)
    }

    /// Returns the error of a stream that is an archive, under the name that the user gave.
    #[must_use]
    pub fn in_archive(self, name: &str, path: &Path) -> Error {
        let name = match self.entry {
            Some(entry) => format!("{name}: entry {}", entry.number),
            None => name.to_owned(),
        };
        self.problem.at(Place::File(name), path)
    }
}

impl TarProblem {
    fn at(self, place: Place, path: &Path) -> Error {
        match self {
            Self::Image(problem) => Error::image(place, problem),
            Self::Extension { allowed, found } => {
                ErrorKind::Limit { place, limit: Limit::ExtensionBytes, allowed, found: Amount::Exactly(found) }.into()
            }
            Self::SparseExtents { allowed } => {
                ErrorKind::Limit { place, limit: Limit::SparseExtents, allowed, found: Amount::MoreThan(allowed) }
                    .into()
            }
            Self::Io(error) => Error::io("read", path)(error),
        }
    }
}
