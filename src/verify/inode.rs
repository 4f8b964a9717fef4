//! Compares the attributes of one inode.

use std::collections::BTreeMap;

use super::mismatch::{Field, Mismatches, bytes};
use crate::ext4::{self, BlockSource, FileKind, Filesystem, ReadError};
use crate::layer::entry::DeviceKind;
use crate::path::Escaped;
use crate::tree::{Inode, Node};

/// The largest link count; a directory with more subdirectories has 1.
const LINKS_MAX: u64 = 65_000;

const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Compares the fields of the inode itself; returns true if the types are the same.
pub(super) fn compare(path: &[u8], want: &Inode, links: u64, got: &ext4::Inode, out: &mut Mismatches) -> bool {
    let kind = kind(&want.node);
    if got.kind != kind {
        out.push(path, Field::Type, format!("{kind:?}"), format!("{:?}", got.kind));
    }
    let metadata = &want.metadata;
    out.push_unless_equal(path, Field::Mode, format!("{:04o}", metadata.mode), format!("{:04o}", got.permissions));
    out.push_unless_equal(path, Field::Uid, metadata.uid, got.uid);
    out.push_unless_equal(path, Field::Gid, metadata.gid, got.gid);
    out.push_unless_equal(path, Field::Mtime, metadata.mtime, got.mtime);
    let uncounted = kind == FileKind::Directory && links >= LINKS_MAX && got.links == 1;
    if !uncounted {
        out.push_unless_equal(path, Field::Links, links, u64::from(got.links));
    }
    if got.attribute_flags() != 0 {
        out.push(path, Field::Flags, "none", format!("{:#x}", got.attribute_flags()));
    }
    match &want.node {
        Node::File(content) => out.push_unless_equal(path, Field::Size, content.size(), got.size),
        Node::Symlink(target) => out.push_unless_equal(path, Field::Size, target.len() as u64, got.size),
        Node::Device(device) => {
            let expected = format!("{}:{}", device.major, device.minor);
            let actual = got.device.map_or("none".into(), |found| format!("{}:{}", found.major, found.minor));
            out.push_unless_equal(path, Field::Device, expected, actual);
        }
        Node::Directory(_) | Node::Fifo => {}
    }
    got.kind == kind
}

/// Compares xattrs by name; ACLs in the kernel's form, which the tree has too.
pub(super) fn compare_xattrs<R: BlockSource>(
    filesystem: &Filesystem<R>,
    path: &[u8],
    want: &Inode,
    got: &ext4::Inode,
    out: &mut Mismatches,
) -> Result<(), ReadError> {
    let stored = filesystem.xattrs(got)?;
    let mut found: BTreeMap<&[u8], Box<[u8]>> = BTreeMap::new();
    for xattr in &stored {
        let kernel_form = ACLS.contains(&&*xattr.name).then(|| ext4::acl::to_xattr(&xattr.value).ok()).flatten();
        found.insert(&xattr.name, kernel_form.unwrap_or_else(|| xattr.value.clone()));
    }
    let show = |name: &[u8], value: &[u8]| format!("{}={}", Escaped(name), bytes(value));
    for xattr in &want.metadata.xattrs {
        match found.remove(xattr.name) {
            Some(value) if *value == *xattr.value => {}
            Some(value) => {
                out.push(path, Field::Xattrs, show(xattr.name, xattr.value), show(xattr.name, &value));
            }
            None => out.push(path, Field::Xattrs, show(xattr.name, xattr.value), "nothing"),
        }
    }
    for (name, value) in found {
        out.push(path, Field::Xattrs, "nothing", show(name, &value));
    }
    Ok(())
}

/// Returns the file type of a node, by a table of its own that the engines do not share.
pub(super) fn kind(node: &Node) -> FileKind {
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
