//! What the network stack on our side receives: an AF_PACKET socket for all frames.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};

/// Receives every frame of an interface, including our outgoing ones.
pub fn everything_on(index: u32) -> File {
    // SAFETY: no pointers; the result is checked before it is used.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a fresh descriptor that nothing else owns.
    let socket = unsafe { File::from_raw_fd(fd) };
    // SAFETY: an all-zero sockaddr_ll is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    let limit = libc::timeval { tv_sec: 5, tv_usec: 0 };
    // SAFETY: the pointers lead to whole structures of the given sizes.
    let results = unsafe {
        [
            libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32),
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const limit).cast(),
                size_of_val(&limit) as u32,
            ),
        ]
    };
    assert_eq!(results, [0, 0]);
    socket
}

/// The next frame with that source; other frames come from the stacks.
pub fn next_from(mut socket: &File, source: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 10_000];
    loop {
        let len = socket.read(&mut frame).expect("a frame within five seconds");
        if frame.get(6..12) == Some(source) {
            frame.truncate(len);
            return frame;
        }
    }
}
