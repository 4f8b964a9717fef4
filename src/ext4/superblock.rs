//! The superblock: the sizes and positions of all other structures.

use super::ReadError;
use super::feature::Features;
use super::field::Fields;

/// The offset of the superblock, for all block sizes.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;
/// The size of the superblock in bytes.
pub(super) const SUPERBLOCK_SIZE: usize = 1024;

const MAGIC: u16 = 0xef53;
/// A state bit: the filesystem was closed cleanly.
const STATE_VALID: u16 = 0x1;
/// A state bit: the kernel found an error.
const STATE_ERRORS: u16 = 0x2;

/// The fields of a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The size of a block in bytes: 1,024 to 65,536, a power of two.
    pub block_size: u32,
    /// The number of blocks.
    pub block_count: u64,
    /// The number of free blocks.
    pub free_blocks: u64,
    /// The number of blocks reserved for root.
    pub reserved_blocks: u64,
    /// The number of inodes, used or free.
    pub inode_count: u32,
    /// The number of free inodes.
    pub free_inodes: u32,
    /// The first inode number that is not reserved.
    pub first_inode: u32,
    /// The size of an inode in bytes: 128 or more, a power of two.
    pub inode_size: u16,
    /// The state bits, as stored; see [`Superblock::is_clean`].
    pub state: u16,
    /// The filesystem's UUID.
    pub uuid: [u8; 16],
    /// The volume label, without padding.
    pub label: Box<[u8]>,
    /// The seed of directory hashes, as stored.
    pub hash_seed: [u8; 16],
    /// The stored seed of checksums; it is used if [`Features::metadata_csum_seed`] is set.
    pub checksum_seed: u32,
    /// The feature sets.
    pub features: Features,
    /// The creation time in seconds since 1970.
    pub made: u32,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) descriptor_size: u16,
    pub(super) first_meta_group: u32,
    pub(super) backup_groups: [u32; 2],
}

impl Superblock {
    /// Returns true if the filesystem was closed cleanly and is not known to have errors.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.state & (STATE_VALID | STATE_ERRORS) == STATE_VALID
    }

    pub(super) fn parse(bytes: &[u8; SUPERBLOCK_SIZE]) -> Result<Self, ReadError> {
        let field = Fields(bytes);
        match field.u16(0x38) {
            MAGIC => {}
            magic => return Err(ReadError::Magic(magic)),
        }
        let s_rev_level = field.u32(0x4c);
        let features = match s_rev_level {
            0 => Features::default(),
            _ => Features { compat: field.u32(0x5c), incompat: field.u32(0x60), ro_compat: field.u32(0x64) },
        };
        features.check_readable()?;

        let s_log_block_size = field.u32(0x18);
        if s_log_block_size > 6 {
            return Err(damaged("s_log_block_size", s_log_block_size));
        }
        let wide = |low, high| {
            if features.is_64bit() { field.split_u64(low, high) } else { u64::from(field.u32(low)) }
        };
        let volume_name: [u8; 16] = field.array(0x78);
        let name_length = volume_name.iter().position(|&byte| byte == 0).unwrap_or(volume_name.len());
        let superblock = Self {
            block_size: 1024 << s_log_block_size,
            block_count: wide(0x04, 0x150),
            free_blocks: wide(0x0c, 0x158),
            reserved_blocks: wide(0x08, 0x154),
            inode_count: field.u32(0x00),
            free_inodes: field.u32(0x10),
            first_inode: if s_rev_level == 0 { 11 } else { field.u32(0x54) },
            inode_size: if s_rev_level == 0 { 128 } else { field.u16(0x58) },
            state: field.u16(0x3a),
            uuid: field.array(0x68),
            label: volume_name[..name_length].into(),
            hash_seed: field.array(0xec),
            checksum_seed: field.u32(0x270),
            features,
            made: field.u32(0x108),
            first_data_block: field.u32(0x14).into(),
            blocks_per_group: field.u32(0x20),
            inodes_per_group: field.u32(0x28),
            descriptor_size: if features.is_64bit() { field.u16(0xfe) } else { 32 },
            first_meta_group: field.u32(0x104),
            backup_groups: [field.u32(0x24c), field.u32(0x250)],
        };
        superblock.check()?;
        Ok(superblock)
    }

    /// Checks the values that the arithmetic of the other modules relies on.
    fn check(&self) -> Result<(), ReadError> {
        let bits_of_a_block = 8 * self.block_size;
        let bytes = self.block_count.checked_mul(self.block_size.into());
        if self.block_count == 0 || bytes.is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            return Err(damaged("s_blocks_count", self.block_count));
        }
        if self.first_data_block > 1 || self.first_data_block >= self.block_count {
            return Err(damaged("s_first_data_block", self.first_data_block));
        }
        if self.blocks_per_group == 0 {
            return Err(damaged("s_blocks_per_group", self.blocks_per_group));
        }
        if self.inodes_per_group == 0 || self.inodes_per_group > bits_of_a_block {
            return Err(damaged("s_inodes_per_group", self.inodes_per_group));
        }
        let inodes = self.group_count().saturating_mul(self.inodes_per_group.into());
        if self.inode_count == 0 || u64::from(self.inode_count) > inodes {
            return Err(damaged("s_inodes_count", self.inode_count));
        }
        let inode_size = u32::from(self.inode_size);
        if !inode_size.is_power_of_two() || inode_size < 128 || inode_size > self.block_size {
            return Err(damaged("s_inode_size", inode_size));
        }
        // The largest descriptor still fits twice in a block: meta groups begin at even groups.
        let smallest = if self.features.is_64bit() { 64 } else { 32 };
        if !self.descriptor_size.is_power_of_two() || !(smallest..=512).contains(&self.descriptor_size) {
            return Err(damaged("s_desc_size", self.descriptor_size));
        }
        Ok(())
    }

    pub(super) fn group_count(&self) -> u64 {
        (self.block_count - self.first_data_block).div_ceil(self.blocks_per_group.into())
    }

    /// Returns true if `count` blocks from `block` lie in the filesystem and contain no boot sector or superblock.
    pub(super) fn holds(&self, block: u64, count: u64) -> bool {
        block > self.first_data_block && block.checked_add(count).is_some_and(|end| end <= self.block_count)
    }
}

fn damaged(field: &'static str, value: impl Into<u64>) -> ReadError {
    ReadError::Superblock { field, value: value.into() }
}
