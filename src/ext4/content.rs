//! The content of an inode, including holes.

use std::io::{self, BufReader, Read};

use super::{BlockSource, Filesystem, Inode, ReadError, Run, Window, at_most};

/// Bytes of one read of an image.
const READ_SIZE: usize = 256 << 10;

/// The content of one inode.
pub struct Content<'a, R> {
    filesystem: &'a Filesystem<R>,
    size: u64,
    /// The written parts, in the order of the file.
    data: Vec<Data>,
    /// The content, if it is stored in the inode; the places of `data` are then offsets in it, not in the image.
    inline: Option<Box<[u8]>>,
}

/// A run of written bytes.
#[derive(Clone, Copy)]
struct Data {
    /// The offset of the first byte in the file.
    offset: u64,
    length: u64,
    /// The offset of the first byte in the image.
    place: u64,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes stored in the image, which may be zero.
    Data {
        /// The offset of the first byte in the file.
        offset: u64,
        /// The number of bytes, at least one.
        length: u64,
    },
    /// Zeros that the image does not store.
    Hole {
        /// The offset of the first byte in the file.
        offset: u64,
        /// The number of bytes, at least one.
        length: u64,
    },
}

impl<R: BlockSource> Filesystem<R> {
    /// Returns the content of an inode: a file's bytes, a symlink's target, a directory's records.
    ///
    /// # Errors
    ///
    /// The block map is damaged, as [`Filesystem::extents`] reports it; the inline data is damaged.
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
    /// Returns the run's bytes before the end of the file.
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

impl<R: BlockSource> Content<'_, R> {
    /// Returns the size in bytes, including holes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the parts of the content in order, without gaps; no two holes are adjacent.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { data: &self.data, position: 0, size: self.size }
    }

    /// Fills `buf` with the bytes from `offset` on, holes as zeros, and returns their number, which is less than the
    /// size of `buf` only at the end of the content.
    ///
    /// # Errors
    ///
    /// The image ends before the block.
    pub fn read_at(&self, buf: &mut [u8], mut offset: u64) -> Result<usize, ReadError> {
        let total = at_most(self.size.saturating_sub(offset), buf.len());
        let mut rest = &mut buf[..total];
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
        Ok(total)
    }

    /// Returns `length` bytes from `offset` on, all of them in one [`Chunk::Data`], read through a window.
    ///
    /// # Errors
    ///
    /// The image ends before the bytes; they are not in one chunk of data.
    pub fn stored<'w>(&'w self, offset: u64, length: usize, window: &'w mut Window) -> Result<&'w [u8], ReadError> {
        let data = self.data.get(self.data.partition_point(|data| data.end() <= offset));
        let data = data.filter(|data| data.offset <= offset && offset + length as u64 <= data.end());
        let place = data.map_or(u64::MAX, |data| data.place + (offset - data.offset));
        match &self.inline {
            Some(bytes) => usize::try_from(place)
                .ok()
                .and_then(|from| bytes.get(from..)?.get(..length))
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            None => window.read(&self.filesystem.reader, place, length),
        }
        .map_err(|source| ReadError::Io { offset: place, length, source })
    }

    fn read_stored(&self, buf: &mut [u8], place: u64) -> Result<(), ReadError> {
        let length = buf.len();
        match &self.inline {
            Some(bytes) => bytes.read_exact_at(buf, place),
            None => self.filesystem.reader.read_exact_at(buf, place),
        }
        .map_err(|source| ReadError::Io { offset: place, length, source })
    }

    /// Returns a reader of the whole content, holes as zeros, that reads 256 KiB of the image at a time.
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

impl<R: BlockSource> Read for Cursor<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read_at(buf, self.position).map_err(io::Error::other)?;
        self.position += length as u64;
        Ok(length)
    }
}

/// The parts of a content. See [`Content::chunks`].
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
