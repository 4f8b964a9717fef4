//! The types of files.

/// The kind of file of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of POSIX")]
pub enum FileKind {
    Regular,
    Directory,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl FileKind {
    /// Returns the kind encoded in the upper four bits of `i_mode`.
    pub(super) fn from_mode(i_mode: u16) -> Option<Self> {
        Some(match i_mode >> 12 {
            0o01 => Self::Fifo,
            0o02 => Self::CharacterDevice,
            0o04 => Self::Directory,
            0o06 => Self::BlockDevice,
            0o10 => Self::Regular,
            0o12 => Self::Symlink,
            0o14 => Self::Socket,
            _ => return None,
        })
    }

    /// Returns the type byte of a directory record for this kind.
    #[must_use]
    pub fn type_byte(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharacterDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }

    /// Returns the kind encoded in the type byte of a directory record.
    pub(super) fn from_type_byte(file_type: u8) -> Option<Self> {
        Some(match file_type {
            1 => Self::Regular,
            2 => Self::Directory,
            3 => Self::CharacterDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }

    /// Returns true if inodes of this kind have blocks of content.
    pub(super) fn has_content(self) -> bool {
        matches!(self, Self::Regular | Self::Directory | Self::Symlink)
    }
}
