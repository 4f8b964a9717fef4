//! Walks a tree once, in the order of inode numbers, and measures what each engine needs for it or refuses.

use super::blocks::{self, FAST_SYMLINK_MAX};
use super::choice::{EngineDemand, LargeDirectory, SlowShape};
use super::feature::Features;
use super::fill::{EXTENT_MAX, LOST_FOUND_BLOCKS};
use super::identity::Uuid;
use super::link::{self, DirectoryLayout};
use super::memory::DirectMemory;
use super::steps::{Step, Steps};
use super::xattr::{self, Carrier};
use super::{LOST_FOUND_NAME, LostFound, TreeStats};
use crate::cancel::Cancel;
use crate::error::{Amount, Error, ErrorKind, ImageProblem, Place, Result, ToolProblem};
use crate::ext4::InodeNumber;
use crate::layer::entry::Content;
use crate::limits::{Limit, Limits};
use crate::memory::Memory;
use crate::path::{Escaped, PATH_MAX, PathFault};
use crate::program::KnownFault;
use crate::tree::{Directory, InodeId, Node, Tree, Visit};

/// The largest link count in ext4.
const LINKS_MAX: u32 = 65_000;
/// The largest file with blocks of 4 KiB.
const FILE_BYTES_MAX: u64 = (1 << 44) - 4096;
const SUBDIRECTORIES_MAX: u64 = 64_998;
/// The length of a path that makes `mkfs.ext4 -d` write beyond a buffer.
///
/// Up to e2fsprogs 1.47 at least, `path_append` (misc/create_inode.c) does not count the NUL after a path that, with a
/// slash in front, fills its buffer: 255 bytes, doubled. Of those sizes only the allocation of 2040 has no spare byte.
const MKFS_OVERFLOWS: usize = 2039;
/// The time from which on e2fsprogs counts as slower, in picoseconds: a tenth of the shortest builds of whole systems.
const SLOW_FROM: u64 = 20_000_000_000;
/// The time for each inode, which is staged, made and set by debugfs; what the direct engine takes is not counted
/// (measured: 20 to 30 µs).
const PER_INODE: u64 = 25_000_000;
/// The time for each pair of names in a directory, whose blocks are searched for each name (measured: 36 ns times the
/// square of the names).
const PER_SQUARE: u64 = 36_000;
/// The time for each pair of a name of an inode with several names and such an inode met before (measured, e2fsprogs
/// 1.47.0: 1.5 ns), of which half are met on average.
const PER_LINK: u64 = 750;
/// The time for a block of a file, which is written to the staging directory, read and copied; what the direct engine takes
/// is not counted (measured, files in memory: 14 µs for a block of a tree of large files, of which mkfs takes 4.5 µs).
const PER_BLOCK: u64 = 10_000_000;
/// The direct engine writes extents in two levels of 340; a file may have to be split around parts of the filesystem.
const EXTENTS_MAX_DIRECT: u64 = 4 * 340 * 340 - 10_000;
/// The direct engine numbers the bytes of all names with 32 bits.
const NAME_BYTES_MAX_DIRECT: u64 = u32::MAX as u64;

/// The result of the walk.
#[derive(Default)]
pub(super) struct TreeUsage {
    pub stats: TreeStats,
    pub stages_xattrs: bool,
    /// The inode number of each of the tree's inodes; 0 if it has no name.
    pub numbers: Vec<u32>,
    pub lost_found: LostFound,
    /// The allocations of blocks whose position matters, in the order of mkfs.
    pub steps: Steps,
    pub e2fsprogs: EngineDemand,
    pub direct: EngineDemand,
    /// The bytes of memory that the direct engine needs.
    pub direct_memory: u64,
    /// The number of blocks of files that are no holes.
    pub data_blocks: u64,
    /// The shape that makes mkfs slow, if there is one.
    pub slow: Option<SlowShape>,
}

/// The options that the measure depends on.
pub(super) struct MeasureOptions<'a> {
    pub features: Features,
    pub hash_seed: Uuid,
    pub limits: &'a Limits,
    pub cancel: &'a Cancel,
    pub mkfs_fault: Option<&'a KnownFault>,
}

