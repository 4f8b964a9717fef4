//! The zeros of a decoded stream, found while it is in the processor's cache: no file is read again for its holes.

use std::ops::Range;

/// The zeros of a stream, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct StreamZeros {
    pub map: ZeroMap,
    /// The long runs of zeros that its file does not have.
    pub holes: Vec<Range<u64>>,
}

/// The unit in which zeros are found: tar aligns contents to it.
const UNIT: usize = 512;
/// The memory of one map: it covers the first 4 GiB of a stream.
const WORDS_MAX: usize = (1 << 20) / size_of::<u64>();

/// The units of a stream that are all zero, one bit each.
#[derive(Debug, Default)]
pub(super) struct ZeroMap {
    /// The words up to the last zero unit.
    words: Vec<u64>,
    /// The number of units that the map describes.
    units: u64,
}

impl ZeroMap {
    /// Returns true if the bytes at `start` are all zero, false if one is not; `None` if only they themselves tell.
    pub fn is_zero(&self, start: u64, len: usize) -> Option<bool> {
        let (unit, whole, rest) = (start / UNIT as u64, len / UNIT, len % UNIT);
        let end = unit + whole as u64;
        if !start.is_multiple_of(UNIT as u64) || end > self.units {
            return None;
        }
        if !(unit..end).all(|unit| self.has(unit)) {
            return Some(false);
        }
        // The rest of the last unit belongs to something else.
        if rest == 0 || self.has(end) { Some(true) } else { None }
    }

    fn has(&self, unit: u64) -> bool {
        let word = usize::try_from(unit / 64).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }

    fn set(&mut self, unit: u64) {
        let Ok(index) = usize::try_from(unit / 64) else { return };
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= 1 << (unit % 64);
    }
}

/// Finds the zeros of a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct ZeroFinder {
    map: ZeroMap,
    /// The bytes of the unit that has begun.
    begun: usize,
    /// True if one of them is not zero.
    not_zero: bool,
}

impl ZeroFinder {
    /// Adds the next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.map.units < (WORDS_MAX * 64) as u64 {
            let (head, rest) = bytes.split_at(bytes.len().min(UNIT - self.begun));
            self.not_zero = self.not_zero || !is_zero(head);
            self.begun += head.len();
            if self.begun == UNIT {
                if !self.not_zero {
                    self.map.set(self.map.units);
                }
                self.map.units += 1;
                (self.begun, self.not_zero) = (0, false);
            }
            bytes = rest;
        }
    }

    /// Returns the map of all bytes added.
    pub fn finish(mut self) -> ZeroMap {
        self.map.words.shrink_to_fit();
        self.map
    }
}

/// Returns true if all bytes are zero, or there are none.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Most blocks of real files differ from zero in their first byte.
    if bytes.first().is_some_and(|b| *b != 0) {
        return false;
    }
    let words = bytes.chunks_exact(64);
    let rest = words.remainder();
    let any = |chunk: &[u8]| chunk.iter().fold(0, |sum, b| sum | b);
    words.map(any).all(|any| any == 0) && rest.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_is_not_zero() {
        for len in [0, 1, 63, 64, 65, 4096] {
            assert!(is_zero(&vec![0; len]));
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{len} {at}");
            }
        }
    }

    /// A stream in which each bit of `units` is a unit with a byte that is not zero, somewhere in it.
    fn stream(units: u32, tail: usize) -> Vec<u8> {
        let mut bytes = vec![0; 32 * UNIT + tail];
        for unit in (0..32).filter(|unit| units >> unit & 1 == 1) {
            bytes[unit * UNIT + unit * 16 % UNIT] = 1;
        }
        bytes
    }

    #[test]
    fn a_map_says_of_every_range_what_its_bytes_say_or_nothing() {
        for (units, tail) in [(0, 0), (u32::MAX, 17), (0x8001_0f70, 511), (0xfffe, 1)] {
            let bytes = stream(units, tail);
            for piece in [1, 7, 512, 1000, bytes.len()] {
                let mut finder = ZeroFinder::default();
                bytes.chunks(piece).for_each(|piece| finder.add(piece));
                let map = finder.finish();
                for start in (0..bytes.len()).step_by(UNIT / 2) {
                    for len in [0, 1, 511, 512, 513, 4096, bytes.len() - start] {
                        let Some(range) = bytes.get(start..start + len) else { continue };
                        let said = map.is_zero(start as u64, len);
                        assert!(said.is_none_or(|zero| zero == is_zero(range)), "{units:x} {start} {len}");
                        let within = start % UNIT == 0 && len % UNIT == 0 && start + len <= 32 * UNIT;
                        assert!(said.is_some() || !within, "{units:x} {start} {len}");
                    }
                }
                assert_eq!(map.is_zero(1 << 60, 512), None);
            }
        }
    }

    #[test]
    fn a_map_takes_a_bounded_memory() {
        let mut finder = ZeroFinder::default();
        finder.map.units = (WORDS_MAX * 64) as u64 - 1;
        finder.add(&[0; 3 * UNIT]);
        let map = finder.finish();
        assert_eq!(map.words.len(), WORDS_MAX);
        let last = (WORDS_MAX * 64 * UNIT) as u64 - 512;
        assert_eq!(
            (map.is_zero(last, 512), map.is_zero(last, 513), map.is_zero(last + 512, 512)),
            (Some(true), None, None)
        );
    }
}
