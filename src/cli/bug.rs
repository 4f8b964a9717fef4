//! Reports a panic as a bug of planish.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use planish::Escaped;

use super::exit;

/// The most bytes of a panic's message that are printed.
const TEXT_MAX: usize = 1000;

/// The panics of all threads since they were last taken.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs `work`. A panic in it, or in a thread that it joins, unwinds to here, so that all files are removed on the way,
/// and becomes an error; a panic in another thread becomes a warning.
pub fn guard(work: impl FnOnce() -> ExitCode) -> ExitCode {
    std::panic::set_hook(Box::new(note));
    let result = catch_unwind(AssertUnwindSafe(work));
    let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
    match result {
        Ok(code) => {
            panics.iter().for_each(|text| exit::warn_of_bug(text));
            code
        }
        Err(_) => exit::bug(panics.first().map_or("a panic without a message", String::as_str)),
    }
}

fn note(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("a panic without a message");
    let text = Escaped(&text.as_bytes()[..text.len().min(TEXT_MAX)]);
    let place = info.location().map(|at| format!(" ({}:{})", Escaped(at.file().as_bytes()), at.line()));
    let text = format!("{text}{}", place.unwrap_or_default());
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Dropped<'a>(&'a AtomicUsize);

    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs `work`; returns true if it was reported as a bug, and the number of values that were dropped.
    fn guarded(work: impl FnOnce()) -> (bool, usize) {
        let dropped = AtomicUsize::new(0);
        let code = guard(|| {
            let _held = Dropped(&dropped);
            work();
            ExitCode::SUCCESS
        });
        let bug = format!("{code:?}") == format!("{:?}", ExitCode::from(70));
        (bug, dropped.load(Ordering::Relaxed))
    }

    /// One test, because the hook is shared by the process.
    #[test]
    fn a_panic_in_a_joined_thread_is_a_bug() {
        let in_a_scope = || {
            std::thread::scope(|scope| {
                scope.spawn(|| panic!("in a thread"));
            });
        };
        let joined = || {
            let thread = std::thread::spawn(|| panic!("in a joined one"));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        };
        let left_alone = || drop(std::thread::spawn(|| panic!("in a detached one")).join());
        assert_eq!(guarded(|| ()), (false, 1));
        assert_eq!(guarded(|| panic!("here\x1b[31m\n")), (true, 1));
        assert_eq!(guarded(|| std::panic::panic_any(7)), (true, 1));
        assert_eq!(guarded(in_a_scope), (true, 1));
        assert_eq!(guarded(joined), (true, 1));
        assert_eq!(guarded(left_alone), (false, 1));
        std::panic::set_hook(Box::new(note));
        let _ = catch_unwind(|| panic!("{}\x1b[31m\n", "x".repeat(2 * TEXT_MAX)));
        let _ = catch_unwind(|| panic!("\x1b[31m\n"));
        let noted = std::mem::take(&mut *PANICS.lock().unwrap());
        assert!(noted[0].len() < TEXT_MAX + 100);
        assert!(noted[1].starts_with(r"\x1b[31m\x0a (") && noted[1].contains("bug.rs:"), "{}", noted[1]);
        let _ = std::panic::take_hook();
    }
}
