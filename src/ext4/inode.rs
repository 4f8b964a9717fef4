//! Inodes: the attributes of a file except its names, content and xattrs.

use super::error::InodeProblem;
use super::field::Fields;
use super::number::InodeNumber;
use super::{BlockSource, FileKind, Filesystem, ReadError, Superblock};
use crate::time::Timestamp;

/// The numbers of a device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The major number, 0 to 4,095.
    pub major: u32,
    /// The minor number, 0 to 1,048,575.
    pub minor: u32,
}

/// One inode.
#[derive(Debug, Clone)]
pub struct Inode {
    /// The number.
    pub number: InodeNumber,
    /// The kind of file.
    pub kind: FileKind,
    /// The permission bits with setuid, setgid and sticky: 0o7777 at most.
    pub permissions: u16,
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The size of the content in bytes, at most `i64::MAX`.
    pub size: u64,
    /// The link count; 0 if the inode is free.
    pub links: u16,
    /// The number of sectors of 512 bytes in use, including the xattr block.
    pub sectors: u64,
    /// The inode flags, as stored.
    pub flags: u32,
    /// The generation, which checksums depend on.
    pub generation: u32,
    /// The time of the last read.
    pub atime: Timestamp,
    /// The time of the last change of the inode.
    pub ctime: Timestamp,
    /// The time of the last change of the content.
    pub mtime: Timestamp,
    /// The creation time; inodes of 128 bytes have none.
    pub crtime: Option<Timestamp>,
    /// The device number, for device files only.
    pub device: Option<DeviceNumber>,
    /// The block of further xattrs, or 0.
    pub(super) xattr_block: u64,
    /// The offset of the inode's own xattrs in `raw`; its end if there are none.
    pub(super) xattr_start: usize,
    pub(super) raw: Box<[u8]>,
}

/// The flags that describe the layout of an inode and not the owner's choices: index, huge file, extents, blocks beyond
/// the end, inline data.
const FLAGS_OF_LAYOUT: u32 = FLAG_INDEX | FLAG_HUGE_FILE | FLAG_EXTENTS | 0x40_0000 | FLAG_INLINE_DATA;
const FLAG_INDEX: u32 = 0x1000;
const FLAG_HUGE_FILE: u32 = 0x4_0000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_EA_INODE: u32 = 0x20_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// The size of the smallest inode; extra fields and xattrs follow.
const SMALLEST: usize = 128;

