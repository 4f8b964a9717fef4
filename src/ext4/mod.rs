//! Reads ext4 filesystems out of their images.
//!
//! Ground floor of the proof: it reads what any writer left and knows nothing about trees, plans or how images are
//! made. An image may be damaged or hostile: every claim is checked before it is followed, and neither memory nor
//! work grows by more than what the image really holds. Checksums are e2fsck's business.
//!
//! ```no_run
//! use planish::ext4::{Filesystem, InodeNumber};
//!
//! let filesystem = Filesystem::open(std::fs::File::open("rootfs.ext4")?)?;
//! let root = filesystem.inode(InodeNumber::ROOT)?;
//! for entry in filesystem.entries(&root)? {
//!     println!("{} {}", entry.inode, planish::path::Escaped(&entry.name));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod acl;
mod cache;
mod content;
mod directory;
mod error;
mod extent;
mod feature;
mod field;
mod group;
mod indirect;
mod inline;
mod inode;
mod kind;
mod read_at;
mod run;
mod superblock;
mod symlink;
mod xattr;

pub use content::{Chunk, Chunks, Content};
pub use directory::{DirEntry, RecordPlace};
pub use error::{InodeProblem, ReadError};
pub use feature::{Features, UnknownFeatures};
pub use inode::{DeviceNumber, Inode, InodeNumber};
pub use kind::FileKind;
pub use read_at::ReadAt;
pub use run::Run;
pub use superblock::Superblock;
pub use xattr::Xattr;

use cache::Cache;
use superblock::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE};

/// An ext2, ext3 or ext4 filesystem in an image, opened for reading.
///
/// All methods take `&self`; where `R` allows it, threads may share one.
pub struct Filesystem<R> {
    reader: R,
    superblock: Superblock,
    /// Windows of the group descriptor table.
    descriptors: Cache,
    /// Windows of inode tables.
    tables: Cache,
}

impl<R: ReadAt> Filesystem<R> {
    /// Opens the filesystem that begins at the first byte of `reader`.
    ///
    /// # Errors
    ///
    /// No or a damaged superblock; features that are not read here; a journal that must be replayed first.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        let mut bytes = [0; SUPERBLOCK_SIZE];
        read(&reader, &mut bytes, SUPERBLOCK_OFFSET)?;
        let superblock = Superblock::parse(&bytes)?;
        Ok(Self { reader, superblock, descriptors: Cache::new(4), tables: Cache::new(128) })
    }

    /// Returns the superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Reads one block as it is.
    ///
    /// # Errors
    ///
    /// A block outside the filesystem; an image that ends before it.
    pub fn block(&self, number: u64) -> Result<Box<[u8]>, ReadError> {
        let Superblock { block_size, block_count, .. } = self.superblock;
        if number >= block_count {
            return Err(ReadError::NoSuchBlock { block: number, blocks: block_count });
        }
        let mut bytes = vec![0; block_size as usize].into_boxed_slice();
        read(&self.reader, &mut bytes, number * u64::from(block_size))?;
        Ok(bytes)
    }

    /// Reads a block that an inode refers to.
    fn block_of(&self, inode: &Inode, number: u64) -> Result<Box<[u8]>, ReadError> {
        if !self.superblock.holds(number, 1) {
            return Err(inode.problem(InodeProblem::Block(number)));
        }
        self.block(number)
    }

    fn read_cached(&self, cache: &Cache, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let length = buf.len();
        cache.read(&self.reader, offset, buf).map_err(|source| ReadError::Io { offset, length, source })
    }
}

fn read<R: ReadAt>(reader: &R, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    let length = buf.len();
    reader.read_exact_at(buf, offset).map_err(|source| ReadError::Io { offset, length, source })
}

/// Returns `number` as a size in memory, but no more than `most`.
fn at_most(number: u64, most: usize) -> usize {
    usize::try_from(number).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests;
