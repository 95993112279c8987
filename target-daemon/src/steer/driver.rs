//! What is asked of a driver, and the one of this machine.

use std::io;

use crate::link::{FlowMatch, FlowRoom, FlowRule, FlowTable};

/// The rules of one NIC. Tests have others than the kernel's.
pub trait Driver {
    /// Whether rules are switched on.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn is_on(&self) -> io::Result<bool>;

    /// Switches them on or off.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn switch(&mut self, on: bool) -> io::Result<()>;

    /// Places for rules.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP where the driver has no rules.
    fn room(&self) -> io::Result<FlowRoom>;

    /// All rules.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP where the driver has no rules.
    fn rules(&self) -> io::Result<Vec<FlowRule>>;

    /// Adds one; returns where it is.
    ///
    /// # Errors
    ///
    /// See [`refuses`] and [`is_full`].
    fn insert(&mut self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32>;

    /// Takes one away.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove(&mut self, location: u32) -> io::Result<()>;
}

/// The driver of an interface of this machine.
pub struct NicDriver(FlowTable);

impl NicDriver {
    /// That of this interface.
    pub fn of(interface: &str) -> Self {
        Self(FlowTable::of(interface))
    }
}

impl Driver for NicDriver {
    fn is_on(&self) -> io::Result<bool> {
        self.0.is_on()
    }

    fn switch(&mut self, on: bool) -> io::Result<()> {
        self.0.switch(on)
    }

    fn room(&self) -> io::Result<FlowRoom> {
        self.0.room()
    }

    fn rules(&self) -> io::Result<Vec<FlowRule>> {
        self.0.rules()
    }

    fn insert(&mut self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32> {
        self.0.insert(matches, queue, location)
    }

    fn remove(&mut self, location: u32) -> io::Result<()> {
        self.0.remove(location)
    }
}

/// The kernel's own "not supported", which drivers let through now and then.
const ENOTSUPP: i32 = 524;

/// The driver does not do that at all.
pub fn refuses(error: &io::Error) -> bool {
    let refusals = [libc::EOPNOTSUPP, libc::EINVAL, libc::EPROTONOSUPPORT, libc::ENOSYS, ENOTSUPP];
    error.raw_os_error().is_some_and(|code| refusals.contains(&code))
}

/// The driver has no room left.
pub fn is_full(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| [libc::ENOSPC, libc::ENOMEM, libc::E2BIG].contains(&code))
}
