//! The content of an inode, holes included.

use std::io::{self, BufReader, Read};

use super::{Filesystem, Inode, ReadAt, ReadError, Run, at_most};

/// How much one read of an image asks for, where a file is that large.
const READ_SIZE: usize = 256 << 10;

/// The content of one inode.
pub struct Content<'a, R> {
    filesystem: &'a Filesystem<R>,
    size: u64,
    /// What was written, in the order of the file.
    data: Vec<Data>,
    /// Content that stands in the inode; the places of `data` then lie in it, not in the image.
    inline: Option<Box<[u8]>>,
}

/// Written bytes.
#[derive(Clone, Copy)]
struct Data {
    /// The first byte within the file.
    offset: u64,
    length: u64,
    /// The first byte within the image.
    place: u64,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes that the image holds, which may be zeros.
    Data {
        /// The first byte within the file.
        offset: u64,
        /// How many bytes, at least one.
        length: u64,
    },
    /// Zeros that the image does not hold.
    Hole {
        /// The first byte within the file.
        offset: u64,
        /// How many bytes, at least one.
        length: u64,
    },
}

impl<R: ReadAt> Filesystem<R> {
    /// Returns the content of an inode: a file's bytes, a symlink's target, a directory's records.
    ///
    /// # Errors
    ///
    /// A damaged block map, as [`Filesystem::extents`] finds it; damaged inline data.
    pub fn content<'a>(&'a self, inode: &Inode) -> Result<Content<'a, R>, ReadError> {
        let size = if inode.kind.has_content() { inode.size } else { 0 };
        let inline = if size > 0 && inode.has_inline_data() {
            Some(inode.inline_data()?.concat())
        } else if inode.is_fast_symlink() {
            Some(inode.i_block().into_iter().take(at_most(size, usize::MAX)).collect())
        } else {
            None
        };
        let data = if let Some(bytes) = &inline {
            vec![Data { offset: 0, length: bytes.len() as u64, place: 0 }]
        } else {
            let block_size = u64::from(self.superblock.block_size);
            self.extents(inode)?.iter().filter_map(|run| run.data(block_size, size)).collect()
        };
        Ok(Content { filesystem: self, size, data, inline })
    }
}

impl Run {
    /// Returns the written bytes before the end of the file.
    fn data(&self, block_size: u64, size: u64) -> Option<Data> {
        let place = self.physical? * block_size;
        let offset = self.logical.checked_mul(block_size).filter(|&offset| offset < size)?;
        let length = (self.count * block_size).min(size - offset);
        Some(Data { offset, length, place })
    }
}

impl Data {
    fn end(self) -> u64 {
        self.offset + self.length
    }
}

impl<R: ReadAt> Content<'_, R> {
    /// Returns how many bytes there are, holes included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the parts of the content in order, without gaps; no hole follows another.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { data: &self.data, position: 0, size: self.size }
    }

    /// Fills `buf` with the bytes that start at `offset`, holes as zeros, and returns how many there were: fewer than
    /// `buf` holds only at the end of the content.
    ///
    /// # Errors
    ///
    /// An image that ends before the block.
    pub fn read_at(&self, buf: &mut [u8], mut offset: u64) -> Result<usize, ReadError> {
        let wanted = at_most(self.size.saturating_sub(offset), buf.len());
        let mut rest = &mut buf[..wanted];
        let mut data = self.data[self.data.partition_point(|data| data.end() <= offset)..].iter();
        let mut next = data.next();
        while !rest.is_empty() {
            let length = match next {
                Some(data) if data.offset <= offset => at_most(data.end() - offset, rest.len()),
                Some(data) => at_most(data.offset - offset, rest.len()),
                None => rest.len(),
            };
            let (head, tail) = rest.split_at_mut(length);
            match next {
                Some(found) if found.offset <= offset => {
                    self.read_stored(head, found.place + (offset - found.offset))?;
                    next = data.next();
                }
                _ => head.fill(0),
            }
            offset += length as u64;
            rest = tail;
        }
        Ok(wanted)
    }

    fn read_stored(&self, buf: &mut [u8], place: u64) -> Result<(), ReadError> {
        let length = buf.len();
        match &self.inline {
            Some(bytes) => bytes.read_exact_at(buf, place),
            None => self.filesystem.reader.read_exact_at(buf, place),
        }
        .map_err(|source| ReadError::Io { offset: place, length, source })
    }

    /// Returns a reader of the whole content, holes as zeros, that asks the image for 256 KiB at a time.
    #[must_use]
    pub fn reader(&self) -> impl Read {
        let capacity = at_most(self.size, READ_SIZE).max(1);
        BufReader::with_capacity(capacity, Cursor { content: self, position: 0 })
    }
}

struct Cursor<'a, R> {
    content: &'a Content<'a, R>,
    position: u64,
}

impl<R: ReadAt> Read for Cursor<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read_at(buf, self.position).map_err(io::Error::other)?;
        self.position += length as u64;
        Ok(length)
    }
}

/// The parts of a content; see [`Content::chunks`].
pub struct Chunks<'a> {
    data: &'a [Data],
    position: u64,
    size: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let offset = self.position;
        let left = self.size.checked_sub(offset).filter(|&left| left > 0)?;
        let (length, chunk): (u64, fn(u64, u64) -> Chunk) = match self.data.split_first() {
            Some((first, rest)) if first.offset <= offset => {
                self.data = rest;
                (first.length, |offset, length| Chunk::Data { offset, length })
            }
            first => {
                let length = first.map_or(left, |(first, _)| first.offset - offset);
                (length, |offset, length| Chunk::Hole { offset, length })
            }
        };
        self.position += length;
        Some(chunk(offset, length))
    }
}
