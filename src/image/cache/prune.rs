//! Removes blobs that are not needed. Blobs in use are kept.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Cache;
use super::derived::{CachedLayer, Derived};
use super::file::open;
use super::file::{TryLock, take};
use super::index::{INDEX, Index};
use super::scan::{BlobFile, children};
use crate::digest::Digest;
use crate::error::{CacheProblem, Error, ErrorKind, Result};

/// The age from which on files of killed processes are swept during other work.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// The blobs to remove: by default those that no image of the index needs and that are no finished filesystem. Listings
/// of layers and decoded layers are treated like blobs, and nothing needs them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// The number of bytes to keep: the least recently used blobs are removed until the rest fits.
    pub keep_bytes: Option<u64>,
    /// The time without use after which a blob is removed.
    pub older_than: Option<Duration>,
    /// True if nothing is removed, only reported.
    pub dry_run: bool,
}

/// The files that were removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// The blobs, in the order of removal.
    pub blobs: Vec<RemovedBlob>,
    /// The references of images whose manifest is missing.
    pub references: Vec<String>,
    /// The build keys of finished filesystems that are gone; the filesystems are among the blobs.
    pub filesystems: Vec<Digest>,
    /// The diff IDs of layers whose listings are gone.
    pub listings: Vec<Digest>,
    /// The diff IDs of the decoded layers that are gone.
    pub decoded_layers: Vec<Digest>,
    /// The number of partial blobs left by killed processes, and of damaged records.
    pub leftovers: usize,
    /// The size of everything removed, in bytes on disk.
    pub bytes: u64,
    /// The number of blobs that were kept because they are in use.
    pub in_use: usize,
    /// The number of blobs kept.
    pub kept: usize,
    /// The size of the blobs kept, in bytes on disk.
    pub kept_bytes: u64,
}

/// A removed blob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemovedBlob {
    /// The digest.
    pub digest: Digest,
    /// The size in bytes on disk.
    pub bytes: u64,
}

/// A blob, or a file made from a layer.
struct PrunableFile {
    /// The digest, or the diff ID of the layer.
    digest: Digest,
    bytes: u64,
    used: SystemTime,
    derived: Option<Derived>,
}

pub(super) enum Removal {
    Gone(u64),
    InUse,
    Stays,
}

