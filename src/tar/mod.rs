//! Reads tar streams: the layers of an image, and the archives that hold whole images.
//!
//! One strict reader for both. PAX wins over the header, the last of several records wins, global headers are skipped,
//! sparse files are described by their maps; what is cut short, damaged or unknown is an error. Where POSIX leaves a choice,
//! what Go's `archive/tar` accepts is accepted, since that is what images were made and tested with. It knows nothing about
//! whiteouts, layers or ext4; names and values come as the stream spells them, and content is only located, never touched.

mod content;
mod entry;
mod fault;
mod number;
mod pax;
mod reader;
mod sparse;

pub use entry::{Content, Entry, Kind, Xattr};
pub use fault::{TarFault, TarProblem};
pub use reader::Reader;
pub use sparse::Extent;

/// The unit of a tar stream: headers have this size, content is padded to it.
const BLOCK: u64 = 512;
/// The bytes of one unit.
type Block = [u8; 512];

#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;
