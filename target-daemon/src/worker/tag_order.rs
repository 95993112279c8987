//! The order in which a host sent its requests, where its tags tell it.
//!
//! AoE has no sequence numbers, but the Linux initiator has one in its tags: the
//! upper half is a counter of 15 bits that goes up by one with every request and
//! every resend for a device, over all interfaces of the host; the lower half are
//! 16 bits of its clock, in ticks of 1 to 10 ms.
//!
//! ```text
//!  31   30 ............ 16   15 ............. 0
//! ┌───┬────────────────────┬───────────────────┐
//! │ 0 │ counter            │ clock             │
//! └───┴────────────────────┴───────────────────┘
//! ```
//!
//! Such a tag says which of two requests was sent later, also where the network, a
//! switch or the ring of a NIC has delivered them in the other order, which nothing
//! at the target can know. Other initiators number their requests otherwise. So a
//! host is judged by its tags only after they have behaved like this for a while,
//! and no longer once they do not. Nor are they believed where two hosts share an
//! address, for the one whose clock is behind would be late with all that it writes.

/// A host that was silent for this long may have booted again, and starts both
/// counter and clock anew. Also: how long networks hold a frame.
pub const HORIZON_NS: u64 = 4_000_000_000;

/// Requests in a row that have to look like those of Linux before a tag is believed.
const BELIEVED: u8 = 16;

/// Ticks that a request may be older than the newest one, or newer: what fits the
/// horizon at 1000 ticks a second, and a pause of the target on top.
const OLDER_MAX: i16 = 4_096;
const NEWER_MAX: i16 = 8_192;

/// From one request to the next the counter goes up by 1, and by what got lost or took
/// another way. WinAoE counts in the byte order of its CPU, so here by 256.
const COUNTS_BY: i16 = 64;

/// The counter has come round less than half within so many ticks, so clock and
/// counter agree on the order of two requests.
const AGREE_WITHIN: i16 = 4;

/// A tag of a tool in user space: it is in no order with those of the driver.
const USER_SPACE: u32 = 1 << 31;

/// What the tags of a host, at one export, say of their order.
#[derive(Clone, Copy, Default, Debug)]
pub struct TagOrder {
    newest: u32,
    newest_ns: u64,
    confidence: u8,
    behind: Behind,
    /// Two hosts use this address: their tags are in no order with each other.
    is_shared: bool,
}

/// Requests that are as far behind the newest ones as each other.
#[derive(Clone, Copy, Default, Debug)]
struct Behind {
    newest: u32,
    lag: i16,
    since_ns: u64,
    times: u8,
}

/// Two hosts behind one address, as of virtual machines, have counters and clocks of
/// their own. Where the clocks are so far apart that it matters, and no further than
/// those of one host may be, the requests of one come behind those of the other, always
/// by the same time. What a network delays does not, or not for so long.
const BEHIND_TICKS: i16 = 64;
const BEHIND_TIMES: u8 = 4;
const BEHIND_NS: u64 = 1_000_000_000;

impl Behind {
    /// A request came that was sent so many ticks before the newest one. Returns whether
    /// it is of another host.
    fn add(&mut self, tag: u32, lag: i16, now_ns: u64) -> bool {
        let near = (lag - self.lag).abs() <= self.lag / 8 + BEHIND_TICKS / 4;
        if self.times > 0 && near && is_before(self.newest, tag) {
            (self.newest, self.times) = (tag, self.times.saturating_add(1));
        } else {
            *self = Self { newest: tag, lag, since_ns: now_ns, times: 1 };
        }
        self.times >= BEHIND_TIMES && now_ns.saturating_sub(self.since_ns) >= BEHIND_NS
    }
}

/// How a request fits those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It was sent after all of them.
    Newer,
    /// It was sent before one of them, or is one of them.
    Older,
    /// It cannot be compared with those before: it is the first after a silence.
    First,
    /// No Linux host would have sent it after those before: it is the first of an order.
    Misfit,
}

impl TagOrder {
    /// A request with this tag has arrived.
    pub fn observe(&mut self, tag: u32, now_ns: u64) -> Fit {
        if now_ns.saturating_sub(self.newest_ns) > HORIZON_NS {
            // It may have booted again. What kind of host it is stays known.
            (self.newest, self.newest_ns) = (tag, now_ns);
            return Fit::First;
        }
        match fit(self.newest, tag) {
            Some(Fit::Newer) => {
                let counts = steps(self.newest, tag) <= COUNTS_BY;
                (self.newest, self.newest_ns) = (tag, now_ns);
                self.confidence = self.confidence.saturating_add(counts.into());
                Fit::Newer
            }
            Some(fit) => {
                let lag = ticks(tag, self.newest);
                if lag < BEHIND_TICKS || !self.behind.add(tag, lag, now_ns) {
                    return fit;
                }
                self.begin(tag, now_ns);
                self.is_shared = true;
                Fit::Misfit
            }
            None => {
                self.begin(tag, now_ns);
                Fit::Misfit
            }
        }
    }

