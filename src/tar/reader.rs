//! From a stream of blocks to members.

use tar_core::{Header, UstarHeader};

use super::entry::{Entry, Kind};
use super::fault::{TarFault, TarProblem};
use super::number::{self, until_nul};
use super::pax::{self, Pax};
use super::{BLOCK, Block};
use crate::error::{EntryPlace, ImageProblem};
use crate::path::PathFault;
use crate::read_at::ReadAt;
use crate::time::Timestamp;

pub(super) type Result<T> = std::result::Result<T, TarProblem>;

/// Yields the members of a tar stream in their order; after an error there is nothing more.
///
/// Only headers are read. Memory is bound by the limit on extension headers, whatever the stream claims.
#[derive(Debug)]
pub struct Reader<S> {
    pub(super) source: S,
    extension_limit: u64,
    pub(super) position: u64,
    number: u64,
    pending: Pending,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading,
    Ended(u64),
    Failed,
}

/// What extension headers said about the member that comes next; of one kind the last counts.
#[derive(Debug, Default)]
struct Pending {
    pax: Vec<u8>,
    name: Vec<u8>,
    link: Vec<u8>,
    bytes: u64,
}

impl<S: ReadAt> Reader<S> {
    /// Begins at the start of a stream. `extension_limit` bounds the bytes of one member's extension headers, its sparse
    /// map included.
    pub fn new(source: S, extension_limit: u64) -> Self {
        Self { source, extension_limit, position: 0, number: 1, pending: Pending::default(), state: State::Reading }
    }

    /// Returns where the stream of members ends, its end marker included, once all of them were read.
    pub fn end(&self) -> Option<u64> {
        match self.state {
            State::Ended(offset) => Some(offset),
            State::Reading | State::Failed => None,
        }
    }

    fn read_next(&mut self) -> std::result::Result<Option<Entry>, TarFault> {
        loop {
            let mut block: Block = [0; _];
            let whole_stream = |problem| TarFault { entry: None, problem };
            let offset = self.position;
            match self.source.read_at(offset, &mut block).map_err(|error| whole_stream(error.into()))? {
                0 => {
                    self.state = State::Ended(offset);
                    return Ok(None);
                }
                512 => {}
                _ => return Err(whole_stream(ImageProblem::Tar("it ends within a header").into())),
            }
            if block[0] == 0 && block == [0; 512] {
                self.state = State::Ended(self.end_marker(offset + BLOCK).map_err(whole_stream)?);
                return Ok(None);
            }
            if let Some(entry) = self.header(offset, &block)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Takes the rest of the end marker, whose first zero block was read; returns where it ends.
    fn end_marker(&self, offset: u64) -> Result<u64> {
        let mut block: Block = [0; _];
        let count = self.source.read_at(offset, &mut block)?;
        if block.iter().any(|&b| b != 0) {
            return Err(ImageProblem::Tar("data follows a single zero block").into());
        }
        Ok(offset + count as u64)
    }

    /// Takes a header block: a member's, or an extension's, which is kept for the next member.
    fn header(&mut self, offset: u64, block: &Block) -> std::result::Result<Option<Entry>, TarFault> {
        let header = Header::from_bytes(block);
        let number = self.number;
        let nameless = |problem| TarFault { entry: Some(EntryPlace { number, name: Box::default() }), problem };
        if !checksum_holds(header) {
            return Err(if offset == 0 && !header.is_ustar() && !header.is_gnu() {
                TarFault { entry: None, problem: ImageProblem::Tar("it does not begin with a header").into() }
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
        let pending = std::mem::take(&mut self.pending);
        let entry = self.member(offset, header, &pending).map_err(|problem| {
            let name = Pax::parse(&pending.pax).ok().and_then(|pax| pax.name());
            let name = name.unwrap_or_else(|| &pending.name).to_vec();
            let name = if name.is_empty() { header_name(fields) } else { name };
            TarFault { entry: Some(EntryPlace { number, name: name.into() }), problem }
        })?;
        self.number += 1;
        Ok(Some(entry))
    }

    /// Reads an extension header's data.
    fn extension(&mut self, fields: &UstarHeader) -> Result<()> {
        let size = number::unsigned(&fields.size, "size")?;
        let offset = self.position;
        self.pending.bytes = self.within_limit(self.pending.bytes, size)?;
        self.position = self.after(offset, size)?;
        // Both bounds passed: the limit's and that of the bytes that are there.
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
                // A global header is skipped, as by Go: no runtime applies one.
                if typeflag == b'x' {
                    self.pending.pax = data;
                }
            }
        }
        Ok(())
    }

    /// Adds to the bytes of one member's extension headers.
    pub(super) fn within_limit(&self, before: u64, more: u64) -> Result<u64> {
        let found = before.saturating_add(more);
        if found > self.extension_limit {
            return Err(TarProblem::Extension { allowed: self.extension_limit, found });
        }
        Ok(found)
    }

    /// Returns where the next header stands; padding may be missing where the stream ends, data may not.
    fn after(&self, offset: u64, len: u64) -> Result<u64> {
        let there = self.source.size();
        match offset.checked_add(len) {
            Some(end) if end <= there => Ok(end.next_multiple_of(BLOCK).min(there)),
            _ => Err(ImageProblem::Truncated { missing: len - there.saturating_sub(offset) }.into()),
        }
    }

    fn member(&mut self, header_offset: u64, header: &Header, pending: &Pending) -> Result<Entry> {
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
        let (size, content) = self.content(kind, header, &pax, pax.size.unwrap_or(stored), pending.bytes)?;
        self.position = self.after(content.offset, content.stored)?;
        let (uid, gid) = (number::unsigned(&fields.uid, "uid")?, number::unsigned(&fields.gid, "gid")?);
        let seconds = number::signed(&fields.mtime, "mtime")?.clamp(i64::MIN.into(), i64::MAX.into());
        let mtime = Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let device = |bytes, field| if device { number::unsigned(bytes, field) } else { Ok(0) };
        Ok(Entry {
            number: self.number,
            header_offset,
            kind,
            typeflag,
            link: link.into(),
            mode: u32::try_from(number::unsigned(&fields.mode, "mode")? & 0o7777).unwrap_or_default(),
            uid: pax.uid.unwrap_or(uid),
            gid: pax.gid.unwrap_or(gid),
            mtime: pax.mtime.unwrap_or(mtime),
            major: device(&fields.dev_major, "device number")?,
            minor: device(&fields.dev_minor, "device number")?,
            size,
            content,
            xattrs: pax.xattrs,
            name: name.into(),
        })
    }
}

impl<S: ReadAt> Iterator for Reader<S> {
    type Item = std::result::Result<Entry, TarFault>;

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

/// The name in the header itself: the field, and before it, in POSIX headers, its prefix.
fn header_name(fields: &UstarHeader) -> Vec<u8> {
    let (name, prefix) = (until_nul(&fields.name), until_nul(&fields.prefix));
    if fields.magic != *tar_core::USTAR_MAGIC || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Compares the checksum with the sum of the header's bytes; some old programs summed them with a sign.
fn checksum_holds(header: &Header) -> bool {
    let stored = number::signed(&header.as_ustar().cksum, "checksum").ok();
    let signed = || {
        let (bytes, field) = (header.as_bytes(), &header.as_ustar().cksum);
        let sum = |bytes: &[u8]| bytes.iter().map(|&b| i128::from(b.cast_signed())).sum::<i128>();
        sum(bytes) - sum(field) + sum(&[b' '; 8])
    };
    stored == Some(header.compute_checksum().into()) || stored == Some(signed())
}
