//! The sizes that all our filesystems have.

/// The size of a block in bytes.
pub const BLOCK_SIZE: u64 = 4096;

/// The size of an inode in bytes.
pub const INODE_SIZE: u64 = 256;
