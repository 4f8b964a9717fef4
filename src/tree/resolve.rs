//! Finds the directory that a path's parents lead to, through symlinks, as in a chroot.

use super::{Child, InodeId, LayerId, Node, Tree};
use crate::layer::entry::Metadata;
use crate::layer::whiteout::is_bookkeeping;
use crate::path::NAME_MAX;

/// How many symlinks one path may pass, as in Linux.
const HOPS_MAX: usize = 40;

/// What becomes of parents that do not exist.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    /// They are made, as implied directories of this layer.
    Make(LayerId),
    /// There is nothing to find.
    Leave,
}

/// Why parents cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ResolveFault {
    TooManyHops,
    /// A symlink leads to a parent of this name, which is not a directory.
    NotDirectory(Box<[u8]>),
    /// A symlink leads to a missing name of so many bytes.
    LongName(usize),
    ArenaFull,
}

/// A directory, and the files that had to give way to make it.
pub(super) struct Resolved {
    pub directory: InodeId,
    /// Paths, in the tree, of files that were replaced by directories.
    pub replaced: Vec<Box<[u8]>>,
}

impl Tree {
    /// Returns the directory that `parents` lead to; `None` when it is missing and is to be left so.
    pub(super) fn resolve<'a>(
        &mut self,
        parents: impl DoubleEndedIterator<Item = &'a [u8]>,
        missing: Missing,
    ) -> Result<Option<Resolved>, ResolveFault> {
        // The names still to be walked, last first; each knows whether a symlink put it there.
        let mut todo: Vec<(Box<[u8]>, bool)> = parents.rev().map(|name| (name.into(), false)).collect();
        let mut at = InodeId::ROOT;
        let mut hops = 0;
        let mut replaced = Vec::new();
        while let Some((name, by_link)) = todo.pop() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    at = self.directory(at).and_then(|d| d.parent).unwrap_or(InodeId::ROOT);
                    continue;
                }
                _ => {}
            }
            let child = self.child(at, &name);
            match child.map(|child| &self.inode(child.inode).node) {
                Some(Node::Directory(_)) => at = child.map_or(at, |child| child.inode),
                Some(Node::Symlink(target)) => {
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(ResolveFault::TooManyHops);
                    }
                    if target.first() == Some(&b'/') {
                        at = InodeId::ROOT;
                    }
                    todo.extend(target.split(|&b| b == b'/').rev().map(|name| (name.into(), true)));
                }
                other => {
                    let Missing::Make(layer) = missing else { return Ok(None) };
                    if other.is_some() && by_link {
                        return Err(ResolveFault::NotDirectory(name));
                    }
                    if name.len() > NAME_MAX {
                        return Err(ResolveFault::LongName(name.len()));
                    }
                    if other.is_some() {
                        replaced.push(self.path_below(at, &name));
                    }
                    at = self.make_implied(at, &name, layer).ok_or(ResolveFault::ArenaFull)?;
                }
            }
        }
        Ok(Some(Resolved { directory: at, replaced }))
    }

    fn make_implied(&mut self, parent: InodeId, name: &[u8], layer: LayerId) -> Option<InodeId> {
        let metadata = Metadata::implied(self.implied_mtime);
        let inode = self.add_inode(metadata, Node::Directory(Box::default()))?;
        self.set_child(parent, name, Child { inode, layer, implied: true, bookkeeping: is_bookkeeping(name) });
        Some(inode)
    }

    /// Returns the path of a name below a directory, for notes.
    pub(super) fn path_below(&self, directory: InodeId, name: &[u8]) -> Box<[u8]> {
        let mut names = vec![name];
        let mut at = directory;
        while let Some(parent) = self.directory(at).and_then(|d| d.parent) {
            let Some(up) = self.directory(parent) else { break };
            names.extend(up.names().find(|(_, child)| child.inode == at).map(|(name, _)| name));
            at = parent;
        }
        names.reverse();
        names.join(&b'/').into()
    }
}
