//! What the filesystem will be, before anything is written: its size, its inode numbers, and which program carries
//! which fact.
//!
//! A plan is pure: the same tree and options give the same plan. Knows nothing about processes and disks.

pub mod blocks;
pub mod engine;
mod extents;
pub mod feature;
mod fill;
pub mod geometry;
pub mod groups;
pub mod identity;
mod link;
mod measure;
pub mod options;
mod space;
pub mod xattr;

use serde::Serialize;

pub use engine::{Engine, EngineChoice};
pub use feature::Features;
pub use geometry::Geometry;
pub use identity::{Clock, Identity, Uuid};
pub use options::{FreeInodes, Headroom, Journal, JournalBlocks, Label, PlanOptions};

use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::ext4::InodeNumber;
use crate::layer::entry::Device;
use crate::limits::Limits;
use crate::tree::{InodeId, Node, Tree};
use engine::Reason;
use fill::Step;
use geometry::{BLOCK_SIZE, RESERVED_INODES, Rules};
use measure::{Measured, Scale};

/// The inode number of `lost+found`; those of the tree follow.
const LOST_FOUND: u32 = 11;
/// The one path that ext4 itself uses.
pub const LOST_FOUND_NAME: &[u8] = b"lost+found";

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
    /// Its features, but for the journal.
    pub features: Features,
    /// Its label.
    pub label: Option<Label>,
    /// What is at `lost+found`.
    pub lost_found: LostFound,
    /// Inodes in use, the filesystem's own among them.
    pub used_inodes: u64,
    /// Whether an xattr must be copied by mkfs from a staged inode.
    pub stages_xattrs: bool,
    numbers: Vec<u32>,
    names: Vec<u32>,
}

/// What is at `lost+found`, the one path that ext4 itself uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LostFound {
    /// What the filesystem adds, since the image has nothing there.
    #[default]
    Added,
    /// The image's directory.
    Directory,
    /// Something else of the image, which is staged under this name.
    Other(Box<[u8]>),
}

impl LostFound {
    /// Returns the name under which it is staged, where that is another.
    #[must_use]
    pub fn stand_in(&self) -> Option<&[u8]> {
        match self {
            Self::Other(name) => Some(name),
            Self::Added | Self::Directory => None,
        }
    }
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
        let clock = Clock::nearest(options.clock.or(created).unwrap_or(1));
        let identity = Identity::derive(config, &options.derivation(), clock, options.uuid);
        let scale = Scale { features: options.features, hash_seed: identity.hash_seed, limits };
        let Measured { mut census, stages_xattrs, numbers, names, lost_found, steps, e2fsprogs, mut direct, slow } =
            measure::measure(tree, &scale)?;
        if let Some(choice) = options.features.beyond_direct(options.journal) {
            direct.refusal = Some(ErrorKind::BeyondDirect(choice).into());
        }
        let (engine, reason, others) = engine::choose(options.engine, e2fsprogs, direct, slow)?;
        let rules = Rules { engine, features: options.features, journal: options.journal };
        // Where something else takes the place of the filesystem's own `lost+found`, that one leaves at the end.
        let own = u64::from(lost_found != LostFound::Added);
        let sizing = Sizing { steps, others, rules, used_inodes: RESERVED_INODES - 1 + census.inodes - own };
        let (geometry, file_bytes) = sizing.choose(options)?;
        census.blocks = sizing.content(&geometry) - lost_found.stand_in().map_or(0, |_| fill::LOST_FOUND_BLOCKS);
        Ok(Self {
            geometry,
            file_bytes,
            identity,
            census,
            engine,
            reason,
            features: options.features,
            label: options.label.clone(),
            lost_found,
            used_inodes: sizing.used_inodes,
            stages_xattrs,
            numbers,
            names,
        })
    }

    /// Returns the blocks that will be free.
    #[must_use]
    pub fn free_blocks(&self) -> u64 {
        let Geometry { blocks, metadata_blocks, journal_blocks, .. } = self.geometry;
        blocks.saturating_sub(metadata_blocks + journal_blocks + self.census.blocks)
    }

    /// Returns the inodes that will be free.
    #[must_use]
    pub fn free_inodes(&self) -> u64 {
        self.geometry.inodes.saturating_sub(self.used_inodes)
    }

    /// Returns the number that mkfs gives an inode; `None` for one that no name leads to.
    #[must_use]
    pub fn number(&self, id: InodeId) -> Option<InodeNumber> {
        self.numbers.get(id.index()).filter(|n| **n != 0).map(|n| InodeNumber::new(*n))
    }

    /// Returns the number of the `lost+found` that the filesystem adds, when the image has nothing there.
    #[must_use]
    pub fn added_lost_found(&self) -> Option<InodeNumber> {
        (self.lost_found == LostFound::Added).then(|| InodeNumber::new(LOST_FOUND))
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

/// What decides the size.
struct Sizing {
    steps: Vec<Step>,
    /// Blocks that the steps do not say.
    others: u64,
    rules: Rules,
    used_inodes: u64,
}

impl Sizing {
    fn content(&self, geometry: &Geometry) -> u64 {
        match self.rules.engine {
            Engine::E2fsprogs => fill::by_mkfs(&self.steps, geometry) + self.others,
            Engine::Direct => fill::directly(&self.steps, self.others, geometry),
        }
    }

    /// Returns the layout and the bytes of the file.
    fn choose(&self, options: &PlanOptions) -> Result<(Geometry, u64)> {
        let free = options.free_inodes.unwrap_or_default().count(self.used_inodes);
        let inodes = self.used_inodes.saturating_add(free).min(u32::MAX.into());
        let content = |geometry: &Geometry| self.content(geometry);
        if let Some(size) = options.size {
            // Free inodes that nobody asked for are made where there is room for them.
            let least = if options.free_inodes.is_some() { inodes } else { self.used_inodes };
            return Ok((self.exactly(size, &[inodes, least])?, size));
        }
        let tight = Geometry::smallest(&content, inodes, &self.rules)?;
        let free = options.free.blocks(tight.blocks);
        let geometry = Geometry::smallest(&|geometry| content(geometry).saturating_add(free), inodes, &self.rules)?;
        Ok((geometry, geometry.bytes()))
    }

    /// Returns a layout for a file of so many bytes, with the first of `inodes` that it has room for.
    fn exactly(&self, size: u64, inodes: &[u64; 2]) -> Result<Geometry> {
        let blocks = geometry::check(size / BLOCK_SIZE)?;
        let content = |geometry: &Geometry| self.content(geometry);
        let mut candidates = Geometry::candidates(blocks, inodes, &self.rules).into_iter();
        if let Some(found) = candidates.find(|candidate| candidate.holds(content(candidate))) {
            return Ok(found);
        }
        let needed = Geometry::smallest(&content, inodes[1], &self.rules)?;
        // A last group may be too small to be kept; then the filesystem ends before the file does.
        if needed.bytes() <= size {
            Ok(needed)
        } else {
            Err(ErrorKind::Size { needed: needed.bytes(), allowed: size }.into())
        }
    }
}
