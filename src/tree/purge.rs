//! Removes names left by lower layers, and no others (image-spec `layer.md`, Whiteouts).

use std::collections::HashSet;

use super::{Child, Directory, InodeId, LayerId, Name, Tree};
use crate::layer::entry::Metadata;

/// The removals by the markers of one layer so far.
pub(super) struct Purge {
    layer: LayerId,
    /// Directories that hold nothing of lower layers any more, at any depth: a marker above them skips them.
    done: HashSet<InodeId>,
}

impl Purge {
    pub fn of(layer: LayerId) -> Self {
        Self { layer, done: HashSet::new() }
    }
}

impl Tree {
    /// Hides a name, unless the layer itself wrote it.
    pub(super) fn hide<E>(
        &mut self,
        number: u32,
        purge: &mut Purge,
        stop: &dyn Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(child) = self.names.get(number).map(Name::child) else { return Ok(()) };
        if self.touched(child, purge.layer) {
            self.purge(child.inode, purge, stop)?;
        }
        self.outlive(number, child, purge.layer);
        Ok(())
    }

    /// Hides every child of a directory that the layer did not write, at any depth.
    ///
    /// Directories are cleared from the leaves upwards and without recursion, because the image chooses their depth.
    /// Each is cleared once, however many markers are above it.
    pub(super) fn purge<E>(
        &mut self,
        directory: InodeId,
        purge: &mut Purge,
        stop: &dyn Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        let layer = purge.layer;
        if !purge.done.insert(directory) {
            return Ok(());
        }
        let mut found = vec![directory];
        let mut seen = 0;
        while let Some(&at) = found.get(seen) {
            stop()?;
            seen += 1;
            if let Some(here) = self.directory(at) {
                let touched = here.names().map(|(_, child)| child).filter(|child| self.touched(*child, layer));
                found.extend(touched.map(|child| child.inode).filter(|inode| purge.done.insert(*inode)));
            }
        }
        for &at in found.iter().rev() {
            stop()?;
            let Some(here) = self.directory(at) else { continue };
            let numbers: Vec<u32> = here.numbers().collect();
            for number in numbers {
                if let Some(child) = self.names.get(number).map(Name::child) {
                    self.outlive(number, child, layer);
                }
            }
        }
        Ok(())
    }

    /// Returns true if a child is a directory below which `layer` may have written.
    fn touched(&self, child: Child, layer: LayerId) -> bool {
        self.ring(child.inode).is_some_and(|d| child.layer == layer || d.below == Some(layer))
    }

    /// Reduces a child whose own children are purged to what remains: the child if `layer` wrote it, an implied
    /// directory if `layer` wrote below it, otherwise nothing.
    fn outlive(&mut self, number: u32, child: Child, layer: LayerId) {
        if child.layer == layer {
            return;
        }
        let has_names = |d: Directory<'_>| d.names().any(|(_, child)| !child.bookkeeping);
        if !self.touched(child, layer) || !self.directory(child.inode).is_some_and(has_names) {
            self.remove_name(number);
            return;
        }
        self.observe_removal();
        self.replace_metadata(child.inode, Metadata::implied(self.implied_mtime));
        if let Some(name) = self.names.get_mut(number) {
            (name.layer, name.implied) = (layer, true);
        }
    }

    /// Removes AUFS bookkeeping and everything below it.
    pub(super) fn drop_bookkeeping(&mut self) {
        let is_bookkeeping = |number: &u32| self.names.get(*number).is_some_and(|name| name.bookkeeping);
        let last = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let dropped: Vec<u32> = (0..last).filter(is_bookkeeping).collect();
        for number in dropped {
            // The removal of a directory has already removed everything below it.
            if self.names.get(number).is_some_and(|name| name.bookkeeping) {
                self.remove_name(number);
            }
        }
    }
}
