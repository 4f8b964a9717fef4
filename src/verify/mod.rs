//! Reads a finished filesystem and lists every difference from the tree.
//!
//! The module does not know how the filesystem was written: it uses only the reader in [`crate::ext4`], which shares no
//! code with the engines.

mod content;
pub mod fingerprint;
mod fsck;
mod inode;
mod mismatch;

use std::collections::HashSet;

pub use fsck::{FsckResult, fsck};
pub use mismatch::{Field, Mismatch, Mismatches};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::ext4::{BlockSource, DirEntry, FileKind, Filesystem, Inode, InodeNumber};
use crate::progress::Progress;
use crate::tree::{Directory, InodeId, NameId, Node, Tree};

use content::ComparisonStop;

/// The counts of a comparison and its differences.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The number of names compared, without the root's.
    pub names: u64,
    /// The number of inodes compared in every attribute.
    pub inodes: u64,
    /// The number of xattrs compared.
    pub xattrs: u64,
    /// The number of bytes of files compared, including holes.
    pub bytes: u64,
    /// The differences.
    pub mismatches: Mismatches,
}

/// Compares a filesystem with a flattened tree: every name, every attribute of every inode, every byte of every file.
///
/// Not compared: atime, ctime and crtime; an empty `lost+found` that the tree does not have.
///
/// # Errors
///
/// The run was cancelled; the medium cannot be read. A damaged filesystem is a mismatch, not an error.
pub fn compare<R: BlockSource + Sync>(
    filesystem: &Filesystem<R>,
    tree: &Tree,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Comparison> {
    let mut walk = Comparer {
        filesystem,
        tree,
        adds_lost_found: false,
        numbers: Numbers(vec![0; tree.arena_len()]),
        owners: HashSet::new(),
        seen: vec![0; tree.names_len().div_ceil(64)],
        files: Vec::new(),
        done: Comparison::default(),
    };
    walk.names(progress, cancel)?;
    let Comparer { mut files, numbers, mut done, .. } = walk;
    // Their order on the disk; the order of their names may be that of a hash.
    files.sort_unstable_by_key(|id| numbers.get(*id).map(InodeNumber::get));
    let found = content::compare(filesystem, tree, &files, &numbers, jobs, progress, cancel)?;
    done.bytes = found.bytes;
    let mut differing = found.differing;
    done.mismatches.count_more(found.count - differing.len());
    if !differing.is_empty() {
        // Paths are looked up only for files that differ.
        let mut walk = tree.walk();
        while let Some(visit) = walk.advance() {
            if let Some(text) = differing.remove(&visit.inode) {
                done.mismatches.push(visit.path, Field::Content, "the image's bytes", text);
            }
        }
    }
    // A read error of the disk says nothing about the filesystem.
    match filesystem.failure() {
        Some(error) => Err(Error::io("read", "the filesystem")(error)),
        None => Ok(done),
    }
}

/// The filesystem's inode numbers of the tree's inodes; 0 if not yet met.
struct Numbers(Vec<u32>);

impl Numbers {
    fn get(&self, id: InodeId) -> Option<InodeNumber> {
        self.0.get(id.index()).filter(|number| **number != 0).map(|number| InodeNumber::new(*number))
    }
}

/// A comparison of names and attributes.
struct Comparer<'a, R> {
    filesystem: &'a Filesystem<R>,
    tree: &'a Tree,
    /// True if the filesystem has a `lost+found` that the tree does not have.
    adds_lost_found: bool,
    /// The filesystem's inode for each of the tree's, once met.
    numbers: Numbers,
    /// The numbers in use: two inodes of the tree must not share one.
    owners: HashSet<u32>,
    /// A bit for each name of the tree that was found.
    seen: Vec<u64>,
    /// The files whose bytes are to be compared.
    files: Vec<InodeId>,
    done: Comparison,
}

