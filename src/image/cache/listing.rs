//! Listings of layers by diff ID, below `listings`: what a layer holds without the contents of its files.
//!
//! A listing has a line with the digest of the rest, a line of JSON, [`Header`], and a body, which only the stage of layers
//! knows.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Cache;
use super::blob::mark_used;
use super::derived::{Derived, block_bytes};
use super::file::{no_room, open};
use super::prune::is_stranger;
use super::temporary::TempBlob;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, ErrorKind, Result};

/// The default limit on the listings of a cache, in bytes on disk.
pub(crate) const LISTING_BYTES_MAX: u64 = 256 << 20;
/// The version of a listing's form. A listing of another version is made again.
const FORMAT: u32 = 1;
/// The length of the first line: a SHA-256 and a newline.
const DIGEST_LINE: usize = "sha256:".len() + 64 + 1;
/// The longest header.
const HEADER_MAX: usize = 1024;

/// The second line of a listing.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    format: u32,
    diff_id: Digest,
    /// The size of the layer's uncompressed stream in bytes.
    bytes: u64,
}

/// The listing of a layer, whose bytes are verified by [`Listing::verify`] after the body was read.
pub(crate) struct Listing {
    file: File,
    hasher: Hasher,
    expected: Digest,
    /// The size of the layer's uncompressed stream in bytes, if the listing is whole.
    pub bytes: u64,
}

/// The result of looking up a listing.
pub(crate) enum ListingLookup {
    /// There is none of this version.
    Missing,
    /// The file at this path is no listing of the layer.
    Damaged(PathBuf),
    /// The listing.
    Found(Box<Listing>),
}

impl Read for Listing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buf)?;
        self.hasher.update(&buf[..count]);
        Ok(count)
    }
}

impl Listing {
    /// Returns true if all bytes match the digest; reads those that are left.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn verify(mut self) -> io::Result<bool> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.finish() == self.expected)
    }

    /// Reads the first two lines; `None` if they are no header.
    fn open(mut file: File) -> io::Result<Option<(Self, Header)>> {
        let mut line = [0; DIGEST_LINE];
        let mut head = Vec::new();
        match file.read_exact(&mut line) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let mut byte = [0];
        while head.last() != Some(&b'\n') {
            if head.len() == HEADER_MAX || file.read(&mut byte)? == 0 {
                return Ok(None);
            }
            head.extend(byte);
        }
        let expected = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix('\n')?.parse::<Digest>().ok());
        let header = serde_json::from_slice::<Header>(&head).ok();
        let (Some(expected), Some(header)) = (expected, header) else { return Ok(None) };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&head);
        Ok(Some((Self { file, hasher, expected, bytes: header.bytes }, header)))
    }
}

/// A writer that hashes what it writes.
struct HashingWriter<'a> {
    draft: &'a TempBlob,
    offset: u64,
    /// The largest offset.
    max: u64,
    hasher: Hasher,
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.offset + bytes.len() as u64;
        if end > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.draft.file().write_all_at(bytes, self.offset)?;
        self.offset = end;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Cache {
    pub(crate) fn listing_path(&self, diff_id: &Digest) -> PathBuf {
        self.derived_path(Derived::Listing, diff_id)
    }

    /// Returns the listing of a layer, and marks it as used.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not a regular file.
    pub(crate) fn listing(&self, diff_id: &Digest) -> Result<ListingLookup> {
        let path = self.listing_path(diff_id);
        let opened = if Self::is_own(&self.derived_directory(Derived::Listing)) { open(&path)? } else { None };
        let Some((file, _)) = opened else { return Ok(ListingLookup::Missing) };
        mark_used(&file);
        match Listing::open(file).map_err(Error::io("read", &path))? {
            Some((_, header)) if header.format != FORMAT => Ok(ListingLookup::Missing),
            Some((listing, header)) if header.diff_id == *diff_id => Ok(ListingLookup::Found(Box::new(listing))),
            _ => Ok(ListingLookup::Damaged(path)),
        }
    }

    /// Keeps the listing of a layer whose uncompressed stream has `bytes` bytes, and removes the least recently used ones
    /// until all take at most `bytes_max` on disk. `write` writes the body.
    ///
    /// # Errors
    ///
    /// An error of `write`, whose writer fails after `bytes_max`; the cache cannot be written, or other users can write it.
    pub(crate) fn keep_listing(
        &self,
        diff_id: &Digest,
        bytes: u64,
        bytes_max: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let target = self.listing_path(diff_id);
        self.make_own(&self.derived_directory(Derived::Listing))?;
        self.sweep_old();
        let draft = TempBlob::new(&self.partials(), "listing-")?;
        let header = Header { format: FORMAT, diff_id: diff_id.clone(), bytes };
        let head = serde_json::to_string(&header).map_err(|_| ErrorKind::Bug("a header cannot be written as JSON"))?;
        let hasher = Hasher::new(Algorithm::Sha256);
        let mut out = HashingWriter { draft: &draft, offset: DIGEST_LINE as u64, max: bytes_max, hasher };
        writeln!(out, "{head}").map_err(|error| no_room(draft.path(), 0, error))?;
        write(&mut out)?;
        let digest = out.hasher.finish();
        draft.write_at(0, format!("{digest}\n").as_bytes())?;
        let taken = draft.file().metadata().map_err(Error::io("examine", draft.path()))?;
        if block_bytes(&taken) > bytes_max {
            return Err(no_room(draft.path(), taken.len(), io::ErrorKind::FileTooLarge.into()));
        }
        draft.publish_unsynced(&target)?;
        self.trim_derived(Derived::Listing, bytes_max, diff_id)
    }

    /// Hashes the listings, and returns the paths of those that are damaged.
    pub(super) fn damaged_listings(&self) -> Result<Vec<PathBuf>> {
        let mut damaged = Vec::new();
        for layer in self.derived_files(Derived::Listing)?.named {
            let path = self.listing_path(&layer.diff_id);
            if !is_whole(&path, &layer.diff_id)? {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }
}

fn is_whole(path: &Path, diff_id: &Digest) -> Result<bool> {
    let (file, _) = match open(path) {
        Err(error) if is_stranger(&error) => return Ok(false),
        // Another process may have removed it meanwhile.
        opened => match opened? {
            Some(opened) => opened,
            None => return Ok(true),
        },
    };
    let read = Error::io("read", path);
    let whole = Listing::open(file).and_then(|opened| match opened {
        Some((listing, header)) => Ok(header.diff_id == *diff_id && listing.verify()?),
        None => Ok(false),
    });
    whole.map_err(read)
}
