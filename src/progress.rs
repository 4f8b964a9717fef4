//! Progress of a run, reported to an observer.

use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::digest::Digest;

/// The stages of a build, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// Opening the image: manifest and config; reading an archive.
    Open,
    /// Fetching layers into the cache and hashing them. Counts compressed bytes.
    Fetch,
    /// Decompressing and checking layers, and applying them to the tree. Counts compressed bytes.
    Layers,
    /// Computing the size.
    Plan,
    /// Writing the tree to the work directory. Counts inodes.
    Stage,
    /// `mkfs.ext4`. Counts bytes that the file takes.
    Mkfs,
    /// Checking the inode numbers and running `debugfs`.
    Debugfs,
    /// Writing the filesystem with the direct engine, instead of the previous three stages. Counts inodes.
    Write,
    /// Reading the filesystem and comparing it with the tree. Counts inodes.
    Verify,
    /// `e2fsck -fn`.
    Fsck,
    /// Hashing the tree and the finished file.
    Digest,
    /// Copying a finished filesystem from or to the cache. Counts bytes.
    Copy,
    /// Pushing or pulling a finished filesystem. Counts bytes.
    Transfer,
    /// Hashing the blocks for dm-verity. Counts blocks.
    Verity,
    /// Converting the filesystem to the format of the output, and reading it back. Counts bytes.
    Convert,
    /// Syncing and renaming.
    Publish,
    /// Hashing the blobs of the cache. Counts bytes.
    Cache,
}

impl Stage {
    /// Returns true if the amount of work is a number of bytes, and false if it is one of inodes.
    #[must_use]
    pub fn counts_bytes(self) -> bool {
        matches!(
            self,
            Self::Fetch | Self::Layers | Self::Mkfs | Self::Cache | Self::Copy | Self::Transfer | Self::Convert
        )
    }

    /// Returns the description of the stage.
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
            Self::Copy => "copying",
            Self::Transfer => "transferring",
            Self::Verity => "hashing blocks",
            Self::Convert => "converting",
            Self::Publish => "publishing",
            Self::Cache => "hashing blobs",
        }
    }
}

/// An event other than a stage, such as a retry.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A blob is complete in the cache.
    Cached {
        /// The blob.
        digest: &'a Digest,
        /// The size in bytes.
        bytes: u64,
    },
    /// The transfer of a blob begins.
    Fetching {
        /// The blob.
        digest: &'a Digest,
        /// The size in bytes.
        bytes: u64,
    },
    /// A part of a blob is transferred; less than before after a restart.
    Progress {
        /// The blob.
        digest: &'a Digest,
        /// The number of bytes transferred so far.
        bytes: u64,
    },
    /// A blob is complete.
    Fetched {
        /// The blob.
        digest: &'a Digest,
        /// The size in bytes.
        bytes: u64,
    },
    /// A request failed and is retried.
    Retry {
        /// The failure, as in an error message.
        why: &'a str,
        /// The pause before the next attempt.
        wait: Duration,
        /// The number of failed attempts.
        failed: u32,
        /// The maximum number of attempts.
        tries: u32,
    },
    /// Another process is fetching the blob.
    Waiting {
        /// The blob.
        digest: &'a Digest,
        /// The number of that process, if it is known.
        pid: Option<u32>,
    },
    /// Another process is building the same filesystem.
    WaitingForBuild {
        /// The build key.
        key: &'a Digest,
        /// The number of that process, if it is known.
        pid: Option<u32>,
    },
    /// The source of the credentials in use, never their content.
    Credentials {
        /// The registry.
        host: &'a str,
        /// The place where they were found.
        source: &'a str,
    },
    /// A program that will be run.
    Tool {
        /// The name.
        name: &'a str,
        /// The path.
        path: &'a Path,
        /// The version that it reports, escaped.
        version: &'a str,
    },
    /// A warning for the user.
    Warning(&'a str),
    /// Information for a user who asked for details.
    Remark(&'a str),
}

/// An observer of a run; called from several threads.
pub trait Progress: Send + Sync {
    /// A stage begins, with its total amount of work if known.
    fn begin(&self, stage: Stage, total: Option<u64>);
    /// An amount of the current stage is done.
    fn advance(&self, amount: u64);
    /// The current stage is done.
    fn end(&self);
    /// An event occurred.
    fn event(&self, _: &Event<'_>) {}
}

/// An observer that ignores all progress.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: Stage, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}

/// The duration of a stage.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct StageSeconds {
    /// The stage.
    pub stage: Stage,
    /// The wall time.
    #[serde(serialize_with = "seconds")]
    pub seconds: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    serializer.serialize_f64(f64::from(milliseconds) / 1000.0)
}