    fn begin(&mut self, tag: u32, now_ns: u64) {
        *self = Self { newest: tag, newest_ns: now_ns, is_shared: self.is_shared, ..Self::default() };
    }

    /// Whether a request with this tag would directly follow the newest one, though it
    /// comes from another address: as those of one host with several interfaces do.
    pub fn is_followed_by(&self, tag: u32) -> bool {
        (0..=NEXT_TICKS).contains(&ticks(self.newest, tag))
            && (1..=NEXT_STEPS).contains(&steps(self.newest, tag))
    }

    /// Whether tags of this host say in which order its requests were sent.
    pub fn is_believed(&self) -> bool {
        self.confidence >= BELIEVED && !self.is_shared
    }

    /// Whether a host whose IDENTIFY has this tag, which fitted so, may have booted
    /// since its last request. One whose tags go on in their order has not; one that
    /// has counts from 0.
    pub fn may_have_restarted(&self, tag: u32, fit: Fit) -> bool {
        let counts_from_0 = tag >> 16 < RESTARTED;
        !self.is_believed() || fit == Fit::Older && counts_from_0
    }

    /// The host begins anew, with any tag: the next one is the first of an order.
    pub fn restart(&mut self) {
        (self.newest_ns, self.is_shared) = (0, false);
    }
}

/// Ticks and requests between two interfaces of one host that take turns.
const NEXT_TICKS: i16 = 1_024;
const NEXT_STEPS: i16 = 256;

/// Requests that a host may have sent, most of them IDENTIFY again, before one of them
/// arrives after a restart.
const RESTARTED: u32 = 256;

/// Whether a tag is of the kind that can be in an order.
pub fn may_be_ordered(tag: u32) -> bool {
    tag & USER_SPACE == 0
}

/// Whether the request with tag `a` was sent before the one with tag `b`: both of one
/// host, and not further apart than the horizon.
pub fn is_before(a: u32, b: u32) -> bool {
    let ticks = ticks(a, b);
    ticks > 0 || ticks == 0 && steps(a, b) > 0
}

/// How a request fits the newest one, if both are of a Linux host.
fn fit(newest: u32, tag: u32) -> Option<Fit> {
    if tag == newest {
        return Some(Fit::Older);
    }
    let (ticks, steps) = (ticks(newest, tag), steps(newest, tag));
    let near = ticks != 0 && (-AGREE_WITHIN..=AGREE_WITHIN).contains(&ticks);
    let possible =
        (-OLDER_MAX..=NEWER_MAX).contains(&ticks) && steps != 0 && !(near && (steps > 0) != (ticks > 0));
    possible.then(|| if is_before(newest, tag) { Fit::Newer } else { Fit::Older })
}

/// The clock of `b`, seen from `a`.
fn ticks(a: u32, b: u32) -> i16 {
    (b as u16).wrapping_sub(a as u16) as i16
}

