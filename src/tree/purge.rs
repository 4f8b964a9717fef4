//! Removes what lower layers left, and only that (image-spec `layer.md`, Whiteouts).

use super::{Child, InodeId, LayerId, Tree};
use crate::layer::entry::Metadata;

impl Tree {
    /// Hides one name of a directory, unless `layer` itself wrote it.
    pub(super) fn hide(&mut self, directory: InodeId, name: &[u8], layer: LayerId) {
        let Some(child) = self.child(directory, name) else { return };
        if self.touched(child, layer) {
            self.purge(child.inode, layer);
        }
        if let Some(stays) = self.outlive(child, layer) {
            self.replace_child(directory, name, stays);
        } else if let Some(here) = self.directory_mut(directory) {
            here.children.swap_remove(name);
        }
    }

    /// Hides every child of a directory that `layer` did not write, at any depth.
    ///
    /// Directories are cleared from the leaves upwards and without recursion: their depth is the image's choice.
    pub(super) fn purge(&mut self, directory: InodeId, layer: LayerId) {
        let mut found = vec![directory];
        let mut seen = 0;
        while let Some(&at) = found.get(seen) {
            seen += 1;
            if let Some(here) = self.directory(at) {
                found.extend(here.children.values().filter(|child| self.touched(**child, layer)).map(|c| c.inode));
            }
        }
        for &at in found.iter().rev() {
            let Some(here) = self.directory_mut(at) else { continue };
            let children = std::mem::take(&mut here.children);
            let kept: indexmap::IndexMap<_, _> = children
                .into_iter()
                .filter_map(|(name, child)| self.outlive(child, layer).map(|child| (name, child)))
                .collect();
            if let Some(here) = self.directory_mut(at) {
                here.children = kept;
            }
        }
    }

    /// Returns whether a child is a directory in which `layer` may have written.
    fn touched(&self, child: Child, layer: LayerId) -> bool {
        self.directory(child.inode).is_some_and(|d| child.layer == layer || d.below == Some(layer))
    }

    /// Returns what is left of a child whose own children are purged already: itself when `layer` wrote it, an
    /// implied directory when `layer` wrote below it, or nothing.
    fn outlive(&mut self, child: Child, layer: LayerId) -> Option<Child> {
        if child.layer == layer {
            return Some(child);
        }
        if !self.touched(child, layer) || self.directory(child.inode)?.children.values().all(|c| c.bookkeeping) {
            return None;
        }
        let metadata = Metadata::implied(self.implied_mtime);
        self.inodes[child.inode.index()].metadata = metadata;
        Some(Child { layer, implied: true, ..child })
    }

    fn replace_child(&mut self, directory: InodeId, name: &[u8], child: Child) {
        if let Some(place) = self.directory_mut(directory).and_then(|d| d.children.get_mut(name)) {
            *place = child;
        }
    }

    /// Drops AUFS bookkeeping and everything below it, and memory that was held for names to come.
    pub(super) fn drop_bookkeeping(&mut self) {
        self.inodes.shrink_to_fit();
        let mut todo = vec![InodeId::ROOT];
        while let Some(at) = todo.pop() {
            let Some(here) = self.directory_mut(at) else { continue };
            here.children.retain(|_, child| !child.bookkeeping);
            here.children.shrink_to_fit();
            let inodes: Vec<_> = here.children.values().map(|child| child.inode).collect();
            todo.extend(inodes.into_iter().filter(|id| self.directory(*id).is_some()));
        }
    }
}
