//! A cache of content-addressed blobs from registries, in the form of an OCI layout that other tools can read.
//!
//! A blob has its final name only when it is complete, its size and digest are verified, and it is synced; readers hash
//! it again. The cache does not know where a blob comes from.
//!
//! The layout contains two further directories. `locks` has a file for each blob that is being fetched; the lock on the
//! file counts, not its existence. `partial` has the files that are being written, locked while their writer lives. A
//! blob in use has a shared lock, so that it is not pruned. If the filesystem has no locks, every process fetches for
//! itself, and the rename is still correct. `built` has a record for each finished filesystem, by build key; the filesystem
//! itself is a blob. `listings` has the listings of layers, by diff ID, and `layers` their decoded streams.

mod blob;
mod built;
mod check;
mod decoded;
mod derived;
mod file;
mod index;
mod layout;
mod list;
mod listing;
mod lock;
mod partial;
mod prune;
mod references;
mod reserve;
mod scan;
mod temporary;
mod trust;
mod turn;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::blob::{Lookup, SmallBlob};
pub use self::built::CachedFilesystem;
pub(crate) use self::built::{BuiltFile, BuiltRecord, NewBuilt};
pub use self::check::{CheckReport, CorruptBlob};
pub use self::derived::CachedLayer;
pub use self::index::IndexEntry;
pub use self::list::CachedImage;
pub(crate) use self::listing::{LISTING_BYTES_MAX, Listing, ListingLookup};
pub use self::partial::{Mismatch, Partial};
pub use self::prune::{PruneOptions, PruneReport, RemovedBlob};
pub use self::reserve::{LockHolder, Reservation};
pub use self::trust::OtherWriter;
pub(crate) use self::turn::{BuildLock, BuildTurn};

/// The time without progress after which a process that fetches a blob is no longer waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cache of blobs in a directory. It is cheap to clone; nothing is created before a blob is stored.
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

    /// Sets the time without progress after which a process that fetches a blob is no longer waited for.
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
