//! Threads with a fallback: if the system refuses to start one, the calling thread does its work.

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
    fn both_closures_run() {
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
