//! Filesystems as lists of paths: the form of all comparisons.
//!
//! A [`Listing`] comes from a hand-written text, an ext4 image, a directory or a model; [`diff()`] compares two. The
//! text has one line for each path, in byte order:
//!
//! ```text
//! # a comment
//! / d 0755 0:0 0
//! /bin l 0777 0:0 1000 -> usr/bin
//! /dev/null c 0666 0:0 0 dev=1:3
//! /etc/passwd f 0640 5:6 -0.5 text="all users\x0a" xattr.user.a="1" xattr.security.capability=0x0100000200200000
//! /large f 0644 0:0 1700000000.000000001 size=4096 sha256=ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7
//! /passwd = /etc/passwd
//! ```
//!
//! The path is followed by the type (`f`, `d`, `l`, `c`, `b`, `p` for a fifo, `s` for a socket), the mode in octal, uid
//! and gid, and the mtime in seconds ([`Mtime`](crate::Mtime)). `=` makes a path another name of the inode of the given
//! path. Bytes other than printable ASCII, the space, the backslash and the double quote are written as `\xNN`; a space
//! in quotes is literal.

mod diff;
mod directory;
mod ext4;
mod node;
mod text;

use std::collections::BTreeMap;

pub use diff::{Difference, Field, Fields, diff};
pub use ext4::Ext4Problem;
pub use node::{Contents, Kind, Node};
pub use text::{ListingSyntax, escape};

/// The paths of a filesystem with their inodes.
///
/// A path is absolute, `/` alone is the root. If an inode has several names, the first in byte order carries it; two
/// listings are equal if they have the same paths, inodes and links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    names: BTreeMap<Vec<u8>, Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// The first name of its inode.
    Carries(Node),
    /// Another name, with the first one.
    Shares(Vec<u8>),
}

/// A filesystem that cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A system call failed.
    #[error("{path}")]
    Io {
        /// The path on this machine, escaped.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The image is not an ext4 filesystem that the reader supports, or is damaged.
    #[error("the image is no sound ext4")]
    Ext4(#[from] mkext4::Error),
    /// The image contradicts itself.
    #[error("{path} in the image {problem}", path = escape(path))]
    Contradiction {
        /// The path in the image.
        path: Vec<u8>,
        /// The contradiction.
        problem: Ext4Problem,
    },
}

impl Listing {
    /// Returns a listing without paths, not even the root.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a path the name of a new inode; the path is removed from its previous inode.
    pub fn insert(&mut self, path: impl Into<Vec<u8>>, node: Node) {
        let path = path.into();
        self.remove(&path);
        self.names.insert(path, Name::Carries(node));
    }

    /// Makes a path another name of the inode at `existing`; returns false if there is none, or both are the same name.
    pub fn link(&mut self, path: impl Into<Vec<u8>>, existing: &[u8]) -> bool {
        let path = path.into();
        if path == existing || !self.names.contains_key(existing) {
            return false;
        }
        self.remove(&path);
        let Some(carrier) = self.first_name(existing).map(<[u8]>::to_vec) else { return false };
        if path > carrier {
            self.names.insert(path, Name::Shares(carrier));
            return true;
        }
        let others: Vec<Vec<u8>> = self.names(&carrier).into_iter().map(<[u8]>::to_vec).collect();
        if let Some(inode) = self.names.remove(&carrier) {
            self.names.insert(path.clone(), inode);
        }
        for name in others {
            self.names.insert(name, Name::Shares(path.clone()));
        }
        true
    }

    /// Removes a path; its inode stays with its other names.
    pub fn remove(&mut self, path: &[u8]) {
        let Some(Name::Carries(node)) = self.names.remove(path) else { return };
        let mut heirs = self.names.iter_mut().filter(|(_, name)| matches!(name, Name::Shares(first) if first == path));
        let Some((heir, name)) = heirs.next() else { return };
        let heir = heir.clone();
        *name = Name::Carries(node);
        for (_, name) in heirs {
            *name = Name::Shares(heir.clone());
        }
    }

    /// Returns the inode of a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        match self.names.get(self.first_name(path)?)? {
            Name::Carries(node) => Some(node),
            Name::Shares(_) => None,
        }
    }

    /// Returns the inode of a path for changes, which apply to all its names.
    pub fn get_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        let first = self.first_name(path)?.to_vec();
        match self.names.get_mut(&first)? {
            Name::Carries(node) => Some(node),
            Name::Shares(_) => None,
        }
    }

    /// Returns the first name in byte order of a path's inode.
    #[must_use]
    pub fn first_name(&self, path: &[u8]) -> Option<&[u8]> {
        let (path, name) = self.names.get_key_value(path)?;
        Some(match name {
            Name::Carries(_) => path,
            Name::Shares(first) => first,
        })
    }

    /// Returns all names of a path's inode, in byte order; empty if there is no such path.
    #[must_use]
    pub fn names(&self, path: &[u8]) -> Vec<&[u8]> {
        let Some(first) = self.first_name(path) else { return Vec::new() };
        let shares = |name: &Name| matches!(name, Name::Shares(other) if other == first);
        self.names.iter().filter(|&(path, name)| path == first || shares(name)).map(|(path, _)| &path[..]).collect()
    }

    /// Returns all paths in byte order with their inodes; an inode is repeated for each of its names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.names.keys().filter_map(|path| Some((&path[..], self.get(path)?)))
    }

    /// Returns the number of paths.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns true if there are no paths, not even the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns true if `/lost+found` is an empty directory: every ext4 filesystem has one, and it has no meaning.
    #[must_use]
    pub fn has_empty_lost_found(&self) -> bool {
        let is_directory = self.get(b"/lost+found").is_some_and(|node| node.kind == Kind::Directory);
        let below = self.names.range(b"/lost+found/".to_vec()..b"/lost+found0".to_vec()).next();
        is_directory && below.is_none()
    }
}

