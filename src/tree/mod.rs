//! Names and inodes after applying layers.
//!
//! A tree consists of an arena of inodes and an arena of names; a hard link is a further name, and one table finds a
//! name in a directory. The names of a directory form a ring. An inode counts its names and is removed with the last
//! one, a directory with everything below it, so that replaced or hidden files take no memory. The module knows neither
//! tar nor compression nor ext4.
//!
//! # Memory
//!
//! A tree takes its memory from one budget (`Memory`) before it allocates. A slot of an arena includes what later
//! stages need for it; slots are reused, but never returned to the budget. Names of up to 22 bytes are stored in their
//! slot. Names, targets, xattrs and maps of sparse files of 64 bytes and more are stored in a mapped, unlinked file
//! (`Store`), equal xattrs are stored once, and the bytes of files are parts of the layers' mapped streams. An
//! ordinary file takes about 170 bytes of the budget up to the end of a verified build with e2fsprogs.

mod acl;
mod apply;
mod arena;
pub(crate) mod change;
pub(crate) mod difference;
mod edit;
pub(crate) mod flatten;
pub(crate) mod life;
mod lookup;
mod memory;
pub(crate) mod observe;
mod purge;
mod put;
mod resolve;
mod similar;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

pub use crate::layer::entry::{Content, Device, DeviceKind, Metadata, Octets, Xattr, Xattrs};
pub(crate) use apply::{ApplyFault, ApplyReport};
pub use change::{Attribute, Change};
pub use life::{Cause, LifeEvent};
pub use lookup::{Found, Missing, MissingReason};
pub use walk::{Visit, Walk};

use arena::{Arena, NONE};
use observe::Observer;

use crate::error::Error;
use crate::layer::Store;
use crate::memory::Memory;
use crate::time::Timestamp;

/// The flattened filesystem of an image.
#[derive(Debug)]
pub struct Tree {
    inodes: Arena<Inode>,
    names: Arena<Name>,
    /// The numbers of names, by directory and bytes.
    table: HashTable<u32>,
    hasher: RandomState,
    /// The xattrs that inodes share.
    shared: HashSet<Xattrs>,
    store: Store,
    memory: Arc<Memory>,
    failure: Option<Error>,
    observer: Option<Box<Observer>>,
    /// The number of inodes created so far.
    made: u32,
    inodes_max: u32,
    implied_mtime: Timestamp,
    /// The number of names that paths took from symlink targets, and its limit.
    link_steps: u64,
    link_steps_max: u64,
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

/// The number of a name in its tree's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameId(u32);

impl NameId {
    /// Returns the number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A file of any type, with all its names.
#[derive(Debug)]
pub struct Inode {
    /// Owner, mode, mtime and xattrs.
    pub metadata: Metadata,
    /// The type and content.
    pub node: Node,
    names: u32,
}

/// The type of an inode, with its content.
#[derive(Debug)]
pub enum Node {
    /// A directory with its names.
    Directory(Ring),
    /// A regular file.
    File(Content),
    /// A symlink with its target.
    Symlink(Octets),
    /// A device node.
    Device(Device),
    /// A fifo.
    Fifo,
}

/// The ring of a directory's names.
#[derive(Debug)]
pub struct Ring {
    last: u32,
    len: u32,
    parent: u32,
    /// The name of the directory itself.
    name: u32,
    /// The last layer that added a name anywhere below.
    below: Option<LayerId>,
    /// True if an opaque marker waits for the end of its layer.
    opaque: bool,
}

/// A name of a directory.
#[derive(Debug)]
struct Name {
    bytes: Octets,
    directory: InodeId,
    inode: InodeId,
    next: u32,
    previous: u32,
    layer: LayerId,
    implied: bool,
    bookkeeping: bool,
    /// True if a marker waits for the end of its layer.
    hidden: bool,
}

/// A directory of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    tree: &'a Tree,
    ring: &'a Ring,
}

impl<'a> Directory<'a> {
    /// Returns the number of names in the directory, without `.` and `..`.
    #[must_use]
    pub fn len(self) -> usize {
        self.ring.len as usize
    }

    /// Returns true if the directory has no names.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.ring.len == 0
    }

    /// Returns the names in the order in which they were added.
    pub fn names(self) -> impl Iterator<Item = (&'a [u8], Child)> {
        self.numbers().filter_map(|number| {
            let name = self.tree.names.get(number)?;
            Some((&*name.bytes, name.child()))
        })
    }

    /// Returns the names with their numbers, in the same order.
    pub(crate) fn ids(self) -> impl Iterator<Item = (NameId, &'a [u8])> {
        self.numbers().filter_map(|number| Some((NameId(number), &*self.tree.names.get(number)?.bytes)))
    }

    /// Returns the numbers of the names.
    fn numbers(self) -> impl Iterator<Item = u32> + use<'a> {
        let tree = self.tree;
        let mut at = self.ring.last;
        (0..self.ring.len).map_while(move |_| {
            at = tree.names.get(at)?.next;
            Some(at)
        })
    }
}

/// The number of a layer, from 0 upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerId(pub u16);

/// The inode of a name, and the layer that wrote the name.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// The inode.
    pub inode: InodeId,
    /// The layer that last wrote the name.
    pub layer: LayerId,
    /// True if no layer has an entry for it: a missing parent of an entry.
    pub implied: bool,
    /// True if it is AUFS bookkeeping; [`Tree::finish`] removes such names.
    bookkeeping: bool,
}

impl Name {
    fn child(&self) -> Child {
        let Self { inode, layer, implied, bookkeeping, .. } = *self;
        Child { inode, layer, implied, bookkeeping }
    }
}

impl Ring {
    fn empty() -> Self {
        Self { last: NONE, len: 0, parent: NONE, name: NONE, below: None, opaque: false }
    }

