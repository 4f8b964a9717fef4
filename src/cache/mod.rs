//! Content-addressed blobs that came from registries: an OCI layout that other tools can read.
//!
//! Before the source in the line. A blob has its name here only when it is complete, its size and digest checked, synced
//! and renamed; whoever reads it hashes it again. Knows nothing about where a blob comes from.
//!
//! Beside the layout stand two directories of ours. `locks` holds a file for each blob that is being fetched; its lock
//! counts, not its existence. `partial` holds what is being written; it is locked as long as its writer lives. A blob in
//! use has a shared lock, so that pruning leaves it. Where the system has no locks, everyone fetches for itself, and the
//! rename stays right.

mod blob;
mod check;
mod draft;
mod index;
mod layout;
mod list;
mod lock;
mod need;
mod partial;
mod prune;
mod reserve;
mod stock;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::blob::{Found, Kept};
pub use self::check::{Checked, DamagedBlob};
pub use self::index::Entry;
pub use self::list::Listed;
pub use self::partial::{Mismatch, Partial};
pub use self::prune::{PruneOptions, Pruned, PrunedBlob};
pub use self::reserve::{Reserved, Waiting};

/// How long a process that fetches a blob may go without progress before others stop waiting for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cache of blobs in a directory. Cheap to clone; nothing is made or written before something is to be kept.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    patience: Duration,
}

impl Cache {
    /// Returns the cache in a directory, which need not exist.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), patience: PATIENCE }
    }

    /// Sets how long a process that fetches a blob may go without progress before others stop waiting for it.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns the directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

#[cfg(test)]
mod tests;
