//! Requests that wait for the turn of their host.
//!
//! Usually a worker executes requests in the order in which it receives them. If more are
//! waiting than it executes at once, and they are from several hosts, it holds them here,
//! one queue for each host, and takes them in turn by deficit round robin (Shreedhar and
//! Varghese, 1995): every host that has something waiting gets the same amount of work
//! done, however much it sends. Hosts that are not in the table share one queue.
//!
//! A host may hold as many chunks as are left for others (dynamic thresholds, Choudhury and
//! Hahne, 1998): one host alone half of the capacity, which is what the rings hold, and of
//! several hosts each less, but never one all. What exceeds its share is dropped; its
//! initiator resends it.

use std::collections::VecDeque;

use super::Head;
use crate::ring::Frame;
use crate::wire::ata::{self, Direction};

/// Work that a host may do each time its turn comes, in units of [`cost`].
const QUANTUM: u32 = 64;

/// The same for a host that does not wait for replies: it has used up most of what it may
/// hold. A host that does wait has a bounded number of requests under way.
const QUANTUM_OF_A_FLOOD: u32 = QUANTUM / 8;

/// Maximum number of requests of a host that are compared with another one. As many as an
/// initiator has under way.
const LOOKS_MAX: usize = 64;

/// No entry.
const NIL: u32 = u32::MAX;

/// A request that waits for the turn of its host.
pub(super) trait Queued {
    /// The number of its host.
    fn host(&self) -> u16;
    /// How much of the capacity it takes up.
    fn room(&self) -> u32;
    /// How much of its host's turn it takes up.
    fn cost(&self) -> u32;
}

/// A received request that was not passed on yet.
#[derive(Debug)]
pub(super) struct Held {
    pub frame: Frame,
    pub head: Head,
    /// Position of the lane that received it, among those of the worker.
    pub at: usize,
    /// When it was received.
    pub received_ns: u64,
    /// Lower bound of its arrival time, if it has no stamp.
    pub since_ns: u64,
}

impl Queued for Held {
    fn host(&self) -> u16 {
        self.head.host
    }

    /// In chunks.
    fn room(&self) -> u32 {
        self.frame.pieces() as u32
    }

    fn cost(&self) -> u32 {
        cost(self.head.ata.as_ref())
    }
}

/// The held requests of a worker, or what waits for the limits of an export.
#[derive(Debug)]
pub(super) struct HeldRequests<T = Held> {
    /// Grows to its full size, without allocating, as it is used.
    entries: Vec<Entry<T>>,
    free: u32,
    queues: Vec<Queue>,
    /// The hosts with held requests, in the order of their turns.
    active: VecDeque<u16>,
    /// What is held takes up this much of the capacity.
    used: u32,
    capacity: u32,
}

#[derive(Debug)]
struct Entry<T> {
    held: Option<T>,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
    used: u32,
    /// What the host may still do before the next one's turn.
    deficit: u32,
}

impl<T: Queued> HeldRequests<T> {
    /// With this capacity, for this number of hosts. Allocates all memory, which is touched
    /// only when requests are held.
    pub fn new(capacity: u32, hosts: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity as usize),
            free: NIL,
            queues: vec![Queue { first: NIL, last: NIL, used: 0, deficit: 0 }; hosts],
            active: VecDeque::with_capacity(hosts),
            used: 0,
            capacity,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// How much of the capacity is taken up.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// How much of the capacity a host takes up.
    pub fn of(&self, host: u16) -> u32 {
        self.queues.get(usize::from(host)).map_or(0, |queue| queue.used)
    }

    /// How much more a host may take up.
    pub fn room_for(&self, host: u16) -> u32 {
        (self.capacity - self.used).saturating_sub(self.of(host))
    }

    /// How many descriptors a host may have in the ring of a lane. If nothing is held, most
    /// of them; otherwise half, as long as that much may be held.
    pub fn ring_share(&self, host: u16, ring_size: u32) -> u32 {
        if self.is_empty() { ring_size / 4 * 3 } else { self.room_for(host).min(ring_size / 2) }
    }

