//! What lies below `blobs`.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Cache;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};

/// Everything below `blobs`.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// Regular files that are called as a digest, in the order of those.
    pub blobs: Vec<Stored>,
    /// What has no business there.
    pub strangers: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub digest: Digest,
    pub size: u64,
    pub used: SystemTime,
}

impl Cache {
    pub(super) fn stock(&self) -> Result<Stock> {
        let mut stock = Stock::default();
        for path in children(&self.blobs())? {
            let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            let name = path.file_name().and_then(OsStr::to_str);
            match Algorithm::ALL.into_iter().find(|algorithm| is_directory && name == Some(algorithm.name())) {
                Some(algorithm) => stock.add(algorithm, &path)?,
                None => stock.strangers.push(path),
            }
        }
        stock.blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
        stock.strangers.sort();
        Ok(stock)
    }
}

impl Stock {
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
                    self.blobs.push(Stored { digest, size: metadata.len(), used });
                }
                None => self.strangers.push(path),
            }
        }
        Ok(())
    }
}

/// Returns the paths in a directory; none when it does not exist.
pub(super) fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory)(error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("read", directory))).collect()
}
