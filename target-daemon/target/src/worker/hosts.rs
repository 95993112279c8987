//! The hosts as a worker numbers them: all of one interface, then those of the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::messages::Inbound;
use crate::ring::{Candidates, Frame, HOST_INDICES, HostKey, HostTable, RingShares, UNKNOWN_HOST, units};
use crate::wire::ether::{Ether, Mac};

/// Interfaces with hosts of their own. Those of further ones share numbers with the last.
const INTERFACES_MAX: usize = u16::MAX as usize / HOST_INDICES - 1;

/// Number of hosts of this many interfaces.
pub(super) fn count(interfaces: usize) -> usize {
    interfaces.clamp(1, INTERFACES_MAX) * HOST_INDICES
}

/// Whether this number stands for all hosts of an interface that are not in its table.
pub(super) fn is_unknown(number: u16) -> bool {
    usize::from(number) % HOST_INDICES == usize::from(UNKNOWN_HOST)
}

/// Numbers the hosts that send to a lane.
#[derive(Debug)]
pub(super) struct HostFinder {
    table: Arc<HostTable>,
    /// The number of the first host of the interface.
    base: u16,
    /// The host of the last frame, as it is often that of the next one; none if it is not in
    /// the table, or on a VLAN.
    last: (Option<Mac>, u16),
    last_key: HostKey,
    ring: RingShares,
    /// What was received of the last host and is not counted there yet.
    units: u64,
}

impl HostFinder {
    /// For a lane of this interface.
    pub fn new(table: Arc<HostTable>, interface: usize, lane: u32) -> Self {
        let base = (interface.min(INTERFACES_MAX - 1) * HOST_INDICES) as u16;
        let ring = RingShares::new(Arc::clone(&table), lane);
        Self { table, base, last: (None, base + UNKNOWN_HOST), last_key: HostKey::NONE, ring, units: 0 }
    }

    /// The number of all hosts that are not in the table.
    pub fn unknown(&self) -> u16 {
        self.base + UNKNOWN_HOST
    }

    /// The number of the host that sent this, if it sent the last frame as well.
    #[inline]
    pub fn find_last(&self, ether: &Ether) -> Option<u16> {
        (self.last.0 == Some(ether.src) && ether.tags.is_none()).then_some(self.last.1)
    }

    /// The number of the host that sent this, and whether it is another one than the last.
    #[inline(never)]
    pub fn find(
        &mut self,
        ether: &Ether,
        candidates: &mut Candidates,
        share: impl Fn(u16) -> u64,
        now_ns: u64,
    ) -> (u16, bool) {
        self.note_received(&share, now_ns);
        let key = HostKey::new(ether.src.0, ether.tags.vlan());
        let mut index = self.table.find(key);
        if index == UNKNOWN_HOST
            && candidates.count(key, now_ns)
            && let Some(entered) = self.table.add(key, now_ns)
        {
            index = entered;
            self.ring.begin(index, share(self.base + index));
        }
        let is_found_fast = index != UNKNOWN_HOST && ether.tags.is_none();
        self.last = (is_found_fast.then_some(ether.src), self.base + index);
        let before = std::mem::replace(&mut self.last_key, key);
        (self.last.1, before != key && before != HostKey::NONE)
    }

    /// Counts a frame of this length of the last host.
    #[inline]
    pub fn count(&mut self, len: usize) {
        self.units += units(len);
    }

    /// Notes what the last host has just sent, and how much more it may put into the ring.
    pub fn note_received(&mut self, share: impl Fn(u16) -> u64, now_ns: u64) {
        let index = self.last.1 - self.base;
        self.table.note_seen(index, now_ns);
        self.ring.receive(index, std::mem::take(&mut self.units), share(self.last.1));
    }

    /// Allows a host to put this much more into the ring.
    pub fn allow(&mut self, host: u16, share: u64) {
        if let Some(index) = host.checked_sub(self.base) {
            self.ring.receive(index, 0, share);
        }
    }

