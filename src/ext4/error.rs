//! Errors of reading a filesystem.

use std::fmt;

use super::InodeNumber;

/// A problem of a filesystem or its image; the text continues "the filesystem …", or names its inode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum ReadError {
    #[error("cannot be read: {length} bytes at byte {offset}")]
    Io {
        offset: u64,
        length: usize,
        #[source]
        source: std::io::Error,
    },
    #[error("has no ext4 superblock: its magic is {0:#06x}, not 0xef53")]
    Magic(u16),
    #[error("has a damaged superblock: {field} is {value}")]
    Superblock { field: &'static str, value: u64 },
    #[error("uses features that planish does not read: {0}")]
    UnknownFeatures(UnknownFeatures),
    #[error("was not unmounted cleanly: its journal must be replayed first")]
    NeedsRecovery,
    #[error("is the journal of another filesystem")]
    JournalDevice,
    #[error("has {blocks} blocks, block {block} is not one of them")]
    NoSuchBlock { block: u64, blocks: u64 },
    #[error("has {inodes} inodes, inode {inode} is not one of them")]
    NoSuchInode { inode: InodeNumber, inodes: u32 },
    #[error("has its inode table of group {group} at block {block}, outside the filesystem")]
    InodeTable { group: u64, block: u64 },
    #[error("has a damaged inode {inode}, which {problem}")]
    Inode { inode: InodeNumber, problem: InodeProblem },
}

/// A problem of one inode, or of the blocks that belong to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each text says what the variant means")]
pub enum InodeProblem {
    #[error("has no file type: its mode is {0:#o}")]
    Mode(u16),
    #[error("claims {0} bytes of extra fields")]
    ExtraSize(u16),
    #[error("claims {0} bytes of content")]
    Size(u64),
    #[error("has a time with {0} nanoseconds")]
    Nanoseconds(u32),
    #[error("refers to block {0}, outside the filesystem")]
    Block(u64),
    #[error("uses block {0} twice")]
    BlockTwice(u64),
    #[error("has a damaged extent tree: {0}")]
    ExtentTree(&'static str),
    #[error("claims {size} bytes of inline data and holds {held}")]
    InlineData { size: u64, held: usize },
    #[error("is not a directory")]
    NotDirectory,
    #[error("has a directory of {0} bytes, not a multiple of the block size")]
    DirectorySize(u64),
    #[error("has a directory without its block {0}")]
    DirectoryHole(u64),
    #[error("has a damaged directory record at byte {offset}: {detail}")]
    Record { offset: u64, detail: &'static str },
    #[error("is not a symlink")]
    NotSymlink,
    #[error("has a symlink target of {0} bytes")]
    TargetLength(u64),
    #[error("has a symlink target with a NUL byte")]
    TargetNul,
    #[error("has damaged xattrs: {0}")]
    Xattr(&'static str),
    #[error("has an xattr with the unknown name index {0}")]
    XattrIndex(u8),
    #[error("keeps an xattr's value in inode {0}, which holds no such value")]
    XattrInode(InodeNumber),
}

impl InodeProblem {
    pub(super) fn of(self, inode: InodeNumber) -> ReadError {
        ReadError::Inode { inode, problem: self }
    }
}

/// Bits of the incompatible feature set that this reader does not know, displayed by name if they have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFeatures(pub u32);

impl fmt::Display for UnknownFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        for (bit, name) in UNREADABLE {
            if rest & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = ", ";
                rest &= !bit;
            }
        }
        if rest != 0 {
            write!(f, "{separator}incompat bits {rest:#x}")?;
        }
        Ok(())
    }
}

/// The names that e2fsprogs gives to features that this reader does not support.
const UNREADABLE: [(u32, &str); 3] = [(0x1, "compression"), (0x1000, "dirdata"), (0x1_0000, "encrypt")];
