//! Writes the tree to a private directory, from which `mkfs.ext4 -d` copies names and contents.
//!
//! Everything in the directory belongs to this user, with mode 0600 or 0700, whatever the image says: debugfs sets
//! owners, modes, times, devices and most xattrs. Every file is created relative to an open directory that was reached
//! without symlinks.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, XattrFlags};

use crate::calls;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::layer::entry::Content;
use crate::layer::zeros::is_zero;
use crate::plan::xattr::{self, Writer};
use crate::plan::{LOST_FOUND_NAME, Plan, StagedKind};
use crate::progress::Progress;
use crate::tree::{InodeId, NameId, Node, Tree, Visit};
use crate::work::WorkDir;

/// The name of the staging directory in the work directory.
pub const STAGING: &str = "staging";
const DIRECTORY_MODE: Mode = Mode::RWXU;
/// Flags of an ext4 directory that depend on its layout and not on its owner: index, extents, inline data.
const FLAGS_OF_LAYOUT: u32 = 0x1000 | 0x8_0000 | 0x1000_0000;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The unit in which zeros are searched: a block of zeros becomes a hole.
const BLOCK: usize = 4096;
/// The number of levels between two directories that are kept open on the way down.
const HELD_EVERY: usize = 32;

/// A directory with the tree's names and contents, for `mkfs.ext4 -d`.
#[derive(Debug)]
pub struct StagingDir {
    directory: OwnedFd,
}

impl StagingDir {
    /// Removes the staged files.
    ///
    /// # Errors
    ///
    /// A file cannot be removed; the run was cancelled.
    pub fn remove(&self, work: &WorkDir, cancel: &Cancel) -> Result<()> {
        work.remove_directory(STAGING, self.directory.as_fd(), cancel)
    }
}

/// Writes the tree below `work`.
///
/// # Errors
///
/// The disk is full; a file cannot be created or written; the run was cancelled.
pub fn stage(tree: &Tree, plan: &Plan, work: &WorkDir, progress: &dyn Progress, cancel: &Cancel) -> Result<StagingDir> {
    let directory = work.make_directory(STAGING)?;
    let path = work.path().join(STAGING);
    disinherit(directory.as_fd());
    let mut stager = StageWriter {
        tree,
        plan,
        root: directory.as_fd(),
        path: &path,
        last_names: HashMap::new(),
        held: Vec::new(),
        parent: InodeId::ROOT,
        parent_fd: None,
        written: 0,
    };
    let mut walk = tree.walk();
    while let Some(mut visit) = walk.advance() {
        cancel.check()?;
        if visit.inode == InodeId::ROOT {
            continue;
        }
        if let (LOST_FOUND_NAME, Some(stand_in)) = (visit.path, plan.lost_found.stand_in()) {
            visit.path = stand_in;
        }
        stager.add(&visit, cancel)?;
        progress.advance(1);
    }
    Ok(StagingDir { directory })
}

/// Removes attributes that the empty directory has inherited and would pass on: flags (`chattr`) and ACLs.
///
/// Attributes that the filesystem keeps are removed from the inodes afterwards (`debugfs/check.rs`).
fn disinherit(root: BorrowedFd<'_>) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(root) {
        let plain = flags & IFlags::from_bits_retain(FLAGS_OF_LAYOUT);
        if plain != flags {
            let _ = rustix::fs::ioctl_setflags(root, plain);
        }
    }
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        let _ = rustix::fs::fremovexattr(root, acl);
    }
}

struct StageWriter<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    root: BorrowedFd<'a>,
    path: &'a Path,
    /// The latest staged name of an inode with several names.
    last_names: HashMap<InodeId, NameId>,
    /// The open directories on the way down, [`HELD_EVERY`] levels apart, with the lengths of their paths.
    held: Vec<(OwnedFd, usize)>,
    parent: InodeId,
    parent_fd: Option<OwnedFd>,
    written: u64,
}

