//! Reports memory exhaustion (`ulimit -v`, `ulimit -d`) as an error instead of aborting the process.
//!
//! A reserve is allocated at the beginning. If the system refuses memory, the reserve is released, so that the request
//! succeeds after all, and the run is cancelled: it ends at its next check and removes its files.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use planish::Cancel;

/// The largest reserve; the largest single request for an ordinary image is half of it.
const RESERVE_MAX: usize = 8 << 20;
const RESERVE_MIN: usize = 256 << 10;
/// The number of attempts for a request, and the pause between them.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The address of the reserve; null if there is none.
static RESERVE: AtomicPtr<libc::c_void> = AtomicPtr::new(null_mut());
static RESERVE_LEN: AtomicUsize = AtomicUsize::new(0);
/// The flag that cancels the run.
static STOP: OnceLock<Cancel> = OnceLock::new();

/// The system's allocator with a reserve.
pub struct Memory;

/// Allocates the reserve. Without room for one, memory exhaustion aborts the process.
pub fn reserve() {
    let mut len = RESERVE_MAX;
    while len >= RESERVE_MIN {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping touches no memory in use.
        let address = unsafe { libc::mmap(null_mut(), len, access, kind, -1, 0) };
        if address != libc::MAP_FAILED {
            RESERVE_LEN.store(len, Ordering::Relaxed);
            return RESERVE.store(address, Ordering::Release);
        }
        len /= 2;
    }
}

/// Sets the flag that memory exhaustion raises.
pub fn stops(cancel: &Cancel) {
    // A process has only one run.
    let _ = STOP.set(cancel.clone());
}

/// Releases the reserve; returns false if it was released before.
fn release() -> bool {
    let address = RESERVE.swap(null_mut(), Ordering::Acquire);
    if address.is_null() {
        return false;
    }
    if let Some(stop) = STOP.get() {
        stop.exhaust();
    }
    // SAFETY: the mapping is ours, nothing points into it, and the swap lets one thread get here.
    unsafe { libc::munmap(address, RESERVE_LEN.load(Ordering::Relaxed)) == 0 }
}

/// Repeats a failed request, or ends the process.
fn again(request: impl Fn() -> *mut u8) -> *mut u8 {
    release();
    for _ in 0..TRIES {
        let met = request();
        if !met.is_null() {
            return met;
        }
        // Another thread may be about to release the reserve, or to stop and free its memory.
        std::thread::sleep(PAUSE);
    }
    super::signals::end_without_memory(STOP.get())
}

// SAFETY: every request is passed unchanged to the system's allocator, once or several times.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees what the system's allocator requires.
        let request = || unsafe { System.alloc(layout) };
        let met = request();
        if met.is_null() { again(request) } else { met }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let request = || unsafe { System.alloc_zeroed(layout) };
        let met = request();
        if met.is_null() { again(request) } else { met }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // SAFETY: as above; a failed request leaves the memory unchanged.
        let request = || unsafe { System.realloc(memory, layout, len) };
        let met = request();
        if met.is_null() { again(request) } else { met }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use planish::Fault;

    use super::*;

    #[test]
    fn a_failed_allocation_uses_the_reserve_and_stops_the_run() {
        let cancel = Cancel::default();
        stops(&cancel);
        reserve();
        assert!(cancel.check().is_ok() && !RESERVE.load(Ordering::Relaxed).is_null());
        let requests = Cell::new(0);
        let byte = Cell::new(0_u8);
        let met = again(|| {
            requests.set(requests.get() + 1);
            byte.as_ptr()
        });
        assert!(!met.is_null() && requests.get() == 1 && RESERVE.load(Ordering::Relaxed).is_null());
        let error = cancel.check().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.fault()), ("out of memory", Fault::Machine));
        assert!(!release());
    }
}
