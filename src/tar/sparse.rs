//! Sparse files: the positions of the stored bytes of a file with holes.

use super::number;
use crate::error::ImageProblem;

type Result<T> = std::result::Result<T, ImageProblem>;

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The offset in the file, as its readers see it.
    pub offset: u64,
    /// The number of bytes, never 0.
    pub len: u64,
}

/// Checks a map from an archive; empty runs, which GNU tar writes to mark the end, are left out.
pub(super) fn checked(pairs: impl Iterator<Item = (u64, u64)>, size: u64, stored: u64) -> Result<Vec<Extent>> {
    let mut map = Vec::new();
    let (mut position, mut total) = (0, 0);
    for (offset, len) in pairs.filter(|&(_, len)| len > 0) {
        let end = offset.checked_add(len).filter(|&end| offset >= position && end <= size);
        position = end.ok_or(ImageProblem::Sparse("its runs overlap or leave the file"))?;
        total += len;
        map.push(Extent { offset, len });
    }
    if total != stored {
        return Err(ImageProblem::Sparse("its runs are not as long as the data"));
    }
    Ok(map)
}

/// Returns the bytes that a file with these extents takes in blocks of one size: at least one block for each extent; a
/// block that two extents share counts once.
pub(super) fn allocated(map: &[Extent], block: u64) -> u64 {
    let (mut blocks, mut next) = (0, 0);
    for extent in map {
        let (first, end) = (extent.offset / block, (extent.offset + extent.len).div_ceil(block));
        blocks += end.saturating_sub(first.max(next));
        next = end;
    }
    blocks.saturating_mul(block)
}

/// Reads the offset and length pairs of an old GNU header or of its extension block; unused ones are zero.
pub(super) fn old_pairs(fields: &[u8], pairs: &mut Vec<(u64, u64)>) -> Result<()> {
    for field in fields.chunks_exact(24) {
        let (offset, len) = field.split_at(12);
        let pair = (number::unsigned(offset, "sparse map")?, number::unsigned(len, "sparse map")?);
        pairs.extend((pair != (0, 0)).then_some(pair));
    }
    Ok(())
}

/// The `GNU.sparse.*` records of a PAX header: versions 0.0, 0.1 and 1.0.
#[derive(Default)]
pub(super) struct PaxSparse<'a> {
    pub name: Option<&'a [u8]>,
    major: &'a [u8],
    minor: &'a [u8],
    size: &'a [u8],
    realsize: &'a [u8],
    blocks: &'a [u8],
    map: &'a [u8],
    numbers: Vec<u64>,
}

/// The position of the map of a PAX sparse file.
pub(super) enum PaxMap {
    /// In the records: offsets and lengths alternate.
    Records(Vec<u64>),
    /// At the beginning of the data, in decimal lines.
    Data,
}

impl<'a> PaxSparse<'a> {
    /// Applies one record, whose key has no `GNU.sparse.` prefix.
    pub(super) fn record(&mut self, key: &'a [u8], value: &'a [u8]) -> Result<()> {
        match key {
            b"name" => self.name = Some(value).filter(|name| !name.is_empty()),
            b"major" => self.major = value,
            b"minor" => self.minor = value,
            b"size" => self.size = value,
            b"realsize" => self.realsize = value,
            b"numblocks" => self.blocks = value,
            b"map" => self.map = value,
            // Version 0.0 alternates these two.
            b"offset" | b"numbytes" => {
                if (key == b"offset") != self.numbers.len().is_multiple_of(2) {
                    return Err(ImageProblem::Sparse("its offsets and lengths do not take turns"));
                }
                self.numbers.push(number::decimal(value, "sparse map")?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the size of the file with its holes, and the position of its map.
    pub(super) fn resolve(&self) -> Result<(u64, PaxMap)> {
        let size = if self.size.is_empty() { self.realsize } else { self.size };
        let size = number::decimal(size, "sparse size")?;
        match (self.major, self.minor) {
            (b"1", b"0") => return Ok((size, PaxMap::Data)),
            (b"", b"") | (b"0", b"0" | b"1") => {}
            _ => return Err(ImageProblem::Sparse("its version is unknown")),
        }
        let numbers = if !self.numbers.is_empty() {
            self.numbers.clone()
        } else if self.map.is_empty() {
            Vec::new()
        } else {
            self.map.split(|&b| b == b',').map(|text| number::decimal(text, "sparse map")).collect::<Result<_>>()?
        };
        let count = number::decimal(self.blocks, "number of sparse blocks")?;
        if !numbers.len().is_multiple_of(2) || (numbers.len() / 2) as u64 != count {
            return Err(ImageProblem::Sparse("it has fewer runs than it says"));
        }
        Ok((size, PaxMap::Records(numbers)))
    }
}

/// Pairs up alternating offsets and lengths.
pub(super) fn in_turn(numbers: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1]))
}

/// A parser of the map at the beginning of a version 1.0 file's data, fed with blocks.
#[derive(Default)]
pub(super) struct DataMap {
    line: Vec<u8>,
    expected: Option<u64>,
    numbers: Vec<u64>,
}

impl DataMap {
    /// Returns the number of numbers read, without the first one.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the number of numbers that the first one promises; 0 before it was read.
    pub(super) fn promised(&self) -> u64 {
        self.expected.unwrap_or(0)
    }

