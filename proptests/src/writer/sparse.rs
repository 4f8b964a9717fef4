//! Files with holes in the formats of GNU tar: the archive contains only the segments, with a map.

use super::header::{Header, PaxRecords, number};

/// The positions of the stored bytes in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sparse {
    /// The format of the map.
    pub format: SparseFormat,
    /// Offset and length in bytes of each segment.
    pub segments: Vec<(u64, u64)>,
    /// The size of the whole file in bytes.
    pub real_size: u64,
}

/// The formats of the map of a sparse file in GNU tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparseFormat {
    /// Typeflag `S`: four segments in the header, 21 in each extension block.
    OldGnu,
    /// PAX 0.0: a pair of records for each segment.
    Pax00,
    /// PAX 0.1: one record with all numbers; the header has another name.
    Pax01,
    /// PAX 1.0: the map comes before the data.
    Pax10,
}

const IN_HEADER: usize = 4;
const IN_EXTENSION: usize = 21;

impl Sparse {
    /// Writes the map into a header (old GNU) and returns the extension blocks after it.
    pub(super) fn old_gnu(&self, header: &mut Header) -> Vec<u8> {
        let (first, rest) = self.segments.split_at(self.segments.len().min(IN_HEADER));
        header.put(386, &numbers(first));
        header.put(482, &[u8::from(!rest.is_empty())]);
        header.put(483, &number::<12>(self.real_size.into()));
        let mut blocks = Vec::new();
        let mut chunks = rest.chunks(IN_EXTENSION).peekable();
        while let Some(chunk) = chunks.next() {
            let mut block = numbers(chunk);
            block.resize(504, 0);
            block.push(u8::from(chunks.peek().is_some()));
            block.resize(512, 0);
            blocks.extend(block);
        }
        blocks
    }

    /// Adds the PAX records of the map; returns the name for the header and the bytes before the data.
    pub(super) fn pax(&self, name: &[u8], records: &mut PaxRecords) -> (Vec<u8>, Vec<u8>) {
        let real_size = self.real_size.to_string();
        let blocks = self.segments.len().to_string();
        let numbers = self.segments.iter().flat_map(|&(offset, length)| [offset.to_string(), length.to_string()]);
        let stand_in = [b"GNUSparseFile.0/", name].concat();
        match self.format {
            SparseFormat::OldGnu => (name.to_vec(), Vec::new()),
            SparseFormat::Pax00 => {
                records.add("GNU.sparse.size", real_size);
                records.add("GNU.sparse.numblocks", blocks);
                for (offset, length) in &self.segments {
                    records.add("GNU.sparse.offset", offset.to_string());
                    records.add("GNU.sparse.numbytes", length.to_string());
                }
                (name.to_vec(), Vec::new())
            }
            SparseFormat::Pax01 => {
                records.add("GNU.sparse.name", name);
                records.add("GNU.sparse.size", real_size);
                records.add("GNU.sparse.numblocks", blocks);
                records.add("GNU.sparse.map", numbers.collect::<Vec<_>>().join(","));
                (stand_in, Vec::new())
            }
            SparseFormat::Pax10 => {
                records.add("GNU.sparse.major", "1");
                records.add("GNU.sparse.minor", "0");
                records.add("GNU.sparse.name", name);
                records.add("GNU.sparse.realsize", real_size);
                let lines = [blocks].into_iter().chain(numbers);
                let mut map: Vec<u8> = lines.flat_map(|line| format!("{line}\n").into_bytes()).collect();
                map.resize(map.len().next_multiple_of(512), 0);
                (stand_in, map)
            }
        }
    }
}

fn numbers(segments: &[(u64, u64)]) -> Vec<u8> {
    segments
        .iter()
        .flat_map(|&(offset, length)| [number::<12>(offset.into()), number::<12>(length.into())].concat())
        .collect()
}
