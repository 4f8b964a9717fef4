//! Changes the type byte of directory records, and the checksum of the blocks that hold them.
//!
//! A device, or a symlink with several names, was staged as something else; debugfs turns the inode into what it is,
//! but knows no request for the records that name it. Single bytes of a block it can write.

use std::collections::BTreeMap;

use super::check::WrongRecord;
use crate::ext4::{Filesystem, InodeNumber, ReadAt, ReadError};

/// Where a record keeps its type.
const TYPE_OFFSET: u32 = 7;
/// The checksum stands in the last four bytes of a block; the record that holds it, and is not counted, in twelve.
const TAIL: usize = 12;
const CHECKSUM: usize = 4;

/// One byte of the filesystem that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BytePatch {
    pub block: u64,
    pub offset: usize,
    pub value: u8,
}

/// Returns the bytes that change when `records` get their types.
pub(super) fn patches<R: ReadAt>(
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
            // A stored seed is the UUID's, until someone changes that.
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
/// and all records, seeded with ones and not inverted at the end.
fn checksum(uuid: &[u8; 16], directory: InodeNumber, generation: u32, records: &[u8]) -> u32 {
    // The crate inverts before and after; ext4 does neither.
    let raw = |seed: u32, bytes: &[u8]| !crc32c::crc32c_append(!seed, bytes);
    let seed = raw(!0, uuid);
    let seed = raw(seed, &directory.get().to_le_bytes());
    raw(raw(seed, &generation.to_le_bytes()), records)
}
