//! Files made from layers, by diff ID: their listings below `listings`, and their decoded streams below `layers`.
//!
//! Nothing here is synced: what a power failure damages is found by its digest, and made again.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::Cache;
use super::layout::flat_name;
use super::prune::{Removal, WithoutLocks, discard};
use super::scan::children;
use crate::digest::Digest;
use crate::error::Result;

/// The kinds of files made from layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Derived {
    Listing,
    Decoded,
}

/// A listing or a decoded stream of a layer in a cache, as in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedLayer {
    /// The diff ID of the layer.
    pub diff_id: Digest,
    /// The bytes that it takes on disk.
    pub bytes: u64,
    /// The time of its last use.
    pub used: SystemTime,
}

/// The files of one kind.
#[derive(Debug, Default)]
pub(super) struct DerivedFiles {
    pub named: Vec<CachedLayer>,
    /// The files whose name is that of no layer.
    pub strangers: Vec<PathBuf>,
}

impl Derived {
    pub const ALL: [Self; 2] = [Self::Listing, Self::Decoded];

    fn directory_name(self) -> &'static str {
        match self {
            Self::Listing => "listings",
            Self::Decoded => "layers",
        }
    }
}

/// Returns the bytes that a file takes on disk, in whole blocks.
pub(super) fn block_bytes(metadata: &Metadata) -> u64 {
    metadata.blocks().saturating_mul(512)
}

impl Cache {
    pub(super) fn derived_directory(&self, kind: Derived) -> PathBuf {
        self.directory.join(kind.directory_name())
    }

    pub(super) fn derived_path(&self, kind: Derived, diff_id: &Digest) -> PathBuf {
        self.derived_directory(kind).join(flat_name(diff_id))
    }

    /// Returns the listings of layers, by diff ID.
    ///
    /// # Errors
    ///
    /// The directory is no cache, or cannot be read.
    pub fn listings(&self) -> Result<Vec<CachedLayer>> {
        self.derived(Derived::Listing)
    }

    /// Returns the decoded layers, by diff ID.
    ///
    /// # Errors
    ///
    /// The directory is no cache, or cannot be read.
    pub fn decoded_layers(&self) -> Result<Vec<CachedLayer>> {
        self.derived(Derived::Decoded)
    }

    fn derived(&self, kind: Derived) -> Result<Vec<CachedLayer>> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        Ok(self.derived_files(kind)?.named)
    }

    pub(super) fn derived_files(&self, kind: Derived) -> Result<DerivedFiles> {
        let mut found = DerivedFiles::default();
        for path in children(&self.derived_directory(kind))? {
            let diff_id = path.file_name().and_then(OsStr::to_str).and_then(|name| name.split_once('-'));
            let diff_id = diff_id.and_then(|(algorithm, hex)| format!("{algorithm}:{hex}").parse().ok());
            match (diff_id, path.symlink_metadata()) {
                (Some(diff_id), Ok(metadata)) if metadata.is_file() => {
                    let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.named.push(CachedLayer { diff_id, bytes: block_bytes(&metadata), used });
                }
                (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
                _ => found.strangers.push(path),
            }
        }
        found.named.sort_by(|a, b| a.diff_id.cmp(&b.diff_id));
        found.strangers.sort();
        Ok(found)
    }

    /// Removes the least recently used files of a kind until the rest takes at most `bytes_max` on disk; `last` stays.
    pub(super) fn trim_derived(&self, kind: Derived, bytes_max: u64, last: &Digest) -> Result<()> {
        let mut all = self.derived_files(kind)?.named;
        all.sort_by_key(|file| file.used);
        let mut left: u64 = all.iter().map(|file| file.bytes).sum();
        for file in all.iter().filter(|file| file.diff_id != *last) {
            if left <= bytes_max {
                break;
            }
            if let Removal::Gone(_) = discard(&self.derived_path(kind, &file.diff_id), false, WithoutLocks::Remove)? {
                left -= file.bytes;
            }
        }
        Ok(())
    }
}