impl<P: Into<Vec<u8>>> FromIterator<(P, Node)> for Listing {
    fn from_iter<I: IntoIterator<Item = (P, Node)>>(nodes: I) -> Self {
        let names = nodes.into_iter().map(|(path, node)| (path.into(), Name::Carries(node))).collect();
        Self { names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_names() -> Listing {
        let mut listing = Listing::new();
        listing.insert("/m", Node::file("content"));
        assert!(listing.link("/z", b"/m"));
        assert!(listing.link("/a", b"/z"));
        listing
    }

    #[test]
    fn the_first_name_has_the_inode_in_any_insertion_order() {
        let listing = three_names();
        assert_eq!(listing.names(b"/m"), [b"/a", b"/m", b"/z"]);
        let mut other = Listing::new();
        other.insert("/a", Node::file("content"));
        assert!(other.link("/m", b"/a") && other.link("/z", b"/a"));
        assert_eq!(listing, other);
    }

    #[test]
    fn removing_a_name_leaves_the_others() {
        let mut listing = three_names();
        listing.remove(b"/a");
        assert_eq!(listing.get(b"/a"), None);
        assert_eq!(listing.names(b"/z"), [b"/m", b"/z"]);
        assert_eq!(listing.get(b"/z"), Some(&Node::file("content")));
    }

    #[test]
    fn inserting_over_a_name_gives_it_another_inode() {
        let mut listing = three_names();
        listing.insert("/a", Node::file("other"));
        assert_eq!(listing.names(b"/a"), [b"/a"]);
        assert_eq!(listing.get(b"/m"), Some(&Node::file("content")));
    }

    #[test]
    fn links_need_another_name() {
        let mut listing = three_names();
        assert!(!listing.link("/b", b"/missing"));
        assert!(!listing.link("/a", b"/a"));
        assert_eq!(listing, three_names());
    }

    #[test]
    fn a_link_over_a_name_of_the_same_inode_changes_nothing() {
        let mut listing = three_names();
        assert!(listing.link("/a", b"/m"));
        assert_eq!(listing, three_names());
    }

    #[test]
    fn a_change_is_seen_by_all_names() {
        let mut listing = three_names();
        listing.get_mut(b"/z").unwrap().mode = 0o600;
        assert!(listing.iter().all(|(_, node)| node.mode == 0o600));
    }

    #[test]
    fn lost_found_counts_when_it_holds_something_or_is_no_directory() {
        let mut listing: Listing =
            [("/lost+found", Node::directory()), ("/lost+found.txt", Node::file(""))].into_iter().collect();
        assert!(listing.has_empty_lost_found());
        listing.insert("/lost+found/#1", Node::file(""));
        assert!(!listing.has_empty_lost_found());
        assert!(!Listing::from_iter([("/lost+found", Node::file(""))]).has_empty_lost_found());
    }
}
