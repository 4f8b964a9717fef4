//! What a run tells its observer while it works.

/// The stages of a build, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Finding the image: manifest and config; reading an archive.
    Open,
    /// Decompressing and checking layers, and applying them to the tree. Counts compressed bytes.
    Layers,
    /// Computing the size.
    Plan,
    /// Writing the tree to the work directory. Counts inodes.
    Stage,
    /// `mkfs.ext4`.
    Mkfs,
    /// Reading the inode numbers back, and `debugfs`.
    Debugfs,
    /// Writing the filesystem with the direct engine, which takes the place of the three before. Counts inodes.
    Write,
    /// Reading the filesystem back and comparing it. Counts inodes.
    Verify,
    /// `e2fsck -fn`.
    Fsck,
    /// Hashing the tree and the finished file.
    Digest,
    /// Syncing and renaming.
    Publish,
}

impl Stage {
    /// Returns what the stage does, as a person is told.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Open => "opening the image",
            Self::Layers => "reading layers",
            Self::Plan => "planning",
            Self::Stage => "staging",
            Self::Mkfs => "mkfs.ext4",
            Self::Debugfs => "debugfs",
            Self::Write => "writing",
            Self::Verify => "verifying",
            Self::Fsck => "e2fsck",
            Self::Digest => "hashing",
            Self::Publish => "publishing",
        }
    }
}

/// An observer of a run; called from several threads.
pub trait Progress: Sync {
    /// A stage begins, with how much it has to do if that is known.
    fn begin(&self, stage: Stage, total: Option<u64>);
    /// So much more of the current stage is done.
    fn advance(&self, amount: u64);
    /// The current stage is done.
    fn end(&self);
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Stage, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
