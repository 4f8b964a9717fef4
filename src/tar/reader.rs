//! Reads the members of a tar stream.

use tar_core::{Header, UstarHeader};

use super::entry::{Kind, TarEntry};
use super::fault::{TarFault, TarProblem};
use super::number::{self, until_nul};
use super::pax::{self, Pax};
use super::{BLOCK, Block};
use crate::compression::compressed_twice;
use crate::error::{EntryPlace, ImageProblem};
use crate::limits::Limits;
use crate::path::PathFault;
use crate::read_at::ReadAt;
use crate::time::Timestamp;

pub(super) type Result<T> = std::result::Result<T, TarProblem>;

/// An iterator over the members of a tar stream in order; it ends after an error.
///
/// Only headers are read. The limit on extension headers bounds the memory, whatever the stream claims.
#[derive(Debug)]
pub struct Reader<S> {
    pub(super) source: S,
    extension_limit: u64,
    extents_max: u64,
    extents_left: u64,
    pub(super) position: u64,
    number: u64,
    /// True if the stream has no contents: only headers and maps.
    bare: bool,
    pending: Pending,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading,
    Ended,
    Failed,
}

/// The extension headers for the next member; the last one of each kind is used.
#[derive(Debug, Default)]
struct Pending {
    pax: Vec<u8>,
    name: Vec<u8>,
    link: Vec<u8>,
    /// Keys of global headers' records about files.
    skipped: Vec<Box<[u8]>>,
    bytes: u64,
    headers: u64,
}

impl<S: ReadAt> Reader<S> {
    /// Returns a reader of a stream from its start, with limits on the extension headers of one member and on the
    /// extents of all members.
    pub fn new(source: S, limits: &Limits) -> Self {
        Self {
            source,
            extension_limit: limits.extension_bytes,
            extents_max: limits.sparse_extents,
            extents_left: limits.sparse_extents,
            position: 0,
            number: 1,
            bare: false,
            pending: Pending::default(),
            state: State::Reading,
        }
    }

    /// Sets the number of extents that earlier streams have left.
    #[must_use]
    pub fn with_extents_left(self, extents_left: u64) -> Self {
        Self { extents_left, ..self }
    }

    /// Reads a stream that `without_contents` wrote, if `bare`.
    #[must_use]
    pub fn of_bare(self, bare: bool) -> Self {
        Self { bare, ..self }
    }

    /// Returns the number of extents that are left.
    pub fn extents_left(&self) -> u64 {
        self.extents_left
    }

    /// Requires that `count` extents are left.
    pub(super) fn require_extents(&self, count: u64) -> Result<()> {
        if count > self.extents_left {
            return Err(TarProblem::SparseExtents { allowed: self.extents_max });
        }
        Ok(())
    }

    /// Takes extents of a sparse map from the limit while it is read.
    pub(super) fn spend_extents(&mut self, count: u64) -> Result<()> {
        self.require_extents(count)?;
        self.extents_left -= count;
        Ok(())
    }

