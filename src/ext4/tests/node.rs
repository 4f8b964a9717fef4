//! The nodes that a test puts into a filesystem, and the facts that it expects to read.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::digest::{Algorithm, Digest};
use crate::ext4::{BlockSource, Chunk, Content, DeviceNumber, FileKind, Filesystem, Inode, InodeNumber};
use crate::time::Timestamp;

/// One inode with all its names.
pub struct Node {
    pub names: Vec<String>,
    pub kind: Kind,
    pub permissions: u16,
    pub uid: u32,
    pub gid: u32,
    pub generation: u32,
    /// atime, ctime, mtime, crtime.
    pub times: [Timestamp; 4],
    /// True if inodes have room for nanoseconds, years after 2038, and crtime.
    pub wide_times: bool,
    pub xattrs: Vec<NodeXattr>,
    /// The link count of directories, which tests count by hand.
    pub links: Option<u16>,
}

pub enum Kind {
    Directory,
    File { size: u64, pieces: Vec<(u64, Vec<u8>)> },
    Symlink(String),
    Fifo,
    Socket,
    Device(char, u32, u32),
}

pub struct NodeXattr {
    pub name: &'static str,
    /// The value given to debugfs.
    pub set: Vec<u8>,
    /// The value that ext4 stores.
    pub stored: Vec<u8>,
}

/// Everything that can be read from an inode, in a form that failed comparisons can print.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    kind: FileKind,
    permissions: u16,
    owner: (u32, u32),
    generation: u32,
    size: Option<u64>,
    links: u16,
    device: Option<DeviceNumber>,
    times: [Option<Timestamp>; 4],
    content: Option<Digest>,
    target: Option<String>,
    xattrs: Vec<(String, Digest)>,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

impl Node {
    pub fn mode(&self) -> u16 {
        let file_type = match self.kind {
            Kind::Fifo => 0o01_0000,
            Kind::Device('c', ..) => 0o02_0000,
            Kind::Directory => 0o04_0000,
            Kind::Device(..) => 0o06_0000,
            Kind::File { .. } => 0o10_0000,
            Kind::Symlink(_) => 0o12_0000,
            Kind::Socket => 0o14_0000,
        };
        file_type | self.permissions
    }

    pub fn facts(&self) -> Facts {
        let mut facts = Facts {
            kind: FileKind::Regular,
            permissions: self.permissions,
            owner: (self.uid, self.gid),
            generation: self.generation,
            size: Some(0),
            links: self.links.unwrap_or(u16::try_from(self.names.len()).unwrap()),
            device: None,
            times: self.times.map(Some),
            content: None,
            target: None,
            xattrs: self.xattrs.iter().map(|xattr| (xattr.name.to_owned(), digest(&xattr.stored))).collect(),
        };
        facts.xattrs.sort();
        if !self.wide_times {
            facts.times[3] = None;
        }
        match &self.kind {
            Kind::Directory => (facts.kind, facts.size) = (FileKind::Directory, None),
            Kind::File { size, pieces } => {
                let mut content = vec![0; usize::try_from(*size).unwrap()];
                for (offset, bytes) in pieces {
                    content[usize::try_from(*offset).unwrap()..][..bytes.len()].copy_from_slice(bytes);
                }
                (facts.size, facts.content) = (Some(*size), Some(digest(&content)));
            }
            Kind::Symlink(target) => {
                (facts.kind, facts.size) = (FileKind::Symlink, Some(target.len() as u64));
                facts.target = Some(target.clone());
            }
            Kind::Fifo => facts.kind = FileKind::Fifo,
            Kind::Socket => facts.kind = FileKind::Socket,
            Kind::Device(kind, major, minor) => {
                facts.kind = if *kind == 'c' { FileKind::CharacterDevice } else { FileKind::BlockDevice };
                facts.device = Some(DeviceNumber { major: *major, minor: *minor });
            }
        }
        facts
    }
}

impl Facts {
    fn read<R: BlockSource>(filesystem: &Filesystem<R>, inode: &Inode) -> Self {
        let is = |kind| inode.kind == kind;
        let xattrs = filesystem.xattrs(inode).unwrap();
        Self {
            kind: inode.kind,
            permissions: inode.permissions,
            owner: (inode.uid, inode.gid),
            generation: inode.generation,
            size: (!is(FileKind::Directory)).then_some(inode.size),
            links: inode.links,
            device: inode.device,
            times: [Some(inode.atime), Some(inode.ctime), Some(inode.mtime), inode.crtime],
            content: is(FileKind::Regular).then(|| content_digest(&filesystem.content(inode).unwrap())),
            target: is(FileKind::Symlink).then(|| text(&filesystem.target(inode).unwrap())),
            xattrs: xattrs.iter().map(|xattr| (text(&xattr.name), digest(&xattr.value))).collect(),
        }
    }
}

/// Reads a content in two ways, which must agree.
fn content_digest<R: BlockSource>(content: &Content<'_, R>) -> Digest {
    let mut whole = Vec::new();
    content.reader().read_to_end(&mut whole).unwrap();
    let mut pieced = vec![0; usize::try_from(content.size()).unwrap()];
    let mut end = 0;
    for chunk in content.chunks() {
        let (Chunk::Data { offset, length } | Chunk::Hole { offset, length }) = chunk;
        assert_eq!((offset, length > 0), (end, true), "{chunk:?}");
        end = offset + length;
        if let Chunk::Data { .. } = chunk {
            let part = &mut pieced[usize::try_from(offset).unwrap()..][..usize::try_from(length).unwrap()];
            assert_eq!(content.read_at(part, offset).unwrap(), part.len());
        }
    }
    assert_eq!(end, content.size());
    assert!(whole == pieced, "chunks and reader differ");
    digest(&whole)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Reads everything below the root except `/lost+found`, with the checks of a verification.
pub fn walk<R: BlockSource>(filesystem: &Filesystem<R>) -> BTreeMap<String, Facts> {
    let root = filesystem.inode(InodeNumber::ROOT).unwrap();
    let mut found = BTreeMap::from([("/".to_owned(), Facts::read(filesystem, &root))]);
    let mut pending = vec![(String::new(), root, InodeNumber::ROOT)];
    while let Some((path, directory, parent)) = pending.pop() {
        let mut entries = filesystem.entries(&directory).unwrap();
        let dots: Vec<_> = entries.drain(..2).map(|entry| (text(&entry.name), entry.inode)).collect();
        assert_eq!(dots, [(".".to_owned(), directory.number), ("..".to_owned(), parent)]);
        for entry in entries {
            let name = format!("{path}/{}", text(&entry.name));
            let inode = filesystem.inode(entry.inode).unwrap();
            assert_eq!(entry.kind, filesystem.superblock().features.filetype().then_some(inode.kind), "{name}");
            if name == "/lost+found" {
                assert_eq!(filesystem.entries(&inode).unwrap().len(), 2);
                continue;
            }
            assert!(found.insert(name.clone(), Facts::read(filesystem, &inode)).is_none(), "{name} appears twice");
            if inode.kind == FileKind::Directory {
                pending.push((name, inode, directory.number));
            }
        }
    }
    found
}
