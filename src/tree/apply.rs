//! Applies one layer's changeset to the tree left by the layers below it.
//!
//! A marker acts on the lower tree only, whatever its position in the tar (image-spec `layer.md`, Whiteouts). Its path
//! is resolved when the marker is read; its effect waits for the end of the layer.

use super::memory::TreeFull;
use super::purge::Purge;
use super::resolve::{MissingParents, ResolveFault};
use super::{Child, Inode, InodeId, LayerId, Node, Ring, Tree};
use crate::error::ImageProblem;
use crate::layer::entry::{Action, Body, Change, Device, DeviceKind, Entry, Metadata};
use crate::layer::whiteout::Whiteout;
use crate::note::{Note, NoteKind, Notes};
use crate::path::{ImagePath, Quoted};

/// The counts of an applied layer.
#[derive(Debug, Default)]
pub(crate) struct ApplyReport {
    /// The number of entries that added or replaced a name.
    pub entries: u64,
    /// The number of markers.
    pub whiteouts: u64,
}

/// A change that cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ApplyFault {
    /// The number of its tar entry, from 1.
    pub number: u64,
    /// Its cleaned path.
    pub path: ImagePath,
    /// The problem.
    pub problem: ImageProblem,
}

/// A marker that takes effect at the end of its layer: for a name, by number, or for a directory.
///
/// The name or directory is flagged, so that a million markers for one path are stored once, and a marker whose name
/// was removed meanwhile has no effect. Nothing that its layer adds later is hidden.
#[derive(Clone, Copy)]
enum Pending {
    Hide(u32),
    Clear(InodeId),
}

