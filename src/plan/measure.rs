//! Walks a tree once, in the order of inode numbers, and finds what ext4 and each engine need for it and refuse.

use super::Census;
use super::blocks::{self, FAST_SYMLINK_MAX, FileBlocks};
use super::engine::{Demand, LargeDirectory};
use super::xattr::{self, Carrier};
use crate::error::{Error, ErrorKind, Found, ImageProblem, Place, Result};
use crate::ext4::InodeNumber;
use crate::layer::entry::Content;
use crate::limits::{Limit, Limits};
use crate::path::{PATH_MAX, PathFault};
use crate::tree::{Directory, InodeId, Node, Tree, Visit};

/// The most names that ext4 gives one inode.
const LINKS_MAX: u32 = 65_000;
/// The largest file with blocks of 4 KiB.
const FILE_BYTES_MAX: u64 = (1 << 44) - 4096;
const SUBDIRECTORIES_MAX: u64 = 64_998;
/// Blocks of `lost+found`, and those that mkfs gives a new directory.
const LOST_FOUND_BLOCKS: u64 = 4;
const DIRECTORY_BLOCKS: u64 = 1;
/// The one name that ext4 itself uses.
const LOST_FOUND: &[u8] = b"lost+found";
/// The length of a path that damages the heap of `mkfs.ext4 -d`.
///
/// Up to e2fsprogs 1.47 at least, `path_append` (misc/create_inode.c) forgets the NUL behind a path that, with a slash in
/// front, fills its buffer: 255 bytes, doubled. Of those sizes only the allocation of 2040 has no byte to spare.
const MKFS_OVERFLOWS: usize = 2039;
/// The sum of squares of directories' names from which on `mkfs.ext4 -d` takes more than about a second for them: it
/// looks through all blocks of a directory for each name (measured: 36 ns times the square).
const SLOW_FROM: u64 = 5000 * 5000;
/// The direct engine writes extents in two levels of 340; a file may have to go around parts of the filesystem.
const EXTENTS_MAX_DIRECT: u64 = 4 * 340 * 340 - 10_000;
/// It numbers the bytes of all names with 32 bits.
const NAME_BYTES_MAX_DIRECT: u64 = u32::MAX as u64;

/// What one walk found.
#[derive(Default)]
pub(super) struct Measured {
    pub census: Census,
    pub stages_xattrs: bool,
    /// The inode number of each of the tree's inodes; 0: no name leads to it.
    pub numbers: Vec<u32>,
    /// The names of each of the tree's inodes.
    pub names: Vec<u32>,
    pub e2fsprogs: Demand,
    pub direct: Demand,
    /// The largest directory, when mkfs would take long.
    pub slow: Option<LargeDirectory>,
}

pub(super) fn measure(tree: &Tree, limits: &Limits) -> Result<Measured> {
    let mut measured =
        Measured { numbers: vec![0; tree.arena_len()], names: vec![0; tree.arena_len()], ..Measured::default() };
    let mut next = super::LOST_FOUND + 1;
    let mut large = Large::default();
    let mut name_bytes = 0;
    for visit in tree.walk() {
        let refuse = |problem| Error::image(Place::Path(visit.path.clone()), problem);
        if visit.path.len() > PATH_MAX {
            return Err(refuse(ImageProblem::Path(PathFault::LongPath(visit.path.len()))));
        }
        if visit.path.len() == MKFS_OVERFLOWS {
            measured.e2fsprogs.add(Err(refuse(ImageProblem::PathUnsupported(MKFS_OVERFLOWS))));
        }
        let index = visit.inode.index();
        measured.names[index] += 1;
        if measured.names[index] > LINKS_MAX {
            return Err(refuse(ImageProblem::TooManyLinks(u64::from(measured.names[index]))));
        }
        if visit.inode != InodeId::ROOT {
            measured.census.names += 1;
            name_bytes += visit.name().len() as u64;
        }
        if measured.numbers[index] != 0 {
            measured.census.hard_links += 1;
            continue;
        }
        measured.numbers[index] = match &*visit.path {
            b"" => InodeNumber::ROOT.get(),
            LOST_FOUND if tree.directory(visit.inode).is_some() => super::LOST_FOUND,
            LOST_FOUND => return Err(refuse(ImageProblem::LostAndFound)),
            _ => {
                next += 1;
                next - 1
            }
        };
        measured.census.inodes += 1;
        measured.count(tree, &visit, limits)?;
        large.add(tree, &visit);
    }
    // A filesystem has a lost+found, also where the image has none.
    match tree.get(LOST_FOUND) {
        None => measured.both(LOST_FOUND_BLOCKS),
        Some(_) => {
            measured.direct.add(Err(Error::image(Place::Path(LOST_FOUND.into()), ImageProblem::OwnLostAndFound)));
        }
    }
    if name_bytes > NAME_BYTES_MAX_DIRECT {
        measured.direct.add(Err(Error::image(Place::Layers, ImageProblem::NameBytes(name_bytes))));
    }
    measured.slow = large.slow();
    Ok(measured)
}

