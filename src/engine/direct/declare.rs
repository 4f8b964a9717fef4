//! Declares every name, attribute and hole of a tree to the engine, in the order of inode numbers.

use mkext4::{FsBuilder, InodeCount, InodeHandle, Meta, Options, ROOT, SparseSeg, SpecialKind};

use super::content::{self, Segment};
use super::refused;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::ext4::acl;
use crate::layer::entry::{Content, Device, DeviceKind, Metadata};
use crate::plan::Plan;
use crate::plan::constants::BLOCK_SIZE;
use crate::progress::Progress;
use crate::time::Timestamp;
use crate::tree::{Inode, InodeId, Node, Tree, Visit};

/// A declared filesystem: all metadata is decided, no content is written.
pub(super) struct Declaration {
    pub builder: FsBuilder,
    /// The files with bytes to write, in the order of their blocks.
    pub files: Vec<(InodeId, InodeHandle)>,
}

pub(super) fn declare(tree: &Tree, plan: &Plan, progress: &dyn Progress, cancel: &Cancel) -> Result<Declaration> {
    let mut declaring = Declarer {
        tree,
        plan,
        builder: FsBuilder::new(options(plan)?).map_err(refused)?,
        handles: vec![None; tree.arena_len()],
        files: Vec::new(),
    };
    let mut walk = tree.walk();
    while let Some(visit) = walk.advance() {
        cancel.check()?;
        if !declaring.add(&visit, cancel)? {
            progress.advance(1);
        }
    }
    Ok(Declaration { builder: declaring.builder, files: declaring.files })
}

fn options(plan: &Plan) -> Result<Options> {
    let beyond = || Error::from(ErrorKind::Bug("a plan counts more than 32 bits hold"));
    let number = |n: u64| u32::try_from(n).map_err(|_| beyond());
    let identity = &plan.identity;
    let mut options = Options::new(plan.geometry.bytes(), identity.uuid.bytes(), i64::from(identity.clock.seconds()));
    options.hash_seed = mkext4::dirhash::seed_from_uuid(&identity.hash_seed.bytes());
    options.inodes = InodeCount::Exact(number(plan.geometry.inodes)?);
    options.journal_blocks = Some(number(plan.geometry.journal_blocks)?);
    options.reserved_percent = 0;
    options.label = plan.label.as_ref().map(|label| label.as_str().to_owned());
    Ok(options)
}

struct Declarer<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    builder: FsBuilder,
    /// The handle of each of the tree's inodes.
    handles: Vec<Option<InodeHandle>>,
    files: Vec<(InodeId, InodeHandle)>,
}