impl StageWriter<'_> {
    fn add(&mut self, visit: &Visit<'_>, cancel: &Cancel) -> Result<()> {
        let parent = self.open_parent(visit)?;
        let made = self.make(parent.as_fd(), visit, cancel);
        self.parent = visit.parent;
        self.parent_fd = Some(parent);
        let source = match made {
            Ok(()) => {
                // A directory has only one name.
                if let Some(name) = visit.name_id().filter(|_| self.tree.links(visit.inode) > 1) {
                    self.last_names.insert(visit.inode, name);
                }
                return Ok(());
            }
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::System(source)) => source,
        };
        Err(Error::write(self.path, self.written, source))
    }

    /// Opens the directory of a name; siblings are consecutive, so it is usually open already.
    ///
    /// The cost of a walk from the root grows with the depth, so it begins at the nearest open directory.
    fn open_parent(&mut self, visit: &Visit<'_>) -> Result<OwnedFd> {
        let depth = visit.depth - 1;
        // Names come in order: the directory of this name was met before any other directory of the same depth below.
        self.held.truncate(depth / HELD_EVERY);
        if let Some(open) = self.parent_fd.take().filter(|_| self.parent == visit.parent) {
            return Ok(open);
        }
        let (from, path_len) = self.held.last().map_or((self.root, 0), |(fd, path_len)| (fd.as_fd(), *path_len));
        let whole = &visit.path[..visit.path.len() - visit.name().len()];
        let path = &whole[path_len..];
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let open = calls::open_beneath(from, path, flags).map_err(Error::io("open", self.path))?;
        if depth > 0 && depth.is_multiple_of(HELD_EVERY) && self.held.len() < depth / HELD_EVERY {
            let held = open.try_clone().map_err(Error::io("open", self.path))?;
            self.held.push((held, whole.len()));
        }
        Ok(open)
    }

    /// Returns the path at which a name was staged.
    fn staged_path(&self, name: NameId) -> Box<[u8]> {
        let path = self.tree.path(name);
        match self.plan.lost_found.stand_in() {
            Some(stand_in) if *path == *LOST_FOUND_NAME => stand_in.into(),
            _ => path,
        }
    }

    fn make(&mut self, parent: BorrowedFd<'_>, visit: &Visit<'_>, cancel: &Cancel) -> std::result::Result<(), Failure> {
        let name = visit.name();
        if let Some(last) = self.last_names.get(&visit.inode) {
            let (directory, bytes) = self.tree.name(*last).unwrap_or((visit.parent, name));
            if directory == visit.parent && directory != InodeId::ROOT {
                rustix::fs::linkat(parent, bytes, parent, name, AtFlags::empty())?;
            } else {
                rustix::fs::linkat(self.root, &*self.staged_path(*last), parent, name, AtFlags::empty())?;
            }
            return Ok(());
        }
        match (self.plan.stand_in(self.tree, visit.inode), &self.tree.inode(visit.inode).node) {
            (StagedKind::Directory, _) => {
                rustix::fs::mkdirat(parent, name, DIRECTORY_MODE)?;
                calls::chmodat(parent, name, DIRECTORY_MODE)?;
            }
            (StagedKind::Symlink, Node::Symlink(target)) => rustix::fs::symlinkat(&**target, parent, name)?,
            (StagedKind::TargetFile, Node::Symlink(target)) => create(parent, name)?.write_all(target)?,
            (StagedKind::File, Node::File(content)) => {
                let file = create(parent, name)?;
                self.write(&file, content, cancel)?;
            }
            _ => rustix::fs::mknodat(parent, name, FileType::Fifo, FILE_MODE, 0)?,
        }
        self.set_xattrs(parent, visit)
    }

    /// Writes the bytes of a file; blocks of zeros become holes, as in the filesystem.
    fn write(&mut self, file: &File, content: &Content, cancel: &Cancel) -> std::result::Result<(), Failure> {
        let mut end = 0;
        for (offset, bytes) in content.runs() {
            for (from, len) in data_ranges(offset, bytes) {
                cancel.check().map_err(Failure::Stop)?;
                let start = offset + from as u64;
                file.write_all_at(&bytes[from..from + len], start)?;
                end = start + len as u64;
                self.written += len as u64;
            }
        }
        if end != content.size() {
            file.set_len(content.size())?;
        }
        Ok(())
    }

    /// Sets the xattrs whose names must not enter a script.
    fn set_xattrs(&self, parent: BorrowedFd<'_>, visit: &Visit<'_>) -> std::result::Result<(), Failure> {
        let xattrs = &self.tree.inode(visit.inode).metadata.xattrs;
        let mut staged = xattrs.iter().filter(|x| xattr::writer(x.name) == Writer::Mkfs).peekable();
        if staged.peek().is_some() {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = calls::openat(parent, visit.name(), flags, Mode::empty())?;
            for xattr in staged {
                rustix::fs::fsetxattr(&file, xattr.name, xattr.value, XattrFlags::CREATE)?;
            }
        }
        Ok(())
    }
}

enum Failure {
    System(std::io::Error),
    Stop(Error),
}

impl<E: Into<std::io::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::System(error.into())
    }
}

fn create(parent: BorrowedFd<'_>, name: &[u8]) -> std::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = calls::openat(parent, name, flags, FILE_MODE)?;
    calls::fchmod(&file, FILE_MODE)?;
    Ok(file.into())
}

/// Returns the parts of a run that are not blocks of zeros, as (start, length); `offset` is the position of the run in
/// the file.
fn data_ranges(offset: u64, bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let into_block = usize::try_from((offset + at as u64) % BLOCK as u64).unwrap_or(0);
        let len = (BLOCK - into_block).min(bytes.len() - at);
        if !is_zero(&bytes[at..at + len]) {
            match ranges.last_mut() {
                Some((start, so_far)) if *start + *so_far == at => *so_far += len,
                _ => ranges.push((at, len)),
            }
        }
        at += len;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_blocks_are_omitted_from_staged_files() {
        assert_eq!(data_ranges(0, &[]), []);
        assert_eq!(data_ranges(0, &[0; 9000]), []);
        assert_eq!(data_ranges(0, &[1; 9000]), [(0, 9000)]);
        let mut bytes = [0; 12_288];
        bytes[4096] = 1;
        assert_eq!(data_ranges(0, &bytes), [(4096, 4096)]);
        // Byte 4096 of a run that begins at 4000 is byte 8096 of the file: in its block 1, which is bytes 96 to 4192.
        assert_eq!(data_ranges(4000, &bytes), [(96, 4096)]);
    }
}
