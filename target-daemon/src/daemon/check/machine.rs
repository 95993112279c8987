//! Checks the kernel and the privileges of this process.

use std::fs;

use super::super::plan::KERNEL_FRAGMENTS;
use super::Line;
use crate::link;
use crate::privilege;

/// The first kernel with XDP programs for multi-fragment frames.
const KERNEL_MIN: (u32, u32) = (5, 18);

/// The most descriptors of an export, and those of the process besides its exports.
const FILES_PER_EXPORT: u64 = 2;
const FILES_BESIDE: u64 = 96;

/// One line for each requirement, for the number of exports to be served.
pub fn lines(exports: usize) -> Vec<Line> {
    let mut lines = vec![kernel(), capabilities(), locked_memory(), open_files(exports)];
    lines.extend(privilege::unwanted_limits().into_iter().map(Line::Warn));
    lines.extend([io_uring(), landlock(), seccomp()]);
    lines
}

fn kernel() -> Line {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let version = link::kernel();
    let newer = "Debian 12 has one in bookworm-backports (linux-image-amd64)";
    if version >= KERNEL_FRAGMENTS {
        Line::Ok(format!("kernel {release}"))
    } else if version >= KERNEL_MIN {
        Line::Hint(format!("kernel {release}: more than 4 sectors a frame need 6.6 or newer; {newer}"))
    } else {
        Line::Fix(format!("kernel {release} is too old: install 6.6 or newer; {newer}"))
    }
}

fn capabilities() -> Line {
    match link::missing_capabilities() {
        Ok(missing) if missing.is_empty() => Line::Ok("capabilities".into()),
        Ok(missing) => Line::Fix(format!("this process lacks {}: run as root", missing.join(", "))),
        Err(e) => Line::Fix(format!("cannot read own capabilities: {e}")),
    }
}

fn locked_memory() -> Line {
    match link::raise_memlock() {
        Ok(()) => Line::Ok("locked memory unlimited".into()),
        // CAP_IPC_LOCK is one of them.
        Err(_) if link::missing_capabilities().is_ok_and(|missing| missing.is_empty()) => {
            Line::Ok("locked memory: CAP_IPC_LOCK lifts the limit".into())
        }
        Err(e) => Line::Fix(format!("{e}")),
    }
}

fn open_files(exports: usize) -> Line {
    let limit = privilege::raise_files();
    let needed = exports as u64 * FILES_PER_EXPORT + FILES_BESIDE;
    if needed > limit {
        return Line::Warn(format!(
            "open files: RLIMIT_NOFILE is {limit}, and {exports} exports take up to {needed}: ulimit -Hn {needed}, or \
             LimitNOFILE={needed} for the service"
        ));
    }
    let most = limit.saturating_sub(FILES_BESIDE) / FILES_PER_EXPORT;
    Line::Ok(format!("open files: {limit}, enough for {most} exports"))
}

/// Without io_uring, a disk that hangs blocks the other exports of its worker.
fn io_uring() -> Line {
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default().trim() {
        "" | "0" => Line::Ok("io_uring".into()),
        "1" => Line::Ok("io_uring, for root and the group in kernel.io_uring_group".into()),
        _ => Line::Hint(
            "io_uring is switched off, so files are served with blocking calls: sysctl kernel.io_uring_disabled=0"
                .into(),
        ),
    }
}

/// Without Landlock, a compromised process may open other files.
fn landlock() -> Line {
    match privilege::landlock_abi() {
        Some(abi) if abi < 4 => {
            Line::Ok(format!("Landlock ABI {abi}: confines files; TCP too from Linux 6.7 on"))
        }
        Some(abi) => Line::Ok(format!("Landlock ABI {abi}")),
        None => Line::Hint(
            "no Landlock, so the sandbox does not confine files: boot with landlock in lsm=LIST, see \
             /sys/kernel/security/lsm"
                .into(),
        ),
    }
}

fn seccomp() -> Line {
    if privilege::has_seccomp() {
        Line::Ok("seccomp".into())
    } else {
        Line::Hint("no seccomp, so the sandbox does not filter system calls: use a kernel with it".into())
    }
}