impl<R: BlockSource> Comparer<'_, R> {
    fn names(&mut self, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
        if !self.filesystem.superblock().is_clean() {
            self.done.mismatches.push(b"", Field::State, "clean", "not clean");
        }
        self.adds_lost_found = self.tree.get(b"lost+found").is_none() && self.has_lost_found();
        let mut walk = self.tree.walk();
        // The inodes with several names that are counted.
        let mut counted = HashSet::new();
        while let Some(visit) = walk.advance() {
            cancel.check()?;
            if visit.inode == InodeId::ROOT {
                self.meet(b"", visit.inode, InodeNumber::ROOT);
            }
            let is_first = self.tree.links(visit.inode) == 1 || counted.insert(visit.inode);
            if is_first && !matches!(self.tree.inode(visit.inode).node, Node::File(_)) {
                progress.advance(1);
            }
            // A missing directory was reported with its name.
            let Some(number) = self.numbers.get(visit.inode) else { continue };
            if self.tree.directory(visit.inode).is_some() {
                let parent = self.numbers.get(visit.parent).unwrap_or(InodeNumber::ROOT);
                match self.directory(visit.path, visit.inode, number, parent, cancel) {
                    Ok(()) => {}
                    Err(ComparisonStop::Unreadable(fault)) => {
                        self.done.mismatches.push(visit.path, Field::Names, "readable", fault);
                    }
                    Err(ComparisonStop::Cancelled(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Compares the names of one directory, and their inodes.
    fn directory(
        &mut self,
        path: &[u8],
        id: InodeId,
        number: InodeNumber,
        parent: InodeNumber,
        cancel: &Cancel,
    ) -> std::result::Result<(), ComparisonStop> {
        let (filesystem, tree) = (self.filesystem, self.tree);
        let inode = filesystem.inode(number).map_err(ComparisonStop::Unreadable)?;
        let mut below = PathBelow::of(path);
        let mut dots = [(&b"."[..], number, None), (&b".."[..], parent, None)];
        let mut stopped = Ok(());
        let read = filesystem.each_entry(&inode, &mut |entry| {
            if stopped.is_err() {
                return;
            }
            stopped = cancel.check();
            let path = below.name(&entry.name);
            if let Some((_, _, got)) = dots.iter_mut().find(|(name, ..)| **name == *entry.name) {
                if got.replace(entry.inode).is_some() {
                    self.done.mismatches.push(path, Field::Names, "one entry", "two entries");
                }
            } else if let Some((name, child)) = tree.entry(id, &entry.name) {
                if !self.see(name) {
                    return self.done.mismatches.push(path, Field::Names, "one entry", "two entries");
                }
                self.done.names += 1;
                self.record_type(path, child.inode, &entry);
                self.meet(path, child.inode, entry.inode);
            } else if !(id == InodeId::ROOT && *entry.name == *b"lost+found" && self.is_empty_directory(entry.inode)) {
                self.done.mismatches.push(path, Field::Names, "nothing", "a name");
            }
        });
        stopped.map_err(ComparisonStop::Cancelled)?;
        read.map_err(ComparisonStop::Unreadable)?;
        for (name, want, got) in dots {
            if got != Some(want) {
                self.done.mismatches.push(below.name(name), Field::Inode, want, ShownInode(got));
            }
        }
        for (name, bytes) in tree.directory(id).into_iter().flat_map(Directory::ids) {
            if self.see(name) {
                self.done.mismatches.push(below.name(bytes), Field::Names, "a name", "nothing");
            }
        }
        Ok(())
    }

    /// Marks a name as found; returns false if it was found before.
    fn see(&mut self, name: NameId) -> bool {
        let Some(word) = self.seen.get_mut(name.index() / 64) else { return false };
        let bit = 1 << (name.index() % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Returns the link count of an inode: its names, and for a directory its `.` and the `..` of its subdirectories.
    fn links(&self, id: InodeId) -> u64 {
        let names = u64::from(self.tree.links(id));
        let Some(directory) = self.tree.directory(id) else { return names };
        let below = directory.names().filter(|(_, child)| self.tree.directory(child.inode).is_some()).count() as u64;
        names + 1 + below + u64::from(id == InodeId::ROOT && self.adds_lost_found)
    }

    /// Compares an inode when its first name is met, and its number at every further one.
    fn meet(&mut self, path: &[u8], id: InodeId, number: InodeNumber) {
        match self.numbers.get(id) {
            Some(known) if known == number => return,
            Some(known) => return self.done.mismatches.push(path, Field::Inode, known, number),
            None if self.owners.insert(number.get()) => {}
            None => self.done.mismatches.push(path, Field::Inode, "one of its own", number),
        }
        match self.filesystem.inode(number) {
            Err(fault) => self.done.mismatches.push(path, Field::Inode, "readable", fault),
            Ok(found) => {
                self.numbers.0[id.index()] = number.get();
                self.inode(path, id, &found);
            }
        }
    }

    fn inode(&mut self, path: &[u8], id: InodeId, found: &Inode) {
        let links = self.links(id);
        let expected = self.tree.inode(id);
        let same_kind = inode::compare(path, expected, links, found, &mut self.done.mismatches);
        self.done.inodes += 1;
        self.done.xattrs += expected.metadata.xattrs.len() as u64;
        if let Err(fault) = inode::compare_xattrs(self.filesystem, path, expected, found, &mut self.done.mismatches) {
            self.done.mismatches.push(path, Field::Xattrs, "readable", fault);
        }
        match &expected.node {
            Node::File(content) if same_kind => {
                // A different size was reported already.
                self.files.extend((content.size() == found.size).then_some(id));
            }
            Node::Symlink(target) if same_kind => match self.filesystem.target(found) {
                Ok(actual) if *actual == **target => {}
                Ok(actual) => {
                    self.done.mismatches.push(path, Field::Target, mismatch::bytes(target), mismatch::bytes(&actual));
                }
                Err(fault) => self.done.mismatches.push(path, Field::Target, "readable", fault),
            },
            _ => {}
        }
    }

    fn record_type(&mut self, path: &[u8], id: InodeId, entry: &DirEntry) {
        let want = inode::kind(&self.tree.inode(id).node);
        if entry.kind.is_some_and(|kind| kind != want) {
            self.done.mismatches.push(path, Field::RecordType, format!("{want:?}"), format!("{:?}", entry.kind));
        }
    }

    /// Returns true if the root has a directory of this name, empty or not.
    fn has_lost_found(&self) -> bool {
        let root = self.filesystem.inode(InodeNumber::ROOT).and_then(|root| self.filesystem.entries(&root));
        let entry = root.ok().and_then(|entries| entries.into_iter().find(|entry| &*entry.name == b"lost+found"));
        entry.is_some_and(|entry| self.filesystem.inode(entry.inode).is_ok_and(|i| i.kind == FileKind::Directory))
    }

    fn is_empty_directory(&self, number: InodeNumber) -> bool {
        self.filesystem
            .inode(number)
            .and_then(|inode| self.filesystem.entries(&inode))
            .is_ok_and(|entries| entries.iter().all(|entry| matches!(&*entry.name, b"." | b"..")))
    }
}

/// Paths below a directory: each costs its last name, not those of all directories above it.
struct PathBelow {
    path: Vec<u8>,
    above: usize,
}

impl PathBelow {
    fn of(directory: &[u8]) -> Self {
        let path = if directory.is_empty() { Vec::new() } else { [directory, b"/"].concat() };
        Self { above: path.len(), path }
    }

    fn name(&mut self, name: &[u8]) -> &[u8] {
        self.path.truncate(self.above);
        self.path.extend_from_slice(name);
        &self.path
    }
}

/// Displays an inode number, or that there is none.
struct ShownInode(Option<InodeNumber>);

impl std::fmt::Display for ShownInode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("nothing"),
        }
    }
}