impl Tree {
    /// Applies a layer, and adds what it adapts to `notes`.
    ///
    /// `changes` come in the order of the stream. An error from them, or a change that cannot be applied, ends the
    /// work, and the tree must then be discarded. `stop` is called while markers take effect.
    ///
    /// # Errors
    ///
    /// An error of `changes` or `stop`, or an [`ApplyFault`] converted to it.
    pub(crate) fn apply<E: From<ApplyFault>>(
        &mut self,
        layer: LayerId,
        changes: impl Iterator<Item = Result<Change, E>>,
        notes: &Notes,
        stop: &dyn Fn() -> Result<(), E>,
    ) -> Result<ApplyReport, E> {
        self.observe_begin();
        let mut applied = ApplyReport::default();
        let mut pending = Vec::new();
        for change in changes {
            let Change { number, action } = change?;
            match action {
                Action::Add(entry) => {
                    applied.entries += 1;
                    let path = entry.path.clone();
                    self.add(layer, entry, notes).map_err(|problem| ApplyFault { number, path, problem })?;
                }
                Action::Put(entry, existing) => {
                    applied.entries += 1;
                    let path = entry.path.clone();
                    self.put(layer, entry, existing, notes).map_err(|problem| ApplyFault { number, path, problem })?;
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
        let mut purge = Purge::of(layer);
        for marker in pending {
            stop()?;
            self.observe_hiding();
            match marker {
                Pending::Hide(number) => {
                    let sign = self.names.get_mut(number).map(|name| &mut name.hidden);
                    if sign.is_some_and(std::mem::take) {
                        self.hide(number, &mut purge, stop)?;
                    }
                }
                Pending::Clear(directory) => {
                    let sign = self.ring_mut(directory).map(|ring| &mut ring.opaque);
                    if sign.is_some_and(std::mem::take) {
                        self.purge(directory, &mut purge, stop)?;
                    }
                }
            }
            self.observe_hidden();
        }
        Ok(applied)
    }

    /// Finishes the flattening: removes AUFS bookkeeping.
    #[must_use]
    pub(crate) fn finish(mut self) -> Self {
        self.drop_bookkeeping();
        self
    }

    /// Returns the marker for an existing name or directory that has none yet.
    fn find_hidden(&mut self, whiteout: &Whiteout) -> Result<Option<Pending>, ResolveFault> {
        match whiteout {
            Whiteout::Opaque(path) => {
                let Some(found) = self.resolve(path.as_bytes(), MissingParents::Leave)? else {
                    self.observe_lost_marker(true);
                    return Ok(None);
                };
                let Some(ring) = self.ring_mut(found.directory) else { return Ok(None) };
                let is_new = !std::mem::replace(&mut ring.opaque, true);
                self.observe_marker(found.directory, None, is_new);
                Ok(is_new.then_some(Pending::Clear(found.directory)))
            }
            Whiteout::Explicit(path) => {
                let Some((parents, last)) = path.split_last() else { return Ok(None) };
                let Some(found) = self.resolve(parents, MissingParents::Leave)? else {
                    self.observe_lost_marker(false);
                    return Ok(None);
                };
                let Some(number) = self.find(found.directory, last) else {
                    self.observe_marker(found.directory, Some(last), false);
                    return Ok(None);
                };
                let Some(name) = self.names.get_mut(number) else { return Ok(None) };
                let is_new = !std::mem::replace(&mut name.hidden, true);
                self.observe_marker(found.directory, Some(last), is_new);
                Ok(is_new.then_some(Pending::Hide(number)))
            }
        }
    }

    pub(super) fn add(&mut self, layer: LayerId, entry: Entry, notes: &Notes) -> Result<(), ImageProblem> {
        let Entry { path, bookkeeping, metadata, body } = entry;
        let Some((parents, name)) = path.split_last() else {
            self.observe_root();
            return self.set_root(metadata, &body);
        };
        let missing = if bookkeeping { MissingParents::Leave } else { MissingParents::Make(layer) };
        let Some(found) = self.resolve(parents, missing)? else {
            return Ok(());
        };
        let note = |kind, path: &[u8]| {
            let layer = Some(usize::from(layer.0) + 1);
            notes.add(Note { kind, layer, path: path.into(), detail: Box::default() });
        };
        for path in &found.replaced {
            note(NoteKind::ParentReplaced, path);
        }
        let old = self.child(found.directory, name);
        let is_again = old.is_some_and(|old| old.layer == layer && !old.implied);
        self.observe_entry(found.directory, name, matches!(body, Body::Directory), is_again);
        if is_again {
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
        self.set_child(found.directory, name, Child { inode, layer, implied: false, bookkeeping })?;
        Ok(())
    }

    fn set_root(&mut self, metadata: Metadata, body: &Body) -> Result<(), ImageProblem> {
        if !matches!(body, Body::Directory) {
            return Err(ImageProblem::RootNotDirectory);
        }
        Ok(self.set_metadata(InodeId::ROOT, metadata)?)
    }

    /// Returns the inode of an entry: a new one, or the directory that already exists.
    fn make(&mut self, old: Option<Child>, metadata: Metadata, body: Body) -> Result<InodeId, ImageProblem> {
        let node = match body {
            Body::Directory => {
                if let Some(stays) = old.filter(|old| self.directory(old.inode).is_some()) {
                    self.set_metadata(stays.inode, metadata)?;
                    return Ok(stays.inode);
                }
                Node::Directory(Ring::empty())
            }
            Body::File(content) => Node::File(content),
            Body::Symlink(target) => Node::Symlink((&*target).into()),
            Body::Device(device) => Node::Device(device),
            Body::Fifo => Node::Fifo,
            Body::HardLink(_) => return Err(ImageProblem::LinkToItself),
        };
        Ok(self.add_inode(metadata, node)?)
    }

    /// Returns the inode of a hard link's target; `None` for AUFS bookkeeping whose target does not exist.
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
            Some((parents, last)) => self
                .resolve(parents, MissingParents::Leave)?
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
        // AUFS links its bookkeeping to whiteouts, which are not entries.
        if bookkeeping { Ok(None) } else { Err(fault) }
    }
}

impl From<TreeFull> for ImageProblem {
    fn from(_: TreeFull) -> Self {
        Self::TooManyInodes
    }
}

impl From<ResolveFault> for ImageProblem {
    fn from(fault: ResolveFault) -> Self {
        match fault {
            ResolveFault::TooManyHops => Self::SymlinkLoop,
            ResolveFault::NotDirectory(name) => Self::ParentNotDirectory(Quoted(&name).to_string()),
            ResolveFault::FileAbove(path) => Self::PutBelowFile(Quoted(&path).to_string()),
            ResolveFault::LongName(len) => Self::Path(crate::path::PathFault::LongName(len)),
            ResolveFault::ArenaFull => Self::TooManyInodes,
            ResolveFault::TooManySteps => Self::TooManySymlinkSteps,
        }
    }
}
