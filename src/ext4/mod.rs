//! Reads ext4 filesystems from image files.
//!
//! The reader accepts filesystems of any writer and knows nothing about trees, plans or engines. An image may be
//! damaged or hostile: every value is checked before use, and memory and work are bounded by the size of the image.
//! Checksums are not verified: e2fsck does that.
//!
//! ```no_run
//! use planish::ext4::{Filesystem, InodeNumber};
//!
//! let filesystem = Filesystem::open(std::fs::File::open("rootfs.ext4")?)?;
//! let root = filesystem.inode(InodeNumber::ROOT)?;
//! for entry in filesystem.entries(&root)? {
//!     println!("{} {}", entry.inode, planish::Escaped(&entry.name));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod acl;
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
mod number;
mod read_at;
mod run;
mod superblock;
mod symlink;
mod xattr;

pub use content::{Chunk, Chunks, Content};
pub use directory::{DirEntry, RecordPlace};
pub use error::UnknownFeatures;
pub use error::{InodeProblem, ReadError};
pub use feature::Features;
pub use inode::{DeviceNumber, Inode};
pub use kind::FileKind;
pub use number::InodeNumber;
pub use read_at::{BlockSource, Window};
pub use run::Run;
pub use superblock::Superblock;
pub use xattr::Xattr;

use cache::Cache;
use read_at::Medium;
use superblock::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE};

/// An ext2, ext3 or ext4 filesystem in an image, opened for reading.
///
/// All methods take `&self`; if `R` is `Sync`, threads may share one filesystem.
pub struct Filesystem<R> {
    reader: Medium<R>,
    superblock: Superblock,
    /// Windows of the group descriptor table.
    descriptors: Cache,
    /// Windows of inode tables.
    tables: Cache,
}

impl<R: BlockSource> Filesystem<R> {
    /// Opens the filesystem that begins at the first byte of `reader`.
    ///
    /// # Errors
    ///
    /// The superblock is missing or damaged; a feature is not supported; the journal must be replayed first.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        let reader = Medium::new(reader);
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

    /// Returns the first error of the medium, if there was one: the data that could not be read may be intact.
    #[must_use]
    pub fn failure(&self) -> Option<std::io::Error> {
        self.reader.failure()
    }

    /// Returns the bytes of one block.
    ///
    /// # Errors
    ///
    /// The block is outside the filesystem; the image ends before it.
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

fn read<R: BlockSource>(reader: &R, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    let length = buf.len();
    reader.read_exact_at(buf, offset).map_err(|source| ReadError::Io { offset, length, source })
}

/// Returns `number` as a size in memory, but no more than `most`.
fn at_most(number: u64, most: usize) -> usize {
    usize::try_from(number).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests;
