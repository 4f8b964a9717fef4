//! The feature sets of a superblock, and the features that this reader supports.

use super::error::ReadError;
use super::error::UnknownFeatures;

/// The three feature sets, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Features that a reader may ignore.
    pub compat: u32,
    /// Features that a reader must know.
    pub incompat: u32,
    /// Features that only a writer must know.
    pub ro_compat: u32,
}

const FILETYPE: u32 = 0x2;
const RECOVER: u32 = 0x4;
const JOURNAL_DEV: u32 = 0x8;
const META_BG: u32 = 0x10;
const EXTENTS: u32 = 0x40;
const IS_64BIT: u32 = 0x80;
const MMP: u32 = 0x100;
const FLEX_BG: u32 = 0x200;
const EA_INODE: u32 = 0x400;
const CSUM_SEED: u32 = 0x2000;
const LARGEDIR: u32 = 0x4000;
const INLINE_DATA: u32 = 0x8000;
const CASEFOLD: u32 = 0x2_0000;

const READABLE: u32 =
    FILETYPE | META_BG | EXTENTS | IS_64BIT | MMP | FLEX_BG | EA_INODE | CSUM_SEED | LARGEDIR | INLINE_DATA | CASEFOLD;

impl Features {
    /// Returns the older kind of this filesystem if it has no feature that only ext4 has; `None` for ext4. `blkid` uses
    /// the same rule.
    #[must_use]
    pub fn older_than_ext4(self) -> Option<&'static str> {
        const HAS_JOURNAL: u32 = 0x4;
        const OLD_RO_COMPAT: u32 = 0x7;
        if self.incompat & !(FILETYPE | RECOVER | META_BG) != 0 || self.ro_compat & !OLD_RO_COMPAT != 0 {
            return None;
        }
        Some(if self.compat & HAS_JOURNAL == 0 { "ext2" } else { "ext3" })
    }

    /// Returns true if directory records hold the file type.
    #[must_use]
    pub fn filetype(self) -> bool {
        self.incompat & FILETYPE != 0
    }

    /// Returns true if metadata blocks, including those of directories, end in or contain a crc32c.
    #[must_use]
    pub fn metadata_csum(self) -> bool {
        self.ro_compat & 0x400 != 0
    }

    /// Returns true if the seed of those checksums is stored instead of derived from the UUID.
    #[must_use]
    pub fn metadata_csum_seed(self) -> bool {
        self.incompat & CSUM_SEED != 0
    }

    pub(super) fn meta_bg(self) -> bool {
        self.incompat & META_BG != 0
    }

    pub(super) fn is_64bit(self) -> bool {
        self.incompat & IS_64BIT != 0
    }

    pub(super) fn largedir(self) -> bool {
        self.incompat & LARGEDIR != 0
    }

    pub(super) fn sparse_super(self) -> bool {
        self.ro_compat & 0x1 != 0
    }

    pub(super) fn sparse_super2(self) -> bool {
        self.compat & 0x200 != 0
    }

    pub(super) fn huge_file(self) -> bool {
        self.ro_compat & 0x8 != 0
    }

    pub(super) fn check_readable(self) -> Result<(), ReadError> {
        if self.incompat & JOURNAL_DEV != 0 {
            return Err(ReadError::JournalDevice);
        }
        if self.incompat & RECOVER != 0 {
            return Err(ReadError::NeedsRecovery);
        }
        match self.incompat & !READABLE {
            0 => Ok(()),
            bits => Err(ReadError::UnknownFeatures(UnknownFeatures(bits))),
        }
    }
}
