//! Files that are read while they are written: a reader waits for bytes that have yet to come.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::FileSlice;

/// The writer of a growing file. Readers of [`Grower::slice`] wait for it; dropped, it ends their waiting.
#[derive(Debug)]
pub struct Grower(Arc<Growth>);

/// The state that a writer and its readers share.
#[derive(Debug)]
struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The number of bytes written.
    len: u64,
    /// The number of times that the file was emptied.
    restarts: u64,
    /// True if no more bytes are written.
    ended: bool,
    /// The least length that a reader waits for.
    wanted: u64,
}

/// An observer of readers that wait for bytes.
pub trait WaitObserver: fmt::Debug + Send + Sync {
    /// A reader begins to wait.
    fn begin(&self);
    /// A reader has waited.
    fn end(&self);
}

/// The growth of a slice's file since it was last emptied.
#[derive(Debug, Clone)]
pub(super) struct Growing {
    growth: Arc<Growth>,
    restarts: u64,
    observer: Option<Arc<dyn WaitObserver>>,
}

/// The reason why bytes of a growing file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum GrowthFault {
    #[error("the file is written anew")]
    Restarted,
    #[error("the file is not written to its end")]
    Ended,
}

impl From<GrowthFault> for io::Error {
    fn from(fault: GrowthFault) -> Self {
        Self::other(fault)
    }
}

