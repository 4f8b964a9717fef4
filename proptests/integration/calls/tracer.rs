//! Runs a program and lets one of its system calls fail.
//!
//! planish makes system calls without the C library, so a preloaded library would not see them: the kernel's tracing
//! does. A failing call is not executed, except `close`, which always closes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::SYS_poll;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::call::{self, Call};

/// The processes whose calls are counted and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of the program and its threads.
    Own,
    /// Those of the programs that it starts.
    Children,
}

/// A call that fails: the `nth`, from 0, of the counted calls with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub number: i64,
    pub nth: usize,
    pub error: Errno,
}

/// The end of a run.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// The counted calls in their order.
    pub calls: Vec<Call>,
    /// The call that failed, if it occurred.
    pub failed: Option<Call>,
    /// It was killed because it took too long.
    pub hung: bool,
}

/// Runs a command to its end; its standard streams must not be pipes, because nothing reads them during the run.
#[expect(clippy::zombie_processes, reason = "the tracer waits for everyone")]
pub fn run(command: &mut Command, whose: Whose, fault: Option<Fault>, patience: Duration) -> Run {
    // SAFETY: between fork and exec, the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    let child = command.spawn().expect("the program starts");
    let main = Pid::from_raw(i32::try_from(child.id()).expect("process IDs are positive"));
    assert_eq!(waitpid(main, None).expect("it is traced"), WaitStatus::Stopped(main, Signal::SIGTRAP));
    let mut options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACECLONE;
    if whose == Whose::Children {
        options |= Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACEEXEC;
    }
    ptrace::setoptions(main, options).expect("options are known since Linux 3.8");
    let (done, timer) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = timer.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout);
        late && kill(main, Signal::SIGKILL).is_ok()
    });
    let mut tracer = Tracer::new(main, whose, fault);
    ptrace::syscall(main, None).expect("it is stopped");
    let code = tracer.follow();
    drop(done);
    let hung = watch.join().expect("the watch only waits");
    Run { code, calls: tracer.calls, failed: tracer.failed, hung }
}

/// Returns true if a call reads or writes kernel state of the process itself, which cannot fail.
fn is_inside(pid: Pid, number: i64, descriptor: u64) -> bool {
    if !call::is_transfer(number) {
        return false;
    }
    let Ok(link) = std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")) else { return false };
    let link = link.to_string_lossy();
    let socket = link.strip_prefix("socket:[").and_then(|link| link.strip_suffix(']'));
    let local = |inode: &str| {
        let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
        sockets.split_whitespace().any(|word| word == inode)
    };
    link.starts_with("anon_inode:") || socket.is_some_and(local)
}

struct Tracer {
    main: Pid,
    whose: Whose,
    fault: Option<Fault>,
    /// Threads between the entry of a call and its end, and the result of that end.
    inside: BTreeMap<Pid, Option<Errno>>,
    /// Threads of the program itself.
    own: BTreeSet<Pid>,
    /// The program itself runs: its loader has ended.
    begun: bool,
    counts: BTreeMap<i64, usize>,
    calls: Vec<Call>,
    failed: Option<Call>,
}

impl Tracer {
    fn new(main: Pid, whose: Whose, fault: Option<Fault>) -> Self {
        Self {
            main,
            whose,
            fault,
            inside: BTreeMap::new(),
            own: BTreeSet::from([main]),
            begun: false,
            counts: BTreeMap::new(),
            calls: Vec::new(),
            failed: None,
        }
    }

    /// Follows all processes until none is left, and returns the program's exit code.
    fn follow(&mut self) -> Option<i32> {
        let mut code = None;
        loop {
            // Only this thread's children: other tests have their own.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return code,
                Err(error) => panic!("wait: {error}"),
            };
            let (pid, signal) = match status {
                WaitStatus::Exited(pid, status) => {
                    code = if pid == self.main { Some(status) } else { code };
                    continue;
                }
                WaitStatus::PtraceSyscall(pid) => {
                    self.syscall(pid);
                    (pid, None)
                }
                WaitStatus::PtraceEvent(pid, _, event) => {
                    self.event(pid, event);
                    (pid, None)
                }
                // A thread or child begins with this one.
                WaitStatus::Stopped(pid, Signal::SIGSTOP) => (pid, None),
                WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
                _ => continue,
            };
            // A killed process no longer exists.
            let _ = ptrace::syscall(pid, signal);
        }
    }

    fn event(&mut self, pid: Pid, event: i32) {
        let clone = event == ptrace::Event::PTRACE_EVENT_CLONE as i32;
        if clone && self.own.contains(&pid) {
            let thread = ptrace::getevent(pid).ok().and_then(|id| i32::try_from(id).ok());
            self.own.extend(thread.map(Pid::from_raw));
        }
    }

    fn syscall(&mut self, pid: Pid) {
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        if let Some(error) = self.inside.remove(&pid) {
            if let Some(error) = error {
                registers.rax = (-i64::from(error as i32)).cast_unsigned();
                let _ = ptrace::setregs(pid, registers);
            }
            return;
        }
        // At the entry of a call, the kernel sets this result.
        assert_eq!(registers.rax.cast_signed(), -i64::from(Errno::ENOSYS as i32), "a call begins");
        let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
        let number = registers.orig_rax.cast_signed();
        let call = Call { number, arguments, inside: is_inside(pid, number, arguments[0]) };
        let error = self.error_of(pid, call);
        if error.is_some() && !call.is_done_when_it_fails() {
            registers.orig_rax = u64::MAX;
            let _ = ptrace::setregs(pid, registers);
        }
        self.inside.insert(pid, error);
    }

    /// Counts a call, and returns its error if it is to fail.
    fn error_of(&mut self, pid: Pid, call: Call) -> Option<Errno> {
        let own = self.own.contains(&pid);
        if own && !self.begun {
            // The first call of Rust's runtime checks the standard streams.
            self.begun = call.number == SYS_poll;
            return None;
        }
        if own != (self.whose == Whose::Own) || call::errors(call).is_empty() {
            return None;
        }
        let nth = self.counts.entry(call.number).or_default();
        let found = self.fault.filter(|fault| (fault.number, fault.nth) == (call.number, *nth));
        *nth += 1;
        self.calls.push(call);
        if found.is_some() {
            self.failed = Some(call);
        }
        found.map(|fault| fault.error)
    }
}
