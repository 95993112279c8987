//! NIC settings that determine whether frames are lost or late.

use super::sys;

/// The output of `ethtool -g`, `-c` and `-a`. Each is `None` if the driver has no such
/// setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// The entries of the receive ring, and the maximum.
    pub rx_ring: Option<(u32, u32)>,
    /// A receive interrupt is delayed by up to this many microseconds or this many frames;
    /// the flag tells whether the NIC adapts these.
    pub rx_coalesce: Option<(u32, u32, bool)>,
    /// Whether pause frames are obeyed, and whether they are sent.
    pub pause: Option<(bool, bool)>,
}

impl Nic {
    /// Reads the settings of this interface, in the network namespace of this thread.
    pub fn read(name: &str) -> Self {
        Self {
            rx_ring: sys::rx_ring(name).ok().filter(|(_, most)| *most > 0),
            rx_coalesce: sys::rx_coalesce(name).ok(),
            pause: sys::pause(name).ok(),
        }
    }
}