    fn read_next(&mut self) -> std::result::Result<Option<TarEntry>, TarFault> {
        loop {
            let mut block: Block = [0; _];
            let whole_stream = |problem| TarFault { entry: None, problem };
            let offset = self.position;
            match self.source.read_at(offset, &mut block).map_err(|error| whole_stream(error.into()))? {
                0 => {
                    self.state = State::Ended;
                    return Ok(None);
                }
                512 => {}
                _ => return Err(whole_stream(ImageProblem::Tar("it ends within a header").into())),
            }
            if block[0] == 0 && block == [0; 512] {
                self.check_end_marker(offset + BLOCK).map_err(whole_stream)?;
                self.state = State::Ended;
                return Ok(None);
            }
            if let Some(entry) = self.header(offset, &block)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Checks the second block of the end marker, after its first zero block; the stream may end before it.
    fn check_end_marker(&self, offset: u64) -> Result<()> {
        let mut block: Block = [0; _];
        self.source.read_at(offset, &mut block)?;
        if block.iter().any(|&b| b != 0) {
            return Err(ImageProblem::Tar("data follows a single zero block").into());
        }
        Ok(())
    }

    /// Reads a header block: of a member, or of an extension, which is kept for the next member.
    fn header(&mut self, offset: u64, block: &Block) -> std::result::Result<Option<TarEntry>, TarFault> {
        let header = Header::from_bytes(block);
        let number = self.number;
        let nameless = |problem| TarFault { entry: Some(EntryPlace { number, name: Box::default() }), problem };
        if !checksum_holds(header) {
            return Err(if offset == 0 && !header.is_ustar() && !header.is_gnu() {
                TarFault {
                    entry: None,
                    problem: ImageProblem::Tar(compressed_twice(block).unwrap_or("it does not begin with a header"))
                        .into(),
                }
            } else {
                nameless(ImageProblem::Header("its checksum does not match").into())
            });
        }
        let fields = header.as_ustar();
        self.position = offset + BLOCK;
        if matches!(fields.typeflag[0], b'x' | b'g' | b'L' | b'K') {
            self.extension(fields).map_err(nameless)?;
            return Ok(None);
        }
        let mut pending = std::mem::take(&mut self.pending);
        let entry = self.member(offset, header, &mut pending).map_err(|problem| {
            let name = Pax::parse(&pending.pax).ok().and_then(|pax| pax.name());
            let name = name.unwrap_or_else(|| &pending.name).to_vec();
            let name = if name.is_empty() { header_name(fields) } else { name };
            TarFault { entry: Some(EntryPlace { number, name: name.into() }), problem }
        })?;
        self.number += 1;
        Ok(Some(entry))
    }

    /// Reads the data of an extension header.
    fn extension(&mut self, fields: &UstarHeader) -> Result<()> {
        let size = number::unsigned(&fields.size, "size")?;
        let offset = self.position;
        self.pending.bytes = self.within_limit(self.pending.bytes, size)?;
        // Empty extension headers have no effect, but each is counted: a stream of nothing else would never yield a
        // member.
        self.within_limit(0, self.pending.headers * BLOCK)?;
        self.pending.headers += 1;
        self.position = self.after(offset, size)?;
        // The size is within the limit and within the stream.
        let mut data = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let count = self.source.read_at(offset, &mut data)?;
        if (count as u64) < size {
            return Err(ImageProblem::Truncated { missing: size - count as u64 }.into());
        }
        match fields.typeflag[0] {
            b'L' => self.pending.name = until_nul(&data).to_vec(),
            b'K' => self.pending.link = until_nul(&data).to_vec(),
            typeflag => {
                pax::check(&data)?;
                // A global header is skipped, as in Go: no runtime applies one.
                if typeflag == b'g' {
                    self.pending.skipped.extend(pax::global(&data)?);
                } else {
                    self.pending.pax = data;
                }
            }
        }
        Ok(())
    }

    /// Adds to the bytes of one member's extension headers.
    fn within_limit(&self, before: u64, more: u64) -> Result<u64> {
        let found = before.saturating_add(more);
        if found > self.extension_limit {
            return Err(TarProblem::Extension { allowed: self.extension_limit, found });
        }
        Ok(found)
    }

    /// Returns the offset of the next header; padding may be missing at the end of the stream, data may not.
    fn after(&self, offset: u64, len: u64) -> Result<u64> {
        let there = self.source.size();
        match offset.checked_add(len) {
            Some(end) if end <= there => Ok(end.next_multiple_of(BLOCK).min(there)),
            _ => Err(ImageProblem::Truncated { missing: len - there.saturating_sub(offset) }.into()),
        }
    }

    fn member(&mut self, header_offset: u64, header: &Header, pending: &mut Pending) -> Result<TarEntry> {
        let fields = header.as_ustar();
        let pax = Pax::parse(&pending.pax)?;
        let name = match (pax.name(), &*pending.name) {
            (Some(path), _) => path.into(),
            (None, []) => header_name(fields),
            (None, long) => long.to_vec(),
        };
        let link = pax.linkpath.or(Some(&*pending.link).filter(|link| !link.is_empty()));
        let link = link.unwrap_or_else(|| until_nul(&fields.linkname));
        if name.contains(&0) || link.contains(&0) {
            return Err(ImageProblem::Path(PathFault::Nul).into());
        }
        let typeflag = fields.typeflag[0];
        let kind = Kind::of(typeflag, &name);
        let stored = number::unsigned(&fields.size, "size")?;
        let (size, content) = self.content(kind, header, &pax, pax.size.unwrap_or(stored))?;
        self.position = if self.bare { content.offset } else { self.after(content.offset, content.stored)? };
        let (uid, gid) = (number::unsigned(&fields.uid, "uid")?, number::unsigned(&fields.gid, "gid")?);
        let seconds = number::signed(&fields.mtime, "mtime")?.clamp(i64::MIN.into(), i64::MAX.into());
        let mtime = Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let device = |bytes, record: Option<u64>| match device {
            true => number::unsigned(bytes, "device number").map(|number| record.unwrap_or(number)),
            false => Ok(0),
        };
        Ok(TarEntry {
            number: self.number,
            header_offset,
            kind,
            typeflag,
            link: link.into(),
            mode: u32::try_from(number::unsigned(&fields.mode, "mode")? & 0o7777).unwrap_or_default(),
            uid: pax.uid.unwrap_or(uid),
            gid: pax.gid.unwrap_or(gid),
            mtime: pax.mtime.unwrap_or(mtime),
            major: device(&fields.dev_major, pax.major)?,
            minor: device(&fields.dev_minor, pax.minor)?,
            size,
            content,
            xattrs: pax.xattrs,
            ambiguous: pax.ambiguous,
            acl: pax.acl,
            dropped: pax.dropped,
            skipped: std::mem::take(&mut pending.skipped),
            name: name.into(),
        })
    }
}

impl<S: ReadAt> Iterator for Reader<S> {
    type Item = std::result::Result<TarEntry, TarFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if !matches!(self.state, State::Reading) {
            return None;
        }
        let next = self.read_next();
        if next.is_err() {
            self.state = State::Failed;
        }
        next.transpose()
    }
}

/// Returns the name in the header itself: the field, after the prefix of a POSIX header.
fn header_name(fields: &UstarHeader) -> Vec<u8> {
    let (name, prefix) = (until_nul(&fields.name), until_nul(&fields.prefix));
    if fields.magic != *tar_core::USTAR_MAGIC || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Compares the checksum with the sum of the header's bytes; some old programs summed signed bytes.
fn checksum_holds(header: &Header) -> bool {
    let stored = number::signed(&header.as_ustar().cksum, "checksum").ok();
    let signed = || {
        let (bytes, field) = (header.as_bytes(), &header.as_ustar().cksum);
        let sum = |bytes: &[u8]| bytes.iter().map(|&b| i128::from(b.cast_signed())).sum::<i128>();
        sum(bytes) - sum(field) + sum(&[b' '; 8])
    };
    stored == Some(header.compute_checksum().into()) || stored == Some(signed())
}
