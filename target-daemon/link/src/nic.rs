//! Settings of a NIC that determine whether frames are lost or late.

use std::io;

use super::sys::{self, Command, Words};

const NONE: Words = [0; 50];

/// A setting of a NIC, as `ethtool` shows and changes it: a field of a structure in
/// `linux/ethtool.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicSetting {
    /// The commands that read and write the structure.
    get: Command,
    set: Command,
    /// The 32-bit word, after the command, that contains the field.
    word: usize,
    /// The bits of the field.
    bits: u32,
}

impl NicSetting {
    /// The entries of the receive ring, and the maximum.
    pub const RX_RING: Self = Self::ring(4);
    /// See [`Self::RX_RING`].
    pub const RX_RING_MAX: Self = Self::ring(0);
    /// The entries of the send ring, and the maximum.
    pub const TX_RING: Self = Self::ring(7);
    /// See [`Self::TX_RING`].
    pub const TX_RING_MAX: Self = Self::ring(3);
    /// The microseconds by which a receive interrupt may be delayed.
    pub const RX_USECS: Self =
        Self { get: Command::Coalesce, set: Command::SetCoalesce, word: 0, bits: u32::MAX };
    /// Whether the NIC adapts that delay itself.
    pub const ADAPTIVE_RX: Self = Self { word: 9, bits: 1, ..Self::RX_USECS };
    /// Whether pause frames are obeyed.
    pub const PAUSE_RX: Self = Self { get: Command::Pause, set: Command::SetPause, word: 1, bits: 1 };
    /// Whether pause frames are sent.
    pub const PAUSE_TX: Self = Self { word: 2, ..Self::PAUSE_RX };
    /// Whether the NIC strips VLAN tags.
    pub const RX_VLAN: Self = Self::flag(8);
    /// Whether rules that send frames to queues are enabled.
    pub const NTUPLE: Self = Self::flag(27);

    const fn ring(word: usize) -> Self {
        Self { get: Command::Rings, set: Command::SetRings, word, bits: u32::MAX }
    }

    const fn flag(bit: u32) -> Self {
        Self { get: Command::Flags, set: Command::SetFlags, word: 0, bits: 1 << bit }
    }

    /// Reads the setting of this interface, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no such setting.
    pub fn read(self, interface: &str) -> io::Result<u32> {
        let words = sys::ethtool_words(interface, self.get, NONE)?;
        Ok((words[self.word] & self.bits) >> self.bits.trailing_zeros())
    }

    /// Changes the setting and leaves the others in its structure as they are.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no such setting.
    pub fn write(self, interface: &str, value: u32) -> io::Result<()> {
        let mut words = sys::ethtool_words(interface, self.get, NONE)?;
        let others = words[self.word] & !self.bits;
        words[self.word] = others | value << self.bits.trailing_zeros();
        sys::ethtool_words(interface, self.set, words).map(|_| ())
    }

    /// Whether it is on or off, rather than a number.
    pub fn is_switch(self) -> bool {
        self.bits.is_power_of_two()
    }

    /// Whether this is a feature that the driver never changes.
    pub fn is_fixed(self, interface: &str) -> bool {
        let name = match self {
            Self::RX_VLAN => "rx-vlan-hw-parse",
            Self::NTUPLE => "rx-ntuple-filter",
            _ => return false,
        };
        is_changeable(interface, name).is_ok_and(|changeable| !changeable)
    }
}

/// Whether the driver lets the user change a feature. Its bit differs between kernels.
fn is_changeable(interface: &str, feature: &str) -> io::Result<bool> {
    const BLOCKS: usize = 4;
    const BLOCK_WORDS: usize = 4;
    let names = sys::feature_names(interface)?;
    let named = |name: &[u8; 32]| name.strip_prefix(feature.as_bytes()).is_some_and(|rest| rest[0] == 0);
    let bit = names.iter().position(named).filter(|bit| *bit < 32 * BLOCKS).ok_or(io::ErrorKind::NotFound)?;
    let mut words = NONE;
    words[0] = BLOCKS as u32;
    // The first word of each block has the changeable features.
    let words = sys::ethtool_words(interface, Command::Features, words)?;
    Ok(words[1 + bit / 32 * BLOCK_WORDS] >> (bit % 32) & 1 == 1)
}
