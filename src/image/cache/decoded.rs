//! Decoded layers: the uncompressed tar streams, each under its diff ID, which is the digest of its bytes.

use std::fs::File;
use std::path::PathBuf;

use super::Cache;
use super::blob::mark_used;
use super::check::hash;
use super::derived::{Derived, block_bytes};
use super::file::open;
use super::prune::is_stranger;
use super::temporary::TempBlob;
use crate::cancel::Cancel;
use crate::copy::{OpenFile, copy};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::progress::{NoProgress, Progress};
use crate::read_at::FileSlice;

impl Cache {
    pub(crate) fn decoded_path(&self, diff_id: &Digest) -> PathBuf {
        self.derived_path(Derived::Decoded, diff_id)
    }

    /// Returns true if there is a decoded layer of this diff ID.
    pub(crate) fn has_decoded(&self, diff_id: &Digest) -> bool {
        Self::is_own(&self.derived_directory(Derived::Decoded))
            && self.decoded_path(diff_id).symlink_metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// Returns a decoded layer, and marks it as used. Its bytes are not verified: the reader hashes them.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is not a regular file.
    pub(crate) fn decoded(&self, diff_id: &Digest) -> Result<Option<FileSlice>> {
        let path = self.decoded_path(diff_id);
        let opened = if Self::is_own(&self.derived_directory(Derived::Decoded)) { open(&path)? } else { None };
        let Some((file, _)) = opened else { return Ok(None) };
        mark_used(&file);
        FileSlice::whole(file).map(Some).map_err(Error::io("read", path))
    }

    /// Removes a decoded layer that is damaged.
    pub(crate) fn forget_decoded(&self, diff_id: &Digest) {
        // It is replaced when the layer was decoded.
        let _ = std::fs::remove_file(self.decoded_path(diff_id));
    }

    /// Keeps a copy of a decoded layer, whose bytes were verified, and removes the least recently used ones until all
    /// take at most `bytes_max` on disk. Returns false if this one takes more, or half of what is free.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or other users can write it; the run was cancelled.
    pub(crate) fn keep_decoded(
        &self,
        diff_id: &Digest,
        stream: &File,
        bytes_max: u64,
        cancel: &Cancel,
    ) -> Result<bool> {
        let target = self.decoded_path(diff_id);
        let bytes = block_bytes(&stream.metadata().map_err(Error::io("examine", &target))?);
        if bytes > bytes_max {
            return Ok(false);
        }
        self.make_own(&self.derived_directory(Derived::Decoded))?;
        self.sweep_old();
        let draft = TempBlob::new(&self.partials(), "layer-")?;
        let free =
            rustix::fs::fstatvfs(draft.file()).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        if bytes > free / 2 {
            return Ok(false);
        }
        let to = OpenFile { file: draft.file(), path: draft.path() };
        copy(OpenFile { file: stream, path: &target }, to, &NoProgress, cancel)?;
        let taken = draft.file().metadata().map_err(Error::io("examine", draft.path()))?;
        if block_bytes(&taken) > bytes_max {
            return Ok(false);
        }
        draft.publish_unsynced(&target)?;
        self.trim_derived(Derived::Decoded, bytes_max, diff_id)?;
        Ok(true)
    }

    /// Hashes the decoded layers, and returns the paths of those that are damaged.
    pub(super) fn damaged_decoded(&self, progress: &dyn Progress, cancel: &Cancel) -> Result<Vec<PathBuf>> {
        let mut damaged = Vec::new();
        for layer in self.derived_files(Derived::Decoded)?.named {
            let path = self.decoded_path(&layer.diff_id);
            let file = match open(&path) {
                Err(error) if is_stranger(&error) => continue,
                // Another process may have removed it meanwhile.
                opened => match opened? {
                    Some((file, _)) => FileSlice::whole(file).map_err(Error::io("read", &path))?,
                    None => continue,
                },
            };
            let algorithm = layer.diff_id.algorithm();
            if hash(&file, &path, algorithm, cancel, &|count| progress.advance(count))? != layer.diff_id {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }
}
