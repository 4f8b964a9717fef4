//! Resolves the directory of a path, following symlinks as in a chroot.

use super::memory::TreeFull;
use super::{Child, InodeId, LayerId, Node, Ring, Tree};
use crate::layer::entry::Metadata;
use crate::layer::whiteout::is_bookkeeping;
use crate::path::NAME_MAX;

/// The number of symlinks that one path may follow, as in Linux.
pub(super) const HOPS_MAX: usize = 40;

/// The treatment of missing parents.
#[derive(Clone, Copy)]
pub(super) enum MissingParents {
    /// Creates them, as implied directories of this layer.
    Make(LayerId),
    /// Creates nothing: the path is missing.
    Leave,
    /// Creates nothing, and requires each parent that exists to be a directory.
    LeaveBelowDirectories,
}

/// The reason why parents cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ResolveFault {
    TooManyHops,
    /// A symlink leads to a parent of this name, which is not a directory.
    NotDirectory(Box<[u8]>),
    /// The parent at this path is not a directory.
    FileAbove(Box<[u8]>),
    /// A symlink leads to a missing name of this many bytes.
    LongName(usize),
    ArenaFull,
    /// All paths together take too many names from symlink targets.
    TooManySteps,
}

/// A directory, and the files that were replaced in order to create it.
pub(super) struct ResolvedParent {
    pub directory: InodeId,
    /// The paths, in the tree, of files that were replaced by directories.
    pub replaced: Vec<Box<[u8]>>,
}

impl Tree {
    /// Returns the directory at the path `parents`; `None` if it is missing and not to be created.
    pub(super) fn resolve(
        &mut self,
        parents: &[u8],
        missing: MissingParents,
    ) -> Result<Option<ResolvedParent>, ResolveFault> {
        let mut rest = Rest { parts: vec![Part { link: None, from: 0 }] };
        let mut at = InodeId::ROOT;
        let mut route = Route::default();
        let mut hops = 0;
        let mut replaced = Vec::new();
        while let Some((name, by_link)) = rest.next(self, parents) {
            if by_link {
                self.link_steps += 1;
                if self.link_steps > self.link_steps_max {
                    return Err(ResolveFault::TooManySteps);
                }
            }
            let name = match name.of(self, parents) {
                b"" | b"." => continue,
                b".." => {
                    at = self.ring(at).and_then(Ring::parent).unwrap_or(InodeId::ROOT);
                    route.ascend();
                    continue;
                }
                name => name,
            };
            let child = self.child(at, name);
            match child.map(|child| (child.inode, &self.inode(child.inode).node)) {
                Some((inode, Node::Directory(_))) => {
                    at = inode;
                    route.descend(name);
                }
                Some((inode, Node::Symlink(target))) => {
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(ResolveFault::TooManyHops);
                    }
                    if target.first() == Some(&b'/') {
                        at = InodeId::ROOT;
                        route = Route::default();
                    }
                    rest.parts.push(Part { link: Some(inode), from: 0 });
                }
                other => {
                    let name = Box::<[u8]>::from(name);
                    let layer = match missing {
                        MissingParents::Make(layer) => layer,
                        MissingParents::LeaveBelowDirectories if other.is_some() && !by_link => {
                            route.descend(&name);
                            return Err(ResolveFault::FileAbove(route.path.into()));
                        }
                        MissingParents::LeaveBelowDirectories | MissingParents::Leave => return Ok(None),
                    };
                    if other.is_some() && by_link {
                        return Err(ResolveFault::NotDirectory(name));
                    }
                    if name.len() > NAME_MAX {
                        return Err(ResolveFault::LongName(name.len()));
                    }
                    route.descend(&name);
                    if other.is_some() {
                        replaced.push(route.path.as_slice().into());
                    }
                    at = self.make_implied(at, &name, layer)?;
                }
            }
        }
        Ok(Some(ResolvedParent { directory: at, replaced }))
    }

    fn make_implied(&mut self, parent: InodeId, name: &[u8], layer: LayerId) -> Result<InodeId, TreeFull> {
        self.observe_implied(parent, name);
        let metadata = Metadata::implied(self.implied_mtime);
        let inode = self.add_inode(metadata, Node::Directory(Ring::empty()))?;
        self.set_child(parent, name, Child { inode, layer, implied: true, bookkeeping: is_bookkeeping(name) })?;
        Ok(inode)
    }
}

impl From<TreeFull> for ResolveFault {
    fn from(_: TreeFull) -> Self {
        Self::ArenaFull
    }
}

/// The rest of a walk: of the path itself, and of the targets of the symlinks followed.
struct Rest {
    /// The parts, innermost last. A symlink stays in the tree while its target is walked: only other files are replaced
    /// by directories.
    parts: Vec<Part>,
}

/// The rest of one text, which is not copied.
struct Part {
    /// The symlink that has this target; `None`: the path itself.
    link: Option<InodeId>,
    from: usize,
}

/// The position of a name.
struct Place {
    link: Option<InodeId>,
    from: usize,
    to: usize,
}

impl Rest {
    /// Returns the next name, and true if it comes from a symlink.
    fn next(&mut self, tree: &Tree, path: &[u8]) -> Option<(Place, bool)> {
        loop {
            let part = self.parts.last_mut()?;
            let text = text(tree, path, part.link);
            let Some(after) = text.get(part.from..) else {
                self.parts.pop();
                continue;
            };
            let (from, length) = (part.from, after.iter().position(|b| *b == b'/').unwrap_or(after.len()));
            part.from = from + length + 1;
            return Some((Place { link: part.link, from, to: from + length }, part.link.is_some()));
        }
    }
}

impl Place {
    fn of<'a>(&self, tree: &'a Tree, path: &'a [u8]) -> &'a [u8] {
        &text(tree, path, self.link)[self.from..self.to]
    }
}

fn text<'a>(tree: &'a Tree, path: &'a [u8], link: Option<InodeId>) -> &'a [u8] {
    match link.map(|link| &tree.inode(link).node) {
        None => path,
        Some(Node::Symlink(target)) => target,
        Some(_) => &[],
    }
}

/// The path of the current directory, for notes.
#[derive(Default)]
struct Route {
    path: Vec<u8>,
}

impl Route {
    fn descend(&mut self, name: &[u8]) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    fn ascend(&mut self) {
        self.path.truncate(self.path.iter().rposition(|b| *b == b'/').unwrap_or(0));
    }
}
