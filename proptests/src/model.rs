//! The meaning of a stack of layers: image-spec's `layer.md`, transcribed.
//!
//! The model is a `BTreeMap` of paths and a list of inodes, deliberately slow and simple. It shares nothing with any
//! program that flattens layers; of this crate it uses the parsing of names and the listings.

mod check;
mod inode;
mod notes;
mod record;
mod view;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::flattened::{Flattened, Origin};
use crate::listing::{Kind, Node};
use crate::name::{self, Path, Spelling};
use crate::oddity::{Oddities, Oddity};
use crate::problem::{Fault, Problem};
use crate::stack::Stack;
use crate::writer::{Entry, EntryType};

pub use view::Reference;

/// The number of symlinks in a path, as in Linux.
const HOPS_MAX: usize = 40;

/// Returns the meaning of a stack.
///
/// # Errors
///
/// The first invalid entry.
///
/// # Panics
///
/// The model contradicts itself.
pub fn flatten(stack: &Stack) -> Result<Flattened, Fault> {
    let mut model = Model::new();
    for (index, layer) in stack.layers.iter().enumerate() {
        for (number, entry) in layer.entries.iter().enumerate() {
            let fault = |problem| Fault { layer: index + 1, entry: number + 1, problem };
            model.apply(entry).map_err(fault)?;
        }
        model.end_layer();
        model.check();
    }
    model.resolve_acls();
    Ok(model.finish())
}

/// The filesystem while layers are applied to it.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Every path, including the root, which is empty.
    names: BTreeMap<Path, Name>,
    /// The inodes; one stays in the list after its last name is removed.
    inodes: Vec<Node>,
    contents: BTreeMap<[u8; 32], Vec<u8>>,
    /// The number of the current layer, from 1.
    layer: usize,
    /// The markers of this layer: a directory, and the name in it, or `None` for all names.
    markers: Vec<(Path, Option<Vec<u8>>)>,
    /// The symlinks that this layer followed, and the names that it linked to.
    used: BTreeSet<Path>,
    /// The last layer that changed a directory's names.
    changed: BTreeMap<Path, usize>,
    /// The directories in which another was implied, or remains as an implied one, after their entry.
    roomy: BTreeSet<Path>,
    oddities: Vec<Oddities>,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    inode: usize,
    /// The layer that last wrote the name.
    layer: usize,
    origin: Origin,
}

impl Model {
    pub(crate) fn new() -> Self {
        let root = Name { inode: 0, layer: 0, origin: Origin::Parent };
        Self {
            names: [(Path::new(), root)].into(),
            inodes: vec![Node::directory()],
            contents: BTreeMap::new(),
            layer: 1,
            markers: Vec::new(),
            used: BTreeSet::new(),
            changed: BTreeMap::new(),
            roomy: BTreeSet::new(),
            oddities: vec![Oddities::new()],
        }
    }

