//! The one writer of images in this project, including deliberately malformed ones.
//!
//! [`Entry`] is one tar entry, [`Layer`] a list of them with a compression, [`Image`] a list of layers with a config.
//! [`Layout`] and [`DockerArchive`] put images on disk. Every type also supports the errors of hostile or careless
//! writers: false sizes and digests, bad checksums, unknown types, truncated streams. The crate has its own tar
//! encoder, because ordinary ones refuse many of these.
//!
//! The same input gives the same bytes, on every machine.
//!
//! ```
//! use planish_proptests::writer::{Compression, Entry, Image, Layer};
//!
//! let below = Layer::new([Entry::dir("etc"), Entry::file("etc/passwd", "root:x:0:0").mode(0o640).owner(5, 6)]);
//! let above = Layer::new([Entry::whiteout("etc/.wh.passwd")]).compression(Compression::Zstd);
//! let image = Image::new([below, above]);
//! let directory = tempfile::tempdir()?;
//! image.write_layout(directory.path(), "latest")?;
//! # std::io::Result::Ok(())
//! ```

mod archive;
mod entry;
mod header;
mod image;
mod layer;
mod layout;
mod sparse;
mod tar;

pub use archive::{DockerArchive, Flavour};
pub use entry::{Content, Entry, EntryType, Format};
pub use image::{Image, MediaTypes, Platform};
pub use layer::{Compression, Layer, TarEnd};
pub use layout::Layout;
pub use sparse::{Sparse, SparseFormat};
