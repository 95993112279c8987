//! The system calls that each kind of thread may make.

use libc::*;

/// The calls of a kind of thread.
pub(super) struct Calls {
    pub(super) always: &'static [i64],
    pub(super) conditional: &'static [(i64, Only)],
}

/// The condition of a call. Arguments are counted from 0. Unless it says otherwise, their lower
/// 32 bits are compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Only {
    /// If an argument is one of these.
    OneOf(u8, &'static [u64]),
    /// If an argument has none of these bits.
    Without(u8, u64),
    /// If an argument has all of these bits.
    With(u8, u64),
    /// If an argument is the id of this process.
    OnOurselves(u8),
    /// If an argument, all 64 bits of it, is null.
    Null(u8),
    /// If one argument is this, and another one of these.
    Both((u8, u64), (u8, &'static [u64])),
}

use Only::{Both, Null, OnOurselves, OneOf, With, Without};

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
pub(super) const EVERY: Calls = Calls {
    always: &[
        SYS_read,
        SYS_write,
        SYS_readv,
        SYS_writev,
        SYS_pread64,
        SYS_pwrite64,
        SYS_preadv,
        SYS_pwritev,
        SYS_preadv2,
        SYS_pwritev2,
        SYS_lseek,
        SYS_fsync,
        SYS_fdatasync,
        SYS_sync_file_range,
        SYS_fallocate,
        SYS_fstat,
        SYS_newfstatat,
        SYS_statx,
        SYS_fstatfs,
        SYS_close,
        SYS_fcntl,
        SYS_ppoll,
        SYS_epoll_create1,
        SYS_epoll_ctl,
        SYS_epoll_pwait,
        SYS_epoll_pwait2,
        SYS_eventfd2,
        SYS_recvfrom,
        SYS_recvmsg,
        SYS_getsockopt,
        SYS_futex,
        SYS_munmap,
        SYS_mremap,
        SYS_madvise,
        SYS_msync,
        SYS_brk,
        SYS_getrandom,
        SYS_clock_gettime,
        SYS_clock_nanosleep,
        SYS_nanosleep,
        SYS_restart_syscall,
        SYS_sched_yield,
        SYS_sched_getaffinity,
        SYS_getcpu,
        SYS_membarrier,
        SYS_getpid,
        SYS_gettid,
        SYS_getuid,
        SYS_geteuid,
        SYS_uname,
        SYS_rt_sigaction,
        SYS_rt_sigprocmask,
        SYS_rt_sigreturn,
        SYS_sigaltstack,
        SYS_set_robust_list,
        SYS_rseq,
        SYS_exit,
        SYS_exit_group,
    ],
    conditional: &[
        (SYS_ioctl, OneOf(1, IOCTLS)),
        (SYS_mmap, Without(2, PROT_EXEC as u64)),
        (SYS_mprotect, Without(2, PROT_EXEC as u64)),
        // Only where the socket is connected: an address could be that of any process. So
        // `sendmsg`, whose address no filter sees, is not allowed at all.
        (SYS_sendto, Null(4)),
        // The thread itself.
        (SYS_sched_setaffinity, OneOf(0, &[0])),
        (SYS_prctl, OneOf(0, &[PR_SET_NAME as u64, PR_GET_NAME as u64, PR_SET_VMA as u64])),
        // `abort` sends the signal to its own process.
        (SYS_tgkill, OnOurselves(0)),
    ],
};

/// Calls of a worker: the rings of stores, which have restrictions of their own in the
/// kernel.
pub(super) const WORKER: Calls =
    Calls { always: &[SYS_io_uring_enter, SYS_io_uring_register], conditional: &[] };

/// Calls of a thread that answers requests or writes state files: accepts connections,
/// opens what Landlock permits, and starts threads, but no processes.
pub(super) const HELPER: Calls = Calls {
    always: &[
        SYS_accept4,
        SYS_shutdown,
        SYS_getsockname,
        SYS_getpeername,
        SYS_setsockopt,
        SYS_openat,
        SYS_faccessat,
        SYS_faccessat2,
        SYS_readlinkat,
        SYS_getdents64,
        SYS_getcwd,
        SYS_mkdirat,
        SYS_renameat,
        SYS_renameat2,
        SYS_unlinkat,
        SYS_ftruncate,
        SYS_fchmod,
        SYS_flock,
        SYS_timerfd_create,
        SYS_timerfd_settime,
        // Fails with ENOSYS (`filter::confine`).
        SYS_clone3,
        SYS_seccomp,
        SYS_capset,
    ],
    conditional: &[(SYS_clone, With(0, CLONE_THREAD as u64)), (SYS_prlimit64, OneOf(0, &[0]))],
};

/// Additional calls of the control thread: opens stores, queries
/// interfaces, reads and writes the maps of the XDP program.
pub(super) const CONTROL: Calls = Calls {
    always: &[
        // Workers inherit this filter.
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_bind,
        SYS_pipe2,
        SYS_mlock,
        SYS_mlock2,
        SYS_munlock,
    ],
    conditional: &[
        (SYS_bpf, OneOf(0, MAPS)),
        (SYS_socket, Both((0, AF_NETLINK as u64), (2, &[NETLINK_ROUTE as u64, NETLINK_GENERIC as u64]))),
    ],
};

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
];

/// Calls that only x86_64 has: of every thread, of helpers, and deadly ones.
#[cfg(target_arch = "x86_64")]
pub(super) const OLDER: [&[i64]; 3] = [
    &[SYS_poll, SYS_epoll_wait],
    &[SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink, SYS_mkdir],
    &[SYS_iopl, SYS_ioperm, SYS_modify_ldt],
];

/// Other machines have none of them.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLDER: [&[i64]; 3] = [&[]; 3];