pub(super) fn measure(tree: &Tree, scale: &MeasureOptions<'_>) -> Result<TreeUsage> {
    let lost_found = lost_found(tree)?;
    let mut linking = DirectoryLayout::new(scale.features, lost_found.stand_in().map(Into::into));
    let mut measured = TreeUsage { numbers: vec![0; tree.arena_len()], lost_found, ..TreeUsage::default() };
    let mut next = super::LOST_FOUND + 1;
    let mut large = LargeUsage::default();
    let mut name_bytes = 0;
    let mut memory = DirectMemory::default();
    let mut walk = tree.walk();
    while let Some(visit) = walk.advance() {
        scale.cancel.check()?;
        let refuse = |problem| Error::image(Place::Path(visit.path.into()), problem);
        if visit.path.len() > PATH_MAX {
            return Err(refuse(ImageProblem::Path(PathFault::LongPath(visit.path.len()))));
        }
        if visit.path.len() == MKFS_OVERFLOWS {
            measured.e2fsprogs.add(Err(refuse(ImageProblem::PathUnsupported(MKFS_OVERFLOWS))));
        }
        let index = visit.inode.index();
        if tree.links(visit.inode) > LINKS_MAX {
            return Err(refuse(ImageProblem::TooManyLinks(u64::from(tree.links(visit.inode)))));
        }
        if visit.inode != InodeId::ROOT {
            measured.stats.names += 1;
            name_bytes += visit.name().len() as u64;
            memory.name(visit.name());
            measured.steps.extend(linking.link(&visit));
        }
        if measured.numbers[index] != 0 {
            measured.stats.hard_links += 1;
            continue;
        }
        large.linked += u64::from(tree.links(visit.inode) > 1);
        measured.numbers[index] = match visit.path {
            b"" => InodeNumber::ROOT.get(),
            LOST_FOUND_NAME if tree.directory(visit.inode).is_some() => super::LOST_FOUND,
            _ => {
                next += 1;
                next - 1
            }
        };
        measured.stats.inodes += 1;
        measured.count(tree, &visit, scale, &mut linking, &mut memory)?;
        tree.memory().require(measured.steps.memory())?;
        large.add(tree, &visit);
    }
    measured.direct_memory = memory.bytes(name_bytes);
    if let Err(error) = tree.memory().require(measured.direct_memory) {
        measured.direct.add(Err(error));
    }
    measured.refuse_own_lost_found();
    if name_bytes > NAME_BYTES_MAX_DIRECT {
        measured.direct.add(Err(Error::image(Place::Layers, ImageProblem::NameBytes(name_bytes))));
    }
    measured.slow = large.slow(measured.stats.inodes, measured.stats.hard_links, measured.data_blocks);
    Ok(measured)
}

/// Returns what the image has at `lost+found`.
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

impl TreeUsage {
    /// Counts an inode at its first name.
    fn count(
        &mut self,
        tree: &Tree,
        visit: &Visit<'_>,
        scale: &MeasureOptions<'_>,
        linking: &mut DirectoryLayout,
        memory: &mut DirectMemory,
    ) -> Result<()> {
        let inode = tree.inode(visit.inode);
        let number = self.numbers[visit.inode.index()];
        let mut can_stage = true;
        match &inode.node {
            Node::Directory(_) => {
                self.stats.directories += 1;
                let directory = tree.directory(visit.inode).ok_or(ErrorKind::Bug("a directory is none"))?;
                self.e2fsprogs.add(check_staged_directory(tree, directory, visit, scale.limits));
                let blocks = of_direct_directory(tree, directory, visit, scale);
                memory.directory(directory.len(), *blocks.as_ref().unwrap_or(&0));
                self.direct.add(blocks);
                self.steps.extend(linking.add_directory(visit, number));
                // mkfs creates the root itself and copies only some of its attributes.
                can_stage = visit.inode != InodeId::ROOT;
            }
            Node::File(content) => {
                self.stats.files += 1;
                self.stats.bytes += content.size();
                let extents = self.file(content, visit, tree.memory(), scale)?;
                memory.file(extents);
            }
            Node::Symlink(target) => {
                self.stats.symlinks += 1;
                memory.symlink(target.len());
                if target.len() >= FAST_SYMLINK_MAX {
                    self.steps.push(Step::Symlink(number));
                    self.direct.blocks += 1;
                }
                can_stage = false;
            }
            Node::Device(_) => {
                self.stats.devices += 1;
                memory.inode();
                can_stage = false;
            }
            Node::Fifo => {
                self.stats.fifos += 1;
                memory.inode();
                can_stage = false;
            }
        }
        let xattrs = &inode.metadata.xattrs;
        if !xattrs.is_empty() {
            self.stats.with_xattrs += 1;
            memory.xattrs(xattrs);
            let blocks = |carrier| {
                xattr::needs_block(xattrs, carrier)
                    .map(u64::from)
                    .map_err(|problem| Error::image(Place::Path(visit.path.into()), problem))
            };
            self.e2fsprogs.add(blocks(Carrier::E2fsprogs { can_stage }));
            self.direct.add(blocks(Carrier::Direct));
            self.stages_xattrs |= xattrs.iter().any(|x| xattr::writer(x.name) == xattr::Writer::Mkfs);
        }
        Ok(())
    }

