//! Normalizes what this process inherits from its caller: descriptors, signals and limits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use planish::{Error, Result};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The minimum stack size; a larger one is kept.
const STACK: u64 = 8 << 20;

/// Resets inherited state before anything is opened or started.
///
/// # Errors
///
/// A system call fails.
pub fn prepare() -> Result<()> {
    close_for_children();
    unblock_signals();
    // An ignored SIGCHLD would hide the end of a child, and a write beyond RLIMIT_FSIZE would end the program instead
    // of failing. The handlers do nothing else; children do not inherit them.
    for signal in [libc::SIGCHLD, libc::SIGXFSZ] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(Error::io("listen to", "signals"))?;
    }
    // Each layer of a layout is an open file.
    raise(Resource::Nofile, u64::MAX);
    raise(Resource::Stack, STACK);
    Ok(())
}

/// Runs `work` with a sufficient stack, whatever the limit of this thread.
pub fn with_stack<T: Send>(work: impl Fn() -> T + Sync) -> T {
    if getrlimit(Resource::Stack).current.is_none_or(|bytes| bytes >= STACK) {
        return work();
    }
    let stack = usize::try_from(STACK).unwrap_or(usize::MAX);
    std::thread::scope(|scope| match std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, &work) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(_) => work(),
    })
}

/// Raises a limit as far as the system allows, at most to `wanted`.
fn raise(resource: Resource, wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(resource);
    let wanted = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if current.is_some_and(|current| current < wanted) {
        // The current limit is enough for all but a few images.
        let _ = setrlimit(resource, Rlimit { current: Some(wanted), maximum });
    }
}

/// Marks all inherited descriptors except the first three as close-on-exec.
fn close_for_children() {
    // SAFETY: the call changes a flag of descriptors and accesses no memory.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Linux before 5.11, or a sandbox that refuses the call.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(open) = rustix::fs::open("/proc/self/fd", flags, Mode::empty()).and_then(Dir::new) else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // SAFETY: as above; the call refuses a number that is not open.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Unblocks the signals that cancel a run.
fn unblock_signals() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call initializes the set that the second one reads; there is no other thread yet.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}
