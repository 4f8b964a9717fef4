//! The plan of a filesystem before anything is written: its size, its inode numbers, and the program that writes each
//! attribute.
//!
//! A plan is pure: the same tree and options give the same plan. The module knows neither processes nor disks.

pub(crate) mod blocks;
pub(crate) mod choice;
pub(crate) mod constants;
mod extents;
pub(crate) mod feature;
mod fill;
pub(crate) mod geometry;
pub(crate) mod groups;
pub(crate) mod identity;
mod journal;
pub(crate) mod key;
mod link;
mod measure;
mod memory;
pub(crate) mod options;
mod space;
mod steps;
pub(crate) mod xattr;

use serde::{Deserialize, Serialize};

pub use choice::{Engine, EngineChoice};
pub use feature::{FeatureFault, Features};
pub(crate) use geometry::Geometry;
pub(crate) use identity::Identity;
pub use identity::Uuid;
pub use journal::{Journal, JournalBlocks};
pub(crate) use options::PlanOptions;
pub use options::{FreeInodes, Headroom, Label, LabelFault};

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::ext4::InodeNumber;
use crate::layer::entry::Device;
use crate::limits::Limits;
use crate::note::{Note, NoteKind};
use crate::tree::{InodeId, Node, Tree};
use choice::{Reason, SlowShape};

use constants::BLOCK_SIZE;
use geometry::{RESERVED_INODES, Rules};
use measure::{MeasureOptions, TreeUsage};
use steps::Steps;

/// The inode number of `lost+found`; those of the tree follow.
const LOST_FOUND: u32 = 11;
/// The one path that ext4 itself uses.
pub(crate) const LOST_FOUND_NAME: &[u8] = b"lost+found";

/// The plan of a filesystem.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The layout.
    pub geometry: Geometry,
    /// The exact length of the file in bytes: that of the layout, or the requested one.
    pub file_bytes: u64,
    /// The UUID, hash seed and clock.
    pub identity: Identity,
    /// The counts of the tree.
    pub stats: TreeStats,
    /// The engine.
    pub engine: Engine,
    /// The reason for the choice of the engine.
    pub reason: Reason,
    /// The features, without the journal.
    pub features: Features,
    /// The label.
    pub label: Option<Label>,
    /// The content of `lost+found`.
    pub lost_found: LostFound,
    /// The number of inodes in use, including reserved ones.
    pub used_inodes: u64,
    /// True if mkfs must copy an xattr from a staged inode.
    pub stages_xattrs: bool,
    numbers: Vec<u32>,
    /// The wanted clock, if the tools take none that is so late.
    late_clock: Option<i64>,
}

/// The content of `lost+found`, the one path that ext4 itself uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum LostFound {
    /// The directory that mkfs adds because the image has nothing there.
    #[default]
    Added,
    /// The directory of the image.
    Directory,
    /// Another kind of file in the image, which is staged under this name.
    Other(Box<[u8]>),
}

impl LostFound {
    /// Returns the name under which it is staged, if that is a different one.
    #[must_use]
    pub fn stand_in(&self) -> Option<&[u8]> {
        match self {
            Self::Other(name) => Some(name),
            Self::Added | Self::Directory => None,
        }
    }
}

/// The counts of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TreeStats {
    /// The number of names, without the root's.
    pub names: u64,
    /// The number of inodes, including the root.
    pub inodes: u64,
    /// The number of directories, including the root.
    pub directories: u64,
    /// The number of regular files.
    pub files: u64,
    /// The number of symlinks.
    pub symlinks: u64,
    /// The number of device nodes.
    pub devices: u64,
    /// The number of fifos.
    pub fifos: u64,
    /// The number of names beyond the first of their inode.
    pub hard_links: u64,
    /// The number of inodes with xattrs.
    pub with_xattrs: u64,
    /// The size of all files with holes, in bytes.
    pub bytes: u64,
    /// The number of blocks of 4 KiB for files, directories, symlinks and xattrs.
    pub blocks: u64,
}

