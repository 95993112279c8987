//! The AoE header.
use std::fmt;

/// Where an export answers: shelf (major) and slot (minor).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// The shelf, called major in the protocol.
    pub shelf: u16,
    /// The slot, called minor in the protocol.
    pub slot: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shelf, self.slot)
    }
}
