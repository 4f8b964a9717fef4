//! Reads a finished filesystem back and lists every way in which it differs from the tree.
//!
//! Knows nothing about how the filesystem was made: it stands on the reader in [`crate::ext4`] alone, which shares no
//! code with what writes.

mod content;
mod fsck;
mod inode;
mod mismatch;

use std::collections::HashMap;

pub use fsck::{FsckResult, fsck};
pub use mismatch::{Field, Mismatch, Mismatches};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::ext4::{DirEntry, FileKind, Filesystem, Inode, InodeNumber, ReadAt, ReadError};
use crate::path::ImagePath;
use crate::progress::Progress;
use crate::tree::{InodeId, Node, Tree};

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Names compared, the root's not counted.
    pub names: u64,
    /// Inodes compared in every attribute.
    pub inodes: u64,
    /// Xattrs compared.
    pub xattrs: u64,
    /// Bytes of files compared, holes counted.
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
/// A stop was asked for. A filesystem that cannot be read is a mismatch, not an error.
pub fn compare<R: ReadAt + Sync>(
    filesystem: &Filesystem<R>,
    tree: &Tree,
    jobs: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Comparison> {
    let mut walk = Comparing {
        filesystem,
        tree,
        links: links_of(tree),
        numbers: vec![None; tree.arena_len()],
        owners: HashMap::new(),
        files: Vec::new(),
        done: Comparison::default(),
    };
    walk.names(progress, cancel)?;
    let Comparing { files, mut done, .. } = walk;
    let found = content::compare(filesystem, tree, &files, jobs, progress, cancel)?;
    done.bytes = found.bytes;
    if !found.differing.is_empty() {
        // Only now is it worth knowing where they stand.
        let paths: HashMap<InodeId, Box<[u8]>> = tree.walk().map(|visit| (visit.inode, visit.path)).collect();
        for (id, text) in found.differing {
            done.mismatches.push(&paths[&id], Field::Content, "the image's bytes", text);
        }
    }
    Ok(done)
}

/// Returns the link count of each inode: its names, and for a directory its `.` and the `..` of those below it.
fn links_of(tree: &Tree) -> Vec<u64> {
    let mut links = vec![0; tree.arena_len()];
    for visit in tree.walk() {
        links[visit.inode.index()] += 1;
        if tree.directory(visit.inode).is_some() {
            links[visit.inode.index()] += 1;
            if visit.inode != InodeId::ROOT {
                links[visit.parent.index()] += 1;
            }
        }
    }
    links
}

/// The comparison of names and attributes.
struct Comparing<'a, R> {
    filesystem: &'a Filesystem<R>,
    tree: &'a Tree,
    /// The expected link counts.
    links: Vec<u64>,
    /// The filesystem's inode for each of the tree's, once met.
    numbers: Vec<Option<InodeNumber>>,
    /// And the other way round: two inodes of the tree must not share one.
    owners: HashMap<InodeNumber, InodeId>,
    /// Files whose bytes are to be compared.
    files: Vec<(InodeId, InodeNumber)>,
    done: Comparison,
}

