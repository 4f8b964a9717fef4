//! Block groups: the positions of descriptors, and the inode tables that they point to.

use super::field::Fields;
use super::{BlockSource, Filesystem, InodeNumber, ReadError, Superblock};

impl Superblock {
    /// Returns the block that contains the descriptor of `group`.
    pub(super) fn descriptor_block(&self, group: u64) -> u64 {
        let per_block = u64::from(self.block_size / u32::from(self.descriptor_size));
        let meta_group = group / per_block;
        // Block 0 contains the boot sector, and with blocks of 1 KiB nothing else, even if the first data block is 0,
        // as with clusters.
        let own_superblock = u64::from(self.block_size == 1024);
        if !self.features.meta_bg() || meta_group < u64::from(self.first_meta_group) {
            return own_superblock + 1 + meta_group;
        }
        if meta_group == 0 {
            return own_superblock + 1;
        }
        let first = meta_group * per_block;
        self.first_data_block + first * u64::from(self.blocks_per_group) + u64::from(self.has_backup(first))
    }

    /// Returns true if the first group of a meta group, except of the first one, begins with a copy of the superblock.
    ///
    /// Its number is even, and the groups that have copies with sparse superblocks have odd numbers.
    fn has_backup(&self, group: u64) -> bool {
        if self.features.sparse_super2() {
            return self.backup_groups.iter().any(|&backup| u64::from(backup) == group);
        }
        !self.features.sparse_super()
    }
}

impl<R: BlockSource> Filesystem<R> {
    /// Returns the offset of an inode in the image.
    pub(super) fn inode_offset(&self, inode: InodeNumber) -> Result<u64, ReadError> {
        let superblock = &self.superblock;
        let Some(index) = inode.get().checked_sub(1).filter(|&index| index < superblock.inode_count) else {
            return Err(ReadError::NoSuchInode { inode, inodes: superblock.inode_count });
        };
        let group = u64::from(index / superblock.inodes_per_group);
        let table = self.inode_table(group)?;
        let within = u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_size);
        if !superblock.holds(table, within / u64::from(superblock.block_size) + 1) {
            return Err(ReadError::InodeTable { group, block: table });
        }
        Ok(table * u64::from(superblock.block_size) + within)
    }

    fn inode_table(&self, group: u64) -> Result<u64, ReadError> {
        let superblock = &self.superblock;
        let block = superblock.descriptor_block(group);
        if !superblock.holds(block, 1) {
            return Err(ReadError::NoSuchBlock { block, blocks: superblock.block_count });
        }
        let size = u64::from(superblock.descriptor_size);
        let per_block = u64::from(superblock.block_size) / size;
        let offset = block * u64::from(superblock.block_size) + group % per_block * size;
        let mut descriptor = [0; 64];
        let descriptor = &mut descriptor[..usize::from(superblock.descriptor_size.min(64))];
        self.read_cached(&self.descriptors, offset, descriptor)?;
        // A descriptor of 32 bytes ends before the high half.
        Ok(Fields(descriptor).split_u64(0x08, 0x28))
    }
}
