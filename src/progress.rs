//! What a run tells its observer while it works.

use std::time::Duration;

use crate::digest::Digest;

/// The stages of a build, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Finding the image: manifest and config; reading an archive.
    Open,
    /// Fetching layers into the cache, and hashing them. Counts compressed bytes.
    Fetch,
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
    /// Hashing the blobs of the cache. Counts bytes.
    Cache,
}

impl Stage {
    /// Returns what the stage does, as a person is told.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Open => "opening the image",
            Self::Fetch => "fetching layers",
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
            Self::Cache => "hashing blobs",
        }
    }
}

/// What happens between here and a registry, beside stages.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// A blob is complete in the cache.
    Cached {
        /// The blob.
        digest: &'a Digest,
        /// Its bytes.
        bytes: u64,
    },
    /// A blob begins to be fetched.
    Fetching {
        /// The blob.
        digest: &'a Digest,
        /// Its bytes.
        bytes: u64,
    },
    /// So many bytes of a blob are there; fewer than before after a fresh start.
    Have {
        /// The blob.
        digest: &'a Digest,
        /// The bytes that are there.
        bytes: u64,
    },
    /// A blob is complete.
    Fetched {
        /// The blob.
        digest: &'a Digest,
        /// Its bytes.
        bytes: u64,
    },
    /// A request failed and is made again.
    Again {
        /// The failure, as an error would say it.
        why: &'a str,
        /// The pause before the next try.
        wait: Duration,
        /// How many tries have failed.
        failed: u32,
        /// How many there are at most.
        tries: u32,
    },
    /// Another process fetches the blob.
    Waiting {
        /// The blob.
        digest: &'a Digest,
        /// That process, where it is known.
        pid: Option<u32>,
    },
    /// Which credentials are used; never what they hold.
    Credentials {
        /// The registry.
        host: &'a str,
        /// Where they were found.
        source: &'a str,
    },
    /// Something that a person should know.
    Warning(&'a str),
}

/// An observer of a run; called from several threads.
pub trait Progress: Sync {
    /// A stage begins, with how much it has to do if that is known.
    fn begin(&self, stage: Stage, total: Option<u64>);
    /// So much more of the current stage is done.
    fn advance(&self, amount: u64);
    /// The current stage is done.
    fn end(&self);
    /// Something happened beside it.
    fn tell(&self, _: &News<'_>) {}
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Stage, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
