//! Walks a tree once, in the order of inode numbers, and finds what ext4 and each engine need for it and refuse.

use super::blocks::{self, FAST_SYMLINK_MAX};
use super::engine::{Demand, LargeDirectory};
use super::feature::Features;
use super::fill::{EXTENT_MAX, LOST_FOUND_BLOCKS, Step};
use super::identity::Uuid;
use super::link::{self, Linking};
use super::xattr::{self, Carrier};
use super::{Census, LOST_FOUND_NAME, LostFound};
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
    pub lost_found: LostFound,
    /// What takes blocks whose place matters, in the order of mkfs.
    pub steps: Vec<Step>,
    pub e2fsprogs: Demand,
    pub direct: Demand,
    /// The largest directory, when mkfs would take long.
    pub slow: Option<LargeDirectory>,
}

/// What of the options a measure depends on.
pub(super) struct Scale<'a> {
    pub features: Features,
    pub hash_seed: Uuid,
    pub limits: &'a Limits,
}

pub(super) fn measure(tree: &Tree, scale: &Scale<'_>) -> Result<Measured> {
    let lost_found = lost_found(tree)?;
    let mut linking = Linking::new(tree, scale.features, lost_found.stand_in().map(Into::into));
    let mut measured = Measured {
        numbers: vec![0; tree.arena_len()],
        names: vec![0; tree.arena_len()],
        lost_found,
        ..Measured::default()
    };
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
            measured.steps.extend(linking.link(&visit));
        }
        if measured.numbers[index] != 0 {
            measured.census.hard_links += 1;
            continue;
        }
        measured.numbers[index] = match &*visit.path {
            b"" => InodeNumber::ROOT.get(),
            LOST_FOUND_NAME if tree.directory(visit.inode).is_some() => super::LOST_FOUND,
            _ => {
                next += 1;
                next - 1
            }
        };
        measured.census.inodes += 1;
        measured.count(tree, &visit, scale, &mut linking)?;
        large.add(tree, &visit);
    }
    measured.refuse_own_lost_found();
    if name_bytes > NAME_BYTES_MAX_DIRECT {
        measured.direct.add(Err(Error::image(Place::Layers, ImageProblem::NameBytes(name_bytes))));
    }
    measured.slow = large.slow();
    Ok(measured)
}

/// Finds what the image has at the one path that ext4 itself uses.
fn lost_found(tree: &Tree) -> Result<LostFound> {
    let Some(id) = tree.get(LOST_FOUND_NAME) else { return Ok(LostFound::Added) };
    if tree.directory(id).is_some() {
        return Ok(LostFound::Directory);
    }
    let names: Vec<&[u8]> = tree.directory(InodeId::ROOT).into_iter().flat_map(Directory::names).map(|n| n.0).collect();
    let stand_in = link::stand_in_of_lost_found(&names);
    let refuse = || Error::image(Place::Path(LOST_FOUND_NAME.into()), ImageProblem::LostAndFound);
    stand_in.map(LostFound::Other).ok_or_else(refuse)
}

impl Measured {
    /// Counts an inode when its first name is met.
    fn count(&mut self, tree: &Tree, visit: &Visit, scale: &Scale<'_>, linking: &mut Linking) -> Result<()> {
        let inode = tree.inode(visit.inode);
        let number = self.numbers[visit.inode.index()];
        let mut can_stage = true;
        match &inode.node {
            Node::Directory(directory) => {
                self.census.directories += 1;
                self.e2fsprogs.add(check_staged_directory(tree, directory, visit, scale.limits));
                self.direct.add(of_direct_directory(tree, directory, visit, scale));
                self.steps.extend(linking.add_directory(visit, number));
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
                if target.len() >= FAST_SYMLINK_MAX {
                    self.steps.push(Step::Symlink(number));
                    self.direct.blocks += 1;
                }
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
        let mut extents = 0;
        for blocks in blocks::runs(content) {
            self.steps.push(Step::Run { first: extents == 0, blocks });
            extents += blocks.div_ceil(EXTENT_MAX);
        }
        if extents > EXTENTS_MAX_DIRECT {
            self.direct.add(Err(refuse(ImageProblem::TooManyExtents(extents, EXTENTS_MAX_DIRECT))));
        }
        Ok(())
    }

    /// Notes that the direct engine makes its own `lost+found`, and one only.
    fn refuse_own_lost_found(&mut self) {
        self.direct.blocks += LOST_FOUND_BLOCKS;
        let problem = match &self.lost_found {
            LostFound::Added => return,
            LostFound::Directory => ImageProblem::OwnLostAndFound,
            LostFound::Other(_) => ImageProblem::OtherLostAndFound,
        };
        self.direct.add(Err(Error::image(Place::Path(LOST_FOUND_NAME.into()), problem)));
    }
}

/// Requires a directory that mkfs can make, name by name.
fn check_staged_directory(tree: &Tree, directory: &Directory, visit: &Visit, limits: &Limits) -> Result<u64> {
    check_names(directory, visit, limits.directory_entries)?;
    let below = directory.names().filter(|(_, child)| tree.directory(child.inode).is_some()).count() as u64;
    if below > SUBDIRECTORIES_MAX {
        return Err(Error::image(Place::Path(visit.path.clone()), ImageProblem::TooManySubdirectories(below)));
    }
    Ok(0)
}

/// Returns the blocks of a directory that the direct engine writes.
fn of_direct_directory(tree: &Tree, directory: &Directory, visit: &Visit, scale: &Scale<'_>) -> Result<u64> {
    check_names(directory, visit, scale.limits.directory_entries_direct)?;
    let is_root = visit.inode == InodeId::ROOT && tree.get(LOST_FOUND_NAME).is_none();
    let seed = mkext4::dirhash::seed_from_uuid(&scale.hash_seed.bytes());
    blocks::of_directory_at_once(directory, is_root.then_some(LOST_FOUND_NAME), &seed)
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
