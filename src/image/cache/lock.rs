//! Locks between processes, and between threads: every lock opens its file separately.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::Cache;
use super::file::open_or_make;
use super::file::{TryLock, take};
use crate::calls;
use crate::error::{CacheProblem, Error, Result};

/// The interval at which a waiting process checks again.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// A lock that is held. Its file contains the holder's process number, and is removed with the lock.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

/// The result of trying to take a lock by name.
pub(super) enum LockAttempt {
    Acquired(Lock),
    /// Another process or thread holds it: the process with this number, if the file has one.
    Busy(Option<u32>),
    Unsupported,
}

impl Lock {
    pub(super) fn attempt(path: &Path) -> Result<LockAttempt> {
        let file = open_or_make(path)?;
        Ok(match take(&file, path) {
            TryLock::Acquired => {
                // The number is only informative: a full disk must not prevent the work.
                let _ = file.set_len(0).and_then(|()| file.write_all_at(std::process::id().to_string().as_bytes(), 0));
                LockAttempt::Acquired(Self { path: path.to_owned(), file })
            }
            TryLock::Busy => LockAttempt::Busy(holder(&file)),
            TryLock::Unsupported => LockAttempt::Unsupported,
        })
    }
}

impl Lock {
    /// Returns the file of the lock, if there is a descriptor left.
    pub(super) fn file(&self) -> Option<File> {
        self.file.try_clone().ok()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A process that has opened the file meanwhile sees that it lost its name. A file that cannot be removed is not
        // a lock.
        let _ = std::fs::remove_file(&self.path);
        let _ = calls::flock(&self.file, FlockOperation::Unlock);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut buf = [0; 16];
    let count = calls::read_at(file, &mut buf, 0).ok()?;
    std::str::from_utf8(&buf[..count]).ok()?.trim_end().parse().ok()
}

impl Cache {
    /// Waits for the lock of `index.json`, which is never held for long; `None` if the filesystem has no locks.
    pub(super) fn lock_index(&self) -> Result<Option<Lock>> {
        let path = self.locks().join("index");
        let started = Instant::now();
        loop {
            let pid = match Lock::attempt(&path)? {
                LockAttempt::Acquired(lock) => return Ok(Some(lock)),
                LockAttempt::Unsupported => return Ok(None),
                LockAttempt::Busy(pid) => pid,
            };
            if started.elapsed() >= self.patience {
                return Err(Error::cache(&path, CacheProblem::Locked(pid)));
            }
            std::thread::sleep(STEP);
        }
    }
}
