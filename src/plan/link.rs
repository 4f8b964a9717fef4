//! Names in directories, as mkfs links them one by one, and the name under which a `lost+found` is staged.

use super::LOST_FOUND_NAME;
use super::blocks::Rooms;
use super::feature::Features;
use super::fill::{LOST_FOUND_BLOCKS, Step};
use crate::tree::{InodeId, Tree, Visit};

/// Ordinals of the two directories that every filesystem has.
const ROOT: u32 = 0;
const LOST_FOUND: u32 = 1;

/// The directories so far, and the room in them.
pub(super) struct Linking {
    /// The ordinal of each of the tree's directories.
    ordinals: Vec<u32>,
    rooms: Vec<Rooms>,
    checksums: bool,
    stand_in: Option<Box<[u8]>>,
}

impl Linking {
    pub fn new(tree: &Tree, features: Features, stand_in: Option<Box<[u8]>>) -> Self {
        let checksums = features.metadata_csum();
        let mut root = Rooms::new(1, checksums);
        root.add(LOST_FOUND_NAME);
        let rooms = vec![root, Rooms::new(LOST_FOUND_BLOCKS, checksums)];
        Self { ordinals: vec![ROOT; tree.arena_len()], rooms, checksums, stand_in }
    }

    /// Links a name into its directory; returns what that takes.
    pub fn link(&mut self, visit: &Visit) -> Option<Step> {
        let name = match (&*visit.path, &self.stand_in) {
            (LOST_FOUND_NAME, None) => return None,
            (LOST_FOUND_NAME, Some(stand_in)) => stand_in,
            _ => visit.name(),
        };
        let parent = self.ordinals[visit.parent.index()];
        self.rooms.get_mut(parent as usize)?.add(name).then_some(Step::Grow(parent))
    }

    /// Adds a directory; returns what that takes.
    pub fn add_directory(&mut self, visit: &Visit, number: u32) -> Option<Step> {
        if visit.inode == InodeId::ROOT {
            return None;
        }
        if &*visit.path == LOST_FOUND_NAME {
            self.ordinals[visit.inode.index()] = LOST_FOUND;
            return None;
        }
        self.ordinals[visit.inode.index()] = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        self.rooms.push(Rooms::new(1, self.checksums));
        Some(Step::Directory(number))
    }
}

/// Returns a name, of bytes that may stand in a debugfs script, that sorts among the root's just where `lost+found`
/// does; `None`: the names next to it leave no room.
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
    fn the_stand_in_of_lost_and_found_sorts_where_it_does() {
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
