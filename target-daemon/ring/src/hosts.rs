//! The hosts that send to an interface, in a table that the XDP program reads as well.
//!
//! A host is a source address on a VLAN. It is entered once it has sent for a while
//! ([`Candidates`]), so that forged addresses do not displace hosts that are in use; until
//! then it shares the index [`UNKNOWN`] with all others that are not in the table.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xblade_ebpf::{HOST_BUCKETS, HOST_INDICES, HOST_WAYS, HOSTS};

use super::shared_words::SharedWords;

/// The index of every host that is not in the table.
pub const UNKNOWN: u16 = HOSTS as u16;

/// How often lost frames are looked for.
const SYNC_NS: u64 = 10_000_000;

/// Frames that the program may have counted and not yet put into the ring: a batch of the
/// driver.
const UNDER_WAY: u64 = 64;

/// How much of a share may be left before the limit is raised, in parts of the share. Each
/// change costs the other core a cache miss.
const STEPS: u64 = 8;

/// A host that was silent for this long gives its entry up if another needs it.
const IDLE_NS: u64 = 60_000_000_000;

/// How exact the time is at which a host was last seen.
const SEEN_STEP_NS: u64 = 100_000_000;

/// A source address and a VLAN, as the XDP program computes it too. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostKey(u64);

impl HostKey {
    /// No host.
    pub const NONE: Self = Self(0);

    /// The key of a source address on a VLAN; 0 without a tag.
    #[inline]
    pub fn new(mac: [u8; 6], vlan: u16) -> Self {
        let [a, b, c, d, e, f] = mac;
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(vlan) << 48)
    }

    /// The source address, and the VLAN.
    pub fn parts(self) -> ([u8; 6], u16) {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        ([a, b, c, d, e, f], (self.0 >> 48) as u16)
    }

    fn bucket(self, seed: u64) -> usize {
        (self.0.wrapping_mul(seed) >> (u64::BITS - HOST_BUCKETS.ilog2())) as usize
    }
}

/// The hosts of an interface. All workers share it; entries are added and replaced, but
/// never moved.
#[derive(Debug)]
pub struct HostTable {
    keys: SharedWords,
    /// When each was last seen, in nanoseconds of the worker's clock.
    seen_ns: Box<[AtomicU64]>,
    /// Odd, and not known to the hosts: they cannot choose addresses for one bucket.
    seed: u64,
    /// For each lane and host: what the XDP program has redirected, and may redirect. `None`
    /// without a program.
    shares: Option<[SharedWords; 2]>,
}

/// The maps of an XDP program, to share with it.
#[derive(Clone, Copy, Debug)]
pub struct HostMaps<'a> {
    /// `hosts`.
    pub hosts: BorrowedFd<'a>,
    /// `admitted`.
    pub admitted: BorrowedFd<'a>,
    /// `limits`.
    pub limits: BorrowedFd<'a>,
    /// Number of lanes.
    pub lanes: u32,
    /// `host_seed`.
    pub seed: u64,
}

impl HostTable {
    /// An empty table, without an XDP program.
    pub fn new(seed: u64) -> Self {
        let seen_ns = (0..HOSTS).map(|_| AtomicU64::new(0)).collect();
        Self { keys: SharedWords::new(HOSTS), seen_ns, seed: seed | 1, shares: None }
    }

    /// The table of an XDP program.
    ///
    /// # Errors
    ///
    /// A map cannot be mapped.
    pub fn of_program(maps: HostMaps<'_>) -> io::Result<Self> {
        let shares = maps.lanes as usize * HOST_INDICES;
        let map = |map: BorrowedFd<'_>, words| SharedWords::map(map.as_raw_fd(), words);
        Ok(Self {
            keys: map(maps.hosts, HOSTS)?,
            shares: Some([map(maps.admitted, shares)?, map(maps.limits, shares)?]),
            ..Self::new(maps.seed)
        })
    }

    /// The index of a host; [`UNKNOWN`] if it is not in the table.
    #[inline]
    pub fn find(&self, key: HostKey) -> u16 {
        let first = key.bucket(self.seed) * HOST_WAYS;
        let bucket = self.keys.words().get(first..first + HOST_WAYS).unwrap_or(&[]);
        let at = bucket.iter().position(|entry| entry.load(Ordering::Relaxed) == key.0);
        at.map_or(UNKNOWN, |at| (first + at) as u16)
    }

