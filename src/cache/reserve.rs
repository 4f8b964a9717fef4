//! One process fetches a blob, the others wait for it.

use std::time::{Duration, Instant};

use super::Cache;
use super::blob::Found;
use super::check::hash;
use super::lock::{Attempt, Lock, STEP};
use super::partial::Partial;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::read_at::FileSlice;

/// How long someone waits before being told for whom.
const QUIET: Duration = Duration::from_secs(2);

/// What came of the wish to fetch a blob.
#[derive(Debug)]
pub enum Reserved {
    /// Someone else has completed it meanwhile.
    Present(FileSlice),
    /// It is this process's to fetch.
    Mine(Partial),
}

/// What is waited for, told once after two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The process that holds the blob's lock, where the system says it.
    pub pid: Option<u32>,
}

impl Cache {
    /// Waits until no other process fetches the blob, and takes it over. `again`: what is there is damaged, and is
    /// replaced when the new one is complete.
    ///
    /// A process that holds the blob and makes no progress for a minute is waited for no longer: both fetch it.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or not safely; something else than a regular file has the blob's name; a stop was
    /// asked for.
    pub fn reserve(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        waiting: &dyn Fn(Waiting),
        cancel: &Cancel,
    ) -> Result<Reserved> {
        if !again && let Some(blob) = self.meanwhile(digest, size, again, cancel)? {
            return Ok(Reserved::Present(blob));
        }
        self.make_writable()?;
        let lock = self.turn(digest, size, again, waiting, cancel)?;
        if let Some(blob) = self.meanwhile(digest, size, again, cancel)? {
            return Ok(Reserved::Present(blob));
        }
        self.sweep_old();
        let mut partial = match lock {
            Some(lock) => Partial::resumed(self, digest, size, lock, cancel)?,
            None => Partial::private(self, digest, size, None)?,
        };
        if partial.len() == size {
            match partial.mismatch() {
                Some(_) => partial.restart()?,
                None => {
                    let finished = partial.commit()?.map_err(|_| ErrorKind::Bug("a finished blob is not finished"))?;
                    return Ok(Reserved::Present(finished));
                }
            }
        }
        Ok(Reserved::Mine(partial))
    }

    /// Waits for the blob's lock. `None`: nobody is waited for, since the blob is there, its holder makes no progress or
    /// the system has no locks.
    fn turn(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        waiting: &dyn Fn(Waiting),
        cancel: &Cancel,
    ) -> Result<Option<Lock>> {
        let (lock, partial) = (self.lock_path(digest), self.partial_path(digest));
        let length = || partial.symlink_metadata().map(|metadata| metadata.len()).ok();
        let started = Instant::now();
        let (mut seen, mut moved, mut told) = (length(), started, false);
        loop {
            cancel.check()?;
            let pid = match Lock::attempt(&lock)? {
                Attempt::Taken(lock) => return Ok(Some(lock)),
                Attempt::Unsupported => return Ok(None),
                Attempt::Held(pid) => pid,
            };
            let now = length();
            if now != seen {
                (seen, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= self.patience || !again && self.has(digest, size) {
                return Ok(None);
            }
            if !told && started.elapsed() >= QUIET {
                waiting(Waiting { pid });
                told = true;
            }
            std::thread::sleep(STEP);
        }
    }

    /// Returns the blob when it is there; when one was damaged, only after hashing what is there now.
    fn meanwhile(&self, digest: &Digest, size: u64, again: bool, cancel: &Cancel) -> Result<Option<FileSlice>> {
        let Found::Blob(blob) = self.find(digest, Some(size))? else { return Ok(None) };
        if !again {
            return Ok(Some(blob));
        }
        let found = hash(&blob, &self.blob_path(digest), digest.algorithm(), cancel, &|_| {})?;
        Ok(Some(blob).filter(|_| found == *digest))
    }
}
