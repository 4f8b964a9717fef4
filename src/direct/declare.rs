//! Declares every name, attribute and hole of a tree, in the order in which the inodes are numbered.

use mkext4::{FsBuilder, InodeCount, InodeHandle, Meta, Options, ROOT, SparseSeg, SpecialKind};

use super::content::{self, Segment};
use super::refused;
use crate::cancel::Cancel;
use crate::error::{ErrorKind, Result};
use crate::ext4::acl;
use crate::layer::entry::{Content, Device, DeviceKind, Metadata};
use crate::plan::Plan;
use crate::plan::geometry::BLOCK_SIZE;
use crate::progress::Progress;
use crate::time::Timestamp;
use crate::tree::{Inode, InodeId, Node, Tree, Visit};

/// A filesystem whose metadata is decided.
pub(super) struct Declared {
    pub builder: FsBuilder,
    /// The files that have bytes to write, in the order of their blocks.
    pub files: Vec<(InodeId, InodeHandle)>,
}

pub(super) fn declare(tree: &Tree, plan: &Plan, progress: &dyn Progress, cancel: &Cancel) -> Result<Declared> {
    let mut declaring = Declaring {
        tree,
        plan,
        builder: FsBuilder::new(options(plan)?).map_err(refused)?,
        handles: vec![None; tree.arena_len()],
        files: Vec::new(),
    };
    for visit in tree.walk() {
        cancel.check()?;
        if !declaring.add(&visit)? {
            progress.advance(1);
        }
    }
    Ok(Declared { builder: declaring.builder, files: declaring.files })
}

fn options(plan: &Plan) -> Result<Options> {
    let number = |n: u64| u32::try_from(n).map_err(|_| ErrorKind::Bug("a plan counts more than 32 bits hold"));
    let identity = &plan.identity;
    let mut options = Options::new(plan.geometry.bytes(), identity.uuid.bytes(), i64::from(identity.clock.seconds()));
    options.hash_seed = mkext4::dirhash::seed_from_uuid(&identity.hash_seed.bytes());
    options.inodes = InodeCount::Exact(number(plan.geometry.inodes)?);
    options.journal_blocks = Some(number(plan.geometry.journal_blocks)?);
    options.reserved_percent = 0;
    options.label = plan.label.as_ref().map(|label| label.as_str().to_owned());
    Ok(options)
}

struct Declaring<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    builder: FsBuilder,
    /// What each of the tree's inodes became.
    handles: Vec<Option<InodeHandle>>,
    files: Vec<(InodeId, InodeHandle)>,
}

impl Declaring<'_> {
    /// Declares a name; returns whether it is of an inode that is not done with that: a file with bytes, or one that
    /// has a name already.
    fn add(&mut self, visit: &Visit) -> Result<bool> {
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
        let handle = self.declare(parent, visit.name(), meta, inode).map_err(refused)?;
        self.set_xattrs(visit.inode, handle, &inode.metadata)?;
        let has_bytes = matches!(&inode.node, Node::File(content) if content.stored_len() > 0);
        if has_bytes {
            self.files.push((visit.inode, handle));
        }
        Ok(has_bytes)
    }

    fn declare(&mut self, parent: InodeHandle, name: &[u8], meta: Meta, inode: &Inode) -> mkext4::Result<InodeHandle> {
        match &inode.node {
            Node::Directory(_) => self.builder.mkdir(parent, name, meta),
            Node::File(content) => match &*segments(content) {
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

    /// Remembers what an inode became and gives it its xattrs.
    fn set_xattrs(&mut self, id: InodeId, handle: InodeHandle, metadata: &Metadata) -> Result<()> {
        self.handles[id.index()] = Some(handle);
        for xattr in &metadata.xattrs {
            // The plan has refused what is none of these; unwatched, it would be stored wrongly.
            let unplanned = ErrorKind::Bug("an xattr was not refused by the plan");
            let Ok(name) = std::str::from_utf8(&xattr.name) else { return Err(unplanned.into()) };
            let stored;
            let value = if name.starts_with("system.") {
                stored = acl::to_stored(&xattr.value).map_err(|_| unplanned)?;
                &*stored
            } else {
                &*xattr.value
            };
            self.builder.set_xattr(handle, name, value).map_err(refused)?;
        }
        Ok(())
    }

    fn meta(&self, metadata: &Metadata) -> Result<Meta> {
        let Metadata { mode, uid, gid, mtime, .. } = metadata;
        let Timestamp { seconds, nanos } = *mtime;
        // Outside the range it would wrap.
        if mtime.clamp_to_ext4().1 || nanos >= 1_000_000_000 {
            return Err(ErrorKind::Bug("an mtime is outside what ext4 holds").into());
        }
        let clock = (i64::from(self.plan.identity.clock.seconds()), 0);
        Ok(Meta { crtime: Some(clock), ..Meta::new(*mode, *uid, *gid, (seconds, nanos)) })
    }
}

/// Returns a file as data and holes, in order.
fn segments(content: &Content) -> Vec<SparseSeg> {
    let mut segments = Vec::new();
    let mut end = 0;
    for Segment { first, blocks } in content::segments(content) {
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
    segments
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::layer::entry::Extent;

    #[test]
    fn files_are_data_and_holes_up_to_their_last_byte() {
        let dense = |bytes: &[u8]| segments(&Content::dense(Bytes::copy_from_slice(bytes)));
        assert_eq!(dense(&[]), []);
        assert_eq!(dense(&[1; 5000]), [SparseSeg::Data(5000)]);
        assert_eq!(dense(&[0; 5000]), [SparseSeg::Hole(5000)]);
        let mut end = [0; 9000];
        end[8999] = 1;
        assert_eq!(dense(&end), [SparseSeg::Hole(8192), SparseSeg::Data(808)]);
        let pieces = [Extent { offset: 4096, len: 1 }, Extent { offset: 20_000, len: 1 }];
        let sparse = Content::sparse(Bytes::from_static(b"ab"), 30_000, pieces.into());
        let (data, hole) = (SparseSeg::Data(4096), SparseSeg::Hole);
        assert_eq!(segments(&sparse), [hole(4096), data, hole(8192), data, hole(9520)]);
    }
}
