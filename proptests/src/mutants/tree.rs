//! Directories that map names to inodes.

use std::collections::BTreeMap;

use super::Defect;
use crate::listing::{Kind, Node};

pub(super) type Number = usize;
pub(super) const ROOT: Number = 0;
const HOPS_MAX: u32 = 40;

/// A filesystem under construction.
pub(super) struct Tree {
    pub inodes: Vec<Inode>,
    /// The number of the current layer, from 1.
    pub layer: u32,
    pub defect: Option<Defect>,
    /// The names that a whiteout hid, for the defect that keeps hiding them.
    pub buried: Vec<(Number, Vec<u8>)>,
}

pub(super) struct Inode {
    pub node: Node,
    /// The children; empty for all types except directories.
    pub children: BTreeMap<Vec<u8>, Child>,
    pub parent: Number,
    /// The layer that first had an opaque marker in it.
    pub opaque: Option<u32>,
    /// The target of a hard link by name.
    pub link: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
pub(super) struct Child {
    pub inode: Number,
    pub layer: u32,
    pub implied: bool,
}

impl Tree {
    pub(super) fn new(defect: Option<Defect>) -> Self {
        Self { inodes: vec![Inode::of(Node::directory(), ROOT)], layer: 0, defect, buried: Vec::new() }
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    pub(super) fn child(&self, directory: Number, name: &[u8]) -> Option<Child> {
        self.inodes[directory].children.get(name).copied()
    }

    pub(super) fn kind(&self, inode: Number) -> &Kind {
        &self.inodes[inode].node.kind
    }

    pub(super) fn is_directory(&self, inode: Number) -> bool {
        *self.kind(inode) == Kind::Directory
    }

    pub(super) fn add(&mut self, node: Node, parent: Number) -> Number {
        self.inodes.push(Inode::of(node, parent));
        self.inodes.len() - 1
    }

    pub(super) fn set(&mut self, directory: Number, name: &[u8], inode: Number, implied: bool) {
        let child = Child { inode, layer: self.layer, implied };
        self.inodes[directory].children.insert(name.to_vec(), child);
    }

    /// Walks down from a directory, through symlinks; missing directories are created, or end the walk.
    pub(super) fn walk(&mut self, from: Number, names: &[Vec<u8>], make: bool) -> Result<Option<Number>, &'static str> {
        self.step(from, names, make, false, &mut 0)
    }

    fn step(
        &mut self,
        mut at: Number,
        names: &[Vec<u8>],
        make: bool,
        by_link: bool,
        hops: &mut u32,
    ) -> Result<Option<Number>, &'static str> {
        for name in names {
            if name == b".." {
                at = self.inodes[at].parent;
                continue;
            }
            if name.is_empty() || name == b"." {
                continue;
            }
            let found = self.child(at, name);
            let kind = found.map(|child| self.kind(child.inode).clone());
            at = match (found, kind) {
                (Some(child), Some(Kind::Directory)) => {
                    if make && self.has(Defect::ParentsReset) && child.layer != self.layer {
                        self.inodes[child.inode].node = Node::directory();
                    }
                    child.inode
                }
                (Some(_), Some(Kind::Symlink(_))) if make && self.has(Defect::ReplacesSymlinkedParents) => {
                    self.make_parent(at, name)
                }
                (Some(_), Some(Kind::Symlink(target))) => {
                    *hops += 1;
                    if *hops > HOPS_MAX {
                        return Err("too many symlinks");
                    }
                    let from = if target.starts_with(b"/") { ROOT } else { at };
                    let target: Vec<Vec<u8>> = target.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
                    let Some(found) = self.step(from, &target, make, true, hops)? else { return Ok(None) };
                    found
                }
                _ if !make => return Ok(None),
                (Some(_), _) if by_link => return Err("a symlink leads to what is not a directory"),
                _ => self.make_parent(at, name),
            };
        }
        Ok(Some(at))
    }

    fn make_parent(&mut self, at: Number, name: &[u8]) -> Number {
        let made = self.add(Node::directory(), at);
        self.set(at, name, made, true);
        made
    }
}

impl Inode {
    fn of(node: Node, parent: Number) -> Self {
        Self { node, children: BTreeMap::new(), parent, opaque: None, link: None }
    }
}
