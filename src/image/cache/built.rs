//! Finished filesystems by build key: a record below `built`, and the filesystem as a blob under its digest.
//!
//! A record has a line of JSON, [`Header`], one with the contents of the filesystem, and the report of the build. Nothing here is synced: what a power failure
//! damages is found by its digest, and built again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Cache;
use super::blob::mark_used;
use super::file::open;
use super::prune::{Removal, WithoutLocks, discard, is_stranger};
use super::scan::children;
use super::temporary::TempBlob;
use crate::cancel::Cancel;
use crate::copy::{Contents, OpenFile, copy_and_list, list};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

/// The version of a record's form.
const FORMAT: u32 = 2;
/// The largest record; a report with more notes, or a filesystem with more chunks, is not kept.
const RECORD_MAX: u64 = 16 << 20;

/// The first line of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    format: u32,
    key: Digest,
    /// The image's reference at the time of the build, escaped.
    name: String,
    /// The digest of the filesystem.
    digest: Digest,
    /// The digest of the rest of the record.
    rest: Digest,
}

/// The version in a header.
#[derive(Debug, Deserialize)]
struct Version {
    format: u32,
}

/// A file below `built`, as it was read.
enum RecordFile {
    Whole(Box<Record>),
    /// It is of another version of planish.
    OtherVersion,
    Damaged,
}

/// A whole record.
struct Record {
    header: Header,
    contents: Contents,
    report: Vec<u8>,
}

/// A finished filesystem, whose bytes are not verified yet.
#[derive(Debug)]
pub(crate) struct BuiltFile {
    /// The filesystem.
    pub file: File,
    /// Its path, for messages.
    pub path: PathBuf,
    /// The contents that it must have, which have the digest.
    pub contents: Contents,
    /// The digest that it must have.
    pub digest: Digest,
    /// The report of its build, as JSON.
    pub report: Vec<u8>,
}

/// The record of a build key.
#[derive(Debug)]
pub(crate) enum BuiltRecord {
    /// There is none, or its filesystem is missing.
    Missing,
    /// The file at this path is no record of the key.
    Damaged(PathBuf),
    /// The filesystem.
    Found(BuiltFile),
}

/// A filesystem to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewBuilt<'a> {
    pub key: &'a Digest,
    /// The image's reference, escaped.
    pub name: &'a str,
    pub filesystem: OpenFile<'a>,
    /// The digest of the filesystem.
    pub digest: &'a Digest,
    pub report: &'a [u8],
    /// The number of threads that copy it.
    pub jobs: usize,
}

/// A finished filesystem of a cache, as in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedFilesystem {
    /// The build key.
    pub key: Digest,
    /// The reference of the image that it was built from, escaped.
    pub name: String,
    /// The digest of the filesystem.
    pub digest: Digest,
    /// The bytes that it takes on disk; `None` if it is missing.
    pub bytes: Option<u64>,
    /// The time of its last use.
    pub used: Option<SystemTime>,
}

/// The records of a cache.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub whole: Vec<CachedFilesystem>,
    /// The files that are no record.
    pub damaged: Vec<PathBuf>,
    /// The records of other versions.
    pub stale: Vec<PathBuf>,
}

/// Returns the bytes that a file takes on disk, at most its length: a filesystem is sparse.
pub(super) fn disk_bytes(metadata: &std::fs::Metadata) -> u64 {
    metadata.len().min(metadata.blocks().saturating_mul(512))
}

impl Cache {
    pub(super) fn built_directory(&self) -> PathBuf {
        self.directory.join("built")
    }

    fn record_path(&self, key: &Digest) -> PathBuf {
        self.built_directory().join(key.hex())
    }

    pub(super) fn build_lock_path(&self, key: &Digest) -> PathBuf {
        self.locks().join(format!("built-{}", key.hex()))
    }

    /// Returns the filesystem of a build key, and marks it as used.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not a regular file.
    pub(crate) fn built(&self, key: &Digest) -> Result<BuiltRecord> {
        let path = self.record_path(key);
        let opened = if Self::is_own(&self.built_directory()) { open(&path)? } else { None };
        let Some((record, _)) = opened else { return Ok(BuiltRecord::Missing) };
        let record = match read_record(record, &path)? {
            RecordFile::Whole(record) if record.header.key == *key => record,
            RecordFile::OtherVersion => return Ok(BuiltRecord::Missing),
            RecordFile::Whole(_) | RecordFile::Damaged => return Ok(BuiltRecord::Damaged(path)),
        };
        let Record { header: Header { digest, .. }, contents, report } = *record;
        let path = self.blob_path(&digest);
        let Some((file, _)) = open(&path)? else { return Ok(BuiltRecord::Missing) };
        mark_used(&file);
        Ok(BuiltRecord::Found(BuiltFile { file, path, contents, digest, report }))
    }

    /// Removes the record of a build key, which is damaged, or its filesystem.
    pub(crate) fn forget_built(&self, key: &Digest) {
        // The next build replaces it anyway.
        let _ = std::fs::remove_file(self.record_path(key));
    }

