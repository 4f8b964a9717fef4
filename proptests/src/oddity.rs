//! Features of a stack on which the specification is silent.

use std::collections::BTreeSet;

use crate::level::Level;

/// A feature on which the specification is silent.
///
/// The reference model records them while it flattens, and a [`Level`] defines which of them a stack may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Oddity {
    /// A layer has two entries of one name, or replaces what it added itself.
    Duplicate,
    /// A name is spelled with a leading `/`, `//`, `.` or `..`.
    Spelling,
    /// A name is not UTF-8.
    RawName,
    /// A parent is a symlink.
    SymlinkedParent,
    /// A symlinked parent, or a hard link's target, climbs above the root.
    Climbing,
    /// The target of a symlinked parent is missing.
    DanglingParent,
    /// A parent is neither a directory nor a symlink.
    FileParent,
    /// A marker is not an empty regular file.
    OddMarker,
    /// A marker's directory does not exist.
    MarkerInVoid,
    /// A parent has a name like a marker's.
    MarkerInPath,
    /// A name is AUFS's.
    Bookkeeping,
    /// The header of a hard link differs from its inode.
    LinkHeader,
    /// A hard link's target is a symlink.
    LinkToSymlink,
    /// A layer follows a symlink or links to a file, and also hides or replaces that name; or it has a marker in a
    /// directory that it replaces.
    UsedAndGone,
    /// A time is before 1970 or beyond the range of ext4.
    OddTime,
    /// An xattr belongs to the machine that made the layer.
    HostXattr,
    /// A symlink has xattrs.
    SymlinkXattr,
    /// An xattr is empty, which in POSIX cancels a PAX record, or is a user's xattr of a special file, which Linux
    /// refuses.
    HardXattr,
    /// An ACL is text, or an xattr is only in libarchive's record.
    OddRecord,
    /// A file has holes, or a type from before POSIX or for contiguous storage.
    OddFile,
    /// A device is 0:0, which overlayfs treats as a whiteout.
    OverlayDevice,
}

impl Oddity {
    /// All oddities.
    pub const ALL: [Self; 21] = [
        Self::Duplicate,
        Self::Spelling,
        Self::RawName,
        Self::SymlinkedParent,
        Self::Climbing,
        Self::DanglingParent,
        Self::FileParent,
        Self::OddMarker,
        Self::MarkerInVoid,
        Self::MarkerInPath,
        Self::Bookkeeping,
        Self::LinkHeader,
        Self::LinkToSymlink,
        Self::UsedAndGone,
        Self::OddTime,
        Self::HostXattr,
        Self::SymlinkXattr,
        Self::HardXattr,
        Self::OddRecord,
        Self::OddFile,
        Self::OverlayDevice,
    ];

    /// Returns the lowest level that permits it.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Duplicate
            | Self::Spelling
            | Self::RawName
            | Self::SymlinkedParent
            | Self::DanglingParent
            | Self::LinkToSymlink
            | Self::OddMarker => Level::Consensus,
            Self::Climbing
            | Self::FileParent
            | Self::MarkerInVoid
            | Self::MarkerInPath
            | Self::Bookkeeping
            | Self::LinkHeader
            | Self::UsedAndGone
            | Self::OddTime
            | Self::HostXattr
            | Self::SymlinkXattr
            | Self::HardXattr
            | Self::OddRecord
            | Self::OddFile
            | Self::OverlayDevice => Level::Planish,
        }
    }
}

/// A set of oddities.
pub type Oddities = BTreeSet<Oddity>;

impl Level {
    /// Returns the oddities that stacks of this level may have.
    #[must_use]
    pub fn oddities(self) -> Oddities {
        Oddity::ALL.into_iter().filter(|oddity| oddity.level() <= self).collect()
    }
}