impl Measured {
    /// Counts an inode when its first name is met.
    fn count(&mut self, tree: &Tree, visit: &Visit, limits: &Limits) -> Result<()> {
        let inode = tree.inode(visit.inode);
        let mut can_stage = true;
        match &inode.node {
            Node::Directory(directory) => {
                self.census.directories += 1;
                self.e2fsprogs.add(of_staged_directory(tree, directory, visit, limits));
                self.direct.add(of_direct_directory(directory, visit, limits));
                // mkfs makes the root itself and copies only some of its attributes.
                can_stage = visit.inode != InodeId::ROOT;
            }
            Node::File(content) => {
                self.census.files += 1;
                self.census.bytes += content.size();
                self.file(content, visit)?;
            }
            Node::Symlink(target) => {
                self.census.symlinks += 1;
                self.both(u64::from(target.len() >= FAST_SYMLINK_MAX));
                can_stage = false;
            }
            Node::Device(_) => {
                self.census.devices += 1;
                can_stage = false;
            }
            Node::Fifo => {
                self.census.fifos += 1;
                can_stage = false;
            }
        }
        let xattrs = &inode.metadata.xattrs;
        if !xattrs.is_empty() {
            self.census.with_xattrs += 1;
            let blocks = |carrier| {
                xattr::needs_block(xattrs, carrier)
                    .map(u64::from)
                    .map_err(|problem| Error::image(Place::Path(visit.path.clone()), problem))
            };
            self.e2fsprogs.add(blocks(Carrier::E2fsprogs { can_stage }));
            self.direct.add(blocks(Carrier::Direct));
            self.stages_xattrs |= xattrs.iter().any(|x| xattr::writer(&x.name) == xattr::Writer::Mkfs);
        }
        Ok(())
    }

    fn file(&mut self, content: &Content, visit: &Visit) -> Result<()> {
        let refuse = |problem| Error::image(Place::Path(visit.path.clone()), problem);
        if content.size() > FILE_BYTES_MAX {
            return Err(refuse(ImageProblem::OutOfRange { what: "size", value: content.size(), max: FILE_BYTES_MAX }));
        }
        let FileBlocks { blocks, extents } = blocks::of_file(content);
        self.e2fsprogs.add(Ok(blocks));
        self.direct.add(if extents <= EXTENTS_MAX_DIRECT {
            Ok(blocks)
        } else {
            Err(refuse(ImageProblem::TooManyExtents(extents, EXTENTS_MAX_DIRECT)))
        });
        Ok(())
    }

    fn both(&mut self, blocks: u64) {
        self.e2fsprogs.blocks += blocks;
        self.direct.blocks += blocks;
    }
}

/// Returns the blocks of a directory whose names mkfs links one by one.
fn of_staged_directory(tree: &Tree, directory: &Directory, visit: &Visit, limits: &Limits) -> Result<u64> {
    // Checked first: the time of counting blocks grows faster than the names, too.
    check_names(directory, visit, limits.directory_entries)?;
    let below = directory.names().filter(|(_, child)| tree.directory(child.inode).is_some()).count() as u64;
    if below > SUBDIRECTORIES_MAX {
        return Err(Error::image(Place::Path(visit.path.clone()), ImageProblem::TooManySubdirectories(below)));
    }
    let start = if &*visit.path == LOST_FOUND { LOST_FOUND_BLOCKS } else { DIRECTORY_BLOCKS };
    Ok(blocks::of_directory(directory, start))
}

/// Returns the blocks of a directory that the direct engine writes.
fn of_direct_directory(directory: &Directory, visit: &Visit, limits: &Limits) -> Result<u64> {
    check_names(directory, visit, limits.directory_entries_direct)?;
    let own = if visit.inode == InodeId::ROOT { blocks::record_bytes(LOST_FOUND) } else { 0 };
    blocks::of_directory_at_once(directory, own)
        .ok_or_else(|| Error::image(Place::Path(visit.path.clone()), ImageProblem::IndexFull(directory.len() as u64)))
}

fn check_names(directory: &Directory, visit: &Visit, allowed: u64) -> Result<()> {
    let names = directory.len() as u64;
    if names <= allowed {
        return Ok(());
    }
    let (place, found) = (Place::Path(visit.path.clone()), Found::Exactly(names));
    Err(ErrorKind::Limit { place, limit: Limit::DirectoryEntries, allowed, found }.into())
}

/// How long mkfs would take for directories, and the one that adds most.
#[derive(Default)]
struct Large {
    squares: u64,
    largest: Option<LargeDirectory>,
}

impl Large {
    fn add(&mut self, tree: &Tree, visit: &Visit) {
        let names = tree.directory(visit.inode).map_or(0, |directory| directory.len() as u64);
        self.squares = self.squares.saturating_add(names.saturating_mul(names));
        if names > self.largest.as_ref().map_or(0, |largest| largest.names) {
            self.largest = Some(LargeDirectory { path: visit.path.clone(), names });
        }
    }

    fn slow(self) -> Option<LargeDirectory> {
        self.largest.filter(|_| self.squares >= SLOW_FROM)
    }
}