impl Declarer<'_> {
    /// Declares a name; returns true if its inode is needed later: it is a file with bytes, or has several names.
    fn add(&mut self, visit: &Visit<'_>, cancel: &Cancel) -> Result<bool> {
        let inode = self.tree.inode(visit.inode);
        let meta = self.meta(&inode.metadata)?;
        if visit.inode == InodeId::ROOT {
            self.builder.set_meta(ROOT, meta).map_err(refused)?;
            self.set_xattrs(visit.inode, ROOT, &inode.metadata)?;
            return Ok(false);
        }
        let parent = self.handles[visit.parent.index()].ok_or(ErrorKind::Bug("a name comes before its directory"))?;
        if let Some(handle) = self.handles[visit.inode.index()] {
            self.builder.hardlink(parent, visit.name(), handle).map_err(refused)?;
            return Ok(true);
        }
        let segments = match &inode.node {
            Node::File(content) => segments(content, cancel)?,
            _ => Vec::new(),
        };
        let handle = self.declare(parent, visit.name(), meta, inode, &segments).map_err(refused)?;
        self.set_xattrs(visit.inode, handle, &inode.metadata)?;
        let has_bytes = matches!(&inode.node, Node::File(content) if content.stored_len() > 0);
        if has_bytes {
            self.files.push((visit.inode, handle));
        }
        Ok(has_bytes)
    }

    fn declare(
        &mut self,
        parent: InodeHandle,
        name: &[u8],
        meta: Meta,
        inode: &Inode,
        segments: &[SparseSeg],
    ) -> mkext4::Result<InodeHandle> {
        match &inode.node {
            Node::Directory(_) => self.builder.mkdir(parent, name, meta),
            Node::File(_) => match segments {
                [] => self.builder.file(parent, name, meta, 0),
                [SparseSeg::Data(bytes)] => self.builder.file(parent, name, meta, *bytes),
                segments => self.builder.file_sparse(parent, name, meta, segments),
            },
            Node::Symlink(target) => self.builder.symlink(parent, name, target, meta),
            Node::Fifo => self.builder.mknod(parent, name, meta, SpecialKind::Fifo),
            Node::Device(Device { kind, major, minor }) => {
                let (major, minor) = (*major, *minor);
                let kind = match kind {
                    DeviceKind::Character => SpecialKind::Char { major, minor },
                    DeviceKind::Block => SpecialKind::Block { major, minor },
                };
                self.builder.mknod(parent, name, meta, kind)
            }
        }
    }

    /// Stores the handle of an inode and sets its xattrs.
    fn set_xattrs(&mut self, id: InodeId, handle: InodeHandle, metadata: &Metadata) -> Result<()> {
        self.handles[id.index()] = Some(handle);
        for xattr in &metadata.xattrs {
            // The plan has refused all other xattrs; without this check they would be stored wrongly.
            let unplanned = ErrorKind::Bug("an xattr was not refused by the plan");
            let Ok(name) = std::str::from_utf8(xattr.name) else { return Err(unplanned.into()) };
            let stored;
            let value = if name.starts_with("system.") {
                stored = acl::to_stored(xattr.value).map_err(|_| unplanned)?;
                &*stored
            } else {
                xattr.value
            };
            self.builder.set_xattr(handle, name, value).map_err(refused)?;
        }
        Ok(())
    }

    fn meta(&self, metadata: &Metadata) -> Result<Meta> {
        let Metadata { mode, uid, gid, mtime, .. } = metadata;
        let Timestamp { seconds, nanos } = *mtime;
        // Values outside the range would wrap.
        if mtime.clamp_to_ext4().1 || nanos >= 1_000_000_000 {
            return Err(ErrorKind::Bug("an mtime is outside what ext4 holds").into());
        }
        let clock = (i64::from(self.plan.identity.clock.seconds()), 0);
        Ok(Meta { crtime: Some(clock), ..Meta::new(*mode, *uid, *gid, (seconds, nanos)) })
    }
}

/// Returns the data and holes of a file, in order.
fn segments(content: &Content, cancel: &Cancel) -> Result<Vec<SparseSeg>> {
    let mut segments = Vec::new();
    let mut end = 0;
    for Segment { first, blocks } in content::segments(content, cancel)? {
        let start = first * BLOCK_SIZE;
        if start > end {
            segments.push(SparseSeg::Hole(start - end));
        }
        end = (start + blocks * BLOCK_SIZE).min(content.size());
        segments.push(SparseSeg::Data(end - start));
    }
    if content.size() > end {
        segments.push(SparseSeg::Hole(content.size() - end));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::layer::entry::Extent;

    #[test]
    fn files_are_data_and_holes_up_to_their_last_byte() {
        let dense =
            |bytes: &[u8]| segments(&Content::dense(Bytes::copy_from_slice(bytes)), &Cancel::default()).unwrap();
        assert_eq!(dense(&[]), []);
        assert_eq!(dense(&[1; 5000]), [SparseSeg::Data(5000)]);
        assert_eq!(dense(&[0; 5000]), [SparseSeg::Hole(5000)]);
        let mut end = [0; 9000];
        end[8999] = 1;
        assert_eq!(dense(&end), [SparseSeg::Hole(8192), SparseSeg::Data(808)]);
        let pieces = [Extent { offset: 4096, len: 1 }, Extent { offset: 20_000, len: 1 }];
        let sparse = Content::dense(Bytes::from_static(b"ab")).spread(30_000, &pieces);
        let (data, hole) = (SparseSeg::Data(4096), SparseSeg::Hole);
        assert_eq!(segments(&sparse, &Cancel::default()).unwrap(), [hole(4096), data, hole(8192), data, hole(9520)]);
    }
}
