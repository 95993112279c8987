//! The driver interface of `steer`, and its implementation for this machine.

use std::io;

use crate::link::{FlowMatch, FlowRoom, FlowRule, FlowTable};

/// The rules of one NIC. Tests have their own implementation.
pub trait Driver {
    /// Whether rules are enabled.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn is_on(&self) -> io::Result<bool>;

    /// Enables or disables rules.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn switch(&mut self, on: bool) -> io::Result<()>;

    /// The capacity for rules.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the driver has no rules.
    fn room(&self) -> io::Result<FlowRoom>;

    /// All rules.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the driver has no rules.
    fn rules(&self) -> io::Result<Vec<FlowRule>>;

    /// Adds a rule. Returns its location.
    ///
    /// # Errors
    ///
    /// See [`refuses`] and [`is_full`].
    fn insert(&mut self, matches: FlowMatch, queue: u32, location: Option<u32>) -> io::Result<u32>;

    /// Removes a rule.
    ///
    /// # Errors
    ///
    /// The kernel's.
    fn remove(&mut self, location: u32) -> io::Result<()>;
}

/// The driver of an interface of this machine.
pub struct NicDriver(FlowTable);

impl NicDriver {
    /// The driver of this interface.
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

/// The kernel's internal "not supported", which some drivers return by mistake.
const ENOTSUPP: i32 = 524;

/// Whether the driver does not support the operation.
pub fn refuses(error: &io::Error) -> bool {
    let refusals = [libc::EOPNOTSUPP, libc::EINVAL, libc::EPROTONOSUPPORT, libc::ENOSYS, ENOTSUPP];
    error.raw_os_error().is_some_and(|code| refusals.contains(&code))
}

/// Whether the driver has no room left.
pub fn is_full(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| [libc::ENOSPC, libc::ENOMEM, libc::E2BIG].contains(&code))
}
