//! The memory that the tree takes from the budget and returns to it.

use std::path::Path;

use super::{Inode, InodeId, Node, Tree};
use crate::error::Error;
use crate::layer::entry::{Metadata, Octets, Xattrs};

/// The error of a tree that cannot grow; [`Tree::take_failure`] has the reason unless it is the number of inodes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TreeFull;

/// Bytes that later stages take for each inode: its number in the filesystem (4); its blocks in the order of mkfs (4);
/// for verification its number as found (4), the numbers in use (11), and the list of files (8); for the fingerprint
/// the sum of its bytes, of a few at a time.
const LATER: u64 = 32;
/// Bytes of a slot in the table of names just after it grew: two slots for each name, each with a control byte.
const PLACE: u64 = 12;

impl Tree {
    /// Stores the reason why the tree cannot grow.
    fn fails(&mut self, error: Error) -> TreeFull {
        self.failure.get_or_insert(error);
        TreeFull
    }

    pub(super) fn take(&mut self, bytes: u64) -> Result<(), TreeFull> {
        if bytes == 0 {
            return Ok(());
        }
        self.memory.take(bytes).map_err(|error| self.fails(error))
    }

    pub(super) fn grow_inodes(&mut self) -> Result<(), TreeFull> {
        let (slots, bytes) = self.inodes.growth();
        self.take(bytes + slots * LATER)
    }

    pub(super) fn grow_names(&mut self) -> Result<(), TreeFull> {
        let (slots, bytes) = self.names.growth();
        self.take(bytes + slots * PLACE)
    }

    /// Stores bytes where they take least memory.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<Octets, TreeFull> {
        self.take(self.store.memory_of(bytes.len()))?;
        self.store.keep(bytes).map_err(|error| self.store_fails(error))
    }

    fn store_fails(&mut self, source: std::io::Error) -> TreeFull {
        let directory = self.store.directory().unwrap_or(Path::new("")).to_owned();
        self.fails(Error::write(&directory, 0, source))
    }

    pub(super) fn keep_node(&mut self, node: Node) -> Result<Node, TreeFull> {
        Ok(match node {
            Node::Symlink(target) => Node::Symlink(self.keep(&target)?),
            Node::File(mut content) => {
                self.take(content.memory(&self.store))?;
                content.keep_in(&mut self.store).map_err(|error| self.store_fails(error))?;
                Node::File(content)
            }
            Node::Directory(_) | Node::Device(_) | Node::Fifo => node,
        })
    }

    /// Replaces an inode's xattrs by an equal shared value.
    pub(super) fn share(&mut self, mut metadata: Metadata) -> Result<Metadata, TreeFull> {
        let encoded = metadata.xattrs.encoded();
        if encoded.is_empty() {
            return Ok(metadata);
        }
        metadata.xattrs = match self.shared.get(encoded) {
            Some(known) => known.clone(),
            None => {
                self.take(Xattrs::MEMORY)?;
                let xattrs = Xattrs::of_encoded(self.keep(encoded)?);
                self.shared.insert(xattrs.clone());
                xattrs
            }
        };
        Ok(metadata)
    }

    pub(super) fn set_metadata(&mut self, id: InodeId, metadata: Metadata) -> Result<(), TreeFull> {
        let metadata = self.share(metadata)?;
        self.replace_metadata(id, metadata);
        Ok(())
    }

    /// Sets metadata whose xattrs are shared already or empty.
    pub(super) fn replace_metadata(&mut self, id: InodeId, metadata: Metadata) {
        if let Some(inode) = self.inodes.get_mut(id.0) {
            let old = std::mem::replace(&mut inode.metadata, metadata);
            self.forget_xattrs(old.xattrs);
        }
    }

    pub(super) fn forget(&self, octets: &Octets) {
        self.memory.give(octets.memory());
    }

    pub(super) fn forget_inode(&mut self, inode: Inode) {
        match &inode.node {
            Node::Symlink(target) => self.forget(target),
            Node::File(content) => self.memory.give(content.memory(&self.store)),
            Node::Directory(_) | Node::Device(_) | Node::Fifo => {}
        }
        self.forget_xattrs(inode.metadata.xattrs);
    }

    /// Drops shared xattrs together with their last inode.
    fn forget_xattrs(&mut self, xattrs: Xattrs) {
        // The two: this one, and the one in the set.
        if xattrs.shares() == 2 && self.shared.remove(xattrs.encoded()) {
            self.memory.give(xattrs.memory());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_the_size_that_the_budget_counts() {
        assert_eq!((size_of::<Metadata>(), size_of::<Node>(), size_of::<Inode>()), (40, 32, 80));
        assert_eq!(size_of::<crate::tree::Name>(), 48);
    }
}
