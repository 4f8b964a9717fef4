//! Writes filesystems, and the differences between two of them, as layers.

use std::collections::BTreeSet;

use crate::flattened::Flattened;
use crate::listing::{Kind, Node};
use crate::name;
use crate::writer::Entry;

/// The form of deletions in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// A whiteout for each deleted name.
    Explicit,
    /// An opaque marker in each directory that loses a name, and entries for all names that stay there.
    Opaque,
}

impl Flattened {
    /// Returns the entries that create this filesystem from an empty one.
    #[must_use]
    pub fn layer(&self) -> Vec<Entry> {
        self.listing.iter().map(|(path, _)| self.entry(path)).collect()
    }

    /// Returns the entries that change another filesystem into this one.
    ///
    /// A changed inode is written completely, with all its names.
    #[must_use]
    pub fn changes(&self, from: &Self, deletion: Deletion) -> Vec<Entry> {
        let (old, new) = (&from.listing, &self.listing);
        let directory = |node: Option<&Node>| node.is_some_and(|node| node.kind == Kind::Directory);
        // Names that disappear with their parent, or that the parent's new entry replaces, need no marker.
        let gone = |path: &[u8]| {
            let parent = parent(path);
            new.get(path).is_none() && directory(old.get(&parent)) && directory(new.get(&parent))
        };
        let gone: Vec<&[u8]> = old.iter().map(|(path, _)| path).filter(|path| gone(path)).collect();
        let cleared: BTreeSet<Vec<u8>> = match deletion {
            Deletion::Explicit => BTreeSet::new(),
            Deletion::Opaque => gone.iter().map(|path| parent(path)).collect(),
        };
        let markers: Vec<Entry> = match deletion {
            Deletion::Explicit => {
                gone.iter().map(|path| Entry::whiteout(name::whiteout_of(&name::names_of(path)))).collect()
            }
            Deletion::Opaque => cleared.iter().map(|path| Entry::opaque(&path[1..])).collect(),
        };
        let below_cleared = |path: &[u8]| name::names_above(path).iter().any(|parent| cleared.contains(parent));
        let changed =
            |path: &[u8]| old.get(path) != new.get(path) || old.names(path) != new.names(path) || below_cleared(path);
        let written = |path: &[u8]| new.names(path).into_iter().any(changed);
        let entries = new.iter().map(|(path, _)| path).filter(|path| written(path)).map(|path| self.entry(path));
        markers.into_iter().chain(entries).collect()
    }

    /// Returns the entry of a path: a hard link if another name of its inode comes before.
    pub(crate) fn entry(&self, path: &[u8]) -> Entry {
        let name = if path == b"/" { b"./".to_vec() } else { path[1..].to_vec() };
        let first = self.listing.first_name(path).unwrap_or(path);
        let Some(node) = self.listing.get(path) else { return Entry::dir(name) };
        let entry = if first == path { self.describe(name, node) } else { Entry::hardlink(name, &first[1..]) };
        with_metadata(entry, node)
    }

    fn describe(&self, name: Vec<u8>, node: &Node) -> Entry {
        match &node.kind {
            Kind::File(contents) => {
                Entry::file(name, self.contents.get(&contents.sha256()).cloned().unwrap_or_default())
            }
            Kind::Directory => Entry::dir(name),
            Kind::Symlink(target) => Entry::symlink(name, &target[..]),
            Kind::CharDevice { major, minor } => Entry::char_device(name, (*major).into(), (*minor).into()),
            Kind::BlockDevice { major, minor } => Entry::block_device(name, (*major).into(), (*minor).into()),
            // tar has no sockets, and no model creates one.
            Kind::Fifo | Kind::Socket => Entry::fifo(name),
        }
    }
}

/// Returns an entry with the metadata of an inode.
pub(crate) fn with_metadata(entry: Entry, node: &Node) -> Entry {
    let xattrs = node.xattrs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Entry { mode: node.mode.into(), mtime: node.mtime, xattrs, ..entry }.owner(node.uid.into(), node.gid.into())
}

/// Returns the parent of a listing's path; the root is its own.
fn parent(path: &[u8]) -> Vec<u8> {
    name::names_above(path).pop().unwrap_or_else(|| path.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flatten;
    use crate::stack::Stack;

    fn meaning(text: Vec<Entry>) -> Flattened {
        flatten(&Stack::new([text])).unwrap()
    }

    fn before() -> Flattened {
        let files = [Entry::file("d/a", "1"), Entry::file("d/b", "2"), Entry::hardlink("d/c", "d/b")];
        meaning([vec![Entry::dir("d"), Entry::dir("e"), Entry::fifo("e/f"), Entry::dir("g")], files.to_vec()].concat())
    }

    fn after() -> Flattened {
        meaning(vec![Entry::dir("d"), Entry::file("d/b", "2"), Entry::symlink("e", "d"), Entry::dir("g").mode(0o700)])
    }

    #[test]
    fn a_changeset_lists_the_difference() {
        for (deletion, text) in [
            (
                Deletion::Explicit,
                "layer 1: whiteout d/.wh.a\nlayer 1: whiteout d/.wh.c\nlayer 1: file d/b 0644 text=\"2\"\n\
                 layer 1: symlink e -> d\nlayer 1: dir g 0700\n",
            ),
            (
                Deletion::Opaque,
                "layer 1: opaque d/.wh..wh..opq\nlayer 1: file d/b 0644 text=\"2\"\n\
                 layer 1: symlink e -> d\nlayer 1: dir g 0700\n",
            ),
        ] {
            assert_eq!(Stack::new([after().changes(&before(), deletion)]).to_string(), text);
        }
    }

    #[test]
    fn a_difference_turns_one_filesystem_into_the_other() {
        for deletion in [Deletion::Explicit, Deletion::Opaque] {
            for (from, to) in [(before(), after()), (after(), before())] {
                let stack = Stack::new([from.layer(), to.changes(&from, deletion)]);
                assert_eq!(flatten(&stack).unwrap().listing, to.listing, "{stack}");
            }
        }
    }
}
