//! Removing what is not needed. Whoever uses a blob meanwhile keeps it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Cache;
use super::index::Index;
use super::layout::open;
use super::lock::{Taken, take};
use super::stock::{Stored, children};
use crate::digest::Digest;
use crate::error::{CacheProblem, Error, ErrorKind, Result};

/// What another process left is only swept in passing when it is as old as this.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// What may go. Without a bound: the blobs that no image of the index needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// The least recently used blobs go until so many bytes are left.
    pub keep_bytes: Option<u64>,
    /// The blobs go that were not used for so long.
    pub older_than: Option<Duration>,
    /// Nothing is removed.
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The blobs, in the order in which they went.
    pub blobs: Vec<PrunedBlob>,
    /// The names of images whose manifest is not there.
    pub references: Vec<String>,
    /// How many unfinished blobs of processes that are gone.
    pub leftovers: usize,
    /// The bytes of all that.
    pub bytes: u64,
    /// How many blobs were to go and are in use.
    pub in_use: usize,
    /// How many blobs stay.
    pub kept: usize,
    /// The bytes of those.
    pub kept_bytes: u64,
}

/// A blob that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedBlob {
    /// Its name.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: u64,
}

enum Removal {
    Gone(u64),
    InUse,
    Stays,
}

impl Cache {
    /// Removes what killed processes left, and the blobs that `options` say. Names of images whose manifest is not there
    /// go with it.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or not safely. The index is damaged: what images need cannot be known.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned> {
        if !self.directory.try_exists().map_err(Error::io("examine", &self.directory))? {
            return Ok(Pruned::default());
        }
        // No image gets a name between the look at the names and the end.
        let _lock = if options.dry_run {
            None
        } else {
            self.make_writable()?;
            self.lock_index()?
        };
        let index = self.index()?;
        let mut pruned = Pruned::default();
        self.prune_blobs(index.as_ref(), options, &mut pruned)?;
        self.prune_names(index, options, &mut pruned)?;
        for path in children(&self.partials())? {
            if let Removal::Gone(bytes) = discard(&path, options.dry_run, Unlockable::Stays)? {
                pruned.leftovers += 1;
                pruned.bytes += bytes;
            }
        }
        for path in children(&self.locks())? {
            discard(&path, options.dry_run, Unlockable::Stays)?;
        }
        Ok(pruned)
    }

    fn prune_blobs(&self, index: Option<&Index>, options: &PruneOptions, pruned: &mut Pruned) -> Result<()> {
        let mut blobs = self.stock()?.blobs;
        blobs.sort_by_key(|blob| blob.used);
        let mut left: u64 = blobs.iter().map(|blob| blob.size).sum();
        let bounded = options.keep_bytes.is_some() || options.older_than.is_some();
        let needed = if bounded { BTreeSet::new() } else { self.needed(index)? };
        let now = SystemTime::now();
        for Stored { digest, size, used } in blobs {
            let goes = if bounded {
                let age = now.duration_since(used).unwrap_or_default();
                options.older_than.is_some_and(|bound| age > bound)
                    || options.keep_bytes.is_some_and(|keep| left > keep)
            } else {
                !needed.contains(&digest)
            };
            let removal = if goes {
                discard(&self.blob_path(&digest), options.dry_run, Unlockable::Goes)?
            } else {
                Removal::Stays
            };
            if let Removal::Gone(_) = removal {
                left -= size;
                pruned.bytes += size;
                pruned.blobs.push(PrunedBlob { digest, bytes: size });
            } else {
                pruned.in_use += usize::from(matches!(removal, Removal::InUse));
                pruned.kept += 1;
                pruned.kept_bytes += size;
            }
        }
        Ok(())
    }

    fn needed(&self, index: Option<&Index>) -> Result<BTreeSet<Digest>> {
        let mut needed = BTreeSet::new();
        for named in index.into_iter().flat_map(Index::named) {
            needed.extend(self.needs(&named.entry)?.into_keys());
        }
        Ok(needed)
    }

    fn prune_names(&self, index: Option<Index>, options: &PruneOptions, pruned: &mut Pruned) -> Result<()> {
        let Some(mut index) = index else { return Ok(()) };
        let going: BTreeSet<_> = pruned.blobs.iter().map(|blob| &blob.digest).collect();
        let stays = |digest: &Digest, size| self.has(digest, size) && !going.contains(digest);
        let gone: Vec<_> = index.named().filter(|named| !stays(&named.entry.digest, named.entry.size)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        index.retain(|named| stays(&named.entry.digest, named.entry.size));
        pruned.references = gone.into_iter().filter_map(|named| named.reference).collect();
        if options.dry_run { Ok(()) } else { self.write_index(&index) }
    }

    /// Removes what processes left that died long ago, on the way to something else.
    pub(super) fn sweep_old(&self) {
        for path in children(&self.partials()).unwrap_or_default() {
            let age = path.symlink_metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > OLD) {
                // Another process may do the same; a failure leaves it for later.
                let _ = discard(&path, false, Unlockable::Goes);
            }
        }
    }
}

/// What becomes of a file where the system has no locks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unlockable {
    /// Someone may be writing it.
    Stays,
    /// Whoever reads it has it open.
    Goes,
}

/// Removes a file, unless someone holds its lock.
fn discard(path: &Path, dry_run: bool, unlockable: Unlockable) -> Result<Removal> {
    let (file, metadata) = match open(path) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(Removal::Gone(0)),
        Err(error) if is_stranger(&error) => return Ok(Removal::Stays),
        Err(error) => return Err(error),
    };
    match take(&file, path) {
        Taken::Busy => return Ok(Removal::InUse),
        Taken::Unsupported if unlockable == Unlockable::Stays => return Ok(Removal::Stays),
        Taken::Yes | Taken::Unsupported => {}
    }
    if !dry_run {
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(Removal::Gone(metadata.len()))
}

fn is_stranger(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Cache { problem: CacheProblem::NotRegular, .. })
}
