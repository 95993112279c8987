//! What every worker knows about every lane, its own and those of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::hosts::HostFinder;
use crate::ring::{FRAGMENTS_MAX, HostTable, Umem};
use crate::shelf::{self, Ingress, ReplyLimit};
use crate::wire::aoe::Address;
use crate::wire::ata::SECTOR_LEN;
use crate::wire::ether::Mac;

/// Ethernet header, two VLAN tags, AoE and ATA header.
const HEADERS_LEN: usize = 14 + 8 + 22;

/// Maximum distance of a received frame from the start of the chunk's usable space.
const HEADROOM: usize = 220;

/// A lane as seen from any worker: the memory of its frames, and the properties that
/// replies depend on. The control thread updates these when the interface changes.
#[derive(Debug)]
pub struct SharedLane {
    /// The UMEM of its frames.
    pub umem: Umem,
    /// Index of its interface among the configured ones.
    pub interface: usize,
    /// The worker that polls it.
    pub worker: u16,
    /// The hosts of its interface.
    hosts: Arc<HostTable>,
    /// Its index in the XDP program.
    at: u32,
    /// Maximum number of sectors that its rings can carry in a frame, whatever the MTU.
    sectors_max: u8,
    mac: AtomicU64,
    sectors_per_frame: AtomicU8,
    /// Maximum number of sectors in a reply at the current MTU.
    reply_sectors: AtomicU8,
    strips_tags: AtomicBool,
    /// The last read that got no reply because of its length, packed; 0 for none.
    too_long: AtomicU64,
}

impl SharedLane {
    /// A lane of `interface`, which has these hosts, at index `at` of the XDP program, polled
    /// by `worker`. Call [`Self::update`] to set its
    /// properties. `multi_fragment`: its frames may have several chunks.
    pub fn new(
        umem: Umem,
        (interface, hosts, at): (usize, Arc<HostTable>, u32),
        worker: u16,
        multi_fragment: bool,
    ) -> Self {
        let sectors_max = sectors_in(umem.chunk_capacity(), if multi_fragment { FRAGMENTS_MAX } else { 1 });
        Self {
            umem,
            interface,
            worker,
            hosts,
            at,
            sectors_max,
            mac: AtomicU64::new(0),
            sectors_per_frame: AtomicU8::new(1),
            reply_sectors: AtomicU8::new(1),
            strips_tags: AtomicBool::new(false),
            too_long: AtomicU64::new(0),
        }
    }

    /// Numbers the hosts that send to the lane.
    pub(super) fn host_finder(&self) -> HostFinder {
        HostFinder::new(Arc::clone(&self.hosts), self.interface, self.at)
    }

    /// The hosts of its interface.
    pub fn hosts(&self) -> &HostTable {
        &self.hosts
    }

    /// Sets the address and MTU of the interface.
    pub fn update(&self, mac: Mac, mtu: u32) {
        let [a, b, c, d, e, f] = mac.0;
        self.mac.store(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]), Ordering::Relaxed);
        let power = 1 << self.sectors_max.ilog2();
        self.sectors_per_frame.store(shelf::sectors_per_frame(mtu).min(power), Ordering::Relaxed);
        self.reply_sectors.store(ReplyLimit::new(mtu, self.sectors_max).now, Ordering::Relaxed);
    }

    /// Sets whether the NIC removes VLAN tags.
    pub fn set_strips_tags(&self, strips: bool) {
        self.strips_tags.store(strips, Ordering::Relaxed);
    }

    /// How its frames arrive.
    #[inline]
    pub fn ingress(&self) -> Ingress {
        let strips_tags = self.strips_tags.load(Ordering::Relaxed);
        Ingress { interface: self.interface as u16, strips_tags }
    }

    /// The MAC address of the interface.
    #[inline]
    pub fn mac(&self) -> Mac {
        let [a, b, c, d, e, f, _, _] = self.mac.load(Ordering::Relaxed).to_ne_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// Number of sectors in a frame that the interface advertises.
    #[inline]
    pub fn sectors_per_frame(&self) -> u8 {
        self.sectors_per_frame.load(Ordering::Relaxed)
    }

    /// Maximum number of sectors in a reply.
    #[inline]
    pub fn reply_limit(&self) -> ReplyLimit {
        ReplyLimit { now: self.reply_sectors.load(Ordering::Relaxed), ever: self.sectors_max }
    }

    /// Notes a read that got no reply because the reply would exceed the MTU.
    pub fn note_too_long(&self, export: Address, sectors: u8) {
        let [high, low] = export.shelf.to_be_bytes();
        let packed = u64::from_be_bytes([1, 0, 0, 0, sectors, high, low, export.slot]);
        self.too_long.store(packed, Ordering::Relaxed);
    }

    /// The last such read since the previous call: its export and sector count.
    pub fn take_too_long(&self) -> Option<(Address, u8)> {
        let [noted, _, _, _, sectors, high, low, slot] =
            self.too_long.swap(0, Ordering::Relaxed).to_be_bytes();
        (noted != 0).then_some((Address { shelf: u16::from_be_bytes([high, low]), slot }, sectors))
    }
}

/// Number of sectors that fit in a frame of this many chunks; at least 1.
fn sectors_in(chunk_capacity: usize, chunks: usize) -> u8 {
    let room = chunks * chunk_capacity.saturating_sub(HEADROOM);
    let sectors = room.saturating_sub(HEADERS_LEN) / SECTOR_LEN;
    u8::try_from(sectors).unwrap_or(u8::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use xblade_sim::FakeRings;

    use super::*;

    #[test]
    fn a_frame_carries_what_its_chunks_have_room_for() {
        for (capacity, chunks, sectors) in
            [(3840, 1, 6), (3840, 8, 56), (1792, 1, 2), (1792, 8, 24), (100, 1, 1), (1 << 20, 8, 255)]
        {
            assert_eq!(sectors_in(capacity, chunks), sectors, "{chunks} of {capacity}");
        }
    }

    #[test]
    fn what_is_advertised_is_a_power_of_two_and_what_fits_need_not_be() {
        let (lane, _wire) = FakeRings::open(64, 4096, 16).unwrap();
        for (multi_fragment, mtu, advertised, now) in
            [(true, 9000, 16, 17), (true, 1500, 2, 2), (true, 500, 1, 0), (false, 9000, 4, 6)]
        {
            let shared = SharedLane::new(lane.umem().clone(), (0, Arc::default(), 0), 0, multi_fragment);
            shared.update(Mac([2; 6]), mtu);
            assert_eq!(
                (shared.sectors_per_frame(), shared.reply_limit().now),
                (advertised, now),
                "MTU {mtu}"
            );
        }
    }

    #[test]
    fn a_read_without_a_reply_is_reported_once() {
        let (lane, _wire) = FakeRings::open(64, 4096, 16).unwrap();
        let shared = SharedLane::new(lane.umem().clone(), (0, Arc::default(), 0), 0, true);
        let export = Address { shelf: 0x1234, slot: 0x56 };
        assert_eq!(shared.take_too_long(), None);
        shared.note_too_long(export, 17);
        assert_eq!(shared.take_too_long(), Some((export, 17)));
        assert_eq!(shared.take_too_long(), None);
    }
}
