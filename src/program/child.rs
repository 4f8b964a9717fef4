//! The children of this process: their standard input, working directory and filters, and their end with this process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group, set_parent_process_death_signal, waitid,
};

/// The time to wait for a killed child: one that waits for a disk ends only when the disk responds.
const PATIENCE: Duration = Duration::from_millis(150);

/// The process groups of the running children.
static RUNNING: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];

/// Kills every child with its process group. A signal handler may call it.
pub fn kill_children() {
    for pid in RUNNING.iter().filter_map(|slot| Pid::from_raw(slot.load(Ordering::Acquire))) {
        // If the group no longer exists, there is nothing to kill.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The private directory in which a program works, and the image that it works on.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The working directory.
    pub directory: BorrowedFd<'a>,
    /// The image, which is the standard input of the program and is opened through a symlink to it.
    pub image: BorrowedFd<'a>,
}

/// Sets a working directory given by descriptor, and disables syncing: the whole file is synced once, after
/// verification.
pub(super) fn place(command: &mut Command, inside: &Surroundings<'_>) -> io::Result<()> {
    command.stdin(inside.image.try_clone_to_owned()?);
    let directory = inside.directory.as_raw_fd();
    // SAFETY: between fork and exec the closure only makes system calls and allocates no memory. The descriptors are
    // borrowed for the lifetime of the command.
    unsafe {
        command.pre_exec(move || {
            rustix::process::fchdir(BorrowedFd::borrow_raw(directory))?;
            unsynced::apply();
            Ok(())
        });
    }
    Ok(())
}

/// Makes the kernel kill the program when the thread that started it ends.
pub(super) fn end_with_this(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec the closure only makes system calls and allocates no memory.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have ended before. A parent in another PID namespace has no number.
            if getppid().is_some_and(|now| now != parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// A running child, killed with its process group when dropped.
pub(super) struct ChildGuard {
    pub child: Child,
    slot: Option<&'static AtomicI32>,
    ended: bool,
}

impl ChildGuard {
    pub fn new(child: Child) -> Self {
        let pid = i32::try_from(child.id()).unwrap_or(0);
        let free = |slot: &&AtomicI32| slot.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire).is_ok();
        Self { slot: RUNNING.iter().find(free), child, ended: false }
    }

    /// Returns true if the child has ended. Its number stays its own until [`Self::reap`].
    pub fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match self.pid() {
            Some(pid) => Ok(retry_on_intr(|| waitid(WaitId::Pid(pid), options))?.is_some()),
            None => Ok(true),
        }
    }

    /// Kills the processes that a child which has ended left in its group.
    pub fn kill_group(&self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Waits for a child that has ended, and returns its exit status.
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.end();
        Ok(status)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// The process number may be reused soon.
    fn end(&mut self) {
        self.ended = true;
        if let Some(slot) = self.slot.take() {
            slot.store(0, Ordering::Release);
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.kill_group();
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.end();
    }
}

/// A seccomp filter that turns system calls that sync into no-ops in a child, if the kernel supports it.
mod unsynced {
    /// The number of the architecture, and those of `sync`, `syncfs`, `fsync` and `fdatasync`.
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;

    /// Installs the filter in this process. If the system refuses, the child syncs.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub fn apply() {
        use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
        const CALLS: [libc::c_long; 4] = [libc::SYS_sync, libc::SYS_syncfs, libc::SYS_fsync, libc::SYS_fdatasync];
        const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
            #[expect(clippy::cast_possible_truncation, reason = "the codes have 16 bits")]
            sock_filter { code: code as u16, jt, jf, k }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers are small")]
        const fn is_call(number: libc::c_long, to_nothing: u8) -> sock_filter {
            step(BPF_JMP | BPF_JEQ | BPF_K, number as u32, to_nothing, 0)
        }
        let mut steps = [
            step(BPF_LD | BPF_W | BPF_ABS, 4, 0, 0),
            step(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 5),
            step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
            is_call(CALLS[0], 4),
            is_call(CALLS[1], 3),
            is_call(CALLS[2], 2),
            is_call(CALLS[3], 1),
            step(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
            // An error with number 0 means success.
            step(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO, 0, 0),
        ];
        let program = libc::sock_fprog { len: 9, filter: steps.as_mut_ptr() };
        if rustix::thread::set_no_new_privs(true).is_ok() {
            // SAFETY: the kernel copies the program, which is complete, during the call.
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn apply() {}
}
