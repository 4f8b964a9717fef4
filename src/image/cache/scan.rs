//! Lists the files below `blobs`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Cache;
use super::built::disk_bytes;
use crate::calls;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};

/// The files below `blobs`.
#[derive(Debug, Default)]
pub(super) struct BlobDir {
    /// The regular files whose name is a digest, in order.
    pub blobs: Vec<BlobFile>,
    /// The files that the cache did not write.
    pub foreign_files: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct BlobFile {
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
    /// The bytes that it takes on disk.
    pub disk: u64,
    pub used: SystemTime,
}

impl Cache {
    pub(super) fn blob_files(&self) -> Result<BlobDir> {
        let mut found = BlobDir::default();
        for path in children(&self.blobs())? {
            let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            let name = path.file_name().and_then(OsStr::to_str);
            match Algorithm::ALL.into_iter().find(|algorithm| is_directory && name == Some(algorithm.name())) {
                Some(algorithm) => found.add(algorithm, &path)?,
                None => found.foreign_files.push(path),
            }
        }
        found.blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        found.foreign_files.sort();
        Ok(found)
    }
}

impl BlobDir {
    fn add(&mut self, algorithm: Algorithm, directory: &Path) -> Result<()> {
        for path in children(directory)? {
            let metadata = match path.symlink_metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("examine", path)(error)),
            };
            let digest = path.file_name().and_then(OsStr::to_str);
            let digest = digest.and_then(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
            match digest.filter(|_| metadata.is_file()) {
                Some(digest) => {
                    let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    self.blobs.push(BlobFile { digest, size: metadata.len(), disk: disk_bytes(&metadata), used });
                }
                None => self.foreign_files.push(path),
            }
        }
        Ok(())
    }
}

/// Returns the paths in a directory; none if it does not exist.
pub(super) fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    match calls::paths_in(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        paths => paths.map_err(Error::io("read", directory)),
    }
}