    fn parent(&self) -> Option<InodeId> {
        (self.parent != NONE).then_some(InodeId(self.parent))
    }
}

impl Tree {
    /// Returns a tree with an empty root, mode 0755, owned by root.
    ///
    /// `implied_mtime` is the mtime of the root and of every directory that no layer describes.
    #[must_use]
    pub(crate) fn new(implied_mtime: Timestamp) -> Self {
        let mut inodes = Arena::new();
        let (metadata, node) = (Metadata::implied(implied_mtime), Node::Directory(Ring::empty()));
        inodes.insert(Inode { metadata, node, names: 1 });
        Self {
            inodes,
            names: Arena::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            shared: HashSet::new(),
            store: Store::default(),
            memory: Arc::new(Memory::new(u64::MAX)),
            failure: None,
            observer: None,
            made: 0,
            inodes_max: u32::MAX,
            implied_mtime,
            link_steps: 0,
            link_steps_max: u64::MAX,
        }
    }

    /// Limits the number of inodes created below the root.
    ///
    /// One entry may imply two thousand directories, so a limit on entries does not limit memory.
    #[must_use]
    pub(crate) fn with_inodes_max(self, inodes_max: u64) -> Self {
        Self { inodes_max: u32::try_from(inodes_max).unwrap_or(u32::MAX), ..self }
    }

    /// Limits the number of names that all paths together take from symlink targets.
    ///
    /// A path may follow forty symlinks with targets of two thousand names each, so a limit on entries does not limit
    /// time.
    #[must_use]
    pub(crate) fn with_link_steps_max(self, link_steps_max: u64) -> Self {
        Self { link_steps_max, ..self }
    }

    /// Sets the memory budget and the store of long values.
    #[must_use]
    pub(crate) fn with_memory(self, memory: Arc<Memory>, store: Store) -> Self {
        Self { memory, store, ..self }
    }

    /// Returns the memory budget.
    #[must_use]
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes the reason why the tree cannot grow: its memory is used up, or a long value cannot be written.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Returns an inode.
    ///
    /// # Panics
    ///
    /// The tree has no inode of this number.
    #[must_use]
    pub fn inode(&self, id: InodeId) -> &Inode {
        self.inodes.get(id.0).expect("numbers of inodes come from the tree, which frees an inode with its last name")
    }

    /// Returns the number of names of an inode; 1 for the root.
    #[must_use]
    pub fn links(&self, id: InodeId) -> u32 {
        self.inodes.get(id.0).map_or(0, |inode| inode.names)
    }

    /// Returns the link count that a filesystem has for an inode: its names, and for a directory its `.` and the `..` of
    /// its subdirectories.
    #[must_use]
    pub fn link_count(&self, id: InodeId) -> u64 {
        let names = u64::from(self.links(id));
        let Some(directory) = self.directory(id) else { return names };
        let is_directory = |(_, child): &(&[u8], Child)| self.ring(child.inode).is_some();
        names + 1 + directory.names().filter(is_directory).count() as u64
    }

    /// Returns the number of slots for inodes: more than there are inodes if names were replaced.
    #[must_use]
    pub(crate) fn arena_len(&self) -> usize {
        self.inodes.len()
    }

    /// Returns the inode at a path without following symlinks. The empty path is the root.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<InodeId> {
        path.split(|&b| b == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(InodeId::ROOT, |at, name| Some(self.child(at, name)?.inode))
    }

    /// Returns the directory that holds a name, and the name.
    #[must_use]
    pub(crate) fn name(&self, id: NameId) -> Option<(InodeId, &[u8])> {
        self.names.get(id.0).map(|name| (name.directory, &*name.bytes))
    }

    /// Returns the path of a name, without a leading `/`.
    #[must_use]
    pub(crate) fn path(&self, id: NameId) -> Box<[u8]> {
        let mut names = Vec::new();
        let mut at = Some(id);
        while let Some((directory, name)) = at.and_then(|id| self.name(id)) {
            names.push(name);
            at = self.ring(directory).map(|ring| NameId(ring.name));
        }
        names.reverse();
        names.join(&b'/').into()
    }

    /// Returns an inode as a directory.
    #[must_use]
    pub fn directory(&self, id: InodeId) -> Option<Directory<'_>> {
        self.ring(id).map(|ring| Directory { tree: self, ring })
    }

    fn ring(&self, id: InodeId) -> Option<&Ring> {
        match &self.inodes.get(id.0)?.node {
            Node::Directory(ring) => Some(ring),
            _ => None,
        }
    }

    fn ring_mut(&mut self, id: InodeId) -> Option<&mut Ring> {
        match &mut self.inodes.get_mut(id.0)?.node {
            Node::Directory(ring) => Some(ring),
            _ => None,
        }
    }

    /// Returns the number of slots for names.
    #[must_use]
    pub(crate) fn names_len(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of a name in a directory, and its child.
    #[must_use]
    pub(crate) fn entry(&self, directory: InodeId, name: &[u8]) -> Option<(NameId, Child)> {
        let number = self.find(directory, name)?;
        Some((NameId(number), self.names.get(number)?.child()))
    }

    /// Returns the child of a name in a directory.
    #[must_use]
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<Child> {
        self.find(directory, name).and_then(|number| self.names.get(number)).map(Name::child)
    }

    /// Returns the number of a name.
    fn find(&self, directory: InodeId, bytes: &[u8]) -> Option<u32> {
        let is_it = |name: &Name| name.directory == directory && *name.bytes == *bytes;
        let hash = self.hasher.hash_one((directory.0, bytes));
        self.table.find(hash, |number| self.names.get(*number).is_some_and(is_it)).copied()
    }
}
