//! Walks a tree once, in the order of inode numbers, and finds what ext4 needs for it and what it refuses.

use super::Census;
use super::blocks::{self, FAST_SYMLINK_MAX};
use super::xattr;
use crate::error::{Error, ErrorKind, Found, ImageProblem, Place, Result};
use crate::ext4::InodeNumber;
use crate::limits::{Limit, Limits};
use crate::path::{ImagePath, PATH_MAX, PathFault};
use crate::tree::{Directory, InodeId, Node, Tree, Visit};

/// The most names that ext4 gives one inode.
const LINKS_MAX: u32 = 65_000;
/// The largest file with blocks of 4 KiB.
const FILE_BYTES_MAX: u64 = (1 << 44) - 4096;
const SUBDIRECTORIES_MAX: u64 = 64_998;
/// Blocks that mkfs gives `lost+found`, and a new directory.
const LOST_FOUND_BLOCKS: u64 = 4;
const DIRECTORY_BLOCKS: u64 = 1;

/// What one walk found.
pub(super) struct Measured {
    pub census: Census,
    pub stages_xattrs: bool,
    /// The inode number of each of the tree's inodes; 0: no name leads to it.
    pub numbers: Vec<u32>,
    /// The names of each of the tree's inodes.
    pub names: Vec<u32>,
}

pub(super) fn measure(tree: &Tree, limits: &Limits) -> Result<Measured> {
    let mut measured = Measured {
        census: Census::default(),
        stages_xattrs: false,
        numbers: vec![0; tree.arena_len()],
        names: vec![0; tree.arena_len()],
    };
    // A filesystem has a lost+found, also where the image has none.
    if tree.get(LOST_FOUND).is_none() {
        measured.census.blocks += LOST_FOUND_BLOCKS;
    }
    let mut next = super::LOST_FOUND + 1;
    for visit in tree.walk() {
        let refuse = |problem| Error::image(Place::Path(visit.path.clone()), problem);
        if visit.path.len() > PATH_MAX {
            return Err(refuse(ImageProblem::Path(PathFault::LongPath(visit.path.len()))));
        }
        let index = visit.inode.index();
        measured.names[index] += 1;
        if measured.names[index] > LINKS_MAX {
            return Err(refuse(ImageProblem::TooManyLinks(u64::from(measured.names[index]))));
        }
        if visit.inode != InodeId::ROOT {
            measured.census.names += 1;
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
        count(&mut measured, tree, &visit, limits)?;
    }
    Ok(measured)
}

/// The one name that ext4 itself uses.
const LOST_FOUND: &[u8] = b"lost+found";

fn count(measured: &mut Measured, tree: &Tree, visit: &Visit, limits: &Limits) -> Result<()> {
    let census = &mut measured.census;
    let inode = tree.inode(visit.inode);
    let mut can_stage = true;
    match &inode.node {
        Node::Directory(directory) => {
            check_directory(tree, directory, &visit.path, limits)?;
            census.directories += 1;
            let start = if &*visit.path == LOST_FOUND { LOST_FOUND_BLOCKS } else { DIRECTORY_BLOCKS };
            census.blocks += blocks::of_directory(directory, start);
            // mkfs makes the root itself and copies only some of its attributes.
            can_stage = visit.inode != InodeId::ROOT;
        }
        Node::File(content) => {
            if content.size() > FILE_BYTES_MAX {
                let problem = ImageProblem::OutOfRange { what: "size", value: content.size(), max: FILE_BYTES_MAX };
                return Err(Error::image(Place::Path(visit.path.clone()), problem));
            }
            census.files += 1;
            census.bytes += content.size();
            census.blocks += blocks::of_file(content);
        }
        Node::Symlink(target) => {
            census.symlinks += 1;
            census.blocks += u64::from(target.len() >= FAST_SYMLINK_MAX);
            can_stage = false;
        }
        Node::Device(_) => {
            census.devices += 1;
            can_stage = false;
        }
        Node::Fifo => {
            census.fifos += 1;
            can_stage = false;
        }
    }
    let xattrs = &inode.metadata.xattrs;
    if !xattrs.is_empty() {
        census.with_xattrs += 1;
        let block = xattr::needs_block(xattrs, can_stage)
            .map_err(|problem| Error::image(Place::Path(visit.path.clone()), problem))?;
        census.blocks += u64::from(block);
        measured.stages_xattrs |= xattrs.iter().any(|x| xattr::writer(&x.name) == xattr::Writer::Mkfs);
    }
    Ok(())
}

fn check_directory(tree: &Tree, directory: &Directory, path: &[u8], limits: &Limits) -> Result<()> {
    let place = || Place::Path(ImagePath::join(path, b"").as_bytes().into());
    let names = directory.len() as u64;
    if names > limits.directory_entries {
        return Err(ErrorKind::Limit {
            place: place(),
            limit: Limit::DirectoryEntries,
            allowed: limits.directory_entries,
            found: Found::Exactly(names),
        }
        .into());
    }
    let below = directory.names().filter(|(_, child)| tree.directory(child.inode).is_some()).count() as u64;
    if below > SUBDIRECTORIES_MAX {
        return Err(Error::image(place(), ImageProblem::TooManySubdirectories(below)));
    }
    Ok(())
}
