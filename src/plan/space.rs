//! The free blocks of a simulated filesystem.

use std::collections::BTreeMap;

/// The runs of free blocks. The last run has no end, so that blocks beyond the filesystem can be counted.
#[derive(Debug)]
pub(super) struct Space {
    /// The end of each run by its start.
    free: BTreeMap<u64, u64>,
    blocks: u64,
}

impl Space {
    pub fn new(blocks: u64) -> Self {
        Self { free: BTreeMap::from([(0, blocks), (blocks, u64::MAX)]), blocks }
    }

    /// Allocates blocks; some may be allocated already.
    pub fn reserve(&mut self, start: u64, length: u64) {
        let end = start + length;
        while let Some((from, to)) = self.free.range(..end).next_back().map(|(from, to)| (*from, *to)) {
            if to <= start {
                break;
            }
            self.free.remove(&from);
            if from < start {
                self.free.insert(from, start);
            }
            if to > end {
                self.free.insert(end, to);
            }
        }
    }

    /// Returns the first free block from `goal` on, or from the beginning if there is none, and the length of the free
    /// run from it on.
    pub fn next(&self, goal: u64) -> (u64, u64) {
        let around = self.free.range(..=goal).next_back().filter(|(_, end)| **end > goal);
        let found =
            around.map(|(_, end)| (goal, *end)).or_else(|| self.free.range(goal..).next().map(|(s, e)| (*s, *e)));
        let inside = found.filter(|(start, _)| *start < self.blocks);
        let first = || self.free.first_key_value().map(|(start, end)| (*start, *end));
        let (start, end) = inside.or_else(first).unwrap_or((self.blocks, u64::MAX));
        (start, end - start)
    }

    /// Returns the first block from `goal` on that begins a free run of `length` blocks.
    pub fn find(&self, goal: u64, length: u64) -> u64 {
        let mut at = goal;
        loop {
            let (start, room) = self.next(at);
            if room >= length || start < at {
                return start;
            }
            at = start + room;
        }
    }

    /// Returns the number of free blocks in a range.
    pub fn count(&self, start: u64, end: u64) -> u64 {
        self.free.range(..end).map(|(from, to)| to.min(&end).saturating_sub(*from.max(&start))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_allocated_from_a_goal_then_from_the_beginning() {
        let mut space = Space::new(100);
        space.reserve(0, 10);
        space.reserve(20, 5);
        space.reserve(18, 4);
        assert_eq!(space.next(0), (10, 8));
        assert_eq!(space.next(15), (15, 3));
        assert_eq!(space.next(19), (25, 75));
        assert_eq!((space.find(0, 8), space.find(0, 9), space.find(12, 6), space.find(13, 6)), (10, 25, 12, 25));
        assert_eq!((space.count(0, 100), space.count(12, 30)), (83, 11));
        space.reserve(90, 10);
        assert_eq!(space.next(95), (10, 8));
        space.reserve(10, 80);
        assert_eq!(space.next(50).0, 100, "more than there is");
    }
}
