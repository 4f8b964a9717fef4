//! Writes the tree to a private directory, from where `mkfs.ext4 -d` takes names and contents.
//!
//! Everything in it belongs to this user, 0600 or 0700, whatever the image says: owners, modes, times, devices and most
//! xattrs are debugfs's business. Every file is made relative to an open directory that was reached without symlinks.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::layer::entry::Content;
use crate::plan::blocks::is_zero;
use crate::plan::xattr::{self, Writer};
use crate::plan::{LOST_FOUND_NAME, Plan, StandIn};
use crate::progress::Progress;
use crate::tree::{InodeId, Node, Tree, Visit};
use crate::work::WorkDir;

/// The name of the staged tree in the work directory.
pub const STAGING: &str = "staging";
const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// How much is looked at at once for zeros, which become holes.
const BLOCK: usize = 4096;

/// A tree that stands in the work directory, ready for mkfs.
#[derive(Debug)]
pub struct Staged {
    directory: PathBuf,
}

impl Staged {
    /// Removes the staged files.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.directory).map_err(Error::io("remove", &self.directory))
    }
}

/// Writes the tree below `work`.
///
/// # Errors
///
/// The disk is full; the system refuses; a stop was asked for.
pub fn stage(tree: &Tree, plan: &Plan, work: &WorkDir, progress: &dyn Progress, cancel: &Cancel) -> Result<Staged> {
    let directory = work.make_directory(STAGING)?;
    let root = rustix::fs::open(&directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::io("open", &directory))?;
    let mut stager = Stager {
        tree,
        plan,
        root: root.as_fd(),
        path: &directory,
        first_names: vec![None; tree.arena_len()],
        parent: InodeId::ROOT,
        parent_fd: None,
        written: 0,
    };
    for mut visit in tree.walk().skip(1) {
        cancel.check()?;
        if let (LOST_FOUND_NAME, Some(stand_in)) = (&*visit.path, plan.lost_found.stand_in()) {
            visit.path = stand_in.into();
        }
        stager.add(visit, cancel)?;
        progress.advance(1);
    }
    Ok(Staged { directory })
}

struct Stager<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    root: BorrowedFd<'a>,
    path: &'a Path,
    /// Where an inode with several names was made.
    first_names: Vec<Option<Box<[u8]>>>,
    parent: InodeId,
    parent_fd: Option<OwnedFd>,
    written: u64,
}

impl Stager<'_> {
    fn add(&mut self, visit: Visit, cancel: &Cancel) -> Result<()> {
        let parent = self.open_parent(&visit)?;
        let made = self.make(parent.as_fd(), &visit, cancel);
        self.parent = visit.parent;
        self.parent_fd = Some(parent);
        let source = match made {
            Ok(()) => {
                if self.plan.names(visit.inode) > 1 {
                    self.first_names[visit.inode.index()].get_or_insert(visit.path);
                }
                return Ok(());
            }
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::System(source)) => source,
        };
        Err(Error::write(self.path, self.written, source))
    }

    /// Opens the directory that holds a name; siblings come together, so it is mostly open already.
    fn open_parent(&mut self, visit: &Visit) -> Result<OwnedFd> {
        if let Some(open) = self.parent_fd.take().filter(|_| self.parent == visit.parent) {
            return Ok(open);
        }
        let path = &visit.path[..visit.path.len() - visit.name().len()];
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(self.root, path, flags, Mode::empty(), resolve).map_err(Error::io("open", self.path))
    }

    fn make(&mut self, parent: BorrowedFd<'_>, visit: &Visit, cancel: &Cancel) -> std::result::Result<(), Failure> {
        let name = visit.name();
        if let Some(first) = &self.first_names[visit.inode.index()] {
            rustix::fs::linkat(self.root, &**first, parent, name, AtFlags::empty())?;
            return Ok(());
        }
        match (self.plan.stand_in(self.tree, visit.inode), &self.tree.inode(visit.inode).node) {
            (StandIn::Directory, _) => {
                rustix::fs::mkdirat(parent, name, DIRECTORY_MODE)?;
                rustix::fs::chmodat(parent, name, DIRECTORY_MODE, AtFlags::empty())?;
            }
            (StandIn::Symlink, Node::Symlink(target)) => rustix::fs::symlinkat(&**target, parent, name)?,
            (StandIn::TargetFile, Node::Symlink(target)) => create(parent, name)?.write_all(target)?,
            (StandIn::File, Node::File(content)) => {
                let file = create(parent, name)?;
                self.write(&file, content, cancel)?;
            }
            _ => rustix::fs::mknodat(parent, name, FileType::Fifo, FILE_MODE, 0)?,
        }
        self.set_xattrs(parent, visit)
    }

    /// Writes a file's bytes; blocks of zeros become holes, as they will in the filesystem.
    fn write(&mut self, file: &File, content: &Content, cancel: &Cancel) -> std::result::Result<(), Failure> {
        for (offset, bytes) in content.runs() {
            for (from, len) in data_ranges(offset, bytes) {
                cancel.check().map_err(Failure::Stop)?;
                file.write_all_at(&bytes[from..from + len], offset + from as u64)?;
                self.written += len as u64;
            }
        }
        file.set_len(content.size())?;
        Ok(())
    }

    /// Sets the few xattrs whose names must not stand in a script.
    fn set_xattrs(&self, parent: BorrowedFd<'_>, visit: &Visit) -> std::result::Result<(), Failure> {
        let xattrs = &self.tree.inode(visit.inode).metadata.xattrs;
        let mut staged = xattrs.iter().filter(|x| xattr::writer(&x.name) == Writer::Mkfs).peekable();
        if staged.peek().is_some() {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(parent, visit.name(), flags, Mode::empty())?;
            for xattr in staged {
                rustix::fs::fsetxattr(&file, &*xattr.name, &xattr.value, XattrFlags::CREATE)?;
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
    let file = rustix::fs::openat(parent, name, flags, FILE_MODE)?;
    rustix::fs::fchmod(&file, FILE_MODE)?;
    Ok(file.into())
}

/// Returns the parts of a run, as (start, length), that are not blocks of zeros; `offset` is the run's place in the
/// file.
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
    fn blocks_of_zeros_are_left_out_where_the_file_has_its_blocks() {
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
