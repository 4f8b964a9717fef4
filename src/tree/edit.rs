//! Adds names and inodes to a tree, and removes them.

use std::hash::BuildHasher as _;

use super::arena::NONE;
use super::memory::TreeFull;
use super::{Child, Inode, InodeId, Metadata, Name, Node, Tree};

impl Tree {
    pub(super) fn add_inode(&mut self, metadata: Metadata, node: Node) -> Result<InodeId, TreeFull> {
        if self.made >= self.inodes_max {
            return Err(TreeFull);
        }
        let metadata = self.share(metadata)?;
        let node = self.keep_node(node)?;
        self.grow_inodes()?;
        let number = self.inodes.insert(Inode { metadata, node, names: 0 }).ok_or(TreeFull)?;
        self.made += 1;
        self.observe_made(InodeId(number));
        Ok(InodeId(number))
    }

    /// Adds a name to a directory and marks all directories above as written by this layer.
    pub(super) fn set_child(&mut self, directory: InodeId, bytes: &[u8], child: Child) -> Result<(), TreeFull> {
        let Child { inode, layer, implied, bookkeeping } = child;
        if let Some(inode) = self.inodes.get_mut(inode.0) {
            inode.names += 1;
        }
        let number = match self.find(directory, bytes) {
            Some(number) => {
                if let Some(name) = self.names.get_mut(number) {
                    let old = std::mem::replace(&mut name.inode, inode);
                    (name.layer, name.implied, name.bookkeeping) = (layer, implied, bookkeeping);
                    self.release(old);
                }
                number
            }
            None => self.insert_name(directory, bytes, child)?,
        };
        if let Some(ring) = self.ring_mut(inode) {
            (ring.parent, ring.name) = (directory.0, number);
        }
        let mut at = Some(directory);
        while let Some(here) = at.and_then(|id| self.ring_mut(id)) {
            if here.below == Some(layer) {
                break;
            }
            here.below = Some(layer);
            at = here.parent();
        }
        Ok(())
    }

    fn insert_name(&mut self, directory: InodeId, bytes: &[u8], child: Child) -> Result<u32, TreeFull> {
        let Child { inode, layer, implied, bookkeeping } = child;
        let hash = self.hasher.hash_one((directory.0, bytes));
        let bytes = self.keep(bytes)?;
        self.grow_names()?;
        let name =
            Name { bytes, directory, inode, next: NONE, previous: NONE, layer, implied, bookkeeping, hidden: false };
        let number = self.names.insert(name).ok_or(TreeFull)?;
        let Self { table, names, hasher, .. } = self;
        let rehash =
            |number: &u32| names.get(*number).map_or(0, |name| hasher.hash_one((name.directory.0, &*name.bytes)));
        table.insert_unique(hash, number, rehash);
        let Some(ring) = self.ring_mut(directory) else { return Err(TreeFull) };
        let last = std::mem::replace(&mut ring.last, number);
        ring.len += 1;
        let next = self.names.get_mut(last).map_or(number, |last| std::mem::replace(&mut last.next, number));
        if let Some(next) = self.names.get_mut(next) {
            next.previous = number;
        }
        let previous = if last == NONE { number } else { last };
        if let Some(name) = self.names.get_mut(number) {
            (name.next, name.previous) = (next, previous);
        }
        Ok(number)
    }

    /// Removes a name from its directory, and its inode if it has no other name.
    pub(super) fn remove_name(&mut self, number: u32) {
        let Some(name) = self.unlink(number) else { return };
        if let Some(ring) = self.ring_mut(name.directory) {
            ring.len -= 1;
            if ring.last == number {
                ring.last = if ring.len == 0 { NONE } else { name.previous };
            }
        }
        for (at, is_next) in [(name.previous, true), (name.next, false)] {
            if let Some(neighbour) = self.names.get_mut(at) {
                *(if is_next { &mut neighbour.next } else { &mut neighbour.previous }) =
                    if is_next { name.next } else { name.previous };
            }
        }
        self.release(name.inode);
    }

    /// Removes a name from the table and the arena.
    pub(super) fn unlink(&mut self, number: u32) -> Option<Name> {
        let name = self.names.get(number)?;
        let hash = self.hasher.hash_one((name.directory.0, &*name.bytes));
        if let Ok(found) = self.table.find_entry(hash, |n| *n == number) {
            found.remove();
        }
        let name = self.names.remove(number)?;
        self.observe_removal();
        self.forget(&name.bytes);
        Some(name)
    }

    /// Decrements the link count of an inode; without links it is removed, with everything below it.
    pub(super) fn release(&mut self, id: InodeId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let Some(inode) = self.inodes.get_mut(id.0) else { continue };
            inode.names = inode.names.saturating_sub(1);
            if inode.names > 0 || id == InodeId::ROOT {
                continue;
            }
            if let Some(directory) = self.directory(id) {
                let numbers: Vec<u32> = directory.numbers().collect();
                todo.extend(numbers.into_iter().filter_map(|number| Some(self.unlink(number)?.inode)));
            }
            self.observe_freed(id);
            if let Some(inode) = self.inodes.remove(id.0) {
                self.forget_inode(inode);
            }
        }
    }
}
