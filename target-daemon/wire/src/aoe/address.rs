//! Shelf and slot.

use std::fmt;
use std::str::FromStr;

use super::{SHELF_ANY, SLOT_ANY};

/// The address of an export: shelf (major) and slot (minor).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// The shelf, called major in the protocol.
    pub shelf: u16,
    /// The slot, called minor in the protocol.
    pub slot: u8,
}

/// Why an export cannot have an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressError {
    /// What is wrong.
    pub what: String,
    /// The remedy.
    pub remedy: String,
}

impl AddressError {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// Checks that an export can have this address.
    pub fn new(shelf: u16, slot: u8) -> Result<Self, AddressError> {
        const SHELVES: &str = "take 0 to 4094 or 4096 to 65534";
        let (what, remedy) = match (shelf, slot) {
            (4095, _) => ("shelf 4095 cannot be used, Linux initiators ignore it", SHELVES),
            (SHELF_ANY, _) => ("shelf 65535 cannot be used, it means every shelf", SHELVES),
            (_, SLOT_ANY) => ("slot 255 cannot be used, it means every slot", "take 0 to 254"),
            _ => return Ok(Self { shelf, slot }),
        };
        Err(AddressError::new(what, remedy))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Parses `SHELF.SLOT` in decimal, within the limits of [`Address::new`].
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some((shelf, slot)) = numbers(text) {
            return Self::new(shelf, slot);
        }
        // A device name: /dev/etherd/e7.0.
        let name = text.strip_prefix("/dev/etherd/").unwrap_or(text).strip_prefix('e');
        match name.and_then(numbers) {
            Some((shelf, slot)) => Err(AddressError::new(
                format!("{text:?} is the device name on hosts"),
                format!("write the address as {}", Self::new(shelf, slot)?),
            )),
            None => Err(AddressError::new(
                format!("{text:?} is not an address"),
                "write SHELF.SLOT, as in 7.0 (shelf 0 to 65534, slot 0 to 254)",
            )),
        }
    }
}

fn numbers(text: &str) -> Option<(u16, u8)> {
    let (shelf, slot) = text.split_once('.')?;
    // `parse` would accept a sign.
    if text.contains('+') {
        return None;
    }
    Some((shelf.parse().ok()?, slot.parse().ok()?))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shelf, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_limits_and_say_why() {
        for good in ["0.0", "4094.254", "4096.0", "65534.254", "7.15"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for (bad, reason) in [
            ("4095.0", "Linux initiators ignore it"),
            ("65535.0", "every shelf"),
            ("1.255", "every slot"),
            ("65536.0", "SHELF.SLOT"),
            ("1.256", "SHELF.SLOT"),
            ("1", "SHELF.SLOT"),
            ("1.", "SHELF.SLOT"),
            (".1", "SHELF.SLOT"),
            ("1.2.3", "SHELF.SLOT"),
            ("+1.2", "SHELF.SLOT"),
            ("-1.2", "SHELF.SLOT"),
            ("e1.2", "\"e1.2\" is the device name on hosts: write the address as 1.2"),
            ("/dev/etherd/e1.2", "write the address as 1.2"),
            ("e1", "\"e1\" is not an address: write SHELF.SLOT"),
            ("e4095.2", "Linux initiators ignore it"),
            ("ee1.2", "SHELF.SLOT"),
        ] {
            let error = bad.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