    /// Call when a pass begins.
    pub fn begin_pass(&mut self, share: impl Fn(u16) -> u64, now_ns: u64) {
        let base = self.base;
        self.ring.begin_pass(|index| share(base + index), now_ns);
    }

    /// Call before the worker sleeps, with nothing held: allows every host this much.
    pub fn reset(&mut self, share: u64) {
        self.ring.reset(share);
    }
}

/// For each host, the chunks of its requests that a worker has under way. Shared by what
/// counts them; only one thread does.
#[derive(Clone, Debug)]
pub(super) struct Busy(Arc<[AtomicU32]>);

impl Busy {
    /// No requests, of this number of hosts.
    pub fn new(hosts: usize) -> Self {
        Self((0..hosts).map(|_| AtomicU32::new(0)).collect())
    }

    /// Number of hosts.
    pub fn hosts(&self) -> usize {
        self.0.len()
    }

    /// The chunks of a host.
    pub fn of(&self, host: u16) -> u32 {
        self.0.get(usize::from(host)).map_or(0, |busy| busy.load(Ordering::Relaxed))
    }

    /// Counts a request at the owner of its export. One that another worker received is counted
    /// there: it says nothing about the chunks that are left here.
    pub fn add_own(&self, inbound: &Inbound) {
        if !inbound.from_afar {
            self.add(inbound.host, &inbound.frame);
        }
    }

    /// Undoes [`Self::add_own`].
    pub fn remove_own(&self, inbound: &Inbound) {
        if !inbound.from_afar {
            self.remove(inbound.host, &inbound.frame);
        }
    }

    /// Counts a request that is under way from now on.
    pub fn add(&self, host: u16, frame: &Frame) {
        self.change(host, |chunks| chunks.wrapping_add(frame.pieces() as u32));
    }

    /// Counts a request that is no longer under way.
    pub fn remove(&self, host: u16, frame: &Frame) {
        self.change(host, |chunks| chunks.saturating_sub(frame.pieces() as u32));
    }

    fn change(&self, host: u16, by: impl Fn(u32) -> u32) {
        if let Some(busy) = self.0.get(usize::from(host)) {
            busy.store(by(busy.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ether::Tags;

    #[test]
    fn a_host_that_keeps_sending_gets_a_number_of_its_own() {
        let table = Arc::new(HostTable::new(0x9e37_79b9_7f4a_7c15));
        let mut finder = HostFinder::new(Arc::clone(&table), 1, 0);
        let mut candidates = Candidates::new(1);
        let mut find = |host: u8, tags, now_ns| {
            let ether = Ether { dst: Mac::default(), src: Mac([2, 0, 0, 0, 0, host]), tags };
            let last = finder.find_last(&ether);
            last.unwrap_or_else(|| finder.find(&ether, &mut candidates, |_| 10, now_ns).0)
        };
        let (vlan, unknown) = (Tags::of_vlan(7), 2 * HOST_INDICES as u16 - 1);
        for now_ns in [0, 1, 2, 3, 4, 5, 6, 7, 199_999_999] {
            assert_eq!((find(1, Tags::NONE, now_ns), find(2, vlan, now_ns)), (unknown, unknown));
        }
        let one = find(1, Tags::NONE, 200_000_000);
        assert_eq!((find(1, Tags::NONE, 200_000_000), is_unknown(one)), (one, false));
        let other = find(2, vlan, 200_000_000);
        assert!(!is_unknown(other) && other != one && is_unknown(unknown));
        assert_eq!(find(2, Tags::NONE, 200_000_000), unknown, "the same address on no VLAN is another host");
        assert_eq!((find(1, Tags::NONE, 200_000_000), find(2, vlan, 200_000_000)), (one, other));
        assert_eq!(usize::from(one) / HOST_INDICES, 1, "of its interface");
    }
}
