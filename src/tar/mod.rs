//! Reads and writes tar streams: the layers of an image, and the archives that hold whole images.
//!
//! The reader is strict. PAX takes precedence over the header, the last of several records over the others; global
//! headers are skipped; maps describe sparse files; truncated, damaged or unknown input is an error. Where POSIX leaves
//! a choice, the reader accepts what Go's `archive/tar` accepts, because images were made and tested with it. It knows
//! neither whiteouts nor layers nor ext4; names and values are returned as the stream spells them, and content is
//! located, not read.

mod bare;
mod content;
mod entry;
mod fault;
mod number;
mod pax;
mod reader;
mod record;
mod sparse;
pub(crate) mod write;

pub use bare::{BareFault, without_contents};
pub use entry::{AclTexts, Content, Kind, TarEntry, Xattr};
pub use reader::Reader;
pub use sparse::Extent;

/// The unit of a tar stream: headers have this size, content is padded to it.
pub(crate) const BLOCK: u64 = 512;
/// The bytes of one unit.
type Block = [u8; 512];

#[cfg(test)]
pub(crate) mod build;
#[cfg(test)]
mod tests;
