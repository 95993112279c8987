//! A foreign program: `return XDP_PASS`, loaded and attached directly.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};

use libbpf_sys::{BPF_PROG_TYPE_XDP, BPF_XDP, bpf_insn, bpf_link_create, bpf_prog_load};

pub const GENERIC: u32 = 1 << 1;
pub const NATIVE: u32 = 1 << 2;

/// Loads it under `name`.
pub fn load(name: &str) -> OwnedFd {
    let [name, license] = [name, "GPL"].map(|text| CString::new(text).unwrap());
    let mut mov_r0_2 = bpf_insn { code: 0xb7, imm: 2, ..Default::default() };
    mov_r0_2.set_dst_reg(0);
    let code = [mov_r0_2, bpf_insn { code: 0x95, ..Default::default() }];
    let (name, license) = (name.as_ptr(), license.as_ptr());
    // SAFETY: two C strings and two instructions, all alive for the call.
    let fd = unsafe {
        bpf_prog_load(BPF_PROG_TYPE_XDP, name, license, code.as_ptr(), code.len() as _, null_mut())
    };
    owned(fd)
}

/// Attaches it as `ip link set` does: it stays until it is explicitly detached.
pub fn attach(program: &OwnedFd, index: u32, flags: u32) {
    // SAFETY: no pointers except the options, which may be null.
    let code = unsafe { libbpf_sys::bpf_xdp_attach(index as i32, program.as_raw_fd(), flags, null()) };
    assert_eq!(code, 0);
}

/// Attaches it with a bpf_link, which lasts as long as the descriptor.
pub fn link(program: &OwnedFd, index: u32, flags: u32) -> OwnedFd {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags,
        ..Default::default()
    };
    // SAFETY: `options` is whole, contains its own size, and outlives the call.
    let fd = unsafe { bpf_link_create(program.as_raw_fd(), index as i32, BPF_XDP, &raw const options) };
    owned(fd)
}

fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::from_raw_os_error(-fd));
    // SAFETY: a fresh descriptor that nothing else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
