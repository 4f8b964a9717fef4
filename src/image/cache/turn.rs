//! Turns at a build: one process builds a key, the others wait for its result.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};

use super::lock::{Lock, LockAttempt, STEP};
use super::reserve::{LockHolder, QUIET};
use super::{BuiltRecord, Cache};
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::Result;
use crate::workers;

/// The interval at which a builder shows that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// The turn of a process at a build.
#[derive(Debug)]
pub(crate) enum BuildTurn {
    /// Another process has built it.
    Present,
    /// This process builds. Without a lock others may build the same: the filesystem has no locks, or the process that
    /// holds it shows no life.
    Granted(Option<BuildLock>),
}

/// The lock of a build key, whose holder touches the lock's file while it lives.
#[derive(Debug)]
pub(crate) struct BuildLock {
    // Ends before the lock is given up.
    _beat: Option<Beat>,
    _lock: Lock,
}

impl Cache {
    /// Waits until no other process builds the key.
    ///
    /// # Errors
    ///
    /// The cache cannot be written, or other users can write it; the run was cancelled.
    pub(crate) fn build_turn(&self, key: &Digest, waiting: &dyn Fn(LockHolder), cancel: &Cancel) -> Result<BuildTurn> {
        self.make_writable()?;
        let path = self.build_lock_path(key);
        let touched = || path.symlink_metadata().and_then(|metadata| metadata.modified()).ok();
        let started = Instant::now();
        let (mut seen, mut moved, mut reported): (Option<SystemTime>, _, _) = (touched(), started, false);
        loop {
            cancel.check()?;
            let pid = match Lock::attempt(&path)? {
                LockAttempt::Acquired(lock) => {
                    let beat = lock.file().and_then(Beat::start);
                    return Ok(BuildTurn::Granted(Some(BuildLock { _beat: beat, _lock: lock })));
                }
                LockAttempt::Unsupported => return Ok(BuildTurn::Granted(None)),
                LockAttempt::Busy(pid) => pid,
            };
            if matches!(self.built(key), Ok(BuiltRecord::Found(_))) {
                return Ok(BuildTurn::Present);
            }
            let now = touched();
            if now != seen {
                (seen, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= self.patience {
                return Ok(BuildTurn::Granted(None));
            }
            if !reported && started.elapsed() >= QUIET {
                waiting(LockHolder { pid });
                reported = true;
            }
            std::thread::sleep(STEP);
        }
    }
}

/// A thread that touches a file until it is dropped.
#[derive(Debug)]
struct Beat {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Beat {
    /// Starts the thread; `None` if the system refuses, so that others wait for a minute only.
    fn start(file: File) -> Option<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = Arc::clone(&ended);
        let work = move || {
            let (ended, changed) = &*watched;
            let mut state = ended.lock().unwrap_or_else(PoisonError::into_inner);
            while !*state {
                let never = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                // A file that cannot be touched ends the others' patience.
                let _ = futimens(&file, &Timestamps { last_access: never, last_modification: now });
                state = changed.wait_timeout(state, BEAT).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        let thread = workers::spawn(|builder| builder.spawn(work)).ok()?;
        Some(Self { ended, thread: Some(thread) })
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in it would be reported by the hook; there is nothing to undo.
            let _ = thread.join();
        }
    }
}
