//! Threads with a fallback: if the system refuses to start one, the calling thread does its work.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::error::Result;

/// The stack size of a thread. Code that decodes, compares or makes requests keeps its buffers on the heap.
pub(crate) const STACK: usize = 1 << 20;

/// Runs `work` on up to `count` threads, including the calling one, and returns the first error.
pub(crate) fn share(count: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..count).map_while(|_| start(scope, &work)).collect();
        let own = work();
        others.into_iter().map(join).fold(own, Result::and)
    })
}

/// The weight of a batch: bytes of files.
const BATCH: u64 = 1 << 20;
/// The weight of an item beside its own.
const ITEM: u64 = 1 << 12;

/// A list from which threads take a few consecutive items at a time, so that each works on neighbours.
pub(crate) struct Batches<'a, T>(Mutex<&'a [T]>);

impl<'a, T> Batches<'a, T> {
    pub fn new(items: &'a [T]) -> Self {
        Self(Mutex::new(items))
    }

    /// Takes the next items: as many as weigh about a MiB; `None` if none is left.
    pub fn take(&self, weight: impl Fn(&T) -> u64) -> Option<&'a [T]> {
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken: u64 = 0;
        let full = rest.iter().position(|item| {
            taken = taken.saturating_add(weight(item)).saturating_add(ITEM);
            taken >= BATCH
        });
        let (batch, left) = rest.split_at(full.map_or(rest.len(), |last| last + 1));
        *rest = left;
        if batch.is_empty() { None } else { Some(batch) }
    }

    /// Discards what is left.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = &[];
    }
}

/// Runs two closures, the first on a thread of its own if one can be started.
pub(crate) fn both<A: Send, B>(one: impl Fn() -> A + Sync, other: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let started = start(scope, &one);
        let other = other();
        (started.map_or_else(&one, join), other)
    })
}

/// Starts a thread in a scope; `None` if the system refuses.
pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    spawn(|builder| builder.spawn_scoped(scope, work)).ok()
}

/// Starts a thread with `start`, if there is memory for its stacks.
///
/// The standard library maps a small signal stack after the thread has started, and panics there if it cannot.
pub(crate) fn spawn<T>(start: impl FnOnce(Builder) -> std::io::Result<T>) -> std::io::Result<T> {
    drop(memmap2::MmapMut::map_anon(2 * STACK)?);
    start(Builder::new().stack_size(STACK))
}

/// Returns the result of a thread; its panic continues in this one.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn work_is_shared_by_the_requested_number_of_threads() {
        let calls = AtomicUsize::new(0);
        for (count, total) in [(0, 1), (1, 2), (3, 5)] {
            let work = || {
                calls.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            share(count, work).unwrap();
            assert_eq!(calls.load(Ordering::Relaxed), total);
        }
    }

    #[test]
    fn an_error_or_a_panic_of_one_thread_ends_all() {
        for failing in 0..3 {
            let calls = AtomicUsize::new(0);
            let work = |fail: &dyn Fn() -> Result<()>| match calls.fetch_add(1, Ordering::Relaxed) {
                turn if turn == failing => fail(),
                _ => Ok(()),
            };
            assert!(share(3, || work(&|| Err(ErrorKind::Bug("x").into()))).is_err());
            calls.store(0, Ordering::Relaxed);
            let panic = catch_unwind(AssertUnwindSafe(|| share(3, || work(&|| panic!("told"))))).unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"told"));
        }
    }

    #[test]
    fn batches_are_all_items_in_order() {
        let weights = [0, BATCH, 1, BATCH - 2 * ITEM - 1, 5, u64::MAX, u64::MAX, 7, 8];
        let batches = Batches::new(&weights);
        let taken: Vec<&[u64]> = std::iter::from_fn(|| batches.take(|weight| *weight)).collect();
        assert_eq!(taken, [&weights[..2], &weights[2..4], &weights[4..6], &weights[6..7], &weights[7..]]);
        let batches = Batches::new(&weights);
        assert_eq!(batches.take(|_| BATCH), Some(&weights[..1]));
        batches.clear();
        assert_eq!(batches.take(|_| 0), None);
        assert_eq!(Batches::new(&[()]).take(|()| 0).map(<[()]>::len), Some(1));
    }

    #[test]
    fn both_closures_run() {
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
