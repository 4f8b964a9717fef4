//! The attributes in which two inodes differ.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Device, DeviceKind, Inode, Node};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::layer::entry::Content;
use crate::path::{Escaped, Quoted};

/// An attribute of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Attribute {
    /// The type.
    Type,
    /// The permission bits with setuid, setgid and sticky.
    Mode,
    /// The uid.
    Uid,
    /// The gid.
    Gid,
    /// The size of a file in bytes.
    Size,
    /// The mtime.
    Mtime,
    /// The number of names of a file that is no directory, or which names it has.
    Links,
    /// The number of a device.
    Device,
    /// The target of a symlink.
    Target,
    /// An xattr.
    Xattr,
    /// The bytes of a file.
    Content,
}

/// A change of one attribute; the values are escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The attribute.
    pub attribute: Attribute,
    /// The value before; `None` for content, and for an xattr that was added.
    pub before: Option<String>,
    /// The value after; `None` for content, and for an xattr that was removed.
    pub after: Option<String>,
    /// The offset of the first byte that differs, for content.
    pub offset: Option<u64>,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::Links => "links",
            Self::Device => "device",
            Self::Target => "target",
            Self::Xattr => "xattr",
            Self::Content => "content",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attribute, before, after, offset } = self;
        if let Some(offset) = offset {
            return write!(f, "{attribute} from byte {offset} on");
        }
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        write!(f, "{attribute} {} -> {}", shown(before), shown(after))
    }
}

impl Change {
    /// Returns the change of which names an inode has.
    pub(super) fn of_names() -> Self {
        let (before, after) = (Some("of other names".into()), Some("of these names".into()));
        Self { attribute: Attribute::Links, before, after, offset: None }
    }
}

/// An inode with its number of names.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub inode: &'a Inode,
    pub links: u32,
}

/// Returns the attributes in which two inodes differ. The links of directories are not compared.
///
/// # Errors
///
/// The run was cancelled.
pub(super) fn changes(before: Side<'_>, after: Side<'_>, cancel: &Cancel) -> Result<Vec<Change>> {
    let mut changes = Changes(Vec::new());
    let (old, new) = (&before.inode.metadata, &after.inode.metadata);
    let (old_node, new_node) = (&before.inode.node, &after.inode.node);
    changes.compare(Attribute::Type, kind(old_node), kind(new_node));
    changes.compare(Attribute::Mode, format!("{:04o}", old.mode), format!("{:04o}", new.mode));
    changes.compare(Attribute::Uid, old.uid, new.uid);
    changes.compare(Attribute::Gid, old.gid, new.gid);
    changes.compare(Attribute::Mtime, old.mtime, new.mtime);
    match (old_node, new_node) {
        (Node::Directory(_), _) | (_, Node::Directory(_)) => {}
        _ => changes.compare(Attribute::Links, before.links, after.links),
    }
    match (old_node, new_node) {
        (Node::File(old), Node::File(new)) => {
            changes.compare(Attribute::Size, old.size(), new.size());
            if let Some(offset) = first_difference(old, new, cancel)? {
                let (attribute, offset) = (Attribute::Content, Some(offset));
                changes.0.push(Change { attribute, before: None, after: None, offset });
            }
        }
        (Node::Symlink(old), Node::Symlink(new)) if **old != **new => {
            changes.push(Attribute::Target, Some(Quoted(old).to_string()), Some(Quoted(new).to_string()));
        }
        (Node::Device(old), Node::Device(new)) => {
            let number = |device: &Device| format!("{},{}", device.major, device.minor);
            changes.compare(Attribute::Device, number(old), number(new));
        }
        _ => {}
    }
    changes.xattrs(before.inode, after.inode);
    Ok(changes.0)
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::Directory(_) => "directory",
        Node::File(_) => "file",
        Node::Symlink(_) => "symlink",
        Node::Device(Device { kind: DeviceKind::Character, .. }) => "character device",
        Node::Device(_) => "block device",
        Node::Fifo => "fifo",
    }
}

struct Changes(Vec<Change>);

impl Changes {
    fn push(&mut self, attribute: Attribute, before: Option<String>, after: Option<String>) {
        self.0.push(Change { attribute, before, after, offset: None });
    }

    fn compare<T: PartialEq + fmt::Display>(&mut self, attribute: Attribute, before: T, after: T) {
        if before != after {
            self.push(attribute, Some(before.to_string()), Some(after.to_string()));
        }
    }

