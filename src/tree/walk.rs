//! Walks a tree in the order in which `mkfs.ext4 -d` numbers inodes: parents first, siblings in byte order.

use super::{Child, Found, InodeId, NameId, Tree};

/// One name met on a walk.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The path without a leading `/`; empty for the root.
    pub path: &'a [u8],
    /// The directory that holds the name; the root is its own.
    pub parent: InodeId,
    /// The inode.
    pub inode: InodeId,
    /// The child with its layer; `None` for the root.
    pub child: Option<Child>,
    /// The number of names below the first one of the walk.
    pub depth: usize,
    id: Option<NameId>,
}

impl Visit<'_> {
    /// Returns the last name of the path.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// Returns the number of the name; `None` for the root.
    #[must_use]
    pub(crate) fn name_id(&self) -> Option<NameId> {
        self.id
    }
}

/// A walk over every name of a tree. See [`Tree::walk`].
///
/// All paths share one buffer, so that a name costs its own bytes and not those of all directories above it.
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    /// The open directories, the root first.
    levels: Vec<Level>,
    path: Vec<u8>,
    /// The first name, before it is visited.
    first: Option<(InodeId, Option<Child>)>,
    depth_max: usize,
}

/// An open directory.
#[derive(Debug)]
struct Level {
    directory: InodeId,
    /// The numbers of the names still to be visited, the next one last.
    names: Vec<u32>,
    /// Bytes of the directory's path.
    path_len: usize,
}

impl Tree {
    /// Visits the root and then every name below it: a directory before its children, siblings in byte order.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        self.walk_from(&Found::ROOT)
    }

    /// Visits a name and then every name below it, in the same order. The first name is its own parent.
    #[must_use]
    pub fn walk_from(&self, found: &Found) -> Walk<'_> {
        let first = Some((found.inode, found.child));
        Walk { tree: self, levels: Vec::new(), path: found.path.clone(), first, depth_max: usize::MAX }
    }
}

impl Walk<'_> {
    /// Visits no names more than `depth` below the first one.
    #[must_use]
    pub fn depth_max(self, depth: usize) -> Self {
        Self { depth_max: depth, ..self }
    }

    /// Advances to the next name; `None` after the last.
    pub fn advance(&mut self) -> Option<Visit<'_>> {
        let (parent, inode, child, id) = if let Some((inode, child)) = self.first.take() {
            (inode, inode, child, None)
        } else {
            let number = loop {
                match self.levels.last_mut()?.names.pop() {
                    Some(next) => break next,
                    None => self.levels.pop(),
                };
            };
            let name = self.tree.names.get(number)?;
            let Level { directory, path_len, .. } = *self.levels.last()?;
            self.path.truncate(path_len);
            if path_len > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name.bytes);
            (directory, name.inode, Some(name.child()), Some(NameId(number)))
        };
        let depth = self.levels.len();
        if depth < self.depth_max
            && let Some(directory) = self.tree.directory(inode)
        {
            let mut names: Vec<u32> = directory.numbers().collect();
            let bytes = |number: &u32| self.tree.names.get(*number).map(|name| &*name.bytes);
            names.sort_unstable_by(|a, b| bytes(b).cmp(&bytes(a)));
            self.levels.push(Level { directory: inode, names, path_len: self.path.len() });
        }
        Some(Visit { path: &self.path, parent, inode, child, depth, id })
    }
}
