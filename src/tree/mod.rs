//! Names and inodes after applying layers.
//!
//! A tree is an arena of inodes; a directory maps names to inodes, so that a hard link is one more name and a deletion
//! of a whole subtree is one removal. Knows nothing about tar, compression or ext4.

mod apply;
mod name;
mod purge;
mod resolve;
#[cfg(test)]
mod tests;
mod walk;

use indexmap::IndexMap;

pub use apply::{Applied, ApplyFault};
pub use walk::{Visit, Walk};

use name::Name;

use crate::layer::entry::{Content, Device, Metadata};
use crate::time::Timestamp;

/// The flattened filesystem of an image.
#[derive(Debug, Clone)]
pub struct Tree {
    inodes: Vec<Inode>,
    inodes_max: u32,
    implied_mtime: Timestamp,
}

/// The number of an inode in its tree's arena. The root is [`InodeId::ROOT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(u32);

impl InodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// Returns the number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A file of any type, with as many names as lead to it.
#[derive(Debug, Clone)]
pub struct Inode {
    /// Owner, mode, time and xattrs.
    pub metadata: Metadata,
    /// What it is.
    pub node: Node,
}

/// What an inode is.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory with its names.
    Directory(Box<Directory>),
    /// A regular file.
    File(Content),
    /// A symlink with its target.
    Symlink(Box<[u8]>),
    /// A device node.
    Device(Device),
    /// A fifo.
    Fifo,
}

/// The names of a directory.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    children: IndexMap<Name, Child>,
    /// The layer that last added a name anywhere below.
    below: Option<LayerId>,
    parent: Option<InodeId>,
}

impl Directory {
    /// Returns how many names the directory has, `.` and `..` not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Returns whether the directory has no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Returns the names in no particular order.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], Child)> {
        self.children.iter().map(|(name, child)| (name.as_bytes(), *child))
    }
}

/// The number of a layer, from 0 upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerId(pub u16);

/// What a name leads to, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// The inode.
    pub inode: InodeId,
    /// The layer that last wrote the name.
    pub layer: LayerId,
    /// Whether no layer has an entry for it: a parent that an entry below needed.
    pub implied: bool,
    /// Whether it is AUFS bookkeeping; such names leave with [`Tree::finish`].
    bookkeeping: bool,
}

impl Tree {
    /// Returns a tree that holds an empty root, 0755 and root's.
    ///
    /// `implied_mtime` is the time of the root and of every directory that no layer describes.
    #[must_use]
    pub fn new(implied_mtime: Timestamp) -> Self {
        let root = Inode { metadata: Metadata::implied(implied_mtime), node: Node::Directory(Box::default()) };
        Self { inodes: vec![root], inodes_max: u32::MAX, implied_mtime }
    }

    /// Bounds the inodes below the root that are ever made.
    ///
    /// One entry may imply two thousand directories, so that a bound on entries is none on memory.
    #[must_use]
    pub fn with_inodes_max(self, inodes_max: u64) -> Self {
        Self { inodes_max: u32::try_from(inodes_max).unwrap_or(u32::MAX), ..self }
    }

    /// Returns an inode.
    #[must_use]
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// Returns how many inodes the arena holds: more than the tree when names were replaced.
    #[must_use]
    pub fn arena_len(&self) -> usize {
        self.inodes.len()
    }

    /// Returns the inode at a path, following no symlink. The empty path is the root.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<InodeId> {
        path.split(|&b| b == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(InodeId::ROOT, |at, name| Some(self.directory(at)?.children.get(name)?.inode))
    }

    /// Returns an inode as a directory.
    #[must_use]
    pub fn directory(&self, id: InodeId) -> Option<&Directory> {
        match &self.inode(id).node {
            Node::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, id: InodeId) -> Option<&mut Directory> {
        match &mut self.inodes[id.index()].node {
            Node::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn child(&self, directory: InodeId, name: &[u8]) -> Option<Child> {
        self.directory(directory)?.children.get(name).copied()
    }

    fn add_inode(&mut self, metadata: Metadata, node: Node) -> Option<InodeId> {
        let id = InodeId(u32::try_from(self.inodes.len()).ok().filter(|id| *id <= self.inodes_max)?);
        self.inodes.push(Inode { metadata, node });
        Some(id)
    }

    /// Puts a name into a directory and remembers, all the way up, that this layer wrote below.
    fn set_child(&mut self, directory: InodeId, name: &[u8], child: Child) {
        if let Some(added) = self.directory_mut(child.inode) {
            added.parent = Some(directory);
        }
        if let Some(here) = self.directory_mut(directory) {
            here.children.insert(name.into(), child);
        }
        let mut at = Some(directory);
        while let Some(here) = at.and_then(|id| self.directory_mut(id)) {
            if here.below == Some(child.layer) {
                break;
            }
            here.below = Some(child.layer);
            at = here.parent;
        }
    }
}