impl<R: ReadAt> Comparing<'_, R> {
    fn names(&mut self, progress: &dyn Progress, cancel: &Cancel) -> Result<()> {
        if !self.filesystem.superblock().is_clean() {
            self.done.mismatches.push(b"", Field::State, "clean", "not clean");
        }
        if self.tree.get(b"lost+found").is_none() && self.has_lost_found() {
            self.links[InodeId::ROOT.index()] += 1;
        }
        for visit in self.tree.walk() {
            cancel.check()?;
            if visit.inode == InodeId::ROOT {
                self.meet(b"", visit.inode, InodeNumber::ROOT);
            }
            if !matches!(self.tree.inode(visit.inode).node, Node::File(_)) {
                progress.advance(1);
            }
            // A directory that is missing was reported with its name.
            let Some(number) = self.numbers[visit.inode.index()] else { continue };
            if self.tree.directory(visit.inode).is_some() {
                let parent = self.numbers[visit.parent.index()].unwrap_or(InodeNumber::ROOT);
                if let Err(fault) = self.directory(&visit.path, visit.inode, number, parent) {
                    self.done.mismatches.push(&visit.path, Field::Names, "readable", fault);
                }
            }
        }
        Ok(())
    }

    /// Compares the names of one directory, and what they lead to.
    fn directory(
        &mut self,
        path: &[u8],
        id: InodeId,
        number: InodeNumber,
        parent: InodeNumber,
    ) -> std::result::Result<(), ReadError> {
        let inode = self.filesystem.inode(number)?;
        let entries = self.filesystem.entries(&inode)?;
        let mut found: HashMap<&[u8], &DirEntry> = HashMap::with_capacity(entries.len());
        for entry in &entries {
            if found.insert(&entry.name, entry).is_some() {
                let path = ImagePath::join(path, &entry.name);
                self.done.mismatches.push(path.as_bytes(), Field::Names, "one entry", "two entries");
            }
        }
        for (name, want) in [(&b"."[..], number), (&b".."[..], parent)] {
            let got = found.remove(name).map(|entry| entry.inode);
            if got != Some(want) {
                let path = ImagePath::join(path, name);
                self.done.mismatches.push(path.as_bytes(), Field::Inode, want, Shown(got));
            }
        }
        let Some(directory) = self.tree.directory(id) else { return Ok(()) };
        for (name, child) in directory.names() {
            let path = ImagePath::join(path, name);
            match found.remove(name) {
                None => self.done.mismatches.push(path.as_bytes(), Field::Names, "a name", "nothing"),
                Some(entry) => {
                    self.done.names += 1;
                    self.record_type(path.as_bytes(), child.inode, entry);
                    self.meet(path.as_bytes(), child.inode, entry.inode);
                }
            }
        }
        for (name, entry) in found {
            if !(id == InodeId::ROOT && name == b"lost+found" && self.is_empty_directory(entry.inode)) {
                let path = ImagePath::join(path, name);
                self.done.mismatches.push(path.as_bytes(), Field::Names, "nothing", "a name");
            }
        }
        Ok(())
    }

    /// Compares an inode when its first name is met, and its identity at every further one.
    fn meet(&mut self, path: &[u8], id: InodeId, number: InodeNumber) {
        match (self.numbers[id.index()], self.owners.get(&number)) {
            (Some(known), _) if known == number => return,
            (Some(known), _) => return self.done.mismatches.push(path, Field::Inode, known, number),
            (None, Some(_)) => {
                self.done.mismatches.push(path, Field::Inode, "one of its own", number);
            }
            (None, None) => {
                self.owners.insert(number, id);
            }
        }
        match self.filesystem.inode(number) {
            Err(fault) => self.done.mismatches.push(path, Field::Inode, "readable", fault),
            Ok(found) => {
                self.numbers[id.index()] = Some(number);
                self.inode(path, id, &found);
            }
        }
    }

    fn inode(&mut self, path: &[u8], id: InodeId, found: &Inode) {
        let links = self.links[id.index()];
        let expected = self.tree.inode(id);
        let same_kind = inode::compare(path, expected, links, found, &mut self.done.mismatches);
        self.done.inodes += 1;
        self.done.xattrs += expected.metadata.xattrs.len() as u64;
        if let Err(fault) = inode::compare_xattrs(self.filesystem, path, expected, found, &mut self.done.mismatches) {
            self.done.mismatches.push(path, Field::Xattrs, "readable", fault);
        }
        match &expected.node {
            Node::File(content) if same_kind => {
                // Another size was reported already.
                self.files.extend((content.size() == found.size).then_some((id, found.number)));
            }
            Node::Symlink(target) if same_kind => match self.filesystem.target(found) {
                Ok(actual) if actual == *target => {}
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

    /// Returns whether the root has a directory of this name, empty or not.
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

/// An inode number, or that there is none.
struct Shown(Option<InodeNumber>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("nothing"),
        }
    }
}
