//! Settings of a NIC that determine whether frames are lost or late.

use std::io;

use super::sys::{self, Command, Words};

const NONE: Words = [0; 50];

/// A setting of a NIC, as `ethtool` shows and changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicSetting {
    /// A field of a structure in `linux/ethtool.h`.
    Field(Field),
    /// A feature with this name.
    Feature(&'static str),
}

/// A field of a structure in `linux/ethtool.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The commands that read and write the structure.
    get: Command,
    set: Command,
    /// The 32-bit word, after the command, that contains the field.
    word: usize,
    /// The bits of the field.
    bits: u32,
}

const COALESCE: Field = Field { get: Command::Coalesce, set: Command::SetCoalesce, word: 0, bits: u32::MAX };
const PAUSE: Field = Field { get: Command::Pause, set: Command::SetPause, word: 0, bits: 1 };

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
    pub const RX_USECS: Self = Self::Field(COALESCE);
    /// Whether the NIC adapts that delay itself.
    pub const ADAPTIVE_RX: Self = Self::Field(Field { word: 9, bits: 1, ..COALESCE });
    /// Whether pause frames are obeyed.
    pub const PAUSE_RX: Self = Self::Field(Field { word: 1, ..PAUSE });
    /// Whether pause frames are sent.
    pub const PAUSE_TX: Self = Self::Field(Field { word: 2, ..PAUSE });
    /// Whether the NIC strips VLAN tags (0x8100).
    pub const RX_VLAN: Self = Self::Feature("rx-vlan-hw-parse");
    /// Whether the NIC strips service tags (0x88A8).
    pub const RX_SERVICE_VLAN: Self = Self::Feature("rx-vlan-stag-hw-parse");
    /// The settings by which the NIC strips tags.
    pub const STRIPPING: [Self; 2] = [Self::RX_VLAN, Self::RX_SERVICE_VLAN];
    /// Whether the NIC drops frames of VLANs that have no VLAN interface.
    pub const RX_VLAN_FILTER: Self = Self::Feature("rx-vlan-filter");
    /// Whether rules that send frames to queues are enabled.
    pub const NTUPLE: Self = Self::Feature("rx-ntuple-filter");

    const fn ring(word: usize) -> Self {
        Self::Field(Field { get: Command::Rings, set: Command::SetRings, word, bits: u32::MAX })
    }

    /// Reads the setting of this interface, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no such setting.
    pub fn read(self, interface: &str) -> io::Result<u32> {
        match self {
            Self::Field(Field { get, word, bits, .. }) => {
                let words = sys::ethtool_words(interface, get, NONE)?;
                Ok((words[word] & bits) >> bits.trailing_zeros())
            }
            Self::Feature(name) => Ok(Feature::read(interface, name)?.is_on.into()),
        }
    }

    /// Changes the setting and leaves the others in its structure as they are.
    ///
    /// # Errors
    ///
    /// The kernel's; EOPNOTSUPP if the driver has no such setting, or keeps its value.
    pub fn write(self, interface: &str, value: u32) -> io::Result<()> {
        match self {
            Self::Field(Field { get, set, word, bits }) => {
                let mut words = sys::ethtool_words(interface, get, NONE)?;
                let others = words[word] & !bits;
                words[word] = others | value << bits.trailing_zeros();
                sys::ethtool_words(interface, set, words).map(|_| ())
            }
            Self::Feature(name) => Feature::read(interface, name)?.write(interface, value != 0),
        }
    }

    /// Its name, if it is a feature, as `ethtool -K` takes it.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Field(_) => None,
            Self::RX_VLAN => Some("rxvlan"),
            Self::Feature(name) => Some(name),
        }
    }

    /// Whether it is on or off, rather than a number.
    pub fn is_switch(self) -> bool {
        match self {
            Self::Field(field) => field.bits.is_power_of_two(),
            Self::Feature(_) => true,
        }
    }

    /// Whether this is a feature that the driver never changes.
    pub fn is_fixed(self, interface: &str) -> bool {
        match self {
            Self::Field(_) => false,
            Self::Feature(name) => Feature::read(interface, name).is_ok_and(|feature| !feature.is_changeable),
        }
    }
}

/// A feature of an interface. Its bit differs between kernels.
struct Feature {
    name: &'static str,
    bit: usize,
    /// The number of blocks of 32 features that the kernel has.
    blocks: u32,
    is_on: bool,
    is_changeable: bool,
}

impl Feature {
    const BLOCKS: usize = 4;

    fn read(interface: &str, name: &'static str) -> io::Result<Self> {
        const BLOCK_WORDS: usize = 4;
        let names = sys::feature_names(interface)?;
        let is_it = |other: &[u8; 32]| other.strip_prefix(name.as_bytes()).is_some_and(|rest| rest[0] == 0);
        let bit = names.iter().position(is_it).filter(|bit| *bit < 32 * Self::BLOCKS);
        let bit = bit.ok_or(io::ErrorKind::Unsupported)?;
        let mut words = NONE;
        words[0] = Self::BLOCKS as u32;
        let words = sys::ethtool_words(interface, Command::Features, words)?;
        // Of each block, the first word has the changeable features, the third those that are on.
        let is_set = |word| words[1 + bit / 32 * BLOCK_WORDS + word] >> (bit % 32) & 1 == 1;
        Ok(Self { name, bit, blocks: words[0], is_on: is_set(2), is_changeable: is_set(0) })
    }

    fn write(&self, interface: &str, on: bool) -> io::Result<()> {
        let mut words = NONE;
        // Of each block, the first word has the features to change, the second their values.
        let at = 1 + self.bit / 32 * 2;
        words[0] = self.blocks;
        (words[at], words[at + 1]) = (1 << (self.bit % 32), u32::from(on) << (self.bit % 32));
        sys::ethtool_words(interface, Command::SetFeatures, words)?;
        // The kernel reports success if the driver refuses.
        let kept = Self::read(interface, self.name)?.is_on != on;
        if kept { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }
}