impl Grower {
    /// Returns the writer of a file that has no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        let state = State { len: 0, restarts: 0, ended: false, wanted: u64::MAX };
        Self(Arc::new(Growth { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Announces that the file has `len` bytes, which do not change before the next restart.
    pub fn advance(&self, len: u64) {
        let mut state = self.0.lock();
        state.len = len;
        if state.wanted <= len {
            self.0.wake(state);
        }
    }

    /// Announces that the file is about to be emptied: everything that was read of it is void.
    pub fn restart(&self) {
        let mut state = self.0.lock();
        if state.len > 0 {
            state.len = 0;
            state.restarts += 1;
            self.0.wake(state);
        }
    }

    /// Returns a window of the first `len` bytes of the file, most of which may have yet to come.
    #[must_use]
    pub fn slice(&self, file: File, len: u64) -> FileSlice {
        let restarts = self.0.lock().restarts;
        let growing = Some(Growing { growth: Arc::clone(&self.0), restarts, observer: None });
        FileSlice { file: Arc::new(file), offset: 0, len, growing }
    }
}

impl Drop for Grower {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        self.0.wake(state);
    }
}

impl Growth {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        state.wanted = u64::MAX;
        drop(state);
        self.changed.notify_all();
    }
}

impl Growing {
    /// Sets the observer of waiting readers.
    pub fn observed_by(self, observer: Arc<dyn WaitObserver>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Waits until the file has `len` bytes.
    pub fn wait(&self, len: u64) -> io::Result<()> {
        if self.has(&self.growth.lock(), len)? {
            return Ok(());
        }
        let observer = self.observer.as_deref();
        observer.inspect(|observer| observer.begin());
        let waited = self.wait_for(len);
        observer.inspect(|observer| observer.end());
        waited
    }

    fn wait_for(&self, len: u64) -> io::Result<()> {
        let mut state = self.growth.lock();
        while !self.has(&state, len)? {
            state.wanted = state.wanted.min(len);
            state = self.growth.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Returns true if the file has `len` bytes, and an error if it never will.
    fn has(&self, state: &State, len: u64) -> io::Result<bool> {
        if state.restarts != self.restarts {
            return Err(GrowthFault::Restarted.into());
        }
        match state.len >= len {
            false if state.ended => Err(GrowthFault::Ended.into()),
            enough => Ok(enough),
        }
    }

    /// Returns true if the file was emptied.
    pub fn is_void(&self) -> bool {
        self.growth.lock().restarts != self.restarts
    }

    /// Returns true if the file will never have `len` bytes of those that were there first.
    pub fn is_cut_off(&self, len: u64) -> bool {
        self.has(&self.growth.lock(), len).is_err()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::read_at::ReadAt as _;

    /// Counts the readers that begin and end to wait, and tells of each that begins.
    #[derive(Debug)]
    struct Waits {
        begun: std::sync::mpsc::Sender<()>,
        ended: AtomicUsize,
    }

    impl WaitObserver for Waits {
        fn begin(&self) {
            self.begun.send(()).unwrap();
        }

        fn end(&self) {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A growing file of ten bytes, and a window of it.
    fn growing() -> (Grower, File, FileSlice) {
        let file = tempfile::tempfile().unwrap();
        let grower = Grower::new();
        let slice = grower.slice(file.try_clone().unwrap(), 10);
        (grower, file, slice)
    }

    fn add(grower: &Grower, mut file: &File, bytes: &[u8], len: u64) {
        file.write_all(bytes).unwrap();
        grower.advance(len);
    }

    #[test]
    fn bytes_that_are_there_are_read_and_others_waited_for() {
        let (grower, file, slice) = growing();
        let (begun, waiting) = channel();
        let waits = Arc::new(Waits { begun, ended: AtomicUsize::new(0) });
        let observed = slice.observed_by(Arc::<Waits>::clone(&waits));
        add(&grower, &file, b"01234", 5);
        std::thread::scope(|scope| {
            let mut head = [0; 5];
            assert_eq!((observed.read_at(0, &mut head).unwrap(), &head), (5, b"01234"));
            assert_eq!(observed.slice(1, 2).read_at(0, &mut head).unwrap(), 2);
            let rest = scope.spawn(|| {
                let mut rest = Vec::new();
                observed.slice(2, 100).reader().read_to_end(&mut rest).map(|_| rest)
            });
            waiting.recv().unwrap();
            add(&grower, &file, b"567", 8);
            add(&grower, &file, b"89", 10);
            assert_eq!(rest.join().unwrap().unwrap(), b"23456789");
        });
        assert_eq!(waits.ended.load(Ordering::SeqCst), 1);
        drop(grower);
        assert_eq!(observed.read_at(10, &mut [0; 4]).unwrap(), 0);
        assert!(observed.is_growing() && !observed.is_void());
    }

    #[test]
    fn a_restart_and_an_early_end_are_errors_of_the_reader() {
        for restarts in [true, false] {
            let (grower, file, slice) = growing();
            let (begun, waiting) = channel();
            let slice = slice.observed_by(Arc::new(Waits { begun, ended: AtomicUsize::new(0) }));
            add(&grower, &file, b"01234", 5);
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| slice.reader().read_to_end(&mut Vec::new()));
                waiting.recv().unwrap();
                if restarts {
                    grower.restart();
                } else {
                    drop(grower);
                }
                let text = reader.join().unwrap().unwrap_err().to_string();
                assert_eq!(text.contains("anew"), restarts, "{text}");
            });
            assert_eq!(
                (slice.is_void(), slice.is_cut_off(), slice.slice(0, 5).is_cut_off()),
                (restarts, true, restarts)
            );
            assert_eq!(slice.read_at(0, &mut [0; 5]).is_err(), restarts);
        }
    }

    #[test]
    fn a_window_made_after_a_restart_is_of_the_new_bytes() {
        let (grower, file, old) = growing();
        grower.restart();
        assert!(!old.is_void(), "nothing was there to be read");
        grower.advance(1);
        grower.restart();
        let new = grower.slice(file.try_clone().unwrap(), 4);
        add(&grower, &file, b"abcd", 4);
        let mut bytes = [0; 4];
        assert_eq!((new.read_at(0, &mut bytes).unwrap(), &bytes), (4, b"abcd"));
        assert!(old.read_at(0, &mut bytes).is_err() && old.is_void() && !new.is_void());
    }
}
