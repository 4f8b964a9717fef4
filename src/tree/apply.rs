//! Applies one layer's changeset to the tree left by the layers below it.
//!
//! A marker acts on the lower tree only, whatever its position in the tar (image-spec `layer.md`, Whiteouts): its
//! directory is looked up where the marker stands, its effect waits for the end of the layer.

use indexmap::IndexSet;

use super::resolve::{Missing, ResolveFault};
use super::{Child, Inode, InodeId, LayerId, Node, Tree};
use crate::error::ImageProblem;
use crate::layer::entry::{Action, Body, Change, Device, DeviceKind, Entry, Metadata};
use crate::layer::whiteout::Whiteout;
use crate::note::{Note, NoteKind};
use crate::path::{ImagePath, Quoted};

/// What applying a layer did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Entries that added or replaced a name.
    pub entries: u64,
    /// Markers.
    pub whiteouts: u64,
    /// What was adapted.
    pub notes: Vec<Note>,
}

/// A change that cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub struct ApplyFault {
    /// The number of its tar entry, from 1.
    pub number: u64,
    /// Its cleaned path.
    pub path: ImagePath,
    /// What is wrong.
    pub problem: ImageProblem,
}

/// A marker whose directory is known and whose effect waits.
#[derive(PartialEq, Eq, Hash)]
enum Pending {
    Hide(InodeId, Box<[u8]>),
    Clear(InodeId),
}

impl Tree {
    /// Applies a layer.
    ///
    /// `changes` come in the order of the stream; an error among them ends the work, as a change that cannot be
    /// applied does. The tree is then of no use.
    ///
    /// # Errors
    ///
    /// What `changes` yields, and an [`ApplyFault`] converted to it.
    pub fn apply<E: From<ApplyFault>>(
        &mut self,
        layer: LayerId,
        changes: impl Iterator<Item = Result<Change, E>>,
    ) -> Result<Applied, E> {
        let mut applied = Applied::default();
        // Of a marker that stands there a million times, one is obeyed: clearing a large directory takes long.
        let mut pending = IndexSet::new();
        for change in changes {
            let Change { number, action } = change?;
            match action {
                Action::Add(entry) => {
                    let path = entry.path.clone();
                    self.add(layer, entry, &mut applied).map_err(|problem| ApplyFault { number, path, problem })?;
                }
                Action::Hide(whiteout) => {
                    applied.whiteouts += 1;
                    let found = self.find_hidden(&whiteout).map_err(|fault| ApplyFault {
                        number,
                        path: whiteout.path().clone(),
                        problem: fault.into(),
                    })?;
                    pending.extend(found);
                }
            }
        }
        for marker in pending {
            match marker {
                Pending::Hide(directory, name) => self.hide(directory, &name, layer),
                Pending::Clear(directory) => self.purge(directory, layer),
            }
        }
        Ok(applied)
    }

