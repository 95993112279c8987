//! Settings of a NIC that decide whether frames are lost or late.

use super::sys;

/// What `ethtool -g`, `-c` and `-a` print. Each is `None` where the driver has
/// no such setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Entries of the receive ring, and the most that it can have.
    pub rx_ring: Option<(u32, u32)>,
    /// An interrupt for received frames waits for so many microseconds or so
    /// many frames, and whether the NIC adapts that.
    pub rx_coalesce: Option<(u32, u32, bool)>,
    /// Pause frames are obeyed, and sent.
    pub pause: Option<(bool, bool)>,
}

impl Nic {
    /// Those of this interface, in the network namespace of this thread.
    pub fn read(name: &str) -> Self {
        Self {
            rx_ring: sys::rx_ring(name).ok().filter(|(_, most)| *most > 0),
            rx_coalesce: sys::rx_coalesce(name).ok(),
            pause: sys::pause(name).ok(),
        }
    }
}
