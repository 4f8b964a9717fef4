//! System calls, and the possible errors of each.

use std::fmt;

use nix::errno::Errno;
use nix::libc;

/// A call as the kernel receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub number: i64,
    pub arguments: [u64; 6],
    /// It reads or writes an object of the kernel that has no medium.
    pub inside: bool,
}

impl Call {
    /// Returns true if the kernel completes the call even if it reports an error.
    pub fn is_done_when_it_fails(self) -> bool {
        self.number == libc::SYS_close
    }

    /// Returns true if POSIX lets a signal interrupt the call: the caller must repeat it.
    pub fn is_made_again(self) -> bool {
        let polls = self.number == libc::SYS_wait4 && self.arguments[2] & libc::WNOHANG as u64 != 0;
        AGAIN.contains(&self.number) && !polls
    }
}

/// A filesystem in user space may return any error.
const FILES: &[Errno] =
    &[Errno::ENOSPC, Errno::EIO, Errno::EINTR, Errno::ENOLCK, Errno::EINVAL, Errno::EACCES, Errno::ENOSYS];
/// The same for calls that make a descriptor.
const OPENS: &[Errno] = &[
    Errno::ENOSPC,
    Errno::EIO,
    Errno::EINTR,
    Errno::ENOLCK,
    Errno::EINVAL,
    Errno::EACCES,
    Errno::ENOSYS,
    Errno::EMFILE,
    Errno::ENOMEM,
];
const DESCRIPTORS: &[Errno] = &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
const PROCESSES: &[Errno] = &[Errno::EAGAIN, Errno::ENOMEM];
const WAITS: &[Errno] = &[Errno::EINTR];
const SOCKETS: &[Errno] = &[Errno::EINTR, Errno::ECONNRESET, Errno::ENOMEM, Errno::EACCES];
const MEMORY: &[Errno] = &[Errno::ENOMEM, Errno::EACCES, Errno::ENODEV];
const CLOSES: &[Errno] = &[Errno::EIO, Errno::EINTR, Errno::ENOSPC];
const FACTS: &[Errno] = &[Errno::EPERM, Errno::ENOSYS, Errno::EINVAL];

type Row = (i64, &'static str, &'static [Errno]);

