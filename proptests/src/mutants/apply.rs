//! Applies layers: entries at once, markers at the end of their layer.

use super::Defect;
use super::entry::{check_lengths, node, split};
use super::tree::{Child, Number, ROOT, Tree};
use crate::listing::{Kind, Node};
use crate::writer::{Entry, EntryType};

const PREFIX: &[u8] = b".wh.";
const BOOKKEEPING: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A pending marker: for all names of a directory, or for one.
struct Marker(Number, Option<Vec<u8>>);

impl Tree {
    pub(super) fn apply(&mut self, entries: &[Entry]) -> Result<(), &'static str> {
        self.layer += 1;
        let mut markers = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind != EntryType::GlobalHeader) {
            let mut parents = split(&entry.name, false, self.defect)?;
            let Some(last) = parents.pop() else {
                self.enter_root(entry)?;
                continue;
            };
            let other = self.has(Defect::MarkerNeedsType) && entry.kind != EntryType::Regular;
            let bookkeeping = is_bookkeeping(&last);
            let marker = match last.strip_prefix(PREFIX).filter(|_| !other) {
                _ if last == OPAQUE => None,
                _ if bookkeeping && self.has(Defect::OpaqueIsAnyBookkeeping) => None,
                Some(b"" | b"." | b"..") => {
                    self.dot_marker(&parents, &last)?;
                    continue;
                }
                Some(hidden) if !bookkeeping => Some(hidden.to_vec()),
                _ => {
                    check_lengths(&parents, &last)?;
                    self.enter(entry, &parents, &last, bookkeeping)?;
                    continue;
                }
            };
            check_lengths(&parents, marker.as_deref().unwrap_or_default())?;
            let make = self.has(Defect::WhiteoutMakesParents) || self.has(Defect::MarkerRemains);
            let Some(directory) = self.walk(ROOT, &parents, make)? else { continue };
            if self.has(Defect::MarkerRemains) {
                let file = self.add(node(&Entry { kind: EntryType::Regular, ..entry.clone() }, None)?, directory);
                self.set(directory, &last, file, false);
            }
            markers.extend(self.see(Marker(directory, marker))?);
        }
        markers.into_iter().for_each(|marker| self.obey(marker));
        Ok(())
    }

    fn enter_root(&mut self, entry: &Entry) -> Result<(), &'static str> {
        let node = node(entry, self.defect)?;
        if node.kind != Kind::Directory {
            return Err("the root is not a directory");
        }
        if !self.has(Defect::IgnoresRootEntry) {
            self.inodes[ROOT].node = node;
        }
        Ok(())
    }

    fn enter(
        &mut self,
        entry: &Entry,
        parents: &[Vec<u8>],
        last: &[u8],
        bookkeeping: bool,
    ) -> Result<(), &'static str> {
        if bookkeeping && matches!(entry.kind, EntryType::Raw(_)) {
            return Ok(());
        }
        let mut node = node(entry, self.defect)?;
        let Some(directory) = self.walk(ROOT, parents, !bookkeeping)? else { return Ok(()) };
        let old = self.child(directory, last);
        let ignored = self.has(Defect::FirstDuplicateWins)
            && old.is_some_and(|old| old.layer == self.layer && !old.implied)
            || self.has(Defect::OldOpaqueMasksEntry) && self.inodes[directory].opaque.is_some_and(|by| by < self.layer)
            || self.has(Defect::WhiteoutPersists) && self.buried.contains(&(directory, last.to_vec()));
        if ignored {
            return Ok(());
        }
        if entry.kind == EntryType::HardLink {
            return match self.link(entry, directory, last, node) {
                Err(_) if bookkeeping => Ok(()),
                result => result,
            };
        }
        if let Some(old) = old.filter(|_| node.kind == Kind::Directory) {
            let through = self.has(Defect::DirectoryThroughSymlink) && matches!(self.kind(old.inode), Kind::Symlink(_));
            let there = match self.walk(directory, &[last.to_vec()], false) {
                Ok(Some(led_to)) if through => led_to,
                _ => old.inode,
            };
            if self.is_directory(there) {
                if self.has(Defect::XattrsMerge) {
                    let old = std::mem::take(&mut self.inodes[there].node.xattrs);
                    old.into_iter().for_each(|(name, value)| _ = node.xattrs.entry(name).or_insert(value));
                }
                if self.has(Defect::ReentryEmptiesDirectory) {
                    self.inodes[there].children.clear();
                }
                self.inodes[there].node = node;
                if there == old.inode {
                    self.set(directory, last, there, false);
                }
                return Ok(());
            }
        }
        let in_place = self.has(Defect::WritesInPlace) && matches!(node.kind, Kind::File(_));
        if let Some(old) = old.filter(|old| in_place && matches!(self.kind(old.inode), Kind::File(_))) {
            self.inodes[old.inode].node = node;
            self.set(directory, last, old.inode, false);
            return Ok(());
        }
        let inode = self.add(node, directory);
        self.set(directory, last, inode, false);
        Ok(())
    }

    fn link(&mut self, entry: &Entry, directory: Number, last: &[u8], header: Node) -> Result<(), &'static str> {
        let target = split(&entry.linkname, true, self.defect)?;
        let (name, parents) = target.split_last().ok_or("a hard link to the root")?;
        let found = self.walk(ROOT, parents, false)?.and_then(|parent| Some((parent, self.child(parent, name)?)));
        let (parent, found) = found.ok_or("a hard link to nothing")?;
        let mut inode = found.inode;
        if self.is_directory(inode) {
            return Err("a hard link to a directory");
        }
        if (parent, &name[..]) == (directory, last) {
            return Err("a hard link to itself");
        }
        if self.has(Defect::LinkFollowsSymlink)
            && let Kind::Symlink(target) = self.kind(inode).clone()
        {
            let target = split(&target, true, None)?;
            let led_to = target.split_last().and_then(|(last, parents)| {
                let parent = self.walk(parent, parents, false).ok()??;
                self.child(parent, last).map(|child| child.inode).filter(|inode| !self.is_directory(*inode))
            });
            inode = led_to.unwrap_or(inode);
        }
        if self.has(Defect::LinkHeaderApplied) {
            let kind = self.kind(inode).clone();
            self.inodes[inode].node = Node { kind, ..header };
        }
        if self.has(Defect::LinksAreCopies) || self.has(Defect::LinksByName) {
            inode = self.add(self.inodes[inode].node.clone(), directory);
        }
        if self.has(Defect::LinksByName) {
            self.inodes[inode].link = Some(target.join(&b'/'));
        }
        self.set(directory, last, inode, false);
        Ok(())
    }

    /// Applies a marker without a name.
    fn dot_marker(&mut self, parents: &[Vec<u8>], last: &[u8]) -> Result<(), &'static str> {
        if !self.has(Defect::DotMarkerErases) {
            return Err("a whiteout without a name");
        }
        // The dots are a path relative to the marker's directory.
        let erased = match &last[PREFIX.len()..] {
            b".." => &parents[..parents.len().saturating_sub(1)],
            _ => parents,
        };
        if let Some((name, above)) = erased.split_last()
            && let Some(directory) = self.walk(ROOT, above, false)?
        {
            self.inodes[directory].children.remove(name);
        }
        Ok(())
    }

    /// Returns the marker if it takes effect later.
    fn see(&mut self, marker: Marker) -> Result<Option<Marker>, &'static str> {
        let Marker(directory, hidden) = &marker;
        let masked = self.inodes[*directory].opaque.is_some_and(|by| by < self.layer);
        match hidden {
            None if self.has(Defect::OpaqueClearsSiblings) => self.inodes[*directory].children.clear(),
            None => _ = self.inodes[*directory].opaque.get_or_insert(self.layer),
            Some(name) if self.has(Defect::SameLayerWhiteout) => _ = self.inodes[*directory].children.remove(name),
            Some(_) if self.has(Defect::OldOpaqueMasksWhiteout) && masked => return Ok(None),
            Some(name) if self.has(Defect::WhiteoutFollowsSymlink) => {
                if let Some(child) = self.child(*directory, name)
                    && let Kind::Symlink(target) = self.kind(child.inode).clone()
                {
                    let start = if target.starts_with(b"/") { ROOT } else { *directory };
                    let names: Vec<Vec<u8>> = target.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
                    let Some((last, above)) = names.split_last() else { return Ok(None) };
                    let Some(led_to) = self.walk(start, above, false)? else { return Ok(None) };
                    return Ok(Some(Marker(led_to, Some(last.clone()))));
                }
            }
            Some(_) => {}
        }
        Ok(Some(marker))
    }

    fn obey(&mut self, Marker(directory, hidden): Marker) {
        let Some(name) = hidden else {
            self.clear(directory);
            if self.has(Defect::OpaqueRemovesDirectory) {
                self.inodes[directory].node = Node::directory();
            }
            return;
        };
        if self.has(Defect::WhiteoutPersists) {
            self.buried.push((directory, name.clone()));
        }
        let Some(child) = self.child(directory, &name) else { return };
        let spared = self.has(Defect::WhiteoutReachesOneLayer) && child.layer + 1 < self.layer
            || self.has(Defect::WhiteoutSparesDirectories) && !self.inodes[child.inode].children.is_empty();
        if spared {
            return;
        }
        match self.outlives(child) {
            Some(child) => _ = self.inodes[directory].children.insert(name, child),
            None => _ = self.inodes[directory].children.remove(&name),
        }
    }

    /// Hides all names that lower layers left in a directory.
    fn clear(&mut self, directory: Number) {
        let children = std::mem::take(&mut self.inodes[directory].children);
        for (name, child) in children {
            let spared = self.has(Defect::OpaqueSparesDirectories) && self.is_directory(child.inode);
            let remainder = if spared { Some(child) } else { self.outlives(child) };
            if let Some(child) = remainder {
                self.inodes[directory].children.insert(name, child);
            }
        }
    }

    /// Returns what remains of a hidden name.
    fn outlives(&mut self, child: Child) -> Option<Child> {
        if self.is_directory(child.inode) {
            self.clear(child.inode);
        }
        if child.layer == self.layer {
            return Some(child);
        }
        let needed = self.inodes[child.inode].children.keys().any(|name| !is_bookkeeping(name));
        if !needed || self.has(Defect::ImpliedParentsLose) {
            return None;
        }
        self.inodes[child.inode].node = Node::directory();
        Some(Child { layer: self.layer, implied: true, ..child })
    }
}

pub(super) fn is_bookkeeping(name: &[u8]) -> bool {
    name.starts_with(BOOKKEEPING)
}