    /// Applies an entry: a marker takes effect at the end of the layer, all others at once.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), Problem> {
        if entry.kind == EntryType::GlobalHeader {
            return Ok(());
        }
        let path = name::clean(&entry.name, false)?;
        name::check_lengths(&path)?;
        self.note_name(entry, &path);
        let Some((last, parents)) = path.split_last() else { return self.set_root(entry) };
        let hidden = match name::spelling(last) {
            Spelling::Invalid => return Err(Problem::InvalidWhiteout),
            Spelling::Opaque => None,
            Spelling::Whiteout(hidden) => Some(hidden),
            spelling => return self.add(entry, parents, last, spelling == Spelling::Bookkeeping),
        };
        match self.resolve(parents, false)? {
            Some(directory) => {
                let marker = (directory, hidden);
                if self.markers.contains(&marker) {
                    self.note(Oddity::Duplicate);
                }
                self.markers.push(marker);
            }
            None => self.note(Oddity::MarkerInVoid),
        }
        Ok(())
    }

    fn set_root(&mut self, entry: &Entry) -> Result<(), Problem> {
        let node = self.make(entry)?.filter(|node| node.kind == Kind::Directory).ok_or(Problem::RootNotDirectory)?;
        if self.names[&Path::new()].layer == self.layer && self.names[&Path::new()].origin == Origin::Entry {
            self.note(Oddity::Duplicate);
        }
        self.inodes[0] = node;
        self.roomy.remove(&Path::new());
        self.names.insert(Path::new(), Name { inode: 0, layer: self.layer, origin: Origin::Entry });
        Ok(())
    }

    fn add(&mut self, entry: &Entry, parents: &[Vec<u8>], last: &[u8], bookkeeping: bool) -> Result<(), Problem> {
        // AUFS's names create no parents, and the targets of its links may be missing.
        let node = match self.make(entry) {
            Err(Problem::UnknownType) if bookkeeping => return Ok(()),
            node => node?,
        };
        let Some(directory) = self.resolve(parents, !bookkeeping)? else { return Ok(()) };
        let path = [&directory[..], &[last.to_vec()]].concat();
        let Some(node) = node else {
            return match self.link(entry, path) {
                Err(_) if bookkeeping => Ok(()),
                result => result,
            };
        };
        let old = self.names.get(&path).copied();
        if let Some(old) = old.filter(|old| [&self.inodes[old.inode].kind, &node.kind] == [&Kind::Directory; 2]) {
            if old.layer == self.layer && old.origin == Origin::Entry {
                self.note(Oddity::Duplicate);
            }
            self.inodes[old.inode] = node;
            self.roomy.remove(&path);
            self.names.insert(path, Name { layer: self.layer, origin: Origin::Entry, ..old });
        } else {
            self.inodes.push(node);
            self.put(path, self.inodes.len() - 1, Origin::Entry);
        }
        Ok(())
    }

    /// Makes a path another name of the inode that the target currently has.
    fn link(&mut self, entry: &Entry, path: Path) -> Result<(), Problem> {
        let target = name::clean(&entry.linkname, true)?;
        if name::clean(&entry.linkname, false) != Ok(target.clone()) {
            self.note(Oddity::Climbing);
        } else if !name::is_plain(&entry.linkname, false) {
            self.note(Oddity::Spelling);
        }
        let (last, parents) = target.split_last().ok_or(Problem::LinkTargetDirectory)?;
        let directory = self.resolve(parents, false)?.ok_or(Problem::LinkTargetMissing)?;
        let target = [&directory[..], std::slice::from_ref(last)].concat();
        let inode = self.names.get(&target).ok_or(Problem::LinkTargetMissing)?.inode;
        match self.inodes[inode].kind {
            Kind::Directory => return Err(Problem::LinkTargetDirectory),
            _ if target == path => return Err(Problem::LinkToItself),
            Kind::Symlink(_) => self.note(Oddity::LinkToSymlink),
            _ => {}
        }
        let header = Node { kind: self.inodes[inode].kind.clone(), ..self.metadata(entry)? };
        if header != self.inodes[inode] {
            self.note(Oddity::LinkHeader);
        }
        self.used.insert(target);
        self.put(path, inode, Origin::Entry);
        Ok(())
    }

    /// Sets the inode of a path, replacing an existing one and everything below it.
    fn put(&mut self, path: Path, inode: usize, origin: Origin) {
        for old in self.subtree(&path) {
            if self.names.remove(&old).is_some_and(|name| name.layer == self.layer) {
                self.note(Oddity::Duplicate);
            }
            if self.used.contains(&old) || self.markers.iter().any(|(directory, _)| *directory == old) {
                self.note(Oddity::UsedAndGone);
            }
        }
        let parent = path[..path.len() - 1].to_vec();
        if origin == Origin::Parent {
            self.roomy.insert(parent.clone());
        }
        self.roomy.remove(&path);
        self.changed.insert(parent, self.layer);
        self.names.insert(path, Name { inode, layer: self.layer, origin });
    }

    /// Returns the directory that parents lead to, as in a chroot; missing ones are created, or end the search.
    pub(crate) fn resolve(&mut self, parents: &[Vec<u8>], make: bool) -> Result<Option<Path>, Problem> {
        let mut at = Path::new();
        let mut todo: VecDeque<_> = parents.iter().map(|name| (name.clone(), false)).collect();
        let mut hops = 0;
        while let Some((name, linked)) = todo.pop_front() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    if at.pop().is_none() {
                        self.note(Oddity::Climbing);
                    }
                    continue;
                }
                _ => at.push(name),
            }
            match self.node(&at).map(|node| node.kind.clone()) {
                Some(Kind::Directory) => {}
                Some(Kind::Symlink(target)) => {
                    hops += 1;
                    if hops > HOPS_MAX {
                        return Err(Problem::SymlinkLoop);
                    }
                    self.note(Oddity::SymlinkedParent);
                    self.used.insert(at.clone());
                    let depth = if target.starts_with(b"/") { 0 } else { at.len() - 1 };
                    at.truncate(depth);
                    target.split(|&byte| byte == b'/').rev().for_each(|name| todo.push_front((name.to_vec(), true)));
                }
                _ if !make => return Ok(None),
                Some(_) if linked => return Err(Problem::ParentNotDirectory),
                missing => {
                    match (missing, linked) {
                        (Some(_), _) => self.note(Oddity::FileParent),
                        (None, true) => self.note(Oddity::DanglingParent),
                        (None, false) => {}
                    }
                    name::check_lengths(&at)?;
                    self.inodes.push(Node::directory());
                    self.put(at.clone(), self.inodes.len() - 1, Origin::Parent);
                }
            }
        }
        Ok(Some(at))
    }

    /// Applies the layer's markers to the names left by lower layers.
    pub(crate) fn end_layer(&mut self) {
        for (directory, hidden) in std::mem::take(&mut self.markers) {
            let top = [&directory[..], hidden.as_slice()].concat();
            let found = self.subtree(&top);
            found.iter().filter(|path| hidden.is_some() || **path != top).for_each(|path| self.hide(path));
        }
        self.used.clear();
        self.oddities.push(Oddities::new());
        self.layer += 1;
    }

    /// Hides a path with everything below it, except for what this layer wrote; a directory that stays only as a parent
    /// loses the metadata of lower layers.
    fn hide(&mut self, path: &Path) {
        let Some(name) = self.names.get(path).copied().filter(|name| name.layer != self.layer) else { return };
        let keeps = |other: &Path| {
            let bookkeeping = other[path.len()..].iter().any(|name| name::is_bookkeeping(name));
            self.names[other].layer == self.layer && !bookkeeping
        };
        let below = self.subtree(path);
        self.changed.insert(path[..path.len() - 1].to_vec(), self.layer);
        if below.iter().any(keeps) {
            self.inodes[name.inode] = Node::directory();
            self.names.insert(path.clone(), Name { layer: self.layer, origin: Origin::Remains, ..name });
            self.roomy.insert(path[..path.len() - 1].to_vec());
            return;
        }
        for gone in below {
            self.names.remove(&gone);
            if self.used.contains(&gone) {
                self.note(Oddity::UsedAndGone);
            }
        }
    }
}