impl Cache {
    /// Removes files of killed processes and the blobs selected by `options`, with references of images whose manifest
    /// is missing.
    ///
    /// # Errors
    ///
    /// The directory is no cache, or cannot be written, or not safely. The index is damaged: what images need cannot be
    /// known.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        if !self.is_there()? {
            return Ok(PruneReport::default());
        }
        // No reference is added between reading the index and the end.
        let _lock = if options.dry_run {
            None
        } else {
            self.make_writable()?;
            self.lock_index()?
        };
        let index = self.index()?;
        let mut pruned = PruneReport::default();
        self.prune_blobs(index.as_ref(), options, &mut pruned)?;
        self.prune_names(index, options, &mut pruned)?;
        self.prune_records(options, &mut pruned)?;
        for path in children(&self.partials())? {
            if let Removal::Gone(bytes) = discard(&path, options.dry_run, WithoutLocks::Keep)? {
                pruned.leftovers += 1;
                pruned.bytes += bytes;
            }
        }
        for path in children(&self.locks())? {
            discard(&path, options.dry_run, WithoutLocks::Keep)?;
        }
        Ok(pruned)
    }

    fn prune_blobs(&self, index: Option<&Index>, options: &PruneOptions, pruned: &mut PruneReport) -> Result<()> {
        let mut files = self.prunable()?;
        files.sort_by_key(|file| file.used);
        let mut left: u64 = files.iter().map(|file| file.bytes).sum();
        let bounded = options.keep_bytes.is_some() || options.older_than.is_some();
        let needed = if bounded { BTreeSet::new() } else { self.needed(index)? };
        let now = SystemTime::now();
        for PrunableFile { digest, bytes: size, used, derived } in files {
            let goes = if bounded {
                let age = now.duration_since(used).unwrap_or_default();
                options.older_than.is_some_and(|bound| age > bound)
                    || options.keep_bytes.is_some_and(|keep| left > keep)
            } else {
                derived.is_some() || !needed.contains(&digest)
            };
            let removal = if goes {
                let path = derived.map_or_else(|| self.blob_path(&digest), |kind| self.derived_path(kind, &digest));
                discard(&path, options.dry_run, WithoutLocks::Remove)?
            } else {
                Removal::Stays
            };
            match removal {
                Removal::Gone(_) => {
                    left -= size;
                    pruned.bytes += size;
                    match derived {
                        None => pruned.blobs.push(RemovedBlob { digest, bytes: size }),
                        Some(Derived::Listing) => pruned.listings.push(digest),
                        Some(Derived::Decoded) => pruned.decoded_layers.push(digest),
                    }
                }
                Removal::InUse | Removal::Stays => {
                    pruned.in_use += usize::from(matches!(removal, Removal::InUse));
                    pruned.kept += usize::from(derived.is_none());
                    pruned.kept_bytes += size;
                }
            }
        }
        Ok(())
    }

    /// Returns the blobs, and the files made from layers.
    fn prunable(&self) -> Result<Vec<PrunableFile>> {
        let blobs = self.blob_files()?.blobs.into_iter();
        let blob = |BlobFile { digest, disk, used, .. }| PrunableFile { digest, bytes: disk, used, derived: None };
        let mut files: Vec<PrunableFile> = blobs.map(blob).collect();
        for kind in Derived::ALL {
            let layers = self.derived_files(kind)?.named.into_iter();
            files.extend(layers.map(|CachedLayer { diff_id: digest, bytes, used }| PrunableFile {
                digest,
                bytes,
                used,
                derived: Some(kind),
            }));
        }
        Ok(files)
    }

    fn needed(&self, index: Option<&Index>) -> Result<BTreeSet<Digest>> {
        let mut needed = BTreeSet::new();
        for named in index.into_iter().flat_map(Index::named) {
            needed.extend(self.needs(&named.entry)?.into_keys());
        }
        needed.extend(self.records()?.whole.into_iter().map(|built| built.digest));
        Ok(needed)
    }

    fn prune_names(&self, index: Option<Index>, options: &PruneOptions, pruned: &mut PruneReport) -> Result<()> {
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

    /// Removes records of filesystems that are not there, and files that are no record and made from no layer.
    fn prune_records(&self, options: &PruneOptions, pruned: &mut PruneReport) -> Result<()> {
        let records = self.records()?;
        let going: BTreeSet<_> = pruned.blobs.iter().map(|blob| &blob.digest).collect();
        for built in records.whole {
            if built.bytes.is_none() || going.contains(&built.digest) {
                if !options.dry_run {
                    self.forget_built(&built.key);
                }
                pruned.filesystems.push(built.key);
            }
        }
        let mut strangers = [records.damaged, records.stale].concat();
        for kind in Derived::ALL {
            strangers.extend(self.derived_files(kind)?.strangers);
        }
        for path in strangers {
            if let Removal::Gone(bytes) = discard(&path, options.dry_run, WithoutLocks::Remove)? {
                pruned.leftovers += 1;
                pruned.bytes += bytes;
            }
        }
        Ok(())
    }

    /// Removes indexes that killed processes have not finished. The caller holds the lock of the index, so that nobody else
    /// begins one.
    pub(super) fn sweep_indexes(&self) {
        let is_index = |path: &Path| {
            path.file_name()
                .and_then(|name| name.to_str()?.strip_prefix(INDEX))
                .is_some_and(|rest| rest.starts_with('-'))
        };
        for path in children(&self.partials()).unwrap_or_default().into_iter().filter(|path| is_index(path)) {
            // What cannot be removed now is removed by the next sweep.
            let _ = discard(&path, false, WithoutLocks::Keep);
        }
    }

    /// Removes files of processes killed long ago, during other work.
    pub(super) fn sweep_old(&self) {
        for path in children(&self.partials()).unwrap_or_default() {
            let age = path.symlink_metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > OLD) {
                // Another process may do the same; the next sweep retries after a failure.
                let _ = discard(&path, false, WithoutLocks::Remove);
            }
        }
    }
}

/// The treatment of a file on a filesystem without locks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WithoutLocks {
    /// Kept, because another process may be writing it.
    Keep,
    /// Removed: a reader has it open.
    Remove,
}

/// Removes a file unless another process holds its lock.
pub(super) fn discard(path: &Path, dry_run: bool, unlockable: WithoutLocks) -> Result<Removal> {
    let (file, metadata) = match open(path) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(Removal::Gone(0)),
        Err(error) if is_stranger(&error) => return Ok(Removal::Stays),
        Err(error) => return Err(error),
    };
    match take(&file, path) {
        TryLock::Busy => return Ok(Removal::InUse),
        TryLock::Unsupported if unlockable == WithoutLocks::Keep => return Ok(Removal::Stays),
        TryLock::Acquired | TryLock::Unsupported => {}
    }
    if !dry_run {
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(Removal::Gone(metadata.len()))
}

pub(super) fn is_stranger(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Cache { problem: CacheProblem::NotRegular, .. })
}
