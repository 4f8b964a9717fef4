//! Why a stack has no meaning.

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Problem {
    /// A name holds a NUL.
    #[error("the name holds a NUL")]
    Nul,
    /// A relative name climbs.
    #[error("the name climbs above the root")]
    Climbs,
    /// A name is over 255 bytes.
    #[error("a name is over 255 bytes")]
    LongName,
    /// A path is over 4,095 bytes.
    #[error("the path is over 4095 bytes")]
    LongPath,
    /// `.wh.`, `.wh..` or `.wh...`.
    #[error("the whiteout names no file")]
    InvalidWhiteout,
    /// The root is to be something else than a directory.
    #[error("the root is not a directory")]
    RootNotDirectory,
    /// More than 40 symlinks on the way to the parent.
    #[error("the parents are a loop of symlinks")]
    SymlinkLoop,
    /// A symlink on the way to the parent leads to something else.
    #[error("a symlink leads to a parent that is not a directory")]
    ParentNotDirectory,
    /// A hard link leads nowhere.
    #[error("the hard link's target does not exist")]
    LinkTargetMissing,
    /// A hard link leads to a directory.
    #[error("the hard link's target is a directory")]
    LinkTargetDirectory,
    /// A hard link is its own target.
    #[error("the hard link is its own target")]
    LinkToItself,
    /// A symlink has no target, or one over 4,095 bytes.
    #[error("the symlink's target is empty or too long")]
    SymlinkTarget,
    /// uid and gid go from 0 to 2^32-2.
    #[error("the uid or gid is out of range")]
    OwnerRange,
    /// ext4 holds 12 bits of major number and 20 of minor.
    #[error("the device number is out of range")]
    DeviceRange,
    /// Nobody knows the typeflag.
    #[error("the type is unknown")]
    UnknownType,
}

/// The first entry that has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}, entry {entry}: {problem}")]
pub struct Fault {
    /// The number of its layer, from 1.
    pub layer: usize,
    /// Its number in the layer, from 1.
    pub entry: usize,
    /// What is wrong.
    pub problem: Problem,
}