impl Inode {
    /// Returns true if a directory has an index (htree).
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.flags & FLAG_INDEX != 0
    }

    /// Returns the flags that `chattr` sets or that a directory passes on: no image has any.
    #[must_use]
    pub fn attribute_flags(&self) -> u32 {
        self.flags & !FLAGS_OF_LAYOUT
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    pub(super) fn has_inline_data(&self) -> bool {
        self.flags & FLAG_INLINE_DATA != 0
    }

    pub(super) fn holds_xattr_value(&self) -> bool {
        self.kind == FileKind::Regular && self.flags & FLAG_EA_INODE != 0
    }

    /// Returns the 60 bytes that contain the block map or what is stored in its place.
    pub(super) fn i_block(&self) -> [u8; 60] {
        Fields(&self.raw).array(0x28)
    }

    pub(super) fn problem(&self, problem: InodeProblem) -> ReadError {
        problem.of(self.number)
    }

    fn parse(number: InodeNumber, raw: Box<[u8]>, superblock: &Superblock) -> Result<Self, InodeProblem> {
        let field = Fields(&raw);
        let i_mode = field.u16(0x00);
        let kind = FileKind::from_mode(i_mode).ok_or(InodeProblem::Mode(i_mode))?;
        let i_extra_isize = if raw.len() > SMALLEST { field.u16(0x80) } else { 0 };
        let fixed = SMALLEST + usize::from(i_extra_isize);
        if fixed > raw.len() || !i_extra_isize.is_multiple_of(4) {
            return Err(InodeProblem::ExtraSize(i_extra_isize));
        }
        let fixed_fields = Fields(&raw[..fixed]);
        let flags = field.u32(0x20);
        // The high half of the size of a directory or symlink was a different field in the past.
        let wide = kind == FileKind::Regular || kind == FileKind::Directory && superblock.features.largedir();
        let size = if wide { field.split_u64(0x04, 0x6c) } else { field.u32(0x04).into() };
        if i64::try_from(size).is_err() {
            return Err(InodeProblem::Size(size));
        }
        Ok(Self {
            number,
            kind,
            permissions: i_mode & 0o7777,
            uid: u32::from(field.u16(0x02)) | u32::from(field.u16(0x78)) << 16,
            gid: u32::from(field.u16(0x18)) | u32::from(field.u16(0x7a)) << 16,
            size,
            links: field.u16(0x1a),
            sectors: sectors(field, flags, superblock),
            flags,
            generation: field.u32(0x64),
            atime: timestamp(fixed_fields, 0x08, 0x8c)?,
            ctime: timestamp(fixed_fields, 0x0c, 0x84)?,
            mtime: timestamp(fixed_fields, 0x10, 0x88)?,
            crtime: if fixed >= 0x94 { Some(timestamp(fixed_fields, 0x90, 0x94)?) } else { None },
            device: device(field, kind),
            xattr_block: u64::from(field.u32(0x68)) | u64::from(field.u16(0x76)) << 32,
            xattr_start: if i_extra_isize == 0 { raw.len() } else { fixed },
            raw,
        })
    }
}

fn sectors(field: Fields<'_>, flags: u32, superblock: &Superblock) -> u64 {
    let low = u64::from(field.u32(0x1c));
    if !superblock.features.huge_file() {
        return low;
    }
    let count = low | u64::from(field.u16(0x74)) << 32;
    if flags & FLAG_HUGE_FILE == 0 { count } else { count * u64::from(superblock.block_size / 512) }
}

/// Decodes a time: signed seconds, then two more bits of seconds and the nanoseconds.
///
/// As in current kernels, and unlike older ones, the two bits also extend a time before 1970.
fn timestamp(field: Fields<'_>, seconds: usize, extra: usize) -> Result<Timestamp, InodeProblem> {
    let extra = field.u32(extra);
    let seconds = i64::from(field.u32(seconds).cast_signed()) + (i64::from(extra & 3) << 32);
    match extra >> 2 {
        nanos @ 0..1_000_000_000 => Ok(Timestamp { seconds, nanos }),
        nanos => Err(InodeProblem::Nanoseconds(nanos)),
    }
}

/// Decodes a device number: the old 16-bit form in the first word, else the new form in the second.
fn device(field: Fields<'_>, kind: FileKind) -> Option<DeviceNumber> {
    if !matches!(kind, FileKind::CharacterDevice | FileKind::BlockDevice) {
        return None;
    }
    let (old, new) = (field.u32(0x28), field.u32(0x2c));
    Some(if old != 0 {
        DeviceNumber { major: old >> 8 & 0xff, minor: old & 0xff }
    } else {
        DeviceNumber { major: new >> 8 & 0xfff, minor: new & 0xff | new >> 12 & 0xf_ff00 }
    })
}

impl<R: BlockSource> Filesystem<R> {
    /// Reads one inode.
    ///
    /// # Errors
    ///
    /// The filesystem has no inode of this number; the inode was never used, or is damaged. An inode that was used and
    /// is free again has 0 links and is no error.
    pub fn inode(&self, number: InodeNumber) -> Result<Inode, ReadError> {
        let offset = self.inode_offset(number)?;
        let mut raw = vec![0; usize::from(self.superblock.inode_size)].into_boxed_slice();
        self.read_cached(&self.tables, offset, &mut raw)?;
        Inode::parse(number, raw, &self.superblock).map_err(|problem| problem.of(number))
    }
}
