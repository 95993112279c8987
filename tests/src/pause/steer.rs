//! The queue of a frame to a VM, by the frame's length.
//!
//! A tap with several queues gives all frames of AoE to one of them, for it
//! looks for flows of IP. So a program tells it: an odd length, which a request
//! has that is followed by one byte, belongs to queue 1, an even one to queue 0.

use std::fs::OpenOptions;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// As QEMU opens it: the kernel wants the same from everybody.
const TAP: i32 = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

const TUNSETSTEERINGEBPF: libc::Ioctl = 0x8004_54e0_u32 as libc::Ioctl;
const PROG_LOAD: libc::c_long = 5;
const SOCKET_FILTER: u32 = 1;

/// `r0 = ctx->len; r0 &= 1; exit`.
const PARITY_OF_LENGTH: [u64; 3] = [0x0000_0000_0000_1061, 0x0000_0001_0000_0057, 0x0000_0000_0000_0095];

/// What the kernel wants to know of a program, so far as it is needed.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u32; 2],
    log_buffer: u64,
    version: u32,
    flags: u32,
}

/// Steers the frames of this tap, which is in the namespace of this thread and
/// has its queues already.
pub fn by_length(tap: &str) -> io::Result<()> {
    let program = load()?;
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: plain bytes, for which zero is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(tap.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = TAP as libc::c_short;
    // SAFETY: the request outlives the call. It gives the tap a queue more, for
    // as long as the device is open.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let program = program.as_raw_fd();
    // SAFETY: the number outlives the call; the tap keeps the program.
    check(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETSTEERINGEBPF, &raw const program) }).map(drop)
}

fn load() -> io::Result<OwnedFd> {
    let license = c"GPL";
    let load = Load {
        kind: SOCKET_FILTER,
        instructions: PARITY_OF_LENGTH.len() as u32,
        code: PARITY_OF_LENGTH.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log: [0; 2],
        log_buffer: 0,
        version: 0,
        flags: 0,
    };
    // SAFETY: as long as told, and with all that it points to it outlives the
    // call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    let fd = check(fd as i32)?;
    // SAFETY: a descriptor that was just made, and that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
