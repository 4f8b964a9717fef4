//! What the filesystem will be, before anything is written: its size, its inode numbers, and which program carries
//! which fact.
//!
//! A plan is pure: the same tree and options give the same plan. Knows nothing about processes and disks.

pub mod blocks;
pub mod engine;
pub mod geometry;
pub mod identity;
mod measure;
pub mod xattr;

use serde::Serialize;

pub use engine::{Engine, EngineChoice};
pub use geometry::Geometry;
pub use identity::{Clock, Identity, Uuid};

use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::ext4::InodeNumber;
use crate::layer::entry::Device;
use crate::limits::Limits;
use crate::tree::{InodeId, Node, Tree};
use engine::Reason;
use geometry::{BLOCK_SIZE, RESERVED_INODES};

/// What the caller may choose about the filesystem.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Its exact size in bytes; `None` lets the plan choose.
    pub size: Option<u64>,
    /// The space that stays free when the plan chooses the size.
    pub free: Headroom,
    /// The time of its making, if not the image's.
    pub clock: Option<i64>,
    /// What writes it.
    pub engine: EngineChoice,
}

/// Space that stays free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headroom {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of what the tree needs.
    Percent(u64),
}

impl Default for Headroom {
    /// 256 MiB: room for a booted system to work; the file is sparse.
    fn default() -> Self {
        Self::Bytes(256 << 20)
    }
}

impl Headroom {
    fn blocks(self, needed: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.div_ceil(BLOCK_SIZE),
            Self::Percent(percent) => needed.saturating_mul(percent).div_ceil(100),
        }
    }
}

/// Inodes that stay free, in hundredths of those in use.
const FREE_INODES_PERCENT: u64 = 20;

/// The inode number of `lost+found`; those of the tree follow.
const LOST_FOUND: u32 = 11;

/// What the filesystem will be.
#[derive(Debug)]
pub struct Plan {
    /// Its layout.
    pub geometry: Geometry,
    /// The exact length of the file in bytes: the layout's, or what was asked for.
    pub file_bytes: u64,
    /// Its UUID, hash seed and clock.
    pub identity: Identity,
    /// What it will hold.
    pub census: Census,
    /// What writes it.
    pub engine: Engine,
    /// Why that one.
    pub reason: Reason,
    /// Whether an xattr must be copied by mkfs from a staged inode.
    pub stages_xattrs: bool,
    numbers: Vec<u32>,
    names: Vec<u32>,
}

/// How much a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Names, the root's not counted.
    pub names: u64,
    /// Inodes, the root's counted.
    pub inodes: u64,
    /// Directories, the root counted.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Devices.
    pub devices: u64,
    /// Fifos.
    pub fifos: u64,
    /// Names beyond the first of their inode.
    pub hard_links: u64,
    /// Inodes with xattrs.
    pub with_xattrs: u64,
    /// Bytes of all files, holes counted.
    pub bytes: u64,
    /// Blocks of 4 KiB that files, directories, symlinks and xattrs take.
    pub blocks: u64,
}

/// What stands in the staging directory for an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// The same: a directory.
    Directory,
    /// The same: a regular file.
    File,
    /// The same: a symlink.
    Symlink,
    /// A fifo: a real one, or the place of an inode whose number or target debugfs writes.
    Fifo,
    /// A regular file that holds the target of a symlink with several names, which mkfs would split into several.
    TargetFile,
}

impl Plan {
    /// Plans the filesystem of a flattened tree.
    ///
    /// # Errors
    ///
    /// The tree holds what ext4, or the engine, cannot; a directory is over its limit; the tree does not fit the size
    /// asked for.
    pub fn new(
        tree: &Tree,
        config: &Digest,
        created: Option<i64>,
        options: &PlanOptions,
        limits: &Limits,
    ) -> Result<Self> {
        let measure::Measured { mut census, stages_xattrs, numbers, names, e2fsprogs, direct, slow } =
            measure::measure(tree, limits)?;
        let (engine, reason, content) = engine::choose(options.engine, e2fsprogs, direct, slow)?;
        census.blocks = content;
        let clock = Clock::nearest(options.clock.or(created).unwrap_or(1));
        let wanted = census.inodes + census.inodes * FREE_INODES_PERCENT / 100 + RESERVED_INODES;
        let (geometry, file_bytes) = match options.size {
            None => {
                let tight = Geometry::smallest(content, wanted, engine)?;
                let with_free = content.saturating_add(options.free.blocks(tight.blocks));
                let geometry = Geometry::smallest(with_free, wanted, engine)?;
                (geometry, geometry.bytes())
            }
            Some(size) => (exactly(size, content, census.inodes, wanted, engine)?, size),
        };
        let options = [
            format!("blocks={}", geometry.blocks),
            format!("inodes={}", geometry.inodes),
            format!("bytes={file_bytes}"),
        ];
        let identity = Identity::derive(config, &options, clock);
        Ok(Self { geometry, file_bytes, identity, census, engine, reason, stages_xattrs, numbers, names })
    }

    /// Returns the number that mkfs gives an inode; `None` for one that no name leads to.
    #[must_use]
    pub fn number(&self, id: InodeId) -> Option<InodeNumber> {
        self.numbers.get(id.index()).filter(|n| **n != 0).map(|n| InodeNumber::new(*n))
    }

    /// Returns the number of `lost+found`, which every filesystem has.
    #[must_use]
    pub fn lost_found(&self) -> InodeNumber {
        InodeNumber::new(LOST_FOUND)
    }

    /// Returns how many names lead to an inode.
    #[must_use]
    pub fn names(&self, id: InodeId) -> u32 {
        self.names.get(id.index()).copied().unwrap_or(0)
    }

    /// Returns what stands in the staging directory for an inode.
    #[must_use]
    pub fn stand_in(&self, tree: &Tree, id: InodeId) -> StandIn {
        match &tree.inode(id).node {
            Node::Directory(_) => StandIn::Directory,
            Node::File(_) => StandIn::File,
            Node::Device(Device { .. }) | Node::Fifo => StandIn::Fifo,
            Node::Symlink(_) if self.names(id) == 1 => StandIn::Symlink,
            Node::Symlink(target) if target.len() < blocks::FAST_SYMLINK_MAX => StandIn::Fifo,
            Node::Symlink(_) => StandIn::TargetFile,
        }
    }
}

/// Returns the layout of a filesystem of so many bytes, with as many free inodes as it has room for.
fn exactly(size: u64, content: u64, inodes: u64, wanted: u64, engine: Engine) -> Result<Geometry> {
    let blocks = geometry::check(size / BLOCK_SIZE)?;
    let needed = Geometry::smallest(content, inodes + RESERVED_INODES, engine)?;
    for inodes in [wanted, inodes + RESERVED_INODES] {
        if blocks >= Geometry::smallest(1, inodes, engine)?.blocks {
            let geometry = Geometry::of(blocks, inodes, engine);
            if geometry.room() >= content {
                return Ok(geometry);
            }
        }
    }
    Err(ErrorKind::Size { needed: needed.bytes(), allowed: size }.into())
}
