//! The system calls that each kind of thread may make.

use libc::*;

/// A system call, and its condition.
pub(super) type Call = (i64, Only);

/// The condition of a call. Arguments are counted from 0, and their lower 32 bits are
/// compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Only {
    /// Always allowed.
    Always,
    /// If an argument is one of these.
    OneOf(u8, &'static [u64]),
    /// If an argument has none of these bits.
    Without(u8, u64),
    /// If an argument has all of these bits.
    With(u8, u64),
    /// If an argument is the id of this process.
    OnOurselves(u8),
}

use Only::{Always, OnOurselves, OneOf, With, Without};

/// The `ioctl` requests of stores, logging and std.
const IOCTLS: &[u64] = &[
    TCGETS,
    FIONBIO,
    FIOCLEX,
    FIONREAD,
    BLKSSZGET,
    BLKPBSZGET,
    BLKROGET,
    BLKGETSIZE64,
    BLKDISCARD,
    BLKZEROOUT,
    FS_IOC_GETVERSION,
    FS_IOC_GETFSUUID,
    SIOCETHTOOL,
    SIOCGIFNAME,
    SIOCGIFINDEX,
];

// From `linux/fs.h`.
const BLKROGET: u64 = 0x125e;
const BLKGETSIZE64: u64 = 0x8008_1272;
const BLKDISCARD: u64 = 0x1277;
const BLKZEROOUT: u64 = 0x127f;
const FS_IOC_GETVERSION: u64 = 0x8008_7601;
const FS_IOC_GETFSUUID: u64 = 0x8011_1500;

/// The `bpf` commands on maps: lookup, update, delete, next key, and information about a
/// descriptor.
const MAPS: &[u64] = &[1, 2, 3, 4, 15];

/// Calls of every thread: I/O and waiting on open descriptors, memory, time, and its own
/// exit.
pub(super) const EVERY: &[Call] = &[
    (SYS_read, Always),
    (SYS_write, Always),
    (SYS_readv, Always),
    (SYS_writev, Always),
    (SYS_pread64, Always),
    (SYS_pwrite64, Always),
    (SYS_preadv, Always),
    (SYS_pwritev, Always),
    (SYS_preadv2, Always),
    (SYS_pwritev2, Always),
    (SYS_lseek, Always),
    (SYS_fsync, Always),
    (SYS_fdatasync, Always),
    (SYS_sync_file_range, Always),
    (SYS_fallocate, Always),
    (SYS_fstat, Always),
    (SYS_newfstatat, Always),
    (SYS_statx, Always),
    (SYS_fstatfs, Always),
    (SYS_close, Always),
    (SYS_fcntl, Always),
    (SYS_ioctl, OneOf(1, IOCTLS)),
    (SYS_ppoll, Always),
    (SYS_epoll_create1, Always),
    (SYS_epoll_ctl, Always),
    (SYS_epoll_pwait, Always),
    (SYS_epoll_pwait2, Always),
    (SYS_eventfd2, Always),
    (SYS_sendto, Always),
    (SYS_sendmsg, Always),
    (SYS_recvfrom, Always),
    (SYS_recvmsg, Always),
    (SYS_getsockopt, Always),
    (SYS_futex, Always),
    (SYS_mmap, Without(2, PROT_EXEC as u64)),
    (SYS_mprotect, Without(2, PROT_EXEC as u64)),
    (SYS_munmap, Always),
    (SYS_mremap, Always),
    (SYS_madvise, Always),
    (SYS_msync, Always),
    (SYS_brk, Always),
    (SYS_getrandom, Always),
    (SYS_clock_gettime, Always),
    (SYS_clock_nanosleep, Always),
    (SYS_nanosleep, Always),
    (SYS_restart_syscall, Always),
    (SYS_sched_yield, Always),
    (SYS_sched_getaffinity, Always),
    // The thread itself.
    (SYS_sched_setaffinity, OneOf(0, &[0])),
    (SYS_getcpu, Always),
    (SYS_membarrier, Always),
    (SYS_getpid, Always),
    (SYS_gettid, Always),
    (SYS_getuid, Always),
    (SYS_geteuid, Always),
    (SYS_uname, Always),
    (SYS_prctl, OneOf(0, &[PR_SET_NAME as u64, PR_GET_NAME as u64, PR_SET_VMA as u64])),
    (SYS_rt_sigaction, Always),
    (SYS_rt_sigprocmask, Always),
    (SYS_rt_sigreturn, Always),
    (SYS_sigaltstack, Always),
    (SYS_set_robust_list, Always),
    (SYS_rseq, Always),
    // `abort` sends the signal to its own process.
    (SYS_tgkill, OnOurselves(0)),
    (SYS_exit, Always),
    (SYS_exit_group, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_poll, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_epoll_wait, Always),
];

/// Calls of a worker: the rings of stores, which have restrictions of their own in the
/// kernel.
pub(super) const WORKER: &[Call] = &[(SYS_io_uring_enter, Always), (SYS_io_uring_register, Always)];

/// Calls of a thread that answers requests or writes state files: accepts connections,
/// opens what Landlock permits, and starts threads, but no processes.
pub(super) const HELPER: &[Call] = &[
    (SYS_accept4, Always),
    (SYS_shutdown, Always),
    (SYS_getsockname, Always),
    (SYS_getpeername, Always),
    (SYS_setsockopt, Always),
    (SYS_openat, Always),
    (SYS_faccessat, Always),
    (SYS_faccessat2, Always),
    (SYS_readlinkat, Always),
    (SYS_getdents64, Always),
    (SYS_getcwd, Always),
    (SYS_mkdirat, Always),
    (SYS_renameat, Always),
    (SYS_renameat2, Always),
    (SYS_unlinkat, Always),
    (SYS_ftruncate, Always),
    (SYS_fchmod, Always),
    (SYS_flock, Always),
    (SYS_timerfd_create, Always),
    (SYS_timerfd_settime, Always),
    (SYS_clone, With(0, CLONE_THREAD as u64)),
    // Fails with ENOSYS (`filter::confine`).
    (SYS_clone3, Always),
    (SYS_prlimit64, OneOf(0, &[0])),
    (SYS_seccomp, Always),
    (SYS_capset, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_open, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_stat, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_lstat, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_access, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_readlink, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_rename, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_unlink, Always),
    #[cfg(target_arch = "x86_64")]
    (SYS_mkdir, Always),
];

/// Additional calls of the control thread: opens stores with their rings, queries
/// interfaces, reads and writes the maps of the XDP program.
pub(super) const CONTROL: &[Call] = &[
    (SYS_io_uring_setup, Always),
    (SYS_io_uring_enter, Always),
    (SYS_io_uring_register, Always),
    (SYS_bpf, OneOf(0, MAPS)),
    (SYS_socket, OneOf(0, &[AF_UNIX as u64, AF_NETLINK as u64])),
    (SYS_socketpair, OneOf(0, &[AF_UNIX as u64])),
    (SYS_bind, Always),
    (SYS_connect, Always),
    (SYS_pipe2, Always),
    (SYS_mlock, Always),
    (SYS_mlock2, Always),
    (SYS_munlock, Always),
];

/// Calls that xblade never makes: only an intruder would.
pub(super) const DEADLY: &[i64] = &[
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_mount_setattr,
    SYS_unshare,
    SYS_setns,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_open_by_handle_at,
    SYS_pidfd_getfd,
    #[cfg(target_arch = "x86_64")]
    SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
];