    /// Ends the flattening: AUFS bookkeeping goes.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.drop_bookkeeping();
        self
    }

    fn find_hidden(&mut self, whiteout: &Whiteout) -> Result<Option<Pending>, ResolveFault> {
        Ok(match whiteout {
            Whiteout::Opaque(path) => {
                self.resolve(path.names(), Missing::Leave)?.map(|found| Pending::Clear(found.directory))
            }
            Whiteout::Explicit(path) => {
                let Some((_, name)) = path.split_last() else { return Ok(None) };
                self.resolve(path.parents(), Missing::Leave)?.map(|found| Pending::Hide(found.directory, name.into()))
            }
        })
    }

    fn add(&mut self, layer: LayerId, entry: Entry, applied: &mut Applied) -> Result<(), ImageProblem> {
        applied.entries += 1;
        let Entry { path, bookkeeping, metadata, body } = entry;
        let Some((_, name)) = path.split_last() else {
            return self.set_root(metadata, &body);
        };
        let missing = if bookkeeping { Missing::Leave } else { Missing::Make(layer) };
        let Some(found) = self.resolve(path.parents(), missing)? else {
            return Ok(());
        };
        let mut note = |kind, path: &[u8]| {
            let layer = Some(usize::from(layer.0) + 1);
            applied.notes.push(Note { kind, layer, path: path.into(), detail: Box::default() });
        };
        for path in &found.replaced {
            note(NoteKind::ParentReplaced, path);
        }
        let old = self.child(found.directory, name);
        if old.is_some_and(|old| old.layer == layer && !old.implied) {
            note(NoteKind::Duplicate, path.as_bytes());
        }
        if matches!(body, Body::Device(Device { kind: DeviceKind::Character, major: 0, minor: 0 })) {
            note(NoteKind::OverlayDevice, path.as_bytes());
        }
        let inode = if let Body::HardLink(target) = &body {
            let Some(inode) = self.link_target(target, found.directory, name, bookkeeping)? else {
                return Ok(());
            };
            if self.inode(inode).metadata != metadata {
                note(NoteKind::LinkMetadata, path.as_bytes());
            }
            inode
        } else {
            self.make(old, metadata, body)?
        };
        self.set_child(found.directory, name, Child { inode, layer, implied: false, bookkeeping });
        Ok(())
    }

    fn set_root(&mut self, metadata: Metadata, body: &Body) -> Result<(), ImageProblem> {
        if !matches!(body, Body::Directory) {
            return Err(ImageProblem::RootNotDirectory);
        }
        self.inodes[InodeId::ROOT.index()].metadata = metadata;
        Ok(())
    }

    /// Returns the inode that an entry makes: a new one, or the directory that stands there already.
    fn make(&mut self, old: Option<Child>, metadata: Metadata, body: Body) -> Result<InodeId, ImageProblem> {
        let node = match body {
            Body::Directory => {
                if let Some(stays) = old.filter(|old| self.directory(old.inode).is_some()) {
                    self.inodes[stays.inode.index()].metadata = metadata;
                    return Ok(stays.inode);
                }
                Node::Directory(Box::default())
            }
            Body::File(content) => Node::File(content),
            Body::Symlink(target) => Node::Symlink(target),
            Body::Device(device) => Node::Device(device),
            Body::Fifo => Node::Fifo,
            Body::HardLink(_) => return Err(ImageProblem::LinkToItself),
        };
        self.add_inode(metadata, node).ok_or_else(|| ResolveFault::ArenaFull.into())
    }

    /// Returns the inode that a hard link's target names; `None` for a link of AUFS bookkeeping that leads nowhere.
    fn link_target(
        &mut self,
        target: &ImagePath,
        directory: InodeId,
        name: &[u8],
        bookkeeping: bool,
    ) -> Result<Option<InodeId>, ImageProblem> {
        let shown = || Quoted(target.as_bytes()).to_string();
        let found = match target.split_last() {
            None => return Err(ImageProblem::LinkTargetDirectory(shown())),
            Some((_, last)) => self
                .resolve(target.parents(), Missing::Leave)?
                .and_then(|parent| Some((parent.directory, last, self.child(parent.directory, last)?))),
        };
        let fault = match found {
            None => ImageProblem::LinkTargetMissing(shown()),
            Some((_, _, child)) if matches!(self.inode(child.inode), Inode { node: Node::Directory(_), .. }) => {
                ImageProblem::LinkTargetDirectory(shown())
            }
            Some((parent, last, _)) if parent == directory && last == name => ImageProblem::LinkToItself,
            Some((_, _, child)) => return Ok(Some(child.inode)),
        };
        // AUFS links its bookkeeping to whiteouts, which are no entries.
        if bookkeeping { Ok(None) } else { Err(fault) }
    }
}

impl From<ResolveFault> for ImageProblem {
    fn from(fault: ResolveFault) -> Self {
        match fault {
            ResolveFault::TooManyHops => Self::SymlinkLoop,
            ResolveFault::NotDirectory(name) => Self::ParentNotDirectory(Quoted(&name).to_string()),
            ResolveFault::LongName(len) => Self::Path(crate::path::PathFault::LongName(len)),
            ResolveFault::ArenaFull => Self::TooManyInodes,
        }
    }
}
