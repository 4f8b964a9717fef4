//! Extended attributes: after the fields of the inode, in a block of their own, and values in other inodes.

use std::ops::Range;

use super::error::InodeProblem;
use super::field::Fields;
use super::{BlockSource, Filesystem, Inode, InodeNumber, ReadError};

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The full name, as `security.capability`.
    pub name: Box<[u8]>,
    /// The value as stored; `acl` converts the values of POSIX ACLs.
    pub value: Box<[u8]>,
}

const MAGIC: u32 = 0xea02_0000;
/// Bytes of the magic number before the list in an inode.
const BODY_HEADER: usize = 4;
/// Bytes before the list in a block.
const BLOCK_HEADER: usize = 32;
/// Bytes of an entry before its name.
const ENTRY_HEADER: usize = 16;
/// The largest value that Linux can set or get.
const VALUE_MAX: usize = 1 << 16;
/// The limit on the bytes of all values of one inode that are stored in other inodes, so that a few entries that share
/// a value cannot claim gigabytes.
const TOTAL_MAX: usize = 16 << 20;

/// The name index of `system.`, and the name of the xattr with inline data.
const SYSTEM: u8 = 7;
const INLINE_NAME: &[u8] = b"data";

/// An entry of a list.
struct Entry<'a> {
    index: u8,
    suffix: &'a [u8],
    value: ValuePlace,
}

enum ValuePlace {
    /// The range of the value in the area that contains the list.
    Here(Range<usize>),
    Inode(InodeNumber, usize),
}

impl<R: BlockSource> Filesystem<R> {
    /// Returns the xattrs of an inode, sorted by name; inline data is not one of them.
    ///
    /// # Errors
    ///
    /// The list is damaged; Linux does not define a name index; a name occurs twice.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, ReadError> {
        let mut xattrs = Vec::new();
        let body = inode.body_entries().map_err(|problem| inode.problem(problem))?;
        let body = body.into_iter().filter(|entry| !(inode.has_inline_data() && entry.is_inline_data()));
        self.resolve(inode, &inode.raw, body, &mut xattrs)?;
        if inode.xattr_block != 0 {
            let block = self.block_of(inode, inode.xattr_block)?;
            let entries = block_entries(&block).map_err(|problem| inode.problem(problem))?;
            self.resolve(inode, &block, entries, &mut xattrs)?;
        }
        xattrs.sort_unstable();
        if xattrs.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(inode.problem(InodeProblem::Xattr("a name appears twice")));
        }
        Ok(xattrs)
    }

    fn resolve<'a>(
        &self,
        inode: &Inode,
        area: &[u8],
        entries: impl IntoIterator<Item = Entry<'a>>,
        xattrs: &mut Vec<Xattr>,
    ) -> Result<(), ReadError> {
        let mut total = 0;
        for entry in entries {
            let name = entry.name().map_err(|problem| inode.problem(problem))?;
            let value = match entry.value {
                ValuePlace::Here(range) => area[range].into(),
                ValuePlace::Inode(number, size) => {
                    total += size;
                    if size > VALUE_MAX || total > TOTAL_MAX {
                        return Err(inode.problem(InodeProblem::Xattr("its values are too large")));
                    }
                    self.value_inode(inode, number, size)?
                }
            };
            xattrs.push(Xattr { name, value });
        }
        Ok(())
    }

    fn value_inode(&self, owner: &Inode, number: InodeNumber, size: usize) -> Result<Box<[u8]>, ReadError> {
        let inode = self.inode(number)?;
        if !inode.holds_xattr_value() || inode.size != size as u64 {
            return Err(owner.problem(InodeProblem::XattrInode(number)));
        }
        let mut value = vec![0; size].into_boxed_slice();
        self.content(&inode)?.read_at(&mut value, 0)?;
        Ok(value)
    }
}

