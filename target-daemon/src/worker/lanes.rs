//! What every worker knows of every lane, its own and the others'.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::ring::Memory;
use crate::store::Area;
use crate::wire::ether::Mac;

/// A lane as seen from any worker: where its frames' bytes are, and the facts
/// that replies depend on. The control thread updates the facts when the
/// interface changes.
#[derive(Debug)]
pub struct SharedLane {
    /// The memory of its frames.
    pub memory: Memory,
    /// Which interface it belongs to, as an index into the configured ones.
    pub interface: usize,
    /// The worker that polls it.
    pub worker: u16,
    /// Most sectors that its rings can carry in a frame, whatever the MTU.
    pub sectors_max: u8,
    mac: AtomicU64,
    sectors_per_frame: AtomicU8,
}

impl SharedLane {
    /// A lane of `interface`, polled by `worker`; its facts come by
    /// [`Self::update`].
    pub fn new(memory: Memory, interface: usize, worker: u16, sectors_max: u8) -> Self {
        let (mac, sectors_per_frame) = (AtomicU64::new(0), AtomicU8::new(1));
        Self { memory, interface, worker, sectors_max, mac, sectors_per_frame }
    }

    /// Where its frames' bytes lie, for the stores.
    fn area(&self) -> Area {
        let (base, bytes) = self.memory.extent();
        Area { base, bytes }
    }

    /// The areas of all lanes, each once: several may share one.
    pub fn areas(lanes: &[Self]) -> Vec<Area> {
        let mut areas: Vec<Area> = lanes.iter().map(Self::area).collect();
        areas.sort_unstable_by_key(|area| area.base);
        areas.dedup_by_key(|area| area.base);
        areas
    }

    /// The interface has another address or MTU now.
    /// `sectors_per_frame` is what the MTU has room for.
    pub fn update(&self, mac: Mac, sectors_per_frame: u8) {
        let [a, b, c, d, e, f] = mac.0;
        self.mac.store(u64::from_be_bytes([0, 0, a, b, c, d, e, f]), Ordering::Relaxed);
        self.sectors_per_frame.store(sectors_per_frame.min(self.sectors_max), Ordering::Relaxed);
    }

    /// The address of the interface.
    pub fn mac(&self) -> Mac {
        let [_, _, a, b, c, d, e, f] = self.mac.load(Ordering::Relaxed).to_be_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// Sectors that fit into a frame of the interface.
    pub fn sectors_per_frame(&self) -> u8 {
        self.sectors_per_frame.load(Ordering::Relaxed)
    }
}
