//! Reads a fresh filesystem back and requires the inode numbers that the plan foretold.

use std::collections::HashMap;

use super::unreadable;
use crate::cancel::Cancel;
use crate::error::{Error, Result, ToolProblem};
use crate::ext4::{DirEntry, FileKind, Filesystem, InodeNumber, ReadAt, RecordPlace};
use crate::layer::entry::DeviceKind;
use crate::path::{Escaped, ImagePath};
use crate::plan::{LOST_FOUND_NAME, Plan, StandIn};
use crate::tree::{InodeId, Node, Tree};

/// A directory record whose type byte is the stand-in's, and what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WrongRecord {
    pub place: RecordPlace,
    /// The directory that the block belongs to: part of its checksum.
    pub directory: InodeNumber,
    pub type_byte: u8,
}

/// Requires the same set of (path, inode number, type) in the filesystem as in the plan.
pub(super) fn check<R: ReadAt>(
    filesystem: &Filesystem<R>,
    tree: &Tree,
    plan: &Plan,
    cancel: &Cancel,
) -> Result<Vec<WrongRecord>> {
    let mut wrong = Vec::new();
    for visit in tree.walk() {
        let Some(directory) = tree.directory(visit.inode) else { continue };
        cancel.check()?;
        let number = number(plan, visit.inode)?;
        let inode = filesystem.inode(number).map_err(unreadable)?;
        let entries = filesystem.entries(&inode).map_err(unreadable)?;
        let mut found: HashMap<&[u8], &DirEntry> = entries.iter().map(|entry| (&*entry.name, entry)).collect();
        found.retain(|name, entry| !is_own(name, entry, visit.inode, plan));
        for (name, child) in directory.names() {
            let shown = || Escaped(ImagePath::join(&visit.path, name).as_bytes()).to_string();
            let entry = found.remove(name).ok_or_else(|| unexpected(format!("/{} is missing", shown())))?;
            let expected = self::number(plan, child.inode)?;
            let staged = staged_kind(plan.stand_in(tree, child.inode));
            if entry.inode != expected || entry.kind != Some(staged) {
                let (got, kind) = (entry.inode.get(), entry.kind);
                let text = format!("/{} is {got}, {kind:?}, not {}, {staged:?}", shown(), expected.get());
                return Err(unexpected(text));
            }
            let kind = kind(&tree.inode(child.inode).node);
            if kind != staged {
                let place = entry.place.ok_or_else(|| unexpected(format!("/{} has no record", shown())))?;
                wrong.push(WrongRecord { place, directory: number, type_byte: kind.type_byte() });
            }
        }
        if let Some(name) = found.keys().next() {
            return Err(unexpected(format!("{} was not staged", Escaped(name))));
        }
    }
    wrong.sort_unstable();
    Ok(wrong)
}

/// Returns whether a name is the filesystem's own: `.`, `..`, or a `lost+found` that the image does not have.
fn is_own(name: &[u8], entry: &DirEntry, directory: InodeId, plan: &Plan) -> bool {
    let added = name == LOST_FOUND_NAME && directory == InodeId::ROOT;
    matches!(name, b"." | b"..") || (added && plan.added_lost_found() == Some(entry.inode))
}

fn number(plan: &Plan, id: InodeId) -> Result<InodeNumber> {
    plan.number(id).ok_or_else(|| unexpected("an inode has no number".into()))
}

fn unexpected(text: String) -> Error {
    Error::tool("mkfs.ext4", ToolProblem::Numbering(text))
}

fn staged_kind(stand_in: StandIn) -> FileKind {
    match stand_in {
        StandIn::Directory => FileKind::Directory,
        StandIn::File | StandIn::TargetFile => FileKind::Regular,
        StandIn::Symlink => FileKind::Symlink,
        StandIn::Fifo => FileKind::Fifo,
    }
}

fn kind(node: &Node) -> FileKind {
    match node {
        Node::Directory(_) => FileKind::Directory,
        Node::File(_) => FileKind::Regular,
        Node::Symlink(_) => FileKind::Symlink,
        Node::Device(device) => match device.kind {
            DeviceKind::Character => FileKind::CharacterDevice,
            DeviceKind::Block => FileKind::BlockDevice,
        },
        Node::Fifo => FileKind::Fifo,
    }
}
