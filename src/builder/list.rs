//! Describes the names of a flattened image.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::path::Escaped;
use crate::time::{DateTime, Timestamp};
use crate::tree::{Device, DeviceKind, Inode, Node, Tree, Visit, Xattrs};

/// A name of a flattened image with its inode, in the form that `--json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NameReport {
    /// The path, escaped, with a leading `/`.
    pub path: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: FileType,
    /// The permission bits with setuid, setgid and sticky.
    #[serde(serialize_with = "octal")]
    pub mode: u16,
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The link count.
    pub links: u64,
    /// The size of a file or of a symlink's target in bytes.
    pub size: Option<u64>,
    /// The mtime.
    #[serde(serialize_with = "rfc3339")]
    pub mtime: Timestamp,
    /// The target of a symlink, escaped.
    pub target: Option<String>,
    /// The number of a device.
    pub device: Option<DeviceNumber>,
    /// The xattrs.
    pub xattrs: Vec<XattrReport>,
    /// The number of the layer that last wrote the name, from 1; `None` for the root.
    pub layer: Option<u16>,
    /// True if no layer has an entry for it: a missing parent of an entry.
    pub implied: bool,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileType {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symlink.
    Symlink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A fifo.
    Fifo,
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceNumber {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// An xattr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct XattrReport {
    /// The name, escaped.
    pub name: String,
    /// The value in base64.
    pub value: String,
}

impl NameReport {
    /// Describes a name that a walk visits.
    #[must_use]
    pub fn of(tree: &Tree, visit: &Visit<'_>) -> Self {
        let (layer, implied) =
            (visit.child.map(|child| child.layer.0 + 1), visit.child.is_some_and(|child| child.implied));
        Self::of_inode(visit.path, tree.inode(visit.inode), tree.link_count(visit.inode), layer, implied)
    }

    /// Describes an inode at a path.
    pub(crate) fn of_inode(path: &[u8], inode: &Inode, links: u64, layer: Option<u16>, implied: bool) -> Self {
        let (size, target, device) = match &inode.node {
            Node::File(content) => (Some(content.size()), None, None),
            Node::Symlink(target) => (Some(target.len() as u64), Some(Escaped(target).to_string()), None),
            Node::Device(Device { major, minor, .. }) => {
                (None, None, Some(DeviceNumber { major: *major, minor: *minor }))
            }
            Node::Directory(_) | Node::Fifo => (None, None, None),
        };
        let metadata = &inode.metadata;
        Self {
            path: format!("/{}", Escaped(path)),
            kind: FileType::of(&inode.node),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            links,
            size,
            mtime: metadata.mtime,
            target,
            device,
            xattrs: xattrs(&metadata.xattrs),
            layer,
            implied,
        }
    }
}

impl FileType {
    /// Returns the type of a node.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        match node {
            Node::Directory(_) => Self::Directory,
            Node::File(_) => Self::File,
            Node::Symlink(_) => Self::Symlink,
            Node::Device(device) if device.kind == DeviceKind::Block => Self::BlockDevice,
            Node::Device(_) => Self::CharacterDevice,
            Node::Fifo => Self::Fifo,
        }
    }
}

fn xattrs(xattrs: &Xattrs) -> Vec<XattrReport> {
    let report = |xattr: crate::tree::Xattr<'_>| XattrReport {
        name: Escaped(xattr.name).to_string(),
        value: STANDARD.encode(xattr.value),
    };
    xattrs.iter().map(report).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn octal<S: Serializer>(mode: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mode:04o}"))
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&DateTime::from(*time))
}
