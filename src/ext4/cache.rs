//! A cache of the parts of inode tables and descriptor tables that were read last.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::{BlockSource, at_most};

/// Bytes of one window: 64 inodes of the usual size; small enough for reads in random order.
const WINDOW: usize = 16 << 10;

/// A direct-mapped cache of aligned windows of an image.
pub(super) struct Cache {
    slots: Mutex<Box<[Option<Window>]>>,
}

struct Window {
    number: u64,
    bytes: Box<[u8]>,
}

impl Cache {
    /// Returns an empty cache of at most `slots` windows of 16 KiB.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: Mutex::new((0..slots).map(|_| None).collect()) }
    }

    /// Fills `buf` like [`BlockSource::read_exact_at`].
    pub(super) fn read<R: BlockSource>(&self, reader: &R, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        while !buf.is_empty() {
            let number = offset / WINDOW as u64;
            let start = at_most(offset % WINDOW as u64, WINDOW);
            let length = buf.len().min(WINDOW - start);
            let (head, tail) = buf.split_at_mut(length);
            let index = at_most(number % slots.len() as u64, slots.len());
            match Window::load(&mut slots[index], reader, number) {
                Some(window) => head.copy_from_slice(&window.bytes[start..start + length]),
                // The image may end inside this window, after the requested bytes.
                None => reader.read_exact_at(head, offset)?,
            }
            offset = offset.saturating_add(length as u64);
            buf = tail;
        }
        Ok(())
    }
}

impl Window {
    fn load<'a, R: BlockSource>(slot: &'a mut Option<Self>, reader: &R, number: u64) -> Option<&'a Self> {
        if slot.as_ref().is_none_or(|window| window.number != number) {
            let mut bytes = vec![0; WINDOW].into_boxed_slice();
            reader.read_exact_at(&mut bytes, number * WINDOW as u64).ok()?;
            *slot = Some(Self { number, bytes });
        }
        slot.as_ref()
    }
}
