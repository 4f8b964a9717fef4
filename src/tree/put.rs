//! Puts a name into the tree for the caller, who knows what the image has there less well than its layers do.

use super::resolve::MissingParents;
use super::{InodeId, LayerId, Node, Tree};
use crate::error::ImageProblem;
use crate::layer::entry::{Body, Entry, Existing};
use crate::note::{Note, NoteKind, Notes};

impl Tree {
    /// Puts an entry into the tree. Unlike [`Tree::add`], it follows a symlink that a directory is put onto, and never
    /// replaces a directory, nor anything by one, be it a parent.
    pub(super) fn put(
        &mut self,
        layer: LayerId,
        entry: Entry,
        existing: Existing,
        notes: &Notes,
    ) -> Result<(), ImageProblem> {
        let old = self.at(&entry)?;
        let is_directory = |tree: &Self, inode: InodeId| tree.directory(inode).is_some();
        match (&entry.body, old) {
            (_, Some(_)) if existing == Existing::Fill => Ok(()),
            (Body::Directory, Some(old)) if is_directory(self, old) => self.stay(old, entry, existing),
            (Body::Directory, Some(old)) if matches!(self.inode(old).node, Node::Symlink(_)) => {
                let missing = MissingParents::Leave;
                if let Some(found) = self.resolve(entry.path.as_bytes(), missing)? {
                    return self.stay(found.directory, entry, existing);
                }
                // The symlink leads to nothing yet.
                let made = self.resolve(entry.path.as_bytes(), MissingParents::Make(layer))?;
                made.map_or(Ok(()), |made| Ok(self.set_metadata(made.directory, entry.metadata)?))
            }
            (Body::Directory, Some(_)) => Err(ImageProblem::PutOverFile),
            (_, Some(old)) if is_directory(self, old) => Err(ImageProblem::PutOverDirectory),
            _ => {
                if existing == Existing::Fill {
                    let (kind, path) = (NoteKind::MountPoint, entry.path.as_bytes().into());
                    notes.add(Note { kind, layer: None, path, detail: Box::default() });
                }
                self.add(layer, entry, notes)
            }
        }
    }

    /// Returns the inode at the path of an entry, whose parents are followed.
    fn at(&mut self, entry: &Entry) -> Result<Option<InodeId>, ImageProblem> {
        let Some((parents, name)) = entry.path.split_last() else { return Ok(Some(InodeId::ROOT)) };
        let found = self.resolve(parents, MissingParents::LeaveBelowDirectories)?;
        Ok(found.and_then(|parent| self.child(parent.directory, name)).map(|child| child.inode))
    }

    fn stay(&mut self, directory: InodeId, entry: Entry, existing: Existing) -> Result<(), ImageProblem> {
        match existing {
            Existing::Set => Ok(self.set_metadata(directory, entry.metadata)?),
            Existing::Keep | Existing::Fill => Ok(()),
        }
    }
}