/// The calls that can fail for a reason outside the program. Others (signal masks, futexes, private memory) cannot
/// fail,
/// or their failure ends any program.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (libc::SYS_read, "read", FILES), (libc::SYS_pread64, "pread64", FILES), (libc::SYS_readv, "readv", FILES),
    (libc::SYS_write, "write", FILES), (libc::SYS_pwrite64, "pwrite64", FILES), (libc::SYS_writev, "writev", FILES),
    (libc::SYS_pwritev, "pwritev", FILES), (libc::SYS_preadv, "preadv", FILES),
    (libc::SYS_open, "open", OPENS), (libc::SYS_openat, "openat", OPENS), (libc::SYS_openat2, "openat2", OPENS),
    (libc::SYS_creat, "creat", OPENS), (libc::SYS_close, "close", CLOSES),
    (libc::SYS_stat, "stat", FILES), (libc::SYS_lstat, "lstat", FILES), (libc::SYS_fstat, "fstat", FILES),
    (libc::SYS_newfstatat, "newfstatat", FILES), (libc::SYS_statx, "statx", FILES),
    (libc::SYS_statfs, "statfs", FILES), (libc::SYS_fstatfs, "fstatfs", FILES),
    (libc::SYS_access, "access", FILES), (libc::SYS_faccessat, "faccessat", FILES),
    (libc::SYS_faccessat2, "faccessat2", FILES), (libc::SYS_lseek, "lseek", FILES),
    (libc::SYS_ftruncate, "ftruncate", FILES), (libc::SYS_fallocate, "fallocate", FILES),
    (libc::SYS_fsync, "fsync", FILES), (libc::SYS_fdatasync, "fdatasync", FILES),
    (libc::SYS_sync_file_range, "sync_file_range", FILES), (libc::SYS_syncfs, "syncfs", FILES),
    (libc::SYS_rename, "rename", FILES), (libc::SYS_renameat, "renameat", FILES),
    (libc::SYS_renameat2, "renameat2", FILES), (libc::SYS_link, "link", FILES), (libc::SYS_linkat, "linkat", FILES),
    (libc::SYS_unlink, "unlink", FILES), (libc::SYS_unlinkat, "unlinkat", FILES), (libc::SYS_rmdir, "rmdir", FILES),
    (libc::SYS_mkdir, "mkdir", FILES), (libc::SYS_mkdirat, "mkdirat", FILES),
    (libc::SYS_symlink, "symlink", FILES), (libc::SYS_symlinkat, "symlinkat", FILES),
    (libc::SYS_readlink, "readlink", FILES), (libc::SYS_readlinkat, "readlinkat", FILES),
    (libc::SYS_mknod, "mknod", FILES), (libc::SYS_mknodat, "mknodat", FILES),
    (libc::SYS_chmod, "chmod", FILES), (libc::SYS_fchmod, "fchmod", FILES), (libc::SYS_fchmodat, "fchmodat", FILES),
    (libc::SYS_fchmodat2, "fchmodat2", FILES), (libc::SYS_chown, "chown", FILES), (libc::SYS_fchown, "fchown", FILES),
    (libc::SYS_lchown, "lchown", FILES), (libc::SYS_fchownat, "fchownat", FILES),
    (libc::SYS_utimensat, "utimensat", FILES), (libc::SYS_getdents64, "getdents64", FILES),
    (libc::SYS_flock, "flock", FILES), (libc::SYS_fcntl, "fcntl", FILES), (libc::SYS_ioctl, "ioctl", FILES),
    (libc::SYS_copy_file_range, "copy_file_range", FILES), (libc::SYS_sendfile, "sendfile", FILES),
    (libc::SYS_fadvise64, "fadvise64", FILES), (libc::SYS_getcwd, "getcwd", FILES), (libc::SYS_chdir, "chdir", FILES),
    (libc::SYS_fgetxattr, "fgetxattr", FILES), (libc::SYS_lgetxattr, "lgetxattr", FILES),
    (libc::SYS_getxattr, "getxattr", FILES), (libc::SYS_fsetxattr, "fsetxattr", FILES),
    (libc::SYS_setxattr, "setxattr", FILES), (libc::SYS_lsetxattr, "lsetxattr", FILES),
    (libc::SYS_mmap, "mmap", MEMORY), (libc::SYS_memfd_create, "memfd_create", DESCRIPTORS),
    (libc::SYS_pipe2, "pipe2", DESCRIPTORS), (libc::SYS_dup, "dup", DESCRIPTORS),
    (libc::SYS_dup3, "dup3", DESCRIPTORS), (libc::SYS_eventfd2, "eventfd2", DESCRIPTORS),
    (libc::SYS_epoll_create1, "epoll_create1", DESCRIPTORS), (libc::SYS_epoll_ctl, "epoll_ctl", DESCRIPTORS),
    (libc::SYS_socketpair, "socketpair", DESCRIPTORS), (libc::SYS_pidfd_open, "pidfd_open", DESCRIPTORS),
    (libc::SYS_clone, "clone", PROCESSES), (libc::SYS_clone3, "clone3", PROCESSES),
    (libc::SYS_fork, "fork", PROCESSES), (libc::SYS_vfork, "vfork", PROCESSES),
    (libc::SYS_execve, "execve", &[Errno::ENOMEM, Errno::EACCES, Errno::ENOENT]),
    (libc::SYS_wait4, "wait4", WAITS), (libc::SYS_waitid, "waitid", WAITS), (libc::SYS_epoll_wait, "epoll_wait", WAITS),
    (libc::SYS_epoll_pwait, "epoll_pwait", WAITS), (libc::SYS_poll, "poll", WAITS), (libc::SYS_ppoll, "ppoll", WAITS),
    (libc::SYS_nanosleep, "nanosleep", WAITS), (libc::SYS_clock_nanosleep, "clock_nanosleep", WAITS),
    (libc::SYS_getrandom, "getrandom", &[Errno::EINTR, Errno::ENOSYS]),
    (libc::SYS_socket, "socket", DESCRIPTORS), (libc::SYS_connect, "connect", SOCKETS),
    (libc::SYS_sendto, "sendto", SOCKETS), (libc::SYS_recvfrom, "recvfrom", SOCKETS),
    (libc::SYS_sendmsg, "sendmsg", SOCKETS), (libc::SYS_recvmsg, "recvmsg", SOCKETS),
    (libc::SYS_getsockopt, "getsockopt", &[Errno::ENOMEM]), (libc::SYS_setsockopt, "setsockopt", &[Errno::ENOPROTOOPT]),
    (libc::SYS_bind, "bind", SOCKETS), (libc::SYS_getsockname, "getsockname", &[Errno::ENOMEM]),
    (libc::SYS_prlimit64, "prlimit64", FACTS), (libc::SYS_sched_getaffinity, "sched_getaffinity", FACTS),
    (libc::SYS_sysinfo, "sysinfo", FACTS), (libc::SYS_uname, "uname", FACTS), (libc::SYS_kill, "kill", FACTS),
];

/// Calls that a signal can interrupt before they have an effect, by POSIX.
const AGAIN: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_flock,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
];

/// Returns the possible errors of a call; none if it cannot fail for a reason outside the program.
pub fn errors(call: Call) -> &'static [Errno] {
    // Anonymous memory belongs to the allocator.
    let anonymous = call.number == libc::SYS_mmap && call.arguments[3] & libc::MAP_ANONYMOUS as u64 != 0;
    // This reads a limit of the process itself.
    let asks = call.number == libc::SYS_prlimit64 && call.arguments[2] == 0;
    if anonymous || asks || call.inside { &[] } else { row(call.number).map_or(&[], |row| row.2) }
}

/// Returns true if a call reads or writes through a descriptor.
pub fn is_transfer(number: i64) -> bool {
    let files = [libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev];
    let sockets = [libc::SYS_recvfrom, libc::SYS_sendto, libc::SYS_recvmsg, libc::SYS_sendmsg];
    files.contains(&number) || sockets.contains(&number)
}

fn row(number: i64) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.0 == number)
}

/// Shows a call by its name.
pub struct Name(pub i64);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match row(self.0) {
            Some(row) => f.write_str(row.1),
            None => write!(f, "call {}", self.0),
        }
    }
}