    /// Counts the blocks of a file; returns the number of its extents.
    fn file(
        &mut self,
        content: &Content,
        visit: &Visit<'_>,
        memory: &Memory,
        scale: &MeasureOptions<'_>,
    ) -> Result<u64> {
        let refuse = |problem| Error::image(Place::Path(visit.path.into()), problem);
        if content.size() > FILE_BYTES_MAX {
            return Err(refuse(ImageProblem::OutOfRange { what: "size", value: content.size(), max: FILE_BYTES_MAX }));
        }
        if let Some(KnownFault { version, file_bytes_max: max }) = scale.mkfs_fault
            && content.size() > *max
        {
            let (version, path) = (version.clone(), Escaped(visit.path).to_string());
            let problem = ToolProblem::LargeFile { version, max: *max, path, bytes: content.size() };
            self.e2fsprogs.add(Err(Error::tool("mkfs.ext4", problem)));
        }
        let mut extents = 0;
        for blocks in blocks::runs(content, scale.cancel) {
            self.steps.push(Step::Run { first: extents == 0, blocks });
            extents += blocks.div_ceil(EXTENT_MAX);
            self.data_blocks += blocks;
            memory.require(self.steps.memory())?;
        }
        scale.cancel.check()?;
        if extents > EXTENTS_MAX_DIRECT {
            self.direct.add(Err(refuse(ImageProblem::TooManyExtents(extents, EXTENTS_MAX_DIRECT))));
        }
        Ok(extents)
    }

    /// Records the refusal of the direct engine to write a tree with its own `lost+found`.
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

/// Checks that mkfs can create a directory name by name.
fn check_staged_directory(tree: &Tree, directory: Directory<'_>, visit: &Visit<'_>, limits: &Limits) -> Result<u64> {
    check_names(directory, visit, limits.directory_entries)?;
    let below = directory.names().filter(|(_, child)| tree.directory(child.inode).is_some()).count() as u64;
    if below > SUBDIRECTORIES_MAX {
        return Err(Error::image(Place::Path(visit.path.into()), ImageProblem::TooManySubdirectories(below)));
    }
    Ok(0)
}

/// Returns the number of blocks of a directory that the direct engine writes.
fn of_direct_directory(
    tree: &Tree,
    directory: Directory<'_>,
    visit: &Visit<'_>,
    scale: &MeasureOptions<'_>,
) -> Result<u64> {
    check_names(directory, visit, scale.limits.directory_entries_direct)?;
    let is_root = visit.inode == InodeId::ROOT && tree.get(LOST_FOUND_NAME).is_none();
    let seed = mkext4::dirhash::seed_from_uuid(&scale.hash_seed.bytes());
    blocks::of_directory_at_once(directory, is_root.then_some(LOST_FOUND_NAME), &seed)
        .ok_or_else(|| Error::image(Place::Path(visit.path.into()), ImageProblem::IndexFull(directory.len() as u64)))
}

fn check_names(directory: Directory<'_>, visit: &Visit<'_>, allowed: u64) -> Result<()> {
    let names = directory.len() as u64;
    if names <= allowed {
        return Ok(());
    }
    let (place, found) = (Place::Path(visit.path.into()), Amount::Exactly(names));
    Err(ErrorKind::Limit { place, limit: Limit::DirectoryEntries, allowed, found }.into())
}

/// The sizes on which the time of mkfs for directories and links depends, and the largest directory.
#[derive(Default)]
struct LargeUsage {
    squares: u64,
    largest: Option<LargeDirectory>,
    /// The number of inodes with several names.
    linked: u64,
}

impl LargeUsage {
    fn add(&mut self, tree: &Tree, visit: &Visit<'_>) {
        let names = tree.directory(visit.inode).map_or(0, |directory| directory.len() as u64);
        self.squares = self.squares.saturating_add(names.saturating_mul(names));
        if names > self.largest.as_ref().map_or(0, |largest| largest.names) {
            self.largest = Some(LargeDirectory { path: visit.path.into(), names });
        }
    }

