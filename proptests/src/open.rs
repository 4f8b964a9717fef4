//! The parts of a stack's meaning that a level leaves open.

use std::collections::BTreeSet;

use crate::flattened::{Flattened, Origin};
use crate::level::Level;
use crate::listing::{Difference, Fields, Kind, Listing, Node, diff};

impl Level {
    /// Returns the parts of a stack's meaning that are open at this level.
    #[must_use]
    pub fn open(self, meaning: &Flattened) -> Open {
        let of = |kind: Origin| meaning.implied.iter().filter(move |(_, origin)| **origin == kind);
        let paths = |kind| of(kind).map(|(path, _)| path.clone());
        let root = meaning.implied.contains_key(&b"/"[..]).then(|| b"/".to_vec());
        let mut open = Open::default();
        match self {
            Self::Spec => {
                open.metadata.extend(meaning.implied.keys().cloned());
                open.times.extend(meaning.disturbed.iter().cloned());
            }
            Self::Consensus => {
                open.metadata.extend(paths(Origin::Remains).chain(root));
                open.times.extend(meaning.disturbed.iter().cloned().chain(paths(Origin::Parent)));
            }
            Self::Planish => {}
        }
        open
    }
}

/// The fields that are not compared, by absolute path; only if both sides have a directory there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    metadata: BTreeSet<Vec<u8>>,
    times: BTreeSet<Vec<u8>>,
}

impl Open {
    /// Returns the union of the open parts.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.metadata.extend(other.metadata);
        self.times.extend(other.times);
        self
    }

    /// Removes a path from the open parts.
    #[must_use]
    pub fn without(mut self, path: &[u8]) -> Self {
        self.metadata.remove(path);
        self.times.remove(path);
        self
    }

    /// Returns the differences between a listing and the expected one, without those in open parts.
    #[must_use]
    pub fn diff(&self, expected: &Listing, actual: &Listing, fields: &Fields) -> Vec<Difference> {
        let (mut expected, mut actual) = (expected.clone(), actual.clone());
        for path in self.metadata.iter().chain(&self.times) {
            let (Some(old), Some(new)) = (expected.get_mut(path), actual.get_mut(path)) else { continue };
            if [&old.kind, &new.kind] == [&Kind::Directory; 2] {
                new.mtime = old.mtime;
                if self.metadata.contains(path) {
                    *new = Node::clone(old);
                }
            }
        }
        diff(&expected, &actual, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flatten;
    use crate::stack::Stack;
    use crate::writer::Entry;

    /// `/a` is implied by its child, `/b` remains, `/c` gets a child later.
    fn meaning() -> Flattened {
        let below = vec![Entry::dir("b").owner(1, 1), Entry::dir("c").owner(1, 1).mtime(7, 0)];
        let above = vec![Entry::file("a/x", ""), Entry::whiteout(".wh.b"), Entry::file("b/x", ""), Entry::fifo("c/x")];
        flatten(&Stack::new([below, above])).unwrap()
    }

    fn differing(level: Level, change: impl Fn(&mut Node)) -> Vec<String> {
        let meaning = meaning();
        let mut other = meaning.listing.clone();
        for path in [&b"/"[..], b"/a", b"/b", b"/c"] {
            change(other.get_mut(path).unwrap());
        }
        let differences = level.open(&meaning).diff(&meaning.listing, &other, &Fields::all());
        differences.iter().map(|difference| String::from_utf8(difference.path().into()).unwrap()).collect()
    }

    #[test]
    fn each_level_compares_more_than_the_previous() {
        for (level, owners, times) in [
            (Level::Spec, &["/c"][..], &[][..]),
            (Level::Consensus, &["/a", "/c"], &[]),
            (Level::Planish, &["/", "/a", "/b", "/c"], &["/", "/a", "/b", "/c"]),
        ] {
            assert_eq!(differing(level, |node| node.uid = 9), owners, "{level}");
            assert_eq!(differing(level, |node| node.mtime.seconds = 9), times, "{level}");
        }
    }

    #[test]
    fn a_directory_time_is_undefined_when_its_layer_implies_a_child() {
        for (entries, open) in [
            (vec![Entry::dir("a"), Entry::fifo("a/b/c")], true),
            (vec![Entry::dir("a"), Entry::dir("a/b"), Entry::fifo("a/b/c")], false),
            (vec![Entry::fifo("a/b/c"), Entry::dir("a")], false),
        ] {
            let meaning = flatten(&Stack::new([entries])).unwrap();
            let mut other = meaning.listing.clone();
            other.get_mut(b"/a").unwrap().mtime.seconds = 9;
            let differences = Level::Spec.open(&meaning).diff(&meaning.listing, &other, &Fields::all());
            assert_eq!(differences.is_empty(), open, "{}", meaning.listing);
        }
    }

    #[test]
    fn a_defined_path_is_compared() {
        let meaning = meaning();
        let mut other = meaning.listing.clone();
        other.get_mut(b"/a").unwrap().uid = 9;
        let open = Level::Spec.open(&meaning);
        assert!(open.diff(&meaning.listing, &other, &Fields::all()).is_empty());
        assert_eq!(open.without(b"/a").diff(&meaning.listing, &other, &Fields::all()).len(), 1);
    }
}
