//! The reasons why a stack is invalid.

/// The problem of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Problem {
    /// A name contains a NUL.
    #[error("the name has a NUL")]
    Nul,
    /// A relative name climbs above the root.
    #[error("the name climbs above the root")]
    Climbs,
    /// A name is over 255 bytes.
    #[error("a name is over 255 bytes")]
    LongName,
    /// A path is over 4,095 bytes.
    #[error("the path is over 4095 bytes")]
    LongPath,
    /// The name is `.wh.`, `.wh..` or `.wh...`.
    #[error("the whiteout names no file")]
    InvalidWhiteout,
    /// The root would become something other than a directory.
    #[error("the root is not a directory")]
    RootNotDirectory,
    /// There are more than 40 symlinks in the path of the parent.
    #[error("the parents are a loop of symlinks")]
    SymlinkLoop,
    /// A symlink in the path of the parent leads to something that is not a directory.
    #[error("a symlink leads to a parent that is not a directory")]
    ParentNotDirectory,
    /// The target of a hard link is missing.
    #[error("the hard link's target does not exist")]
    LinkTargetMissing,
    /// The target of a hard link is a directory.
    #[error("the hard link's target is a directory")]
    LinkTargetDirectory,
    /// A hard link is its own target.
    #[error("the hard link is its own target")]
    LinkToItself,
    /// A symlink has no target, or one over 4,095 bytes.
    #[error("the symlink's target is empty or too long")]
    SymlinkTarget,
    /// uid or gid is not in the range 0 to 2^32-2.
    #[error("the uid or gid is out of range")]
    OwnerRange,
    /// A device number has more than ext4's 12 bits of major and 20 of minor number.
    #[error("the device number is out of range")]
    DeviceRange,
    /// A PAX record's value is damaged.
    #[error("a record is damaged")]
    Record,
    /// A text is not an ACL, or is one that Linux refuses.
    #[error("the ACL is invalid")]
    Acl,
    /// The typeflag is unknown.
    #[error("the type is unknown")]
    UnknownType,
}

/// The first invalid entry of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}, entry {entry}: {problem}")]
pub struct Fault {
    /// The number of its layer, from 1.
    pub layer: usize,
    /// The number of the entry in the layer, from 1.
    pub entry: usize,
    /// The problem.
    pub problem: Problem,
}
