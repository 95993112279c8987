//! What is to be known about a network interface.
//!
//! Asked through system calls, not /sys: `nsenter --net` leaves the /sys of
//! another namespace in place.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::aoe::Mac;

/// A network interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// Bytes that a frame may carry behind the Ethernet header.
    pub mtu: usize,
}

impl Interface {
    /// Looks an interface up by name.
    pub fn named(name: &str) -> Result<Self> {
        let refused = || format!("interface {name}: not found (`ip link` lists what there is)");
        let text = CString::new(name).with_context(refused)?;
        // SAFETY: `text` is a C string that lives for the call.
        let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error()).with_context(refused);
        }
        let asking = Asking::new(name)?;
        Ok(Self {
            name: name.to_owned(),
            index,
            mac: asking.mac()?,
            mtu: asking.mtu()?,
        })
    }
}

/// A socket to ask through, and the form to fill in.
struct Asking {
    socket: OwnedFd,
    form: libc::ifreq,
}

impl Asking {
    fn new(name: &str) -> Result<Self> {
        // SAFETY: a plain system call; the descriptor is checked below.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("cannot open a socket");
        }
        // SAFETY: fresh from the kernel, owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero bytes are a valid `ifreq`.
        let mut form: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in form.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        Ok(Self { socket, form })
    }

    fn mac(&self) -> Result<Mac> {
        let form = self.ask(libc::SIOCGIFHWADDR)?;
        // SAFETY: SIOCGIFHWADDR fills in this member.
        let data = unsafe { form.ifr_ifru.ifru_hwaddr.sa_data };
        let [a, b, c, d, e, f, ..] = data;
        Ok(Mac([a, b, c, d, e, f].map(|byte| byte as u8)))
    }

    fn mtu(&self) -> Result<usize> {
        let form = self.ask(libc::SIOCGIFMTU)?;
        // SAFETY: SIOCGIFMTU fills in this member.
        let mtu = unsafe { form.ifr_ifru.ifru_mtu };
        usize::try_from(mtu).context("the MTU is negative")
    }

    fn ask(&self, what: libc::Ioctl) -> Result<libc::ifreq> {
        let mut form = self.form;
        // SAFETY: both questions take an `ifreq`, which lives for the call.
        let status = unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &raw mut form) };
        if status < 0 {
            return Err(io::Error::last_os_error())
                .context("cannot read the interface's address and MTU");
        }
        Ok(form)
    }
}
