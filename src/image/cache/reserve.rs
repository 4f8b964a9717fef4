//! Reserves blobs: one process fetches a blob, the others wait for it.

use std::time::{Duration, Instant};

use super::Cache;
use super::blob::Lookup;
use super::check::hash;
use super::lock::{Lock, LockAttempt, STEP};
use super::partial::Partial;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::read_at::FileSlice;

/// The time after which a waiting process reports the holder of the lock.
pub(super) const QUIET: Duration = Duration::from_secs(2);

/// The right to fetch a blob, or the blob that another process fetched.
#[derive(Debug)]
pub enum Reservation {
    /// Another process has completed the blob meanwhile.
    Present(FileSlice),
    /// This process fetches the blob.
    Granted(Partial),
}

/// The holder of a blob's lock, reported once after two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHolder {
    /// The number of the process, if it is known.
    pub pid: Option<u32>,
}

impl Cache {
    /// Waits until no other process fetches the blob, and reserves it. `again` is true if the existing blob is damaged;
    /// it is replaced when the new one is complete.
    ///
    /// If the other process makes no progress for a minute, the wait ends, and both fetch the blob.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or other users can write it; the blob's path exists and is not a regular file; the
    /// run was cancelled.
    pub fn reserve(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        waiting: &dyn Fn(LockHolder),
        cancel: &Cancel,
    ) -> Result<Reservation> {
        if !again && let Some(blob) = self.meanwhile(digest, size, again, cancel)? {
            return Ok(Reservation::Present(blob));
        }
        self.make_writable()?;
        let lock = self.turn(digest, size, again, waiting, cancel)?;
        if let Some(blob) = self.meanwhile(digest, size, again, cancel)? {
            return Ok(Reservation::Present(blob));
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
                    let finished =
                        partial.commit()?.map_err(|_| ErrorKind::Bug("a complete blob does not match its digest"))?;
                    return Ok(Reservation::Present(finished));
                }
            }
        }
        Ok(Reservation::Granted(partial))
    }

    /// Waits for the blob's lock. `None`: the wait is over without it, because the blob is present, its holder makes no
    /// progress, or the filesystem has no locks.
    fn turn(
        &self,
        digest: &Digest,
        size: u64,
        again: bool,
        waiting: &dyn Fn(LockHolder),
        cancel: &Cancel,
    ) -> Result<Option<Lock>> {
        let (lock, partial) = (self.lock_path(digest), self.partial_path(digest));
        let length = || partial.symlink_metadata().map(|metadata| metadata.len()).ok();
        let started = Instant::now();
        let (mut seen, mut moved, mut reported) = (length(), started, false);
        loop {
            cancel.check()?;
            let pid = match Lock::attempt(&lock)? {
                LockAttempt::Acquired(lock) => return Ok(Some(lock)),
                LockAttempt::Unsupported => return Ok(None),
                LockAttempt::Busy(pid) => pid,
            };
            let now = length();
            if now != seen {
                (seen, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= self.patience || !again && self.has(digest, size) {
                return Ok(None);
            }
            if !reported && started.elapsed() >= QUIET {
                waiting(LockHolder { pid });
                reported = true;
            }
            std::thread::sleep(STEP);
        }
    }

    /// Returns the blob if it is present; if one was damaged, only after hashing the present one.
    fn meanwhile(&self, digest: &Digest, size: u64, again: bool, cancel: &Cancel) -> Result<Option<FileSlice>> {
        let Lookup::Hit(blob) = self.find(digest, Some(size))? else { return Ok(None) };
        if !again {
            return Ok(Some(blob));
        }
        let found = hash(&blob, &self.blob_path(digest), digest.algorithm(), cancel, &|_| {})?;
        Ok(Some(blob).filter(|_| found == *digest))
    }
}
