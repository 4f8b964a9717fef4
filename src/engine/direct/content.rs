//! Writes the bytes of files to their allocated blocks, several files at a time.

use mkext4::{InodeHandle, Layout};

use super::buffer::{ImageFile, WriteBuffer};
use super::{Target, write_error};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::layer::entry::Content;
use crate::plan::Plan;
use crate::plan::blocks::data_blocks;
use crate::plan::constants::BLOCK_SIZE;
use crate::progress::Progress;
use crate::tree::{InodeId, Node, Tree};
use crate::workers::{self, Batches};

/// Bytes written at once, so that cancellation does not wait for a large file.
const PIECE: usize = 4 << 20;

/// Consecutive blocks of a file, none of which is all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub first: u64,
    pub blocks: u64,
}

/// Returns the segments of a file that are written; the rest are holes.
pub(super) fn segments(content: &Content, cancel: &Cancel) -> Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = Vec::new();
    for block in data_blocks(content, cancel) {
        match segments.last_mut() {
            Some(last) if last.first + last.blocks == block => last.blocks += 1,
            _ => segments.push(Segment { first: block, blocks: 1 }),
        }
    }
    cancel.check()?;
    Ok(segments)
}

/// Writes every file; each worker takes the next files of a shared list.
#[expect(clippy::too_many_arguments, reason = "one call, and each is another thing")]
pub(super) fn write(
    layout: &Layout,
    tree: &Tree,
    files: &[(InodeId, InodeHandle)],
    target: Target<'_>,
    plan: &Plan,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<()> {
    let file = ImageFile::new(target.file);
    let content = |id: InodeId| match &tree.inode(id).node {
        Node::File(content) => Some(content),
        _ => None,
    };
    let batches = Batches::new(files);
    let write_batches = || -> std::result::Result<(), Failure> {
        let mut buffer = WriteBuffer::new(&file);
        while let Some(batch) = batches.take(|(id, _)| content(*id).map_or(0, Content::stored_len)) {
            for (id, handle) in batch {
                let Some(content) = content(*id) else { continue };
                let segments = segments(content, cancel).map_err(Failure::Stop)?;
                write_file(content, &places(&segments, &layout.extents(*handle)), &mut buffer, cancel)?;
                progress.advance(1);
            }
        }
        buffer.flush().map_err(Failure::System)
    };
    workers::share(jobs.min(files.len()), || {
        write_batches().map_err(|failure| {
            // Stops the other workers.
            batches.clear();
            match failure {
                Failure::Stop(error) => error,
                Failure::System(source) => write_error(source, target, plan),
            }
        })
    })
}

/// A run of a file's bytes and its position in the image: offsets and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileExtent {
    in_file: u64,
    in_image: u64,
    length: u64,
}

/// Joins the segments of a file with the extents that hold them, both in order.
fn places(segments: &[Segment], extents: &[(u64, u64)]) -> Vec<FileExtent> {
    let mut places = Vec::with_capacity(extents.len());
    let mut extents = extents.iter().copied();
    let (mut in_image, mut room) = (0, 0);
    for segment in segments {
        let (mut in_file, mut rest) = (segment.first * BLOCK_SIZE, segment.blocks * BLOCK_SIZE);
        while rest > 0 {
            if room == 0 {
                let Some((offset, bytes)) = extents.next() else { return places };
                // The last block of a file is given with the bytes in use; the rest of the block belongs to the file,
                // too.
                (in_image, room) = (offset, bytes.next_multiple_of(BLOCK_SIZE));
            }
            let length = rest.min(room);
            places.push(FileExtent { in_file, in_image, length });
            (in_file, in_image) = (in_file + length, in_image + length);
            (rest, room) = (rest - length, room - length);
        }
    }
    places
}

enum Failure {
    System(std::io::Error),
    Stop(Error),
}

fn write_file(
    content: &Content,
    places: &[FileExtent],
    buffer: &mut WriteBuffer<'_>,
    cancel: &Cancel,
) -> std::result::Result<(), Failure> {
    let mut places = places.iter().peekable();
    for (start, bytes) in content.runs() {
        let end = start + bytes.len() as u64;
        while let Some(place) = places.peek() {
            let (from, to) = (start.max(place.in_file), end.min(place.in_file + place.length));
            if from < to {
                let index = |offset: u64| usize::try_from(offset - start).unwrap_or(bytes.len());
                let at = place.in_image + (from - place.in_file);
                for (n, piece) in (0..).zip(bytes[index(from)..index(to)].chunks(PIECE)) {
                    cancel.check().map_err(Failure::Stop)?;
                    buffer.add(at + n * PIECE as u64, piece).map_err(Failure::System)?;
                }
            }
            if place.in_file + place.length > end {
                // The next run may have the rest of the bytes.
                break;
            }
            places.next();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use bytes::Bytes;

    use super::*;
    use crate::layer::entry::Extent;

    fn segment(first: u64, blocks: u64) -> Segment {
        Segment { first, blocks }
    }

    fn placed(in_file: u64, in_image: u64, length: u64) -> FileExtent {
        FileExtent { in_file, in_image, length }
    }

    #[test]
    fn zero_blocks_are_not_content() {
        let mut bytes = vec![7; 5 * 4096];
        bytes[4096..3 * 4096].fill(0);
        assert_eq!(
            segments(&Content::dense(bytes.into()), &Cancel::default()).unwrap(),
            [segment(0, 1), segment(3, 2)]
        );
        assert_eq!(segments(&Content::dense(Bytes::new()), &Cancel::default()).unwrap(), []);
    }

    #[test]
    fn parts_are_mapped_to_extents_of_any_length() {
        let (a, b) = (100 * 4096, 200 * 4096);
        let joined = places(&[segment(0, 2), segment(5, 2)], &[(a, 3 * 4096), (b, 10)]);
        assert_eq!(joined, [placed(0, a, 8192), placed(5 * 4096, a + 8192, 4096), placed(6 * 4096, b, 4096)]);
        let joined = places(&[segment(3, 3)], &[(a, 4096), (b, 4097)]);
        assert_eq!(joined, [placed(3 * 4096, a, 4096), placed(4 * 4096, b, 8192)]);
    }

    #[test]
    fn every_stored_byte_reaches_its_block() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 * 4096).unwrap();
        let pieces = [(1, 2), (4000, 200), (9000, 1), (20_479, 2)].map(|(offset, len)| Extent { offset, len });
        let stored: Vec<u8> = (0..205).map(|n: u8| n | 1).collect();
        let content = Content::dense(stored.into()).spread(30_000, &pieces);
        let parts = segments(&content, &Cancel::default()).unwrap();
        assert_eq!(parts, [segment(0, 3), segment(4, 2)]);
        let places = places(&parts, &[(4096, 8192), (5 * 4096, 12_288)]);
        let target = ImageFile::new(&file);
        let mut buffer = WriteBuffer::new(&target);
        assert!(write_file(&content, &places, &mut buffer, &Cancel::default()).is_ok());
        buffer.flush().unwrap();
        let mut image = vec![0; 10 * 4096];
        file.read_exact_at(&mut image, 0).unwrap();
        let mut expected = vec![0; image.len()];
        for (offset, bytes) in content.runs() {
            for (at, byte) in (offset..).zip(bytes) {
                let place = places.iter().find(|p| (p.in_file..p.in_file + p.length).contains(&at)).unwrap();
                expected[usize::try_from(place.in_image + at - place.in_file).unwrap()] = *byte;
            }
        }
        assert!(image == expected);
    }
}