    /// Enters a host. Returns its index; `None` if all entries that it may have are in use.
    pub fn add(&self, key: HostKey, now_ns: u64) -> Option<u16> {
        let first = key.bucket(self.seed) * HOST_WAYS;
        // Another worker may enter the same host at the same time. Both take the first free
        // entry, and only one of them gets it.
        for _ in 0..HOST_WAYS {
            let known = self.find(key);
            if known != UNKNOWN {
                return Some(known);
            }
            let age = |at: usize| {
                let (entry, seen) = (self.keys.words().get(at)?, self.seen_ns.get(at)?);
                let (entry, seen) = (entry.load(Ordering::Relaxed), seen.load(Ordering::Relaxed));
                let idle_ns = if entry == 0 { u64::MAX } else { now_ns.saturating_sub(seen) };
                Some((idle_ns, std::cmp::Reverse(at), entry))
            };
            let oldest = (first..first + HOST_WAYS).filter_map(age).max()?;
            let (idle_ns, std::cmp::Reverse(at), entry) = oldest;
            if idle_ns < IDLE_NS {
                return None;
            }
            self.seen_ns.get(at)?.store(now_ns, Ordering::Relaxed);
            let _ = self.keys.words().get(at)?.compare_exchange(
                entry,
                key.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        None
    }

    /// What the program has redirected, of this lane and host.
    fn admitted(&self, at: usize) -> u64 {
        let word = self.shares.as_ref().and_then(|[admitted, _]| admitted.words().get(at));
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Notes that a host has sent something.
    #[inline]
    pub fn note_seen(&self, index: u16, now_ns: u64) {
        if let Some(seen) = self.seen_ns.get(usize::from(index))
            && now_ns.saturating_sub(seen.load(Ordering::Relaxed)) > SEEN_STEP_NS
        {
            seen.store(now_ns, Ordering::Relaxed);
        }
    }

    /// The hosts in the table, with their indices and when each was last seen.
    pub fn iter(&self) -> impl Iterator<Item = (u16, HostKey, u64)> + '_ {
        let rows = (0..).zip(self.keys.words().iter().zip(&self.seen_ns));
        let rows = rows.map(|(index, (key, seen))| {
            (index, HostKey(key.load(Ordering::Relaxed)), seen.load(Ordering::Relaxed))
        });
        rows.filter(|(_, key, _)| *key != HostKey::NONE)
    }
}

impl Default for HostTable {
    /// An empty table, for lanes without an XDP program.
    fn default() -> Self {
        Self::new(0x9e37_79b9_7f4a_7c15)
    }
}

/// What the hosts may put into the ring of a lane. The XDP program counts what it redirects,
/// and drops what exceeds the limit of its host.
#[derive(Debug)]
pub struct RingShares {
    table: Arc<HostTable>,
    /// Position of the lane's first word.
    first: usize,
    /// What was received of each host, by the program's count, and its limit.
    hosts: Box<[RingShare]>,
    /// The program's counts when the last pass began, if they were read then.
    snapshot: Box<[u64]>,
    is_read: bool,
    synced_ns: u64,
    /// Whether the limit of a host was lowered.
    is_lowered: bool,
}

#[derive(Clone, Copy, Default, Debug)]
struct RingShare {
    received: u64,
    limit: u64,
    /// What may wait of what the host sent before it was entered: the program has counted that
    /// for the hosts that are not in the table.
    earlier: u64,
}

/// What a frame of this length counts.
#[inline]
pub fn units(len: usize) -> u64 {
    1 + (len as u64 >> 12)
}

impl RingShares {
    /// Of the lane at this index of the XDP program.
    pub fn new(table: Arc<HostTable>, lane: u32) -> Self {
        let hosts = if table.shares.is_some() { HOST_INDICES } else { 0 };
        Self {
            first: lane as usize * HOST_INDICES,
            hosts: vec![RingShare::default(); hosts].into(),
            snapshot: vec![0; hosts].into(),
            is_read: false,
            synced_ns: 0,
            is_lowered: false,
            table,
        }
    }

    /// Counts what was received of a host, and allows it `share` more than that. A higher
    /// limit counts from when the last one is nearly used up.
    #[inline]
    pub fn receive(&mut self, index: u16, units: u64, share: u64) {
        let Some(host) = self.hosts.get_mut(usize::from(index)) else { return };
        let earlier = units.min(host.earlier);
        host.earlier -= earlier;
        host.received += units - earlier;
        let share_left = share.saturating_sub(host.earlier);
        if (host.received + share_left).wrapping_sub(host.limit) <= share / STEPS {
            return;
        }
        // If another worker has entered it, it has sent more than was counted for it.
        host.received = host.received.min(self.table.admitted(self.first + usize::from(index)));
        let limit = host.received + share_left;
        self.is_lowered |= limit < host.limit;
        host.limit = limit;
        self.publish(index, limit);
    }

    /// Call when a host has been entered at an index: its share begins again, without what may
    /// wait of it.
    pub fn begin(&mut self, index: u16, share: u64) {
        let admitted = |index: u16| self.table.admitted(self.first + usize::from(index));
        let unknown = self.hosts.get(usize::from(UNKNOWN)).map_or(0, |unknown| unknown.received);
        let (received, earlier) = (admitted(index), admitted(UNKNOWN).saturating_sub(unknown));
        let limit = received + share.saturating_sub(earlier);
        if let Some(host) = self.hosts.get_mut(usize::from(index)) {
            *host = RingShare { received, limit, earlier };
            self.is_lowered = true;
            self.publish(index, limit);
        }
    }

    fn publish(&self, index: u16, limit: u64) {
        if let Some([_, limits]) = &self.table.shares
            && let Some(word) = limits.words().get(self.first + usize::from(index))
        {
            // 0 would be no limit.
            word.store(limit.max(1), Ordering::Relaxed);
        }
    }

    /// Call when a pass begins, before what waits is counted. Corrects the counts of frames
    /// that were lost between the program and the ring: what the program had counted when the
    /// last pass began has been received since, or never will be.
    pub fn begin_pass(&mut self, share: impl Fn(u16) -> u64, now_ns: u64) {
        if self.is_read {
            self.is_read = false;
            for index in 0..self.hosts.len() as u16 {
                self.correct(index, &share);
            }
        } else if now_ns.saturating_sub(self.synced_ns) > SYNC_NS {
            (self.synced_ns, self.is_read) = (now_ns, true);
            self.read();
        }
    }

    /// Call before the worker sleeps, with nothing held: a host whose frames the program
    /// drops would not wake it. Gives every host this share.
    pub fn reset(&mut self, share: u64) {
        if !std::mem::take(&mut self.is_lowered) {
            return;
        }
        self.read();
        for index in 0..self.hosts.len() as u16 {
            self.raise(index, share);
        }
    }

    fn read(&mut self) {
        let Some([admitted, _]) = &self.table.shares else { return };
        let words = admitted.words().get(self.first..).unwrap_or(&[]);
        for (counted, word) in self.snapshot.iter_mut().zip(words) {
            *counted = word.load(Ordering::Relaxed);
        }
    }

    fn correct(&mut self, index: u16, share: impl Fn(u16) -> u64) {
        let at = usize::from(index);
        let (Some(host), Some(counted)) = (self.hosts.get_mut(at), self.snapshot.get(at)) else { return };
        host.received = host.received.max(counted.saturating_sub(UNDER_WAY));
        host.earlier = 0;
        // Nothing more of it arrives that would raise its limit; or it has none yet.
        if *counted >= host.limit {
            self.raise(index, share(index));
        }
    }

    /// Takes all that the program has counted as received, and allows this much more.
    fn raise(&mut self, index: u16, share: u64) {
        let at = usize::from(index);
        let (Some(host), Some(counted)) = (self.hosts.get_mut(at), self.snapshot.get(at)) else { return };
        let received = host.received.max(*counted);
        *host = RingShare { received, limit: received + share, earlier: 0 };
        self.publish(index, received + share);
    }
}

/// Number of sets of candidates, and of candidates in each.
const SETS: usize = 64;
const WAYS: usize = 4;

/// What a candidate must have sent before it is entered, and for how long. A flood of
/// forged addresses replaces each of them sooner.
const REQUESTS: u32 = 8;
const KNOWN_NS: u64 = 200_000_000;

/// Hosts that may be entered soon. Each worker has its own.
#[derive(Debug)]
pub struct Candidates {
    sets: Vec<[Candidate; WAYS]>,
    seed: u64,
    /// Number of requests counted.
    counted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    key: HostKey,
    first_ns: u64,
    /// Position of the last request among all that were counted.
    last: u64,
    requests: u32,
}

impl Candidates {
    /// No candidates.
    pub fn new(seed: u64) -> Self {
        let none = Candidate { key: HostKey::NONE, first_ns: 0, last: 0, requests: 0 };
        Self { sets: vec![[none; WAYS]; SETS], seed: seed | 1, counted: 0 }
    }

    /// Counts a request of a host that is not in the table. Returns whether to enter it.
    pub fn count(&mut self, key: HostKey, now_ns: u64) -> bool {
        let set = (key.0.wrapping_mul(self.seed) >> (u64::BITS - SETS.ilog2())) as usize;
        let Some(set) = self.sets.get_mut(set) else { return false };
        let candidate = match set.iter_mut().position(|one| one.key == key) {
            Some(at) => set.get_mut(at),
            None => {
                let oldest = set.iter_mut().min_by_key(|one| one.last);
                oldest.map(|one| {
                    *one = Candidate { key, first_ns: now_ns, last: 0, requests: 0 };
                    one
                })
            }
        };
        let Some(candidate) = candidate else { return false };
        self.counted += 1;
        candidate.last = self.counted;
        candidate.requests = candidate.requests.saturating_add(1);
        candidate.requests >= REQUESTS && now_ns.saturating_sub(candidate.first_ns) >= KNOWN_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> HostKey {
        let [a, b, c, d] = number.to_be_bytes();
        HostKey::new([2, 0, a, b, c, d], 0)
    }

    #[test]
    fn a_host_is_an_address_on_a_vlan() {
        let mac = [2, 1, 2, 3, 4, 5];
        assert_ne!(HostKey::new(mac, 0), HostKey::new(mac, 7));
        assert_eq!(HostKey::new(mac, 4094).parts(), (mac, 4094));
    }

    #[test]
    fn hosts_keep_their_index_until_they_are_silent_and_another_needs_it() {
        let table = HostTable::new(0x9e37_79b9_7f4a_7c15);
        assert_eq!(table.find(key(1)), UNKNOWN);
        let index = table.add(key(1), 5).unwrap();
        assert_eq!((table.find(key(1)), table.add(key(1), 6)), (index, Some(index)));
        // More than there is room for, all of them in use.
        let refused = (2..=4 * HOSTS as u32).filter(|number| table.add(key(*number), 7).is_none()).count();
        assert!((3 * HOSTS..4 * HOSTS - HOSTS / 2).contains(&refused), "{refused}");
        assert_eq!(table.find(key(1)), index);
        assert_eq!(table.iter().filter(|(at, of, seen)| (*at, *of, *seen) == (index, key(1), 5)).count(), 1);
        // Later, the others are still in use, and the first is not.
        let later = 5 + IDLE_NS;
        for (at, of, _) in table.iter().filter(|(at, ..)| *at != index) {
            assert_ne!(of, key(1));
            table.note_seen(at, later);
        }
        let mut next = (1 << 20..1 << 21).map(key);
        assert!((&mut next).take(1_000).all(|other| table.add(other, later - 1).is_none()));
        let added = next.find(|other| table.add(*other, later).is_some()).unwrap();
        assert_eq!((table.find(added), table.find(key(1))), (index, UNKNOWN));
        assert!(next.take(1_000).all(|other| table.add(other, later + IDLE_NS - 1).is_none()));
    }

    #[test]
    fn long_frames_take_more_of_a_share() {
        assert_eq!([60, 4_095, 4_096, 8_191, 9_014].map(units), [1, 1, 2, 2, 3]);
    }

    /// The program's side of the shares of one lane.
    fn shares() -> (Arc<HostTable>, RingShares) {
        let words = || SharedWords::new(HOST_INDICES);
        let table = Arc::new(HostTable { shares: Some([words(), words()]), ..HostTable::new(1) });
        let shares = RingShares::new(Arc::clone(&table), 0);
        (table, shares)
    }

    fn enter(table: &HostTable, index: usize, frames: u64) -> u64 {
        let [admitted, limits] = table.shares.as_ref().unwrap();
        let word = &admitted.words()[index];
        let entered = match limits.words()[index].load(Ordering::Relaxed) {
            0 => frames,
            limit => frames.min(limit.saturating_sub(word.load(Ordering::Relaxed))),
        };
        word.fetch_add(entered, Ordering::Relaxed);
        entered
    }

    #[test]
    fn a_host_has_its_share_in_the_ring_and_no_more() {
        let (table, mut shares) = shares();
        shares.receive(7, 1, 100);
        assert_eq!(enter(&table, 7, 1_000), 100);
        shares.receive(7, 60, 100);
        assert_eq!(enter(&table, 7, 1_000), 60);
        shares.receive(7, 10, 0);
        assert_eq!(enter(&table, 7, 1_000), 0);
    }

    #[test]
    fn a_host_that_is_entered_has_no_second_share() {
        let (table, mut shares) = shares();
        shares.receive(UNKNOWN, 0, 100);
        assert_eq!(enter(&table, UNKNOWN.into(), 1_000), 100);
        shares.receive(UNKNOWN, 40, 100);
        assert_eq!(enter(&table, UNKNOWN.into(), 1_000), 40);
        // 60 of the first wait, and these 40.
        shares.begin(7, 150);
        assert_eq!(enter(&table, 7, 1_000), 50);
        // What waited is received, and does not count twice.
        shares.receive(7, 60, 150);
        assert_eq!(enter(&table, 7, 1_000), 60);
        shares.receive(7, 90, 150);
        assert_eq!(enter(&table, 7, 1_000), 90);
        assert_eq!(table.admitted(7), 200);
        // Entered again by way of another host, and what waited was of others.
        shares.begin(7, 150);
        assert!(enter(&table, 7, 1_000) <= 50);
        shares.begin_pass(|_| 150, 2 * SYNC_NS);
        shares.begin_pass(|_| 150, 2 * SYNC_NS + 1);
        shares.receive(7, 0, 150);
        assert!(enter(&table, 7, 1_000) >= 100);
    }

    /// What this lane has for a host that the worker of another one has entered.
    #[test]
    fn what_waits_of_a_host_gives_it_no_second_share() {
        let (table, mut shares) = shares();
        shares.receive(UNKNOWN, 0, 100);
        assert_eq!(enter(&table, UNKNOWN.into(), 1_000), 100);
        shares.receive(7, 100, 100);
        assert_eq!(enter(&table, 7, 1_000), 100);
    }

    #[test]
    fn every_host_has_a_limit_soon() {
        let (table, mut shares) = shares();
        shares.begin_pass(|_| 100, 2 * SYNC_NS);
        shares.begin_pass(|_| 100, 2 * SYNC_NS + 1);
        for index in [0, 7, HOSTS, HOSTS - 1] {
            assert_eq!(enter(&table, index, 1_000), 100);
        }
    }

    #[test]
    fn a_host_of_which_much_waits_is_entered_with_a_limit() {
        let (table, mut shares) = shares();
        shares.receive(UNKNOWN, 0, 100);
        assert_eq!(enter(&table, UNKNOWN.into(), 1_000), 100);
        shares.begin(7, 100);
        // 0 is no limit, so 1 is the least.
        assert_eq!(enter(&table, 7, 1_000), 1);
    }

    #[test]
    fn limits_change_in_steps() {
        let (table, mut shares) = shares();
        shares.receive(7, 0, 800);
        assert_eq!(enter(&table, 7, 400), 400);
        for (units, limit) in [(100, 800), (1, 901), (99, 901), (2, 1_002)] {
            shares.receive(7, units, 800);
            let [_, limits] = table.shares.as_ref().unwrap();
            assert_eq!(limits.words()[7].load(Ordering::Relaxed), limit);
        }
        // None was lowered, so there is nothing to do before the worker sleeps.
        shares.reset(2_000);
        assert_eq!(enter(&table, 7, 1_000), 602);
    }

    /// Whatever is lost on the way to the ring: a host that has used up its limit gets a new
    /// one, be the worker awake or asleep.
    #[test]
    fn lost_frames_stop_no_host() {
        for share in [1, 4, 100, 1_000] {
            let (table, mut shares) = shares();
            shares.receive(7, 1, share);
            assert!(enter(&table, 7, 2_000) > 0, "and all of these are lost");
            assert_eq!(enter(&table, 7, 1), 0);
            shares.begin_pass(|_| share, 2 * SYNC_NS);
            shares.begin_pass(|_| share, 2 * SYNC_NS + 1);
            assert_eq!(enter(&table, 7, 2_000), share);
            shares.receive(7, 0, 0);
            shares.reset(share);
            assert_eq!(enter(&table, 7, 2_000), share);
        }
    }

    #[test]
    fn only_those_who_keep_sending_become_known() {
        let mut candidates = Candidates::new(0x9e37_79b9_7f4a_7c15);
        for request in 1..u64::from(REQUESTS) {
            assert!(!candidates.count(key(1), request * KNOWN_NS), "too few");
        }
        assert!(candidates.count(key(1), 9 * KNOWN_NS));
        for at in 0..100 {
            assert!(!candidates.count(key(2), at), "too soon");
        }
        let some = || (400..440).map(key);
        let mut known = 0;
        for request in 0..u64::from(REQUESTS) {
            known = some().filter(|host| candidates.count(*host, request * KNOWN_NS)).count();
        }
        assert_eq!(known, 40, "of several at a time each");
        // A flood of others, between any two of their requests, keeps them out, and it too.
        for at in 0..100_u64 {
            for own in 3..300 {
                assert!(!candidates.count(key(own), 10 * KNOWN_NS + at * KNOWN_NS));
            }
            for other in 0..4_096 {
                assert!(!candidates.count(key(1_000 + other), 10 * KNOWN_NS + at * KNOWN_NS));
            }
            assert!(!candidates.count(key(2), 10 * KNOWN_NS + at * KNOWN_NS));
        }
    }
}
