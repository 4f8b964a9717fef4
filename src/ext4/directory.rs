//! Directories: linear records, in blocks or in the inode.

use super::error::InodeProblem;
use super::field::Fields;
use super::{BlockSource, FileKind, Filesystem, Inode, InodeNumber, ReadError};
use crate::path::NAME_MAX;

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: 1 to 255 bytes without `/` and NUL.
    pub name: Box<[u8]>,
    /// The inode of the name, which need not exist.
    pub inode: InodeNumber,
    /// The kind of file according to the record; `None` if the record does not have it.
    pub kind: Option<FileKind>,
    /// The position of the record; `None` in a directory that is stored in its inode.
    pub place: Option<RecordPlace>,
}

/// The position of a directory record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPlace {
    /// The block in the filesystem.
    pub block: u64,
    /// The offset in that block.
    pub offset: u32,
}

/// Bytes of a record before its name.
const RECORD_HEADER: usize = 8;
/// Bytes of the shortest record, which holds a name of one byte.
const RECORD_MIN: usize = 12;

impl<R: BlockSource> Filesystem<R> {
    /// Returns the entries of a directory in the order of its records, including `.` and `..`.
    ///
    /// An index (htree) is skipped: to a linear reader its inner blocks look like unused records, as does a checksum.
    /// The caller checks that names are unique and inodes in use.
    ///
    /// # Errors
    ///
    /// The inode is not a directory; its block map is damaged or has a hole; a record is damaged or has an invalid
    /// name.
    pub fn entries(&self, inode: &Inode) -> Result<Vec<DirEntry>, ReadError> {
        let mut entries = Vec::new();
        self.each_entry(inode, &mut |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Calls `visit` with the entries of a directory, as [`Self::entries`] returns them, without keeping them.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::entries`], after visiting the entries before the damage.
    pub fn each_entry(&self, inode: &Inode, visit: &mut dyn FnMut(DirEntry)) -> Result<(), ReadError> {
        if inode.kind != FileKind::Directory {
            return Err(inode.problem(InodeProblem::NotDirectory));
        }
        if inode.has_inline_data() {
            return self.inline_entries(inode, visit);
        }
        let block_size = u64::from(self.superblock.block_size);
        if !inode.size.is_multiple_of(block_size) {
            return Err(inode.problem(InodeProblem::DirectorySize(inode.size)));
        }
        let mut next = 0;
        let end = inode.size / block_size;
        for run in self.extents(inode)? {
            let Some(physical) = run.physical.filter(|_| run.logical == next) else { break };
            for index in 0..run.count.min(end - next) {
                let block = self.block_of(inode, physical + index)?;
                let mut records = self.records(&block, (run.logical + index) * block_size);
                records.block = Some(physical + index);
                records.read(visit).map_err(|problem| inode.problem(problem))?;
            }
            next = (run.logical + run.count).min(end);
        }
        if next < end {
            return Err(inode.problem(InodeProblem::DirectoryHole(next)));
        }
        Ok(())
    }

    /// Reads a directory stored in its inode: the parent's number, then two separate lists of records.
    fn inline_entries(&self, inode: &Inode, visit: &mut dyn FnMut(DirEntry)) -> Result<(), ReadError> {
        let [(_, first), (_, second)] = inode.inline_data()?.pieces;
        let Some((parent, first)) = first.split_first_chunk::<4>() else {
            return Err(inode.problem(InodeProblem::DirectorySize(inode.size)));
        };
        let dot = |name: &[u8], inode| DirEntry {
            name: name.into(),
            inode,
            kind: self.superblock.features.filetype().then_some(FileKind::Directory),
            place: None,
        };
        let parent = InodeNumber::new(u32::from_le_bytes(*parent));
        [dot(b".", inode.number), dot(b"..", parent)].into_iter().for_each(&mut *visit);
        for (piece, start) in [(first, 4), (second, 60)] {
            self.records(piece, start).read(visit).map_err(|problem| inode.problem(problem))?;
        }
        Ok(())
    }

    fn records<'a>(&self, bytes: &'a [u8], start: u64) -> Records<'a> {
        let block_size = self.superblock.block_size as usize;
        Records { bytes, start, block: None, block_size, filetype: self.superblock.features.filetype() }
    }
}

/// A list of records that fills its bytes exactly.
struct Records<'a> {
    bytes: &'a [u8],
    /// The offset of the first byte in the directory.
    start: u64,
    block: Option<u64>,
    block_size: usize,
    filetype: bool,
}

impl Records<'_> {
    fn read(&self, visit: &mut dyn FnMut(DirEntry)) -> Result<(), InodeProblem> {
        let mut offset = 0;
        while offset < self.bytes.len() {
            let rest = &self.bytes[offset..];
            let damaged = |detail| InodeProblem::Record { offset: self.start + offset as u64, detail };
            let rec_len = self.record_length(rest);
            if rec_len < RECORD_MIN || !rec_len.is_multiple_of(4) {
                return Err(damaged("its length is impossible"));
            }
            let record = rest.get(..rec_len).ok_or_else(|| damaged("it ends after its block"))?;
            if let Some(entry) = self.entry(record, offset).map_err(damaged)? {
                visit(entry);
            }
            offset += rec_len;
        }
        Ok(())
    }

    /// Returns a record's length; blocks of 64 KiB spell their own size, which needs 17 bits, in two ways.
    fn record_length(&self, record: &[u8]) -> usize {
        match Fields(record).u16(4) {
            0 | 0xffff if self.block_size == 1 << 16 => self.block_size,
            rec_len => rec_len.into(),
        }
    }

    /// Returns the entry of a record; `None` if it is unused.
    fn entry(&self, record: &[u8], offset: usize) -> Result<Option<DirEntry>, &'static str> {
        let field = Fields(record);
        let inode = field.u32(0);
        if inode == 0 {
            return Ok(None);
        }
        let name_len = if self.filetype { field.u8(6).into() } else { usize::from(field.u16(6)) };
        let name = record.get(RECORD_HEADER..RECORD_HEADER + name_len).ok_or("its name is longer than itself")?;
        if name.is_empty() || name.len() > NAME_MAX || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err("its name is impossible");
        }
        let file_type = if self.filetype { field.u8(7) } else { 0 };
        let kind = FileKind::from_type_byte(file_type);
        if kind.is_none() && file_type != 0 {
            return Err("its file type is unknown");
        }
        let place = self.block.and_then(|block| Some(RecordPlace { block, offset: offset.try_into().ok()? }));
        Ok(Some(DirEntry { name: name.into(), inode: InodeNumber::new(inode), kind, place }))
    }
}
