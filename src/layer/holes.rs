//! The holes of a spool: long runs of zeros of a stream take neither space nor time to write.
//!
//! Filesystems in memory give a hole its pages when it is read through a mapping, and kill the reader when they are full.
//! So the mapping of a spool has other pages in place of its holes: those that read as zeros and belong to no file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::Mmap;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::zeros::is_zero;

/// The unit in which zeros are looked for: the largest page of Linux.
const UNIT: usize = 64 << 10;
/// The length of the shortest hole.
const HOLE_MIN: u64 = 1 << 20;
/// The number of holes in all spools of an image: each divides a mapping, and Linux allows a process 65,530 of them.
const HOLES_MAX: usize = 10_000;

/// The number of holes that an image's spools may still have.
#[derive(Debug)]
pub(super) struct HolesLeft(AtomicUsize);

impl Default for HolesLeft {
    fn default() -> Self {
        Self(AtomicUsize::new(HOLES_MAX))
    }
}

impl HolesLeft {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Writes a stream to an empty file.
pub(super) struct SparseWriter<'a> {
    file: &'a File,
    left: &'a HolesLeft,
    /// The length of the stream so far.
    length: u64,
    /// The zeros at its end that are not written yet.
    zeros: u64,
    holes: Vec<Range<u64>>,
}

impl<'a> SparseWriter<'a> {
    pub fn new(file: &'a File, left: &'a HolesLeft) -> Self {
        Self { file, left, length: 0, zeros: 0, holes: Vec::new() }
    }

    /// Returns the length of the stream so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let zeros = self.leading(bytes, true);
            self.zeros += zeros as u64;
            self.length += zeros as u64;
            bytes = &bytes[zeros..];
            let others = self.leading(bytes, false);
            if others > 0 {
                self.end_zeros()?;
                self.file.write_all_at(&bytes[..others], self.length)?;
                self.length += others as u64;
                bytes = &bytes[others..];
            }
        }
        Ok(())
    }

    /// Writes what is left, and returns the holes.
    pub fn finish(mut self) -> io::Result<Vec<Range<u64>>> {
        self.end_zeros()?;
        self.file.set_len(self.length)?;
        Ok(self.holes)
    }

    /// Returns the number of bytes at the beginning that are whole units of zeros, or that are not.
    fn leading(&self, bytes: &[u8], zero: bool) -> usize {
        let aligned = self.length.is_multiple_of(UNIT as u64);
        let is_hole = |unit: &[u8]| aligned && unit.len() == UNIT && is_zero(unit);
        bytes.chunks(UNIT).take_while(|unit| is_hole(unit) == zero).map(<[u8]>::len).sum()
    }

    /// Makes a hole of the zeros at the end, or writes them.
    fn end_zeros(&mut self) -> io::Result<()> {
        let start = self.length - std::mem::take(&mut self.zeros);
        if self.length - start >= HOLE_MIN && self.left.take() {
            self.holes.push(start..self.length);
            return Ok(());
        }
        (start..self.length).step_by(UNIT).try_for_each(|at| self.file.write_all_at(&[0; UNIT], at))
    }
}

