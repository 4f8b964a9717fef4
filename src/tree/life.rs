//! The life of one path through the layers.

use serde::Serialize;

use super::change::{Change, Side, changes};
use super::{Inode, InodeId, LayerId, Node, Ring, Tree};
use crate::cancel::Cancel;
use crate::error::Result;

/// A change that a layer made to a path.
#[derive(Debug)]
pub(crate) struct Step {
    /// The layer.
    pub layer: LayerId,
    /// The event.
    pub event: LifeEvent,
    /// The file after the layer; `None` if there is none.
    pub after: Option<Snapshot>,
    /// The attributes that changed.
    pub changes: Vec<Change>,
    /// The entries and markers that touched the path, in the order of the layer.
    pub causes: Vec<Touch>,
}

/// An event in the life of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LifeEvent {
    /// The path appeared.
    Added,
    /// The path got other attributes.
    Changed,
    /// The path was written again with the same attributes.
    Kept,
    /// The path disappeared.
    Removed,
    /// The path was not there before nor after, but the layer mentions it.
    Nothing,
}

/// An entry or a marker that touched a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touch {
    /// The kind.
    pub cause: Cause,
    /// The path that the entry or marker is for, without a leading `/`: the path itself or a parent.
    pub path: Vec<u8>,
}

/// The kind of an entry or a marker that touched a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// An entry for the path.
    Entry,
    /// An entry below it, which needs it as a directory.
    Implied,
    /// An explicit whiteout of the path or of a parent.
    Whiteout,
    /// An opaque marker in a parent.
    Opaque,
    /// An entry that replaces a parent by something that is not a directory.
    ParentReplaced,
}

/// A file at a point in time. A directory has no names here.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The inode.
    pub inode: Inode,
    /// Its link count in a filesystem.
    pub links: u64,
    /// True if no layer has an entry for it.
    pub implied: bool,
}

impl Snapshot {
    fn side(&self) -> Side<'_> {
        Side { inode: &self.inode, links: self.inode.names }
    }
}

/// A recorder of the life of one path. Symlinks are not followed.
#[derive(Debug)]
pub(super) struct LifeRecorder {
    names: Vec<Vec<u8>>,
    before: Option<Snapshot>,
    touches: Vec<Touch>,
    steps: Vec<Step>,
}

impl LifeRecorder {
    pub fn new(names: Vec<Vec<u8>>) -> Self {
        Self { names, before: None, touches: Vec::new(), steps: Vec::new() }
    }

    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// Begins a layer.
    pub fn begin(&mut self, tree: &Tree) {
        self.before = self.snapshot(tree);
        self.touches.clear();
    }

    /// Ends a layer: records what became of the path.
    pub fn end(&mut self, tree: &Tree, layer: LayerId, cancel: &Cancel) -> Result<()> {
        let (before, after) = (self.before.take(), self.snapshot(tree));
        let causes = std::mem::take(&mut self.touches);
        let (event, changes) = match (&before, &after) {
            (None, Some(_)) => (LifeEvent::Added, Vec::new()),
            (Some(_), None) => (LifeEvent::Removed, Vec::new()),
            (None, None) => (LifeEvent::Nothing, Vec::new()),
            (Some(before), Some(after)) => match changes(before.side(), after.side(), cancel)? {
                none if none.is_empty() => (LifeEvent::Kept, none),
                changes => (LifeEvent::Changed, changes),
            },
        };
        if !causes.is_empty() || !matches!(event, LifeEvent::Kept | LifeEvent::Nothing) {
            self.steps.push(Step { layer, event, after, changes, causes });
        }
        Ok(())
    }

    /// Records an entry.
    pub fn entry(&mut self, tree: &Tree, directory: InodeId, name: &[u8], is_directory: bool) {
        let Some(depth) = self.depth_of(tree, directory, name) else { return };
        if depth == self.names.len() {
            self.touch(depth, Cause::Entry);
        } else if !is_directory {
            self.touch(depth, Cause::ParentReplaced);
        }
    }

    /// Records an entry of the root.
    pub fn root_entry(&mut self) {
        if self.names.is_empty() {
            self.touch(0, Cause::Entry);
        }
    }

    /// Records a cause, if the name is that of the path itself.
    pub fn touch_own(&mut self, tree: &Tree, directory: InodeId, name: &[u8], cause: Cause) {
        if self.depth_of(tree, directory, name) == Some(self.names.len()) {
            self.touch(self.names.len(), cause);
        }
    }

    /// Records a marker for a name of a directory, or for all names of it.
    pub fn marker(&mut self, tree: &Tree, directory: InodeId, name: Option<&[u8]>) {
        match name {
            Some(name) => {
                if let Some(depth) = self.depth_of(tree, directory, name) {
                    self.touch(depth, Cause::Whiteout);
                }
            }
            None => {
                let depth = self.directories(tree).position(|here| here == directory);
                if let Some(depth) = depth {
                    self.touch(depth, Cause::Opaque);
                }
            }
        }
    }

    fn touch(&mut self, depth: usize, cause: Cause) {
        self.touches.push(Touch { cause, path: self.names[..depth].join(&b'/') });
    }

    /// Returns the number of names from the root to a name of a directory, if that is the path or a parent of it.
    fn depth_of(&self, tree: &Tree, directory: InodeId, name: &[u8]) -> Option<usize> {
        if !self.names.iter().any(|own| own == name) {
            return None;
        }
        let found = self.directories(tree).zip(&self.names).position(|(here, own)| here == directory && own == name);
        found.map(|index| index + 1)
    }

    /// Returns the directories above the path, the root first, as far as they exist.
    fn directories<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = InodeId> + 'a {
        let mut at = Some(InodeId::ROOT);
        self.names.iter().map_while(move |name| {
            let here = at.filter(|here| tree.directory(*here).is_some())?;
            at = tree.child(here, name).map(|child| child.inode);
            Some(here)
        })
    }

    fn snapshot(&self, tree: &Tree) -> Option<Snapshot> {
        let (mut id, mut implied) = (InodeId::ROOT, false);
        for name in &self.names {
            let child = tree.child(id, name)?;
            (id, implied) = (child.inode, child.implied);
        }
        let found = tree.inode(id);
        let node = match &found.node {
            Node::Directory(_) => Node::Directory(Ring::empty()),
            Node::File(content) => Node::File(content.clone()),
            Node::Symlink(target) => Node::Symlink(target.clone()),
            Node::Device(device) => Node::Device(*device),
            Node::Fifo => Node::Fifo,
        };
        let inode = Inode { metadata: found.metadata.clone(), node, names: found.names };
        Some(Snapshot { inode, links: tree.link_count(id), implied })
    }
}
