//! Simulates the addition of names to directories by mkfs, and chooses the staged name of a `lost+found`.

use super::LOST_FOUND_NAME;
use super::blocks::DirectoryBlocks;
use super::feature::Features;
use super::fill::LOST_FOUND_BLOCKS;
use super::steps::Step;
use crate::tree::{InodeId, Visit};

/// The ordinals of the two directories that every filesystem has.
const ROOT: u32 = 0;
const LOST_FOUND: u32 = 1;

/// The directories on the path to the current name, with their free space: no name is added to a directory after the
/// walk has left it.
pub(super) struct DirectoryLayout {
    /// The open directories, innermost last.
    open: Vec<Open>,
    /// The ordinal of the next directory.
    next: u32,
    checksums: bool,
    stand_in: Option<Box<[u8]>>,
}

struct Open {
    directory: InodeId,
    ordinal: u32,
    rooms: DirectoryBlocks,
}

impl DirectoryLayout {
    pub fn new(features: Features, stand_in: Option<Box<[u8]>>) -> Self {
        let checksums = features.metadata_csum();
        let mut rooms = DirectoryBlocks::new(1, checksums);
        rooms.add(LOST_FOUND_NAME);
        let root = Open { directory: InodeId::ROOT, ordinal: ROOT, rooms };
        Self { open: vec![root], next: LOST_FOUND + 1, checksums, stand_in }
    }

    /// Adds a name to its directory and returns the step. Names come in the order of a walk.
    pub fn link(&mut self, visit: &Visit<'_>) -> Option<Step> {
        while self.open.last().is_some_and(|open| open.directory != visit.parent) {
            self.open.pop();
        }
        let name = match (visit.path, &self.stand_in) {
            (LOST_FOUND_NAME, None) => return None,
            (LOST_FOUND_NAME, Some(stand_in)) => stand_in,
            _ => visit.name(),
        };
        let parent = self.open.last_mut()?;
        parent.rooms.add(name).then_some(Step::Grow(parent.ordinal))
    }

    /// Adds a directory and returns the step.
    pub fn add_directory(&mut self, visit: &Visit<'_>, number: u32) -> Option<Step> {
        let directory = visit.inode;
        if directory == InodeId::ROOT {
            return None;
        }
        if visit.path == LOST_FOUND_NAME {
            let rooms = DirectoryBlocks::new(LOST_FOUND_BLOCKS, self.checksums);
            self.open.push(Open { directory, ordinal: LOST_FOUND, rooms });
            return None;
        }
        self.open.push(Open { directory, ordinal: self.next, rooms: DirectoryBlocks::new(1, self.checksums) });
        self.next = self.next.saturating_add(1);
        Some(Step::Directory(number))
    }
}

/// Returns a name, of bytes that are safe in a debugfs script, that sorts among the root's names exactly at
/// `lost+found`; `None` if the adjacent names leave none.
pub(super) fn stand_in_of_lost_found(names: &[&[u8]]) -> Option<Box<[u8]>> {
    let between =
        |from: &[u8], to: &[u8]| names.iter().any(|name| from <= *name && *name <= to && *name != LOST_FOUND_NAME);
    let behind = [LOST_FOUND_NAME, b"+"].concat();
    let mut before = (1..=240).map(|length| [b"lost+founc".as_slice(), &vec![b'z'; length]].concat());
    if !between(LOST_FOUND_NAME, &behind) {
        return Some(behind.into());
    }
    before.find(|before| !between(before, LOST_FOUND_NAME)).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_substitute_of_lost_and_found_sorts_like_it() {
        let stand_in = |names: &[&str]| {
            let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            stand_in_of_lost_found(&names).map(|name| String::from_utf8(name.into()).unwrap())
        };
        assert_eq!(stand_in(&["lost+found", "a", "z"]).as_deref(), Some("lost+found+"));
        assert_eq!(stand_in(&["lost+found", "lost+found!"]).as_deref(), Some("lost+founcz"));
        assert_eq!(stand_in(&["lost+found", "lost+found+", "lost+founczz"]).as_deref(), Some("lost+founczzz"));
        assert_eq!(stand_in(&["lost+found", "lost+found!", "lost+founc~"]), None);
    }
}
