//! Changes the type byte of directory records and the checksum of their blocks.
//!
//! A device, or a symlink with several names, is staged as another kind of file. debugfs changes the inode, but has no
//! request for the type in directory records. It can write single bytes of a block.

use std::collections::BTreeMap;

use super::check::WrongRecord;
use crate::ext4::{BlockSource, Filesystem, InodeNumber, ReadError};

/// The offset of the type in a record.
const TYPE_OFFSET: u32 = 7;
/// The checksum is in the last four bytes of a block; its record, which it does not cover, has twelve bytes.
const TAIL: usize = 12;
const CHECKSUM: usize = 4;

/// A change of one byte of the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BytePatch {
    pub block: u64,
    pub offset: usize,
    pub value: u8,
}

/// Returns the byte changes that give `records` their types.
pub(super) fn patches<R: BlockSource>(
    filesystem: &Filesystem<R>,
    records: &[WrongRecord],
) -> Result<Vec<BytePatch>, ReadError> {
    let mut blocks: BTreeMap<u64, (InodeNumber, Vec<&WrongRecord>)> = BTreeMap::new();
    for record in records {
        blocks.entry(record.place.block).or_insert((record.directory, Vec::new())).1.push(record);
    }
    let mut patches = Vec::new();
    for (number, (directory, records)) in blocks {
        let before = filesystem.block(number)?;
        let mut after = before.clone();
        for record in records {
            let at = (record.place.offset + TYPE_OFFSET) as usize;
            if let Some(byte) = after.get_mut(at) {
                *byte = record.type_byte;
            }
        }
        let superblock = filesystem.superblock();
        if superblock.features.metadata_csum() {
            let generation = filesystem.inode(directory)?.generation;
            // The seed equals the one of the UUID until someone changes the UUID.
            let checksum = checksum(&superblock.uuid, directory, generation, &after[..after.len() - TAIL]);
            let at = after.len() - CHECKSUM;
            after[at..].copy_from_slice(&checksum.to_le_bytes());
        }
        let changed = before.iter().zip(&after).enumerate().filter(|(_, (old, new))| old != new);
        patches.extend(changed.map(|(offset, (_, value))| BytePatch { block: number, offset, value: *value }));
    }
    Ok(patches)
}

/// Returns the checksum of a directory block (kernel, `ext4_dirblock_csum`): crc32c over UUID, inode number, generation
/// and all records, with a seed of all ones and no inversion at the end.
fn checksum(uuid: &[u8; 16], directory: InodeNumber, generation: u32, records: &[u8]) -> u32 {
    // The crate inverts before and after; ext4 does neither.
    let raw = |seed: u32, bytes: &[u8]| !crc32c::crc32c_append(!seed, bytes);
    let seed = raw(!0, uuid);
    let seed = raw(seed, &directory.get().to_le_bytes());
    raw(raw(seed, &generation.to_le_bytes()), records)
}
