//! Walks a tree in the order that `mkfs.ext4 -d` numbers inodes: parents first, siblings in byte order.

use super::{Child, InodeId, Tree};

/// One name met on a walk.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The path without a leading `/`; empty for the root.
    pub path: Box<[u8]>,
    /// The directory that holds the name; the root is its own.
    pub parent: InodeId,
    /// The inode.
    pub inode: InodeId,
    /// Where the name comes from; `None` for the root.
    pub child: Option<Child>,
}

impl Visit {
    /// Returns the last name of the path.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }
}

/// An iterator over every name of a tree. See [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    todo: Vec<Visit>,
}

impl Tree {
    /// Visits the root and then every name below it: a directory before its children, siblings in byte order.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        let root = Visit { path: Box::default(), parent: InodeId::ROOT, inode: InodeId::ROOT, child: None };
        Walk { tree: self, todo: vec![root] }
    }
}

impl Iterator for Walk<'_> {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        let visit = self.todo.pop()?;
        if let Some(directory) = self.tree.directory(visit.inode) {
            let mut children: Vec<_> = directory.names().collect();
            children.sort_unstable_by(|a, b| b.0.cmp(a.0));
            self.todo.extend(children.into_iter().map(|(name, child)| Visit {
                path: if visit.path.is_empty() { name.into() } else { [&*visit.path, b"/", name].concat().into() },
                parent: visit.inode,
                inode: child.inode,
                child: Some(child),
            }));
        }
        Some(visit)
    }
}
