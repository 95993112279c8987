//! VLAN tags beside the frame, as a VLAN interface of the kernel puts them, which not every
//! kernel has.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::namespace::Space;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_EGRESS: u32 = 47;
/// `bpf_skb_vlan_push`.
const VLAN_PUSH: i32 = 18;

/// The start of `union bpf_attr` for [`BPF_PROG_LOAD`].
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 2],
}

/// The start of `union bpf_attr` for [`BPF_LINK_CREATE`].
#[repr(C)]
struct Attach {
    program: u32,
    index: u32,
    kind: u32,
    flags: u32,
}

/// Adds a tag (0x8100) with this TCI beside every frame that an interface in `space` sends,
/// until the result is dropped. The driver puts it into the frame, unless it passes it on
/// beside the frame, as veth does unless `txvlan` is off.
pub fn push_vlan(space: &Space, interface: &str, tci: u16) -> OwnedFd {
    let interface = interface.to_owned();
    space.run(move || attach(&interface, tci).expect("a program for tc"))
}

fn attach(interface: &str, tci: u16) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: a null-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // r2 = the TPID, in network order; r3 = the TCI; call; r0 = 0; exit.
    let code = [
        instruction(0xb7, 2, i32::from(0x8100_u16.to_be())),
        instruction(0xb7, 3, i32::from(tci)),
        instruction(0x85, 0, VLAN_PUSH),
        instruction(0xb7, 0, 0),
        instruction(0x95, 0, 0),
    ];
    let license = c"GPL";
    let load = Load {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        instructions: code.len() as u32,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log: [0; 2],
    };
    let program = bpf(BPF_PROG_LOAD, &load)?;
    bpf(
        BPF_LINK_CREATE,
        &Attach { program: program.as_raw_fd() as u32, index, kind: BPF_TCX_EGRESS, flags: 0 },
    )
}

fn instruction(op: u8, register: u8, immediate: i32) -> u64 {
    u64::from(op) | u64::from(register) << 8 | u64::from(immediate.cast_unsigned()) << 32
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes have that size, and with what they point to outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