/// The kind of file that represents an inode in the staging directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StagedKind {
    /// A directory, for a directory.
    Directory,
    /// A regular file, for a regular file.
    File,
    /// A symlink, for a symlink.
    Symlink,
    /// A fifo, for a fifo or for an inode whose device number or target debugfs writes.
    Fifo,
    /// A regular file with the target of a symlink with several names, which mkfs would split into several symlinks.
    TargetFile,
}

impl Plan {
    /// Returns the bytes of content and metadata, an estimate of what the finished file takes.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        (self.stats.blocks + self.geometry.metadata_blocks) * BLOCK_SIZE
    }

    /// Plans the filesystem of a flattened tree.
    ///
    /// # Errors
    ///
    /// The tree contains something that ext4 or the engine cannot store; a directory exceeds its limit; the tree does
    /// not fit the requested size; the run was cancelled.
    pub fn new(
        tree: &Tree,
        config: &Digest,
        created: Option<i64>,
        options: &PlanOptions,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let (seconds, clock) = (options.seconds(created), options.clock(created));
        let identity = Identity::derive(config, &options.derivation(), clock, options.uuid);
        let mkfs_fault = options.mkfs_fault.as_ref();
        let scale =
            MeasureOptions { features: options.features, hash_seed: identity.hash_seed, limits, cancel, mkfs_fault };
        let TreeUsage {
            mut stats,
            stages_xattrs,
            numbers,
            lost_found,
            steps,
            e2fsprogs,
            mut direct,
            direct_memory,
            slow,
            ..
        } = measure::measure(tree, &scale)?;
        if let Some(choice) = options.features.beyond_direct(options.journal) {
            direct.refusal = Some(ErrorKind::BeyondDirect(choice).into());
        }
        let (engine, reason, others) = choice::choose(options.engine, e2fsprogs, direct, slow)?;
        let rules = Rules { engine, features: options.features, journal: options.journal };
        // If another file replaces the filesystem's own `lost+found`, that directory is removed at the end.
        let own = u64::from(lost_found != LostFound::Added);
        let sizing = SizeModel { steps, others, rules, cancel, used_inodes: RESERVED_INODES - 1 + stats.inodes - own };
        let chosen = sizing.choose(options);
        // After a cancellation the choice is meaningless.
        cancel.check()?;
        let (geometry, file_bytes) = chosen?;
        geometry::check_inodes(geometry.inodes)?;
        if engine == Engine::Direct {
            let required = tree.memory().require(direct_memory.saturating_add(memory::of_groups(&geometry)));
            match (required, &reason) {
                (Ok(()), _) => {}
                // e2fsprogs writes much data in more time, and with less memory.
                (Err(error), Reason::Slow(SlowShape::Data(_))) => {
                    let options = PlanOptions { engine: EngineChoice::Only(Engine::E2fsprogs), ..options.clone() };
                    let plan = Self::new(tree, config, created, &options, limits, cancel)?;
                    return Ok(Self { reason: Reason::Refused(Engine::Direct, error.to_string()), ..plan });
                }
                (Err(error), _) => return Err(error),
            }
        }
        stats.blocks = sizing.content(&geometry) - lost_found.stand_in().map_or(0, |_| fill::LOST_FOUND_BLOCKS);
        Ok(Self {
            geometry,
            file_bytes,
            identity,
            stats,
            engine,
            reason,
            features: options.features,
            label: options.label.clone(),
            lost_found,
            used_inodes: sizing.used_inodes,
            stages_xattrs,
            numbers,
            late_clock: (seconds > clock.seconds().into()).then_some(seconds),
        })
    }

    /// Returns the notes on what the filesystem's own fields cannot hold.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Note> {
        self.late_clock.into_iter().map(|seconds| Note {
            kind: NoteKind::ClockClamped,
            layer: None,
            path: Box::default(),
            detail: format!("{seconds} s after 1970").into_bytes().into(),
        })
    }

    /// Returns the number of blocks that will be free.
    #[must_use]
    pub fn free_blocks(&self) -> u64 {
        let Geometry { blocks, metadata_blocks, journal_blocks, .. } = self.geometry;
        blocks.saturating_sub(metadata_blocks + journal_blocks + self.stats.blocks)
    }

    /// Returns the number of inodes that will be free.
    #[must_use]
    pub fn free_inodes(&self) -> u64 {
        self.geometry.inodes.saturating_sub(self.used_inodes)
    }

    /// Returns the number that mkfs gives an inode; `None` for an inode without a name.
    #[must_use]
    pub fn number(&self, id: InodeId) -> Option<InodeNumber> {
        self.numbers.get(id.index()).filter(|n| **n != 0).map(|n| InodeNumber::new(*n))
    }

    /// Returns the number of the `lost+found` that mkfs adds, if the image has nothing there.
    #[must_use]
    pub fn added_lost_found(&self) -> Option<InodeNumber> {
        (self.lost_found == LostFound::Added).then(|| InodeNumber::new(LOST_FOUND))
    }

    /// Returns the kind of file that represents an inode in the staging directory.
    #[must_use]
    pub fn stand_in(&self, tree: &Tree, id: InodeId) -> StagedKind {
        match &tree.inode(id).node {
            Node::Directory(_) => StagedKind::Directory,
            Node::File(_) => StagedKind::File,
            Node::Device(Device { .. }) | Node::Fifo => StagedKind::Fifo,
            Node::Symlink(_) if tree.links(id) == 1 => StagedKind::Symlink,
            Node::Symlink(target) if target.len() < blocks::FAST_SYMLINK_MAX => StagedKind::Fifo,
            Node::Symlink(_) => StagedKind::TargetFile,
        }
    }
}