    /// Returns the shape that makes mkfs slow; `more_names` is the number of names beyond the first of their inode.
    fn slow(self, inodes: u64, more_names: u64, data_blocks: u64) -> Option<SlowShape> {
        let directories = self.squares.saturating_mul(PER_SQUARE);
        let links = self.linked.saturating_mul(self.linked + more_names).saturating_mul(PER_LINK);
        let data = data_blocks.saturating_mul(PER_BLOCK);
        let all = inodes.saturating_mul(PER_INODE);
        let most = directories.max(links).max(data).max(all);
        if directories.saturating_add(links).saturating_add(data).saturating_add(all) < SLOW_FROM {
            None
        } else if most == directories {
            self.largest.map(SlowShape::Directory)
        } else if most == links {
            Some(SlowShape::Links(self.linked))
        } else if most == data {
            Some(SlowShape::Data(data_blocks))
        } else {
            Some(SlowShape::Inodes(inodes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e2fsprogs_is_slow_for_many_inodes_and_much_data_and_mkfs_for_large_directories_and_many_links() {
        let slow = |names: &[u64], linked: u64, inodes: u64, more_names: u64, data_blocks: u64| {
            let largest = names.iter().max().map(|names| LargeDirectory { path: Box::default(), names: *names });
            let squares = names.iter().map(|n| n * n).sum();
            LargeUsage { squares, largest, linked }.slow(inodes, more_names, data_blocks)
        };
        let large = |names| Some(SlowShape::Directory(LargeDirectory { path: Box::default(), names }));
        assert_eq!(slow(&[], 0, 0, 0, 0), None);
        assert_eq!(slow(&[20; 30], 0, 600, 0, 100), None, "a few hundred files");
        assert_eq!(slow(&[20; 40], 0, 800, 0, 100), Some(SlowShape::Inodes(800)));
        assert_eq!(slow(&[5000], 0, 5000, 0, 0), large(5000));
        assert_eq!(slow(&[2000; 7], 0, 14_000, 0, 0), large(2000));
        assert_eq!(slow(&[100; 600], 30_000, 30_000, 30_000, 0), Some(SlowShape::Links(30_000)));
        assert_eq!(slow(&[100; 650], 1, 1, 65_000, 0), large(100), "one inode is found at once");
        assert_eq!(slow(&[], 0, 1, 0, 1999), Some(SlowShape::Data(1999)));
        assert_eq!(slow(&[], 0, 1, 0, 1990), None);
        assert_eq!(slow(&[100; 100], 0, 10_000, 0, 90_000), Some(SlowShape::Data(90_000)), "the largest part is named");
        assert_eq!(slow(&[10; 9000], 0, 90_000, 0, 90_000), Some(SlowShape::Inodes(90_000)));
        let max = u64::from(u32::MAX);
        assert_eq!(slow(&[max], max, max, max, max), large(max));
        assert_eq!(slow(&[], 0, u64::MAX, 0, 0), Some(SlowShape::Inodes(u64::MAX)));
    }
}