    /// Holds a request. Returns it if its host has used up its share.
    pub fn push(&mut self, held: T) -> Result<(), T> {
        let (host, room) = (held.host(), held.room());
        if self.room_for(host) < room {
            return Err(held);
        }
        let Some(queue) = self.queues.get_mut(usize::from(host)) else { return Err(held) };
        let entry = Entry { held: Some(held), next: NIL };
        let index = match self.entries.get_mut(self.free as usize) {
            Some(free) => {
                let index = self.free;
                self.free = free.next;
                *free = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        match self.entries.get_mut(queue.last as usize) {
            Some(last) => last.next = index,
            None => {
                (queue.first, queue.deficit) = (index, QUANTUM);
                self.active.push_back(host);
            }
        }
        queue.last = index;
        queue.used += room;
        self.used += room;
        Ok(())
    }

    /// Takes the next request. Passes over hosts whose next request `may_run` rejects.
    pub fn pop(&mut self, may_run: impl Fn(&T) -> bool) -> Option<T> {
        let mut rejected = 0;
        while rejected < self.active.len() {
            let host = *self.active.front()?;
            let queue = self.queues.get_mut(usize::from(host))?;
            let next = self.entries.get(queue.first as usize)?.held.as_ref()?;
            let cost = next.cost();
            if !may_run(next) {
                rejected += 1;
            } else if queue.deficit < cost {
                let floods = queue.used > (self.capacity - self.used) / 2;
                queue.deficit += if floods { QUANTUM_OF_A_FLOOD } else { QUANTUM };
                rejected = 0;
            } else {
                queue.deficit -= cost;
                return self.take(host);
            }
            self.active.rotate_left(1);
        }
        None
    }

    /// The next request of each host that has any.
    pub fn firsts(&self) -> impl Iterator<Item = &T> {
        self.active.iter().filter_map(|host| self.first(*host))
    }

    /// The next request of a host.
    pub fn first(&self, host: u16) -> Option<&T> {
        let queue = self.queues.get(usize::from(host))?;
        self.entries.get(queue.first as usize)?.held.as_ref()
    }

    /// The first request of a host that is like this, among its first [`LOOKS_MAX`].
    pub fn find_mut(&mut self, host: u16, is_it: impl Fn(&T) -> bool) -> Option<&mut T> {
        let mut index = self.queues.get(usize::from(host))?.first;
        for _ in 0..LOOKS_MAX {
            let entry = self.entries.get(index as usize)?;
            if entry.held.as_ref().is_some_and(&is_it) {
                return self.entries.get_mut(index as usize)?.held.as_mut();
            }
            index = entry.next;
        }
        None
    }

    /// Takes the first request of a host.
    fn take(&mut self, host: u16) -> Option<T> {
        let queue = self.queues.get_mut(usize::from(host))?;
        let index = queue.first;
        let entry = self.entries.get_mut(index as usize)?;
        let held = entry.held.take()?;
        queue.first = std::mem::replace(&mut entry.next, self.free);
        self.free = index;
        let room = held.room();
        queue.used -= room;
        self.used -= room;
        if queue.first == NIL {
            (queue.last, queue.deficit) = (NIL, 0);
            self.active.pop_front();
        }
        Some(held)
    }
}

/// The work that a request makes, roughly: what any ATA request does, and the sectors that it
/// moves. Other requests may set something, and have long replies.
pub(super) fn cost(ata: Option<&ata::Request>) -> u32 {
    match ata {
        Some(ata) if ata.command.direction() != Direction::None => 8 + u32::from(ata.count),
        Some(_) => 8,
        None => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request: its host, its room and its cost.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Fake(u16, u32, u32);

    impl Queued for Fake {
        fn host(&self) -> u16 {
            self.0
        }

        fn room(&self) -> u32 {
            self.1
        }

        fn cost(&self) -> u32 {
            self.2
        }
    }

    /// Queues with this capacity of three hosts, and this number of requests of each kind.
    fn queues(capacity: u32, requests: &[(usize, Fake)]) -> HeldRequests<Fake> {
        let mut held = HeldRequests::new(capacity, 3);
        for (count, request) in requests {
            (0..*count).for_each(|_| held.push(*request).unwrap());
        }
        held
    }

    /// The work done of the first two hosts when the second has nothing left.
    fn work(mut held: HeldRequests<Fake>) -> (u32, u32) {
        let mut work = [0; 2];
        while held.first(1).is_some() {
            let request = held.pop(|_| true).unwrap();
            work[usize::from(request.0)] += request.2;
        }
        (work[0], work[1])
    }

    #[test]
    fn each_host_gets_the_same_work_done() {
        for (one, other) in [(8, 8), (8, 16), (24, 16), (16, 40), (8, 72), (72, 8)] {
            let held = queues(100_000, &[(5_000, Fake(0, 1, one)), (500, Fake(1, 1, other))]);
            let (one, other) = work(held);
            assert!(one.abs_diff(other) <= 2 * QUANTUM + 72, "{one} {other}");
        }
    }

    #[test]
    fn hosts_take_turns() {
        let mut held = queues(1_000, &[(10, Fake(0, 1, 16)), (10, Fake(1, 1, 32)), (10, Fake(2, 1, 64))]);
        let order: Vec<_> = (0..14).filter_map(|_| held.pop(|_| true)).map(|next| next.0).collect();
        assert_eq!(order, [0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1, 1, 2]);
        // One that may not run is passed over.
        assert_eq!(held.pop(|next| next.0 == 2).unwrap().0, 2);
        assert_eq!(held.pop(|_| false), None);
    }

    #[test]
    fn a_host_may_hold_as_much_as_is_left() {
        let mut held = queues(30, &[]);
        assert!(held.push(Fake(0, 31, 8)).is_err());
        assert!(held.push(Fake(0, 30, 8)).is_ok());
        assert!(held.push(Fake(1, 1, 8)).is_err());
        let mut held = queues(30, &[(10, Fake(0, 1, 8))]);
        assert_eq!((held.room_for(0), held.room_for(1)), (10, 20));
        assert!(held.push(Fake(0, 11, 8)).is_err());
        assert!(held.push(Fake(0, 10, 8)).is_ok());
    }

    #[test]
    fn a_frame_takes_up_its_chunks() {
        let (mut lane, _wire) = xblade_sim::FakeRings::open(64, 2048, 16).unwrap();
        let frame = lane.allocate(4_000).unwrap();
        let held = Held { head: Head::NONE, frame, at: 0, received_ns: 0, since_ns: 0 };
        assert_eq!(held.room(), 3);
        lane.release(held.frame);
    }

    #[test]
    fn a_host_that_holds_most_of_its_share_gets_an_eighth() {
        // More than half of what is left, and not more.
        for (count, times) in [(650, 8), (380, 1)] {
            let held = queues(1_300, &[(count, Fake(0, 1, 8)), (100, Fake(1, 1, 8))]);
            let (flood, other) = work(held);
            // Its first turn was a whole one.
            assert!((flood * times).abs_diff(other) <= 8 * QUANTUM, "{count}: {flood} {other}");
        }
    }

    #[test]
    fn a_host_may_have_in_the_ring_what_is_left_for_it() {
        let held = queues(100, &[]);
        assert_eq!((held.ring_share(0, 64), held.ring_share(2, 64)), (48, 48), "nothing is held");
        let held = queues(100, &[(10, Fake(1, 1, 8))]);
        assert_eq!((held.ring_share(0, 64), held.ring_share(1, 64)), (32, 32));
        assert_eq!((held.ring_share(0, 400), held.ring_share(1, 400)), (90, 80));
    }

    #[test]
    fn sectors_that_are_moved_cost_more() {
        let ata = |command, count| ata::Request { flags: 0, feature: 0, count, command, registers: [0; 6] };
        assert_eq!(cost(Some(&ata(ata::Command::ReadSectorsExt, 16))), 24);
        assert_eq!(cost(Some(&ata(ata::Command::WriteSectors, 2))), 10);
        assert_eq!(cost(Some(&ata(ata::Command::FlushCacheExt, 16))), 8);
        assert_eq!(cost(None), 64);
    }
}