/// The parameters of the size.
struct SizeModel<'a> {
    steps: Steps,
    /// The number of blocks that are not in the steps.
    others: u64,
    rules: Rules,
    cancel: &'a Cancel,
    used_inodes: u64,
}

impl SizeModel<'_> {
    fn content(&self, geometry: &Geometry) -> u64 {
        let counted = match self.rules.engine {
            Engine::E2fsprogs => fill::by_mkfs(&self.steps, geometry, self.cancel).map(|blocks| blocks + self.others),
            Engine::Direct => fill::directly(&self.steps, self.others, geometry, self.cancel),
        };
        // The caller checks for cancellation before it uses the number.
        counted.unwrap_or_default()
    }

    /// Returns the layout and the size of the file in bytes.
    fn choose(&self, options: &PlanOptions) -> Result<(Geometry, u64)> {
        let free = options.free_inodes.unwrap_or_default().count(self.used_inodes);
        let inodes = geometry::check_inodes(self.used_inodes.saturating_add(free))?;
        let content = |geometry: &Geometry| self.content(geometry);
        if let Some(size) = options.size {
            // Free inodes that were not requested are made only if there is room for them.
            let least = if options.free_inodes.is_some() { inodes } else { self.used_inodes };
            return Ok((self.exactly(size, &[inodes, least])?, size));
        }
        let tight = Geometry::smallest(&content, inodes, &self.rules)?;
        let free = options.free.blocks(tight.blocks);
        let geometry = Geometry::smallest(&|geometry| content(geometry).saturating_add(free), inodes, &self.rules)?;
        Ok((geometry, geometry.bytes()))
    }

    /// Returns a layout for a file of `size` bytes, with the first number in `inodes` that fits.
    fn exactly(&self, size: u64, inodes: &[u64; 2]) -> Result<Geometry> {
        let blocks = geometry::check(size / BLOCK_SIZE)?;
        let content = |geometry: &Geometry| self.content(geometry);
        let mut candidates = Geometry::candidates(blocks, inodes, &self.rules).into_iter();
        if let Some(found) = candidates.find(|candidate| candidate.holds(content(candidate))) {
            return Ok(found);
        }
        let needed = Geometry::smallest(&content, inodes[1], &self.rules)?;
        // The last group may be too small to be kept; then the filesystem ends before the file does.
        if needed.bytes() <= size {
            Ok(needed)
        } else {
            Err(ErrorKind::Size { needed: needed.bytes(), allowed: size }.into())
        }
    }
}

#[cfg(test)]
mod tests;
