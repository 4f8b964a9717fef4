//! The two root directories: the tree of an image, and an ext4 filesystem.

use super::root::{Node, Root};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::ext4::{BlockSource, FileKind, Filesystem, InodeNumber, ReadError};
use crate::tree::{self, InodeId, Tree};

pub(super) struct TreeRoot<'a> {
    pub tree: &'a Tree,
    pub cancel: &'a Cancel,
}

impl Root for TreeRoot<'_> {
    type Id = InodeId;

    fn root(&self) -> InodeId {
        InodeId::ROOT
    }

    fn child(&self, directory: InodeId, name: &[u8]) -> Result<Option<InodeId>> {
        self.cancel.check()?;
        Ok(self.tree.child(directory, name).map(|child| child.inode))
    }

    fn node(&self, id: InodeId) -> Result<Node> {
        let inode = self.tree.inode(id);
        Ok(match &inode.node {
            tree::Node::Directory(_) => Node::Directory,
            tree::Node::File(content) => Node::File { mode: inode.metadata.mode, size: content.size() },
            tree::Node::Symlink(target) => Node::Symlink((**target).into()),
            tree::Node::Device(_) | tree::Node::Fifo => Node::Other,
        })
    }

    fn read(&self, id: InodeId, offset: u64, len: usize) -> Result<Vec<u8>> {
        let tree::Node::File(content) = &self.tree.inode(id).node else { return Ok(Vec::new()) };
        let len = content.size().saturating_sub(offset).min(len as u64);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        for (at, run) in content.runs() {
            if at >= offset + len {
                break;
            }
            // The parts of the run and of the result that are the same bytes.
            let (from, to) = (offset.saturating_sub(at), at.saturating_sub(offset));
            let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let Some(source) = run.get(index(from)..) else { continue };
            let target = &mut bytes[index(to)..];
            let count = source.len().min(target.len());
            target[..count].copy_from_slice(&source[..count]);
        }
        Ok(bytes)
    }

    fn names(&self, directory: InodeId, most: usize) -> Result<Vec<Box<[u8]>>> {
        let names = self.tree.directory(directory).into_iter().flat_map(tree::Directory::names);
        Ok(names.map(|(name, _)| name.into()).take(most).collect())
    }
}

pub(super) struct FilesystemRoot<'a, R> {
    pub filesystem: &'a Filesystem<R>,
    pub unreadable: &'a dyn Fn(ReadError) -> Error,
    pub cancel: &'a Cancel,
}

impl<R: BlockSource> Root for FilesystemRoot<'_, R> {
    type Id = InodeNumber;

    fn root(&self) -> InodeNumber {
        InodeNumber::ROOT
    }

    fn child(&self, directory: InodeNumber, name: &[u8]) -> Result<Option<InodeNumber>> {
        self.cancel.check()?;
        let mut found = None;
        let inode = self.filesystem.inode(directory).map_err(self.unreadable)?;
        let mut visit = |entry: crate::ext4::DirEntry| {
            if *entry.name == *name {
                found = Some(entry.inode);
            }
        };
        self.filesystem.each_entry(&inode, &mut visit).map_err(self.unreadable)?;
        Ok(found)
    }

    fn node(&self, id: InodeNumber) -> Result<Node> {
        let inode = self.filesystem.inode(id).map_err(self.unreadable)?;
        Ok(match inode.kind {
            FileKind::Directory => Node::Directory,
            FileKind::Regular => Node::File { mode: inode.permissions, size: inode.size },
            FileKind::Symlink => Node::Symlink(self.filesystem.target(&inode).map_err(self.unreadable)?),
            _ => Node::Other,
        })
    }

    fn read(&self, id: InodeNumber, offset: u64, len: usize) -> Result<Vec<u8>> {
        let inode = self.filesystem.inode(id).map_err(self.unreadable)?;
        let content = self.filesystem.content(&inode).map_err(self.unreadable)?;
        let len = content.size().saturating_sub(offset).min(len as u64);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let count = content.read_at(&mut bytes, offset).map_err(self.unreadable)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    fn names(&self, directory: InodeNumber, most: usize) -> Result<Vec<Box<[u8]>>> {
        self.cancel.check()?;
        let inode = self.filesystem.inode(directory).map_err(self.unreadable)?;
        let mut names = Vec::new();
        let mut visit = |entry: crate::ext4::DirEntry| {
            if names.len() < most {
                names.push(entry.name);
            }
        };
        self.filesystem.each_entry(&inode, &mut visit).map_err(self.unreadable)?;
        Ok(names)
    }
}
