//! Numbered slots that are freed and reused, in chunks of memory that never move.

/// Slots of one chunk.
const PIECE: u32 = 1024;
/// A number that no slot has.
pub(super) const NONE: u32 = u32::MAX;

/// Values by number. A number is free again when its value is removed.
#[derive(Debug)]
pub(super) struct Arena<T> {
    pieces: Vec<Vec<Slot<T>>>,
    len: u32,
    free: u32,
}

#[derive(Debug)]
enum Slot<T> {
    Used(T),
    /// A free slot, with the number of the next free one.
    Free(u32),
}

impl<T> Arena<T> {
    /// Bytes of a chunk.
    const PIECE_BYTES: u64 = PIECE as u64 * size_of::<Slot<T>>() as u64;

    pub fn new() -> Self {
        Self { pieces: Vec::new(), len: 0, free: NONE }
    }

    /// Returns the number of slots, used or free.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Returns the number of slots and bytes that the next insertion allocates: usually none.
    pub fn growth(&self) -> (u64, u64) {
        let grows = self.free == NONE && self.len.is_multiple_of(PIECE);
        if grows { (PIECE.into(), Self::PIECE_BYTES) } else { (0, 0) }
    }

    /// Inserts a value and returns its number; `None` if there are no more numbers.
    pub fn insert(&mut self, value: T) -> Option<u32> {
        if self.free != NONE {
            let number = self.free;
            let slot = self.slot_mut(number)?;
            let Slot::Free(next) = std::mem::replace(slot, Slot::Used(value)) else { return None };
            self.free = next;
            return Some(number);
        }
        if self.len == NONE {
            return None;
        }
        if self.len.is_multiple_of(PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE as usize));
        }
        self.pieces.last_mut()?.push(Slot::Used(value));
        self.len += 1;
        Some(self.len - 1)
    }

    pub fn remove(&mut self, number: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(number).filter(|slot| matches!(slot, Slot::Used(_)))?;
        let Slot::Used(value) = std::mem::replace(slot, Slot::Free(free)) else { return None };
        self.free = number;
        Some(value)
    }

    pub fn get(&self, number: u32) -> Option<&T> {
        match self.pieces.get((number / PIECE) as usize)?.get((number % PIECE) as usize)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slot_mut(number)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot<T>> {
        self.pieces.get_mut((number / PIECE) as usize)?.get_mut((number % PIECE) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_value_frees_its_number() {
        let mut arena = Arena::new();
        let numbers: Vec<u32> = (0..3000).map(|n| arena.insert(n).unwrap()).collect();
        assert_eq!(numbers, Vec::from_iter(0..3000));
        assert_eq!(arena.len(), 3000);
        assert_eq!((arena.remove(7), arena.remove(2000), arena.remove(7)), (Some(7), Some(2000), None));
        assert_eq!((arena.get(7), arena.get(8), arena.get(4000)), (None, Some(&8), None));
        assert_eq!(arena.growth(), (0, 0));
        assert_eq!((arena.insert(1), arena.insert(2), arena.insert(3)), (Some(2000), Some(7), Some(3000)));
        *arena.get_mut(7).unwrap() = 9;
        assert_eq!((arena.get(7), arena.get(2000), arena.len()), (Some(&9), Some(&1), 3001));
        for n in 3001..3072 {
            arena.insert(n).unwrap();
        }
        assert_eq!(arena.growth(), (1024, 1024 * 8));
    }
}