impl Inode {
    fn body_entries(&self) -> Result<Vec<Entry<'_>>, InodeProblem> {
        let list = self.xattr_start + BODY_HEADER;
        if Fields(&self.raw).u32(self.xattr_start) != MAGIC {
            return Ok(Vec::new());
        }
        entries(&self.raw, list, list)
    }

    /// Returns the range of `raw` that continues the inline data in place of the block map.
    pub(super) fn inline_value(&self) -> Result<Range<usize>, ReadError> {
        let entries = self.body_entries().map_err(|problem| self.problem(problem))?;
        let end = self.raw.len();
        match entries.into_iter().find(Entry::is_inline_data).map(|entry| entry.value) {
            None => Ok(end..end),
            Some(ValuePlace::Here(range)) => Ok(range),
            Some(ValuePlace::Inode(number, _)) => Err(self.problem(InodeProblem::XattrInode(number))),
        }
    }
}

fn block_entries(block: &[u8]) -> Result<Vec<Entry<'_>>, InodeProblem> {
    let header = Fields(block);
    let (h_magic, h_blocks) = (header.u32(0), header.u32(8));
    if h_magic != MAGIC || h_blocks != 1 {
        return Err(InodeProblem::Xattr("their block has no header"));
    }
    entries(block, BLOCK_HEADER, 0)
}

/// Returns the list that begins at `start`; the offsets of values are relative to `base`.
fn entries(area: &[u8], start: usize, base: usize) -> Result<Vec<Entry<'_>>, InodeProblem> {
    let mut list = Vec::new();
    let mut offset = start;
    loop {
        let rest = area.get(offset..).unwrap_or_default();
        let first_word = rest.first_chunk::<4>().ok_or(InodeProblem::Xattr("their list has no end"))?;
        if *first_word == [0; 4] {
            break;
        }
        let field = Fields(rest);
        let length = ENTRY_HEADER + usize::from(field.u8(0));
        let suffix = rest.get(ENTRY_HEADER..length).ok_or(InodeProblem::Xattr("a name ends after their area"))?;
        let (e_value_offs, e_value_inum, e_value_size) = (field.u16(2), field.u32(4), field.u32(8) as usize);
        let value = match e_value_inum {
            0 if e_value_size == 0 => ValuePlace::Here(0..0),
            0 => {
                let value = base + usize::from(e_value_offs);
                ValuePlace::Here(value..value.saturating_add(e_value_size))
            }
            inode => ValuePlace::Inode(InodeNumber::new(inode), e_value_size),
        };
        list.push(Entry { index: field.u8(1), suffix, value });
        offset += length.next_multiple_of(4);
    }
    check_values(&list, offset + 4..area.len())?;
    Ok(list)
}

/// Checks that values lie after the list and are together not larger than the room there: overlapping values would
/// multiply the data.
fn check_values(list: &[Entry<'_>], room: Range<usize>) -> Result<(), InodeProblem> {
    let mut left = room.len();
    for entry in list {
        let ValuePlace::Here(value) = &entry.value else { continue };
        if !value.is_empty() && (value.start < room.start || value.end > room.end) {
            return Err(InodeProblem::Xattr("a value lies outside their area"));
        }
        left = left.checked_sub(value.len()).ok_or(InodeProblem::Xattr("values overlap"))?;
    }
    Ok(())
}

impl Entry<'_> {
    fn is_inline_data(&self) -> bool {
        self.index == SYSTEM && self.suffix == INLINE_NAME
    }

    fn name(&self) -> Result<Box<[u8]>, InodeProblem> {
        let prefix: &[u8] = match self.index {
            0 => b"",
            1 => b"user.",
            2 => b"system.posix_acl_access",
            3 => b"system.posix_acl_default",
            4 => b"trusted.",
            6 => b"security.",
            SYSTEM => b"system.",
            8 => b"system.richacl",
            10 => b"gnu.",
            index => return Err(InodeProblem::XattrIndex(index)),
        };
        Ok([prefix, self.suffix].concat().into_boxed_slice())
    }
}