    fn xattrs(&mut self, before: &Inode, after: &Inode) {
        if before.metadata.xattrs == after.metadata.xattrs {
            return;
        }
        let mut values: BTreeMap<&[u8], [Option<&[u8]>; 2]> = BTreeMap::new();
        for (side, inode) in [before, after].into_iter().enumerate() {
            inode
                .metadata
                .xattrs
                .iter()
                .for_each(|xattr| values.entry(xattr.name).or_default()[side] = Some(xattr.value));
        }
        for (name, [old, new]) in values.into_iter().filter(|(_, [old, new])| old != new) {
            let shown = |value: Option<&[u8]>| value.map(|value| format!("{}={}", Escaped(name), Quoted(value)));
            self.push(Attribute::Xattr, shown(old), shown(new));
        }
    }
}

/// Returns the offset of the first byte in which two files differ; one that ends earlier differs from its end on.
fn first_difference(a: &Content, b: &Content, cancel: &Cancel) -> Result<Option<u64>> {
    let shorter = a.size().min(b.size());
    let (mut left, mut right) = (Pieces::of(a), Pieces::of(b));
    let mut at = 0;
    while at < shorter {
        cancel.check()?;
        let (one, other) = (left.at(at), right.at(at));
        let end = one.1.min(other.1).min(shorter);
        let length = usize::try_from(end - at).unwrap_or(usize::MAX);
        let different = match (one.0, other.0) {
            (Some(one), Some(other)) if one[..length] == other[..length] => None,
            (Some(one), Some(other)) => one[..length].iter().zip(&other[..length]).position(|(a, b)| a != b),
            (Some(data), None) | (None, Some(data)) => data[..length].iter().position(|b| *b != 0),
            (None, None) => None,
        };
        if let Some(place) = different {
            return Ok(Some(at + place as u64));
        }
        at = end;
    }
    Ok((a.size() != b.size()).then_some(shorter))
}

/// The stored runs of a file, and the zeros between them.
struct Pieces<'a> {
    runs: Box<dyn Iterator<Item = (u64, &'a [u8])> + 'a>,
    run: Option<(u64, &'a [u8])>,
}

impl<'a> Pieces<'a> {
    fn of(content: &'a Content) -> Self {
        let mut runs = content.runs();
        let run = runs.next();
        Self { run, runs: Box::new(runs) }
    }

    /// Returns the bytes from an offset to the end of a run, or `None` for zeros, and the offset of their end.
    fn at(&mut self, offset: u64) -> (Option<&'a [u8]>, u64) {
        let end = |(start, bytes): (u64, &[u8])| start + bytes.len() as u64;
        while self.run.is_some_and(|run| end(run) <= offset) {
            self.run = self.runs.next();
        }
        match self.run {
            None => (None, u64::MAX),
            Some((start, _)) if start > offset => (None, start),
            Some(run @ (start, bytes)) => {
                let skip = usize::try_from(offset - start).unwrap_or(usize::MAX).min(bytes.len());
                (Some(&bytes[skip..]), end(run))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::layer::entry::Extent;

    fn content(bytes: &'static [u8], size: u64, pieces: &[(u64, u64)]) -> Content {
        let pieces: Vec<Extent> = pieces.iter().map(|(offset, len)| Extent { offset: *offset, len: *len }).collect();
        Content::dense(Bytes::from_static(bytes)).spread(size, &pieces)
    }

    #[test]
    fn holes_are_zeros_and_the_first_byte_that_differs_is_found() {
        let whole = |bytes: &'static [u8]| Content::dense(Bytes::from_static(bytes));
        let sparse = || content(b"abcd", 10, &[(2, 2), (4, 1), (8, 1)]);
        let differ = |a: &Content, b: &Content| first_difference(a, b, &Cancel::default()).unwrap();
        for (other, expected) in [
            (whole(b"\0\0abc\0\0\0d\0"), None),
            (whole(b"\x01\0abc\0\0\0d\0"), Some(0)),
            (whole(b"\0\0abd\0\0\0d\0"), Some(4)),
            (whole(b"\0\0abc\0\x01\0d\0"), Some(6)),
            (whole(b"\0\0abc\0\0\0d\x01"), Some(9)),
            (whole(b"\0\0abc\0\0\0d"), Some(9)),
            (whole(b"\0\0abc\0\0\0d\0\0"), Some(10)),
            (whole(b""), Some(0)),
            (content(b"abcd", 10, &[(2, 3), (8, 1)]), None),
            (content(b"", 10, &[]), Some(2)),
        ] {
            assert_eq!(differ(&sparse(), &other), expected);
            assert_eq!(differ(&other, &sparse()), expected);
        }
        assert_eq!(differ(&content(b"", 1 << 60, &[]), &content(b"", 1 << 60, &[])), None);
    }
}
