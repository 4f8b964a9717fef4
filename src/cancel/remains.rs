//! The private directories that a run has not yet removed, for a signal handler that reports those that stay.
//!
//! Nothing here blocks, and reading allocates no memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// The number of directories recorded at a time: a build has a work directory, and one beside each of its two outputs.
const SLOTS: usize = 4;
/// The most bytes of a path in the message; a longer path is shortened to its end.
const PATH_MAX: usize = 900;
const ELLIPSIS: &str = "...";

/// The longest message: a pipe takes this many bytes at once or none.
pub const LINE_MAX: usize = 4096;

const BEGIN: &str = "note: left behind: ";
const BETWEEN: &str = ", ";
const END: &str = "; the next run there cleans up\n";
const END_WITHOUT_LOCKS: &str = "; the filesystem has no locks, so no later run cleans up\n";

/// Paths of directories, each in its own slot.
#[derive(Debug, Default)]
pub(super) struct Remains(OnceLock<Box<[Slot; SLOTS]>>);

#[derive(Debug)]
struct Slot {
    taken: AtomicBool,
    swept: AtomicBool,
    /// 0: an empty slot.
    length: AtomicUsize,
    bytes: [AtomicU8; PATH_MAX],
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            taken: AtomicBool::default(),
            swept: AtomicBool::default(),
            length: AtomicUsize::default(),
            bytes: std::array::from_fn(|_| AtomicU8::default()),
        }
    }
}

/// The number of a recorded directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remain(usize);

impl Remains {
    /// Records a directory; `swept` is true if a later run would remove it. `None`: all slots are in use.
    pub fn add(&self, path: &str, swept: bool) -> Option<Remain> {
        let slots = self.0.get_or_init(Box::default);
        let (number, slot) = slots.iter().enumerate().find(|(_, slot)| !slot.taken.swap(true, Ordering::AcqRel))?;
        let cut = path.len() > PATH_MAX;
        let mut start = if cut { path.len() - (PATH_MAX - ELLIPSIS.len()) } else { 0 };
        while !path.is_char_boundary(start) {
            start += 1;
        }
        let text = if cut { ELLIPSIS } else { "" }.bytes().chain(path[start..].bytes());
        let mut length = 0;
        for (place, byte) in slot.bytes.iter().zip(text) {
            place.store(byte, Ordering::Relaxed);
            length += 1;
        }
        slot.swept.store(swept, Ordering::Relaxed);
        slot.length.store(length, Ordering::Release);
        Some(Remain(number))
    }

    /// Forgets a directory that was removed.
    pub fn remove(&self, Remain(number): Remain) {
        if let Some(slot) = self.0.get().and_then(|slots| slots.get(number)) {
            slot.length.store(0, Ordering::Release);
            slot.taken.store(false, Ordering::Release);
        }
    }

    /// Writes and returns the message that lists the directories that stay, once; it is empty if there are none.
    pub fn take_line<'a>(&self, line: &'a mut [u8; LINE_MAX]) -> &'a [u8] {
        let Some(slots) = self.0.get() else { return &[] };
        let (mut end, mut swept) = (0, true);
        for slot in slots.iter() {
            let length = slot.length.swap(0, Ordering::AcqRel);
            if length == 0 {
                continue;
            }
            let before = if end == 0 { BEGIN } else { BETWEEN };
            put(line, &mut end, before.bytes());
            put(line, &mut end, slot.bytes.iter().take(length).map(|byte| byte.load(Ordering::Relaxed)));
            swept &= slot.swept.load(Ordering::Relaxed);
        }
        if end > 0 {
            let after = if swept { END } else { END_WITHOUT_LOCKS };
            put(line, &mut end, after.bytes());
        }
        &line[..end]
    }
}

fn put(line: &mut [u8], end: &mut usize, bytes: impl Iterator<Item = u8>) {
    for (place, byte) in line.iter_mut().skip(*end).zip(bytes) {
        *place = byte;
        *end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(remains: &Remains) -> String {
        String::from_utf8(remains.take_line(&mut [0; LINE_MAX]).to_vec()).unwrap()
    }

    #[test]
    fn remaining_directories_are_listed_once_in_one_line() {
        let remains = Remains::default();
        assert_eq!(line(&remains), "");
        let [first, _, third] = ["/a", "/b/c", "/d"].map(|path| remains.add(path, true).unwrap());
        remains.remove(first);
        assert_eq!(line(&remains), "note: left behind: /b/c, /d; the next run there cleans up\n");
        assert_eq!(line(&remains), "");
        remains.remove(third);
        remains.add("/e", false).unwrap();
        let text = "note: left behind: /e; the filesystem has no locks, so no later run cleans up\n";
        assert_eq!(line(&remains), text);
    }

    #[test]
    fn the_longest_paths_fit_and_excess_directories_are_not_listed() {
        let remains = Remains::default();
        let path = format!("{}/end", "/\u{e4}".repeat(4000));
        let added: Vec<_> = (0..5).map(|_| remains.add(&path, true)).collect();
        assert!(added[..4].iter().all(Option::is_some) && added[4].is_none());
        let line = line(&remains);
        assert!(line.len() > 3000 && line.len() < LINE_MAX && line.ends_with("/end; the next run there cleans up\n"));
        assert_eq!(line.matches("/end").count(), 4);
    }
}
