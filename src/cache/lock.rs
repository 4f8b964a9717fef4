//! Locks between processes, and between the threads of one: each opens the file for itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Cache;
use super::layout::open_or_make;
use crate::error::{CacheProblem, Error, Result};
use crate::work::is_at;

/// How often a waiting process looks again.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// What came of an attempt to lock an open file.
pub(super) enum Taken {
    /// It is locked, and still has its name.
    Yes,
    /// Someone else holds it, or has removed it.
    Busy,
    /// The filesystem has no locks.
    Unsupported,
}

pub(super) fn take(file: &File, path: &Path) -> Taken {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_at(file, path) => Taken::Yes,
        Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => Taken::Busy,
        Err(_) => Taken::Unsupported,
    }
}

/// A lock that is held. Its file says by whom, and goes with it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

/// What came of an attempt to take a lock by its name.
pub(super) enum Attempt {
    Taken(Lock),
    /// Someone else has it: this process, where its file says so.
    Held(Option<u32>),
    Unsupported,
}

impl Lock {
    pub(super) fn attempt(path: &Path) -> Result<Attempt> {
        let file = open_or_make(path)?;
        Ok(match take(&file, path) {
            Taken::Yes => {
                // The number is a courtesy: a full disk must not keep anyone from working.
                let _ = file.set_len(0).and_then(|()| file.write_all_at(std::process::id().to_string().as_bytes(), 0));
                Attempt::Taken(Self { path: path.to_owned(), file })
            }
            Taken::Busy => Attempt::Held(holder(&file)),
            Taken::Unsupported => Attempt::Unsupported,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever has opened it meanwhile sees that it lost its name. What stays after a failure is no lock.
        let _ = std::fs::remove_file(&self.path);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut buf = [0; 16];
    let count = file.read_at(&mut buf, 0).ok()?;
    std::str::from_utf8(&buf[..count]).ok()?.trim_end().parse().ok()
}

impl Cache {
    /// Waits for the lock of `index.json`, which nobody holds for long; `None` where the system has no locks.
    pub(super) fn lock_index(&self) -> Result<Option<Lock>> {
        let path = self.locks().join("index");
        let started = Instant::now();
        loop {
            let pid = match Lock::attempt(&path)? {
                Attempt::Taken(lock) => return Ok(Some(lock)),
                Attempt::Unsupported => return Ok(None),
                Attempt::Held(pid) => pid,
            };
            if started.elapsed() >= self.patience {
                return Err(Error::cache(&path, CacheProblem::Locked(pid)));
            }
            std::thread::sleep(STEP);
        }
    }
}