    /// Parses a block; returns the offsets and lengths once all are read.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<Vec<u64>>> {
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let number = number::decimal(&self.line, "sparse map")?;
            self.line.clear();
            match self.expected {
                None => self.expected = Some(number.checked_mul(2).ok_or(ImageProblem::Sparse("it is too long"))?),
                Some(_) => self.numbers.push(number),
            }
            if self.expected == Some(self.numbers.len() as u64) {
                return Ok(Some(std::mem::take(&mut self.numbers)));
            }
        }
        // The longest number has 20 digits; without a limit a line could grow to the whole content.
        if self.line.len() > 20 {
            return Err(ImageProblem::Sparse("it is not made of numbers"));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(u64, u64)], size: u64, stored: u64) -> std::result::Result<usize, String> {
        checked(pairs.iter().copied(), size, stored).map(|map| map.len()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn sparse_maps_ascend_and_cover_all_data() {
        assert_eq!(check(&[], 4096, 0), Ok(0));
        assert_eq!(check(&[(0, 10), (10, 5), (100, 1), (4096, 0)], 4096, 16), Ok(3));
        assert_eq!(check(&[(9, 0), (0, 1)], 1, 1), Ok(1));
        let leave = Err("has a damaged sparse map: its runs overlap or leave the file".to_owned());
        for (pairs, size) in [
            (&[(5, 5), (0, 5)][..], 10),
            (&[(0, 5), (4, 5)], 10),
            (&[(8, 3)], 10),
            (&[(u64::MAX, 2)], u64::MAX),
            (&[(1, u64::MAX)], u64::MAX),
        ] {
            assert_eq!(check(pairs, size, 10), leave, "{pairs:?}");
        }
        let length = Err("has a damaged sparse map: its runs are not as long as the data".to_owned());
        assert_eq!(check(&[(0, 5)], 10, 6), length);
        assert_eq!(check(&[(0, 5)], 10, 4), length);
    }

    #[test]
    fn extents_are_counted_in_whole_blocks_and_shared_blocks_once() {
        let allocated = |pairs: &[(u64, u64)]| {
            allocated(&pairs.iter().map(|&(offset, len)| Extent { offset, len }).collect::<Vec<_>>(), 4096)
        };
        assert_eq!(allocated(&[]), 0);
        assert_eq!(allocated(&[(0, 1)]), 4096);
        assert_eq!(allocated(&[(4095, 2)]), 8192);
        assert_eq!(allocated(&[(0, 4096), (4096, 4096)]), 8192);
        assert_eq!(allocated(&[(0, 1), (100, 1), (4095, 1), (4096, 1), (20_000, 1)]), 3 * 4096);
        assert_eq!(allocated(&[(u64::MAX - 1, 1)]), 4096);
    }

    #[test]
    fn a_map_in_the_data_may_cross_blocks() {
        let mut map = DataMap::default();
        assert_eq!(map.block(b"2\n0\n5").unwrap(), None);
        assert_eq!(map.block(b"12\n1024\n1\n\0\0\0").unwrap(), Some(vec![0, 512, 1024, 1]));
        assert_eq!(DataMap::default().block(b"0\n\0\0").unwrap(), Some(vec![]));
        for bad in [&b"x\n"[..], b"\n", b"-1\n", b"99999999999999999999\n", b"18446744073709551615\n", &[b'1'; 512]] {
            assert!(DataMap::default().block(bad).is_err(), "{bad:?}");
        }
    }
}