/// Puts pages of zeros in place of a hole of a mapping, which begins and ends with a unit.
///
/// # Errors
///
/// The system has no room for another mapping.
pub(super) fn cover(map: &mut Mmap, hole: &Range<u64>) -> io::Result<()> {
    let index = |at: u64| usize::try_from(at).ok().filter(|at| *at <= map.len() && at.is_multiple_of(UNIT));
    let (Some(start), Some(end)) = (index(hole.start), index(hole.end)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    // SAFETY: the pages belong to the mapping, of which the exclusive reference shows that nothing else refers to it. They
    // read as before, and are unmapped with the rest.
    unsafe {
        let page = map.as_ptr().add(start).cast_mut().cast();
        rustix::mm::mmap_anonymous(page, end - start, ProtFlags::READ, flags)?;
        // Large pages of zeros are mapped at less cost; it does not matter if there are none.
        let _ = rustix::mm::madvise(page, end - start, Advice::LinuxHugepage);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const MIB: usize = 1 << 20;

    /// Returns a stream of runs: of ones, or of zeros.
    fn stream(runs: &[(u8, usize)]) -> Vec<u8> {
        runs.iter().flat_map(|(byte, length)| vec![*byte; *length]).collect()
    }

    fn write(bytes: &[u8], piece: usize, left: &HolesLeft) -> (File, Vec<Range<u64>>) {
        let file = tempfile::tempfile().unwrap();
        let mut writer = SparseWriter::new(&file, left);
        bytes.chunks(piece).for_each(|piece| writer.write(piece).unwrap());
        assert_eq!(writer.length(), bytes.len() as u64);
        let holes = writer.finish().unwrap();
        (file, holes)
    }

    #[test]
    fn a_file_and_its_mapping_have_the_bytes_of_the_stream() {
        let streams: [&[(u8, usize)]; 7] = [
            &[],
            &[(1, 5)],
            &[(0, 5)],
            &[(0, 3 * MIB)],
            &[(1, 1), (0, 4 * MIB), (1, 1)],
            &[(0, 2 * MIB), (1, UNIT), (0, UNIT), (1, UNIT), (0, MIB), (1, 3), (0, 2 * MIB + 7)],
            &[(1, MIB), (0, MIB - 1), (1, 1), (0, 3 * MIB + 1), (1, UNIT - 1)],
        ];
        for (runs, piece) in
            streams.iter().flat_map(|runs| [UNIT, 4 * UNIT, 16 * MIB, 10_000].map(|piece| (runs, piece)))
        {
            let bytes = stream(runs);
            let (file, holes) = write(&bytes, piece, &HolesLeft::default());
            assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
            let mut read = vec![7; bytes.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == bytes, "{runs:?} {piece}");
            if bytes.is_empty() {
                continue;
            }
            // SAFETY: nothing else has the file.
            let mut map = unsafe { Mmap::map(&file) }.unwrap();
            holes.iter().for_each(|hole| cover(&mut map, hole).unwrap());
            assert!(*map == *bytes, "{runs:?} {piece}");
            for hole in holes {
                let zeros = usize::try_from(hole.start).unwrap()..usize::try_from(hole.end).unwrap();
                assert!(is_zero(&bytes[zeros]) && hole.end - hole.start >= HOLE_MIN, "{hole:?}");
            }
        }
    }

    #[test]
    fn long_runs_of_zeros_take_no_space_even_when_they_were_read() {
        let bytes = stream(&[(1, MIB), (0, 20 * MIB), (1, MIB)]);
        let (file, holes) = write(&bytes, 4 * UNIT, &HolesLeft::default());
        assert_eq!((holes.len(), holes[0].clone()), (1, MIB as u64..21 * MIB as u64));
        // SAFETY: nothing else has the file.
        let mut map = unsafe { Mmap::map(&file) }.unwrap();
        cover(&mut map, &holes[0]).unwrap();
        assert!(*map == *bytes);
        file.sync_all().unwrap();
        let allocated = file.metadata().unwrap().blocks() * 512;
        assert!(allocated < 3 * MIB as u64, "{allocated}");
    }

    #[test]
    fn holes_that_are_too_many_are_written() {
        let bytes = stream(&[(0, MIB), (1, UNIT), (0, MIB)]);
        let left = HolesLeft(AtomicUsize::new(1));
        let (file, holes) = write(&bytes, MIB, &left);
        assert_eq!((holes.len(), holes[0].clone()), (1, 0..MIB as u64));
        let mut read = vec![7; bytes.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == bytes);
        assert!(!left.take());
    }

    #[test]
    fn a_hole_outside_of_the_mapping_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * MIB as u64).unwrap();
        // SAFETY: nothing else has the file.
        let mut map = unsafe { Mmap::map(&file) }.unwrap();
        for hole in [0..3 * MIB as u64, 1..MIB as u64, 0..u64::MAX] {
            assert!(cover(&mut map, &hole).is_err(), "{hole:?}");
        }
    }
}
