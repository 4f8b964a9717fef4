//! The position of a member's content, with holes.

use tar_core::Header;

use super::entry::{Content, Kind};
use super::number;
use super::pax::Pax;
use super::reader::{Reader, Result};
use super::sparse::{self, DataMap, PaxMap};
use super::{BLOCK, Block};
use crate::error::ImageProblem;
use crate::read_at::ReadAt;

impl<S: ReadAt> Reader<S> {
    /// Returns a member's size and the position of its content; `stored` is the number of bytes after the header, with
    /// maps.
    pub(super) fn content(
        &mut self,
        kind: Kind,
        header: &Header,
        pax: &Pax<'_>,
        stored: u64,
    ) -> Result<(u64, Content)> {
        let offset = self.position;
        let typeflag = header.as_ustar().typeflag[0];
        if let Some(sparse) = &pax.sparse {
            if kind != Kind::File || typeflag == b'S' {
                return Err(ImageProblem::Sparse("only a regular file can have one").into());
            }
            let (size, map) = sparse.resolve()?;
            let (numbers, offset, stored) = match map {
                PaxMap::Records(numbers) => {
                    self.spend_extents(numbers.len() as u64 / 2)?;
                    (numbers, offset, stored)
                }
                PaxMap::Data => self.data_map(offset, stored)?,
            };
            let map = Some(sparse::checked(sparse::in_turn(&numbers), size, stored)?);
            return Ok((size, Content { offset, stored, map }));
        }
        if typeflag == b'S' {
            return self.old_sparse(header, stored);
        }
        let stored = if kind.has_content() { stored } else { 0 };
        Ok((stored, Content { offset, stored, map: None }))
    }

    /// Reads the map of an old GNU sparse file: in its header, and in blocks between header and data.
    fn old_sparse(&mut self, header: &Header, stored: u64) -> Result<(u64, Content)> {
        if !header.is_gnu() {
            return Err(ImageProblem::Sparse("its header is not GNU's").into());
        }
        let fields = header.as_gnu();
        let size = number::unsigned(&fields.realsize, "sparse size")?;
        let (mut pairs, mut offset) = (Vec::new(), self.position);
        for run in &fields.sparse {
            sparse::old_pairs(&[run.offset, run.numbytes].concat(), &mut pairs)?;
        }
        let mut more = fields.isextended[0] != 0;
        self.spend_extents(pairs.len() as u64)?;
        while more {
            let block = self.block(offset)?;
            offset += BLOCK;
            let before = pairs.len();
            sparse::old_pairs(&block[..504], &mut pairs)?;
            // A block without pairs costs work, too.
            self.spend_extents((pairs.len() - before).max(1) as u64)?;
            more = block[504] != 0;
        }
        let map = Some(sparse::checked(pairs.into_iter(), size, stored)?);
        Ok((size, Content { offset, stored, map }))
    }

    /// Reads the map at the beginning of a PAX 1.0 file's data; returns it with the offset and length of the other
    /// data.
    fn data_map(&mut self, mut offset: u64, mut stored: u64) -> Result<(Vec<u64>, u64, u64)> {
        let mut map = DataMap::default();
        let mut counted = 0;
        loop {
            stored = stored.checked_sub(BLOCK).ok_or(ImageProblem::Sparse("it is longer than the data"))?;
            let block = self.block(offset)?;
            offset += BLOCK;
            let numbers = map.block(&block)?;
            let count = numbers.as_ref().map_or(map.len(), Vec::len) as u64 / 2;
            self.spend_extents(count - counted)?;
            counted = count;
            if let Some(numbers) = numbers {
                return Ok((numbers, offset, stored));
            }
            // A map over the limit need not be read.
            self.require_extents((map.promised() / 2).saturating_sub(counted))?;
        }
    }

    fn block(&self, offset: u64) -> Result<Block> {
        let mut block: Block = [0; _];
        match self.source.read_at(offset, &mut block)? as u64 {
            BLOCK => Ok(block),
            count => Err(ImageProblem::Truncated { missing: BLOCK - count }.into()),
        }
    }
}