/// The counter of `b`, seen from `a`: 15 bits, in the upper ones of 16.
fn steps(a: u32, b: u32) -> i16 {
    let (a, b) = ((a >> 16) as u16, (b >> 16) as u16);
    (b.wrapping_sub(a) << 1) as i16 >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 4_000_000;

    fn tag(counter: u32, clock: u32) -> u32 {
        (counter & 0x7fff) << 16 | clock & 0xffff
    }

    /// A host whose next request has this counter and clock, and that is believed.
    fn linux(counter: u32, clock: u32) -> TagOrder {
        let mut order = TagOrder::default();
        for n in (1..=u32::from(BELIEVED) + 1).rev() {
            let now_ns = HORIZON_NS * 2 - u64::from(n) * TICK_NS;
            order.observe(tag(counter.wrapping_sub(n), clock.wrapping_sub(n)), now_ns);
        }
        assert!(order.is_believed());
        order
    }

    const NOW_NS: u64 = HORIZON_NS * 2;

    #[test]
    fn counter_and_clock_come_round() {
        for (counter, clock) in [(100, 100), (0, 0), (0x7fff, 0xffff), (3, 0xfff0), (0x7ffe, 5)] {
            let mut order = linux(counter, clock);
            let at = |n: u32, t: u32| tag(counter.wrapping_add(n), clock.wrapping_add(t));
            assert_eq!(order.observe(at(0, 0), NOW_NS), Fit::Newer);
            assert_eq!(order.observe(at(1, 0), NOW_NS), Fit::Newer, "within one tick the counter decides");
            assert_eq!(order.observe(at(0, 0), NOW_NS), Fit::Older);
            assert_eq!(order.observe(at(1, 0), NOW_NS), Fit::Older, "the same one");
            assert_eq!(order.observe(at(20_000, 100), NOW_NS), Fit::Newer, "many requests in 100 ticks");
            assert_eq!(order.observe(at(19_999, 100), NOW_NS), Fit::Older);
            assert_eq!(order.observe(at(2, 1), NOW_NS), Fit::Older);
            assert!(order.is_believed());
            assert!(is_before(at(1, 0), at(2, 0)) && !is_before(at(2, 0), at(1, 0)));
            assert!(is_before(at(9, 0), at(2, 1)) && !is_before(at(2, 0), at(2, 0)));
        }
    }

    /// Initiators that count otherwise are never believed.
    #[test]
    fn other_tags_are_not_believed() {
        let kinds: [fn(u32) -> u32; 7] = [
            |n| n,
            |_| 7,
            |n| 0x18ae_0000 | n,
            |n| n << 16,
            |n| n.wrapping_mul(0x9E37_79B9) & 0x7fff_ffff,
            |n| 1_700_000_000 + n / 3,
            u32::swap_bytes,
        ];
        for (kind, tag) in kinds.into_iter().enumerate() {
            let mut order = TagOrder::default();
            for n in 0..100_000 {
                order.observe(tag(n), NOW_NS + u64::from(n) * 100_000);
                // A counter above a clock that stands still is an order, too.
                assert!(!order.is_believed() || kind == 3, "kind {kind}, request {n}");
            }
        }
    }

    /// A host that boots again is not late, whatever its tags were before.
    #[test]
    fn silence_and_a_restart_begin_anew() {
        let mut order = linux(5_000, 300);
        assert_eq!(order.observe(tag(1, 290), NOW_NS + HORIZON_NS + 1), Fit::First);
        assert_eq!(order.observe(tag(2, 290), NOW_NS + HORIZON_NS + 2), Fit::Newer);
        assert!(order.is_believed(), "it is the same kind of host");
        let mut order = linux(5_000, 300);
        order.restart();
        assert_eq!(order.observe(tag(1, 299), NOW_NS), Fit::First);
        assert_eq!(order.observe(tag(2, 299), NOW_NS), Fit::Newer);
    }

    #[test]
    fn what_does_not_fit_ends_the_belief() {
        for wrong in [tag(5_000, 30_000), tag(4_999, 302), tag(5_000, 298), tag(4_999, 40_000)] {
            let mut order = linux(5_000, 300);
            assert_eq!(order.observe(wrong, NOW_NS), Fit::Misfit, "{wrong:#x}");
            assert!(!order.is_believed());
        }
    }

    /// Two hosts with one address, at 1000 ticks a second: one sends every 10 ms, the
    /// other, whose clock is behind, every 300 ms.
    #[test]
    fn two_hosts_with_one_address_are_found_out() {
        for lag in [100, 500, 4_000] {
            let mut order = linux(5_000, 20_000);
            let mut found_ms = None;
            for ms in 0..20_000 {
                let now_ns = NOW_NS + u64::from(ms) * 1_000_000;
                if ms % 10 == 0 {
                    order.observe(tag(5_000 + ms / 10, 20_000 + ms), now_ns);
                }
                if ms % 300 == 7 {
                    order.observe(tag(100 + ms / 300, 20_000 + ms - lag), now_ns);
                }
                if found_ms.is_none() && order.is_shared {
                    found_ms = Some(ms);
                }
                assert!(found_ms.is_none() || !order.is_believed());
            }
            assert!(found_ms.is_some_and(|ms| ms < 2_000), "lag {lag}: {found_ms:?}");
        }
    }

    /// One host, of which the network delays many requests, each by another time.
    #[test]
    fn delayed_requests_are_not_taken_for_another_host() {
        let mut order = linux(5_000, 20_000);
        for n in 0..20_000u32 {
            let now_ns = NOW_NS + u64::from(n) * 1_000_000;
            order.observe(tag(5_000 + n, 20_000 + n), now_ns);
            if n % 100 == 50 {
                let late = n.wrapping_mul(0x9E37_79B9) >> 21;
                order.observe(tag((5_000 + n).saturating_sub(late), 20_000 + n - late), now_ns);
            }
            assert!(order.is_believed(), "request {n}");
        }
    }

    #[test]
    fn two_interfaces_follow_each_other() {
        let order = linux(5_000, 300);
        assert!(order.is_followed_by(tag(5_000, 300)) && order.is_followed_by(tag(5_100, 310)));
        assert!(!order.is_followed_by(tag(4_999, 300)), "the same counter: another host");
        assert!(!order.is_followed_by(tag(4_000, 300)) && !order.is_followed_by(tag(5_000, 5_000)));
    }

    #[test]
    fn tools_are_in_no_order() {
        assert!(may_be_ordered(0x7fff_ffff) && !may_be_ordered(0x8000_0000));
    }
}
