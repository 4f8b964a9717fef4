//! What a stack can do on which the specification is silent.

use std::collections::BTreeSet;

use crate::level::Level;

/// One such thing.
///
/// The reference model notes them while it flattens, and a [`Level`] says which of them a stack may have.
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
    /// A symlinked parent leads to something that does not exist.
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
    /// A hard link's header says something else than its inode.
    LinkHeader,
    /// A hard link's target is a symlink.
    LinkToSymlink,
    /// A layer follows a symlink or links to a file, and hides or replaces that name as well; or it has a marker in a
    /// directory that it replaces.
    UsedAndGone,
    /// A time is before 1970 or beyond what ext4 holds.
    OddTime,
    /// An xattr belongs to the machine that made the layer.
    HostXattr,
    /// A symlink has xattrs.
    SymlinkXattr,
    /// An xattr is empty, which to POSIX takes a PAX record back, or is of a special file and a user's, which Linux
    /// refuses.
    HardXattr,
    /// A file with holes, or of a type from before POSIX or for contiguous storage.
    OddFile,
    /// The device 0:0, which overlayfs takes for a whiteout.
    OverlayDevice,
}

impl Oddity {
    /// All oddities.
    pub const ALL: [Self; 20] = [
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
        Self::OddFile,
        Self::OverlayDevice,
    ];

    /// Returns the lowest level that admits it.
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
            | Self::OddFile
            | Self::OverlayDevice => Level::Planish,
        }
    }
}

/// A set of oddities.
pub type Oddities = BTreeSet<Oddity>;
