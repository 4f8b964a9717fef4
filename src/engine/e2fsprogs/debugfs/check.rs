//! Reads a new filesystem and checks the inode numbers against the plan.

use std::collections::HashMap;

use super::unreadable;
use crate::cancel::Cancel;
use crate::error::{Error, Result, ToolProblem};
use crate::ext4::{BlockSource, DirEntry, FileKind, Filesystem, Inode, InodeNumber, RecordPlace};
use crate::layer::entry::{DeviceKind, Xattrs};
use crate::path::{Escaped, ImagePath};
use crate::plan::xattr::{self, Writer};
use crate::plan::{LOST_FOUND_NAME, Plan, StagedKind};
use crate::tree::{InodeId, Node, Tree};

/// A directory record with the type byte of a stand-in, and its correct type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WrongRecord {
    pub place: RecordPlace,
    /// The directory of the block: part of the block's checksum.
    pub directory: InodeNumber,
    pub type_byte: u8,
}

/// The attributes of an inode that its staged file inherited from a parent of the staging directory. A work directory
/// may pass on flags (`chattr`), which `mkfs.ext4 -d` copies (1.47.4; 1.47.2 does not), and xattrs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InheritedAttributes {
    pub inode: InodeNumber,
    /// The flags without the inherited ones; `None`: no flag is inherited.
    pub flags: Option<u32>,
    /// The names of xattrs that the tree does not have.
    pub xattrs: Vec<Box<[u8]>>,
}

/// The differences between mkfs's filesystem and the tree.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub records: Vec<WrongRecord>,
    /// The inherited attributes in the order of inode numbers.
    pub inherited: Vec<InheritedAttributes>,
}

/// Checks that filesystem and plan have the same set of (path, inode number, type).
pub(super) fn check<R: BlockSource>(
    filesystem: &Filesystem<R>,
    tree: &Tree,
    plan: &Plan,
    cancel: &Cancel,
) -> Result<Findings> {
    let mut findings = Findings::default();
    if let Some(added) = plan.added_lost_found() {
        let inode = filesystem.inode(added).map_err(unreadable)?;
        findings.inherited.extend(inherited(filesystem, &inode, &Xattrs::default(), plan)?);
    }
    let mut walk = tree.walk();
    while let Some(visit) = walk.advance() {
        cancel.check()?;
        let number = number(plan, visit.inode)?;
        let inode = filesystem.inode(number).map_err(unreadable)?;
        let xattrs = &tree.inode(visit.inode).metadata.xattrs;
        findings.inherited.extend(inherited(filesystem, &inode, xattrs, plan)?);
        let Some(directory) = tree.directory(visit.inode) else { continue };
        let entries = filesystem.entries(&inode).map_err(unreadable)?;
        let mut found: HashMap<&[u8], &DirEntry> = entries.iter().map(|entry| (&*entry.name, entry)).collect();
        found.retain(|name, entry| !is_own(name, entry, visit.inode, plan));
        for (name, child) in directory.names() {
            let shown = || Escaped(ImagePath::join(visit.path, name).as_bytes()).to_string();
            let entry = found.remove(name).ok_or_else(|| unexpected(format!("/{} is missing", shown())))?;
            let expected = self::number(plan, child.inode)?;
            let staged = staged_kind(plan.stand_in(tree, child.inode));
            if entry.inode != expected || entry.kind != Some(staged) {
                let (actual, kind) = (entry.inode.get(), entry.kind);
                let text = format!("/{} is {actual}, {kind:?}, not {}, {staged:?}", shown(), expected.get());
                return Err(unexpected(text));
            }
            let kind = kind(&tree.inode(child.inode).node);
            if kind != staged {
                let place = entry.place.ok_or_else(|| unexpected(format!("/{} has no record", shown())))?;
                findings.records.push(WrongRecord { place, directory: number, type_byte: kind.type_byte() });
            }
        }
        if let Some(name) = found.keys().next() {
            return Err(unexpected(format!("{} was not staged", Escaped(name))));
        }
    }
    findings.records.sort_unstable();
    findings.inherited.sort_unstable_by_key(|inherited| inherited.inode);
    findings.inherited.dedup_by_key(|inherited| inherited.inode);
    Ok(findings)
}

/// Returns the attributes of an inode that were not staged for it.
fn inherited<R: BlockSource>(
    filesystem: &Filesystem<R>,
    inode: &Inode,
    own: &Xattrs,
    plan: &Plan,
) -> Result<Option<InheritedAttributes>> {
    let flags = (inode.attribute_flags() != 0).then_some(inode.flags & !inode.attribute_flags());
    let mut xattrs = Vec::new();
    if plan.stages_xattrs {
        let found = filesystem.xattrs(inode).map_err(unreadable)?;
        let staged = |name: &[u8]| own.iter().any(|x| *x.name == *name && xattr::writer(name) == Writer::Mkfs);
        xattrs.extend(found.into_iter().map(|x| x.name).filter(|name| !staged(name)));
    }
    let nothing = flags.is_none() && xattrs.is_empty();
    Ok((!nothing).then_some(InheritedAttributes { inode: inode.number, flags, xattrs }))
}

/// Returns true if a name belongs to the filesystem: `.`, `..`, or a `lost+found` that the image does not have.
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

fn staged_kind(stand_in: StagedKind) -> FileKind {
    match stand_in {
        StagedKind::Directory => FileKind::Directory,
        StagedKind::File | StagedKind::TargetFile => FileKind::Regular,
        StagedKind::Symlink => FileKind::Symlink,
        StagedKind::Fifo => FileKind::Fifo,
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
