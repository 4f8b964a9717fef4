//! What can be wrong with a tar stream, and where in it.

use std::io;
use std::path::Path;

use crate::error::{EntryPlace, Error, ErrorKind, Found, ImageProblem, LayerPlace, Place};
use crate::limits::Limit;

/// Why a stream cannot be read on.
#[derive(Debug)]
pub struct TarFault {
    /// The member at fault; `None` when it is the stream as a whole.
    pub entry: Option<EntryPlace>,
    /// What is wrong with it.
    pub problem: TarProblem,
}

/// What is wrong with a member or a stream.
#[derive(Debug)]
pub enum TarProblem {
    /// The bytes are not a tar stream.
    Image(ImageProblem),
    /// The extension headers of one entry are larger than the limit.
    Extension {
        /// The limit in force.
        allowed: u64,
        /// How many bytes they claim.
        found: u64,
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

    /// Returns the error of a stream that is an archive, which `name` calls as the user did.
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
                ErrorKind::Limit { place, limit: Limit::ExtensionBytes, allowed, found: Found::Exactly(found) }.into()
            }
            Self::Io(error) => Error::io("read", path)(error),
        }
    }
}