    /// Removes a filesystem that is damaged.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub(crate) fn drop_damaged(&self, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Keeps a filesystem, and removes the least recently used ones until all take at most `bytes_max` on disk. Returns
    /// false if this one is too large, or half of what is free, or its report.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or other users can write it; the run was cancelled.
    pub(crate) fn keep_built(
        &self,
        new: NewBuilt<'_>,
        bytes_max: u64,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<bool> {
        let metadata = new.filesystem.file.metadata().map_err(Error::io("examine", new.filesystem.path))?;
        let bytes = disk_bytes(&metadata);
        if bytes > bytes_max {
            return Ok(false);
        }
        self.make_own(&self.built_directory())?;
        self.sweep_old();
        let target = self.blob_path(new.digest);
        let contents = if self.has(new.digest, metadata.len()) {
            list(new.filesystem, new.jobs, progress, cancel)?
        } else {
            let draft = TempBlob::new(&self.partials(), "built-")?;
            let free =
                rustix::fs::fstatvfs(draft.file()).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
            if bytes > free / 2 {
                return Ok(false);
            }
            let copy = OpenFile { file: draft.file(), path: draft.path() };
            let contents = copy_and_list(new.filesystem, copy, new.jobs, progress, cancel)?;
            draft.publish_unsynced(&target)?;
            contents
        };
        let mut rest =
            serde_json::to_vec(&contents).map_err(|_| ErrorKind::Bug("contents cannot be written as JSON"))?;
        rest.push(b'\n');
        rest.extend(new.report);
        if rest.len() as u64 > RECORD_MAX / 2 {
            return Ok(false);
        }
        let header = Header {
            format: FORMAT,
            key: new.key.clone(),
            name: new.name.to_owned(),
            digest: new.digest.clone(),
            rest: Digest::of(Algorithm::Sha256, &rest),
        };
        let head = serde_json::to_string(&header).map_err(|_| ErrorKind::Bug("a record cannot be written as JSON"))?;
        let draft = TempBlob::new(&self.partials(), "record-")?;
        draft.write_at(0, &[head.as_bytes(), b"\n", &rest].concat())?;
        draft.publish_unsynced(&self.record_path(new.key))?;
        self.trim_built(bytes_max, new.digest)?;
        Ok(true)
    }

    /// Removes the least recently used filesystems until the rest takes at most `bytes_max`; `last` stays.
    fn trim_built(&self, bytes_max: u64, last: &Digest) -> Result<()> {
        let mut all = self.records()?.whole;
        all.sort_by_key(|built| built.used);
        let mut blobs: Vec<(Digest, u64)> = Vec::new();
        for built in &all {
            if let Some(bytes) = built.bytes
                && !blobs.iter().any(|(digest, _)| *digest == built.digest)
            {
                blobs.push((built.digest.clone(), bytes));
            }
        }
        let mut left: u64 = blobs.iter().map(|(_, bytes)| bytes).sum();
        for (digest, bytes) in blobs.iter().filter(|(digest, _)| digest != last) {
            if left <= bytes_max {
                break;
            }
            if let Removal::Gone(_) = discard(&self.blob_path(digest), false, WithoutLocks::Remove)? {
                left -= bytes;
                all.iter().filter(|built| built.digest == *digest).for_each(|built| self.forget_built(&built.key));
            }
        }
        Ok(())
    }

    /// Returns the finished filesystems, by key.
    ///
    /// # Errors
    ///
    /// The directory is no cache; a file cannot be read.
    pub fn filesystems(&self) -> Result<Vec<CachedFilesystem>> {
        if !self.is_there()? {
            return Ok(Vec::new());
        }
        Ok(self.records()?.whole)
    }

    /// Reads all records.
    pub(super) fn records(&self) -> Result<Records> {
        let mut records = Records::default();
        for path in children(&self.built_directory())? {
            let named = path.file_name().and_then(OsStr::to_str).map(str::to_owned);
            let record = match open(&path) {
                Err(error) if is_stranger(&error) => None,
                opened => opened?.map(|(file, _)| read_record(file, &path)).transpose()?,
            };
            match record {
                Some(RecordFile::Whole(record)) if named.as_deref() == Some(record.header.key.hex()) => {
                    let header = record.header;
                    let metadata =
                        self.blob_path(&header.digest).symlink_metadata().ok().filter(std::fs::Metadata::is_file);
                    records.whole.push(CachedFilesystem {
                        key: header.key,
                        name: header.name,
                        digest: header.digest,
                        bytes: metadata.as_ref().map(disk_bytes),
                        used: metadata.and_then(|metadata| metadata.modified().ok()),
                    });
                }
                Some(RecordFile::OtherVersion) => records.stale.push(path),
                _ => records.damaged.push(path),
            }
        }
        records.whole.sort_by(|a, b| a.key.cmp(&b.key));
        records.damaged.sort();
        Ok(records)
    }
}

fn read_record(file: File, path: &Path) -> Result<RecordFile> {
    let mut bytes = Vec::new();
    file.take(RECORD_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    let is_small = bytes.len() as u64 <= RECORD_MAX;
    Ok(is_small.then(|| parse_record(&bytes)).flatten().unwrap_or(RecordFile::Damaged))
}

/// Parses a record; `None` if it is damaged.
fn parse_record(bytes: &[u8]) -> Option<RecordFile> {
    let (head, rest) = split_line(bytes)?;
    if serde_json::from_slice::<Version>(head).ok()?.format != FORMAT {
        return Some(RecordFile::OtherVersion);
    }
    let header: Header = serde_json::from_slice(head).ok()?;
    if header.rest != Digest::of(Algorithm::Sha256, rest) {
        return None;
    }
    let (contents, report) = split_line(rest)?;
    let contents = serde_json::from_slice(contents).ok()?;
    Some(RecordFile::Whole(Box::new(Record { header, contents, report: report.to_vec() })))
}

/// Returns the first line, without its line feed, and the rest.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}
