//! The order in which a host sent its requests, as far as its tags reveal it.
//!
//! AoE has no sequence numbers, but the tags of the Linux initiator contain one: the
//! upper half is a 15-bit counter that increases by one with every request and resend for
//! a device, over all interfaces of the host; the lower half is 16 bits of its clock, in
//! ticks of 1 to 10 ms. The counter shows the order of requests sent close together. For
//! others it may have wrapped, and the clock decides.
//!
//! ```text
//!  31   30 ............ 16   15 ............. 0
//! ┌───┬────────────────────┬───────────────────┐
//! │ 0 │ counter            │ clock             │
//! └───┴────────────────────┴───────────────────┘
//! ```
//!
//! Such tags show which of two requests was sent later, even if the network, a switch or
//! the ring of a NIC delivered them in the other order, which the target cannot detect
//! otherwise. Other initiators number their requests differently. So a host's tags are
//! trusted only after they have followed this pattern for a while, and only until they
//! deviate from it. Nor are tags trusted if two hosts share an address: otherwise all writes
//! of the host whose clock is behind would count as late.

/// A host that was silent for this long may have rebooted, which restarts its counter and
/// its clock. No network holds a frame for longer, either.
pub const HORIZON_NS: u64 = 4_000_000_000;

/// No host boots within this time after its last request.
pub const BOOT_MIN_NS: u64 = 1_000_000_000;

/// Number of consecutive requests that must look like those of Linux before tags are
/// trusted.
const BELIEVED: u8 = 16;

/// After this many consecutive misfits the tags of a host count as unordered.
const UNORDERED: u8 = 64;

/// Maximum number of ticks by which a request may be older than the newest one, or newer:
/// the horizon at 1000 ticks per second, plus a pause of the target.
const OLDER_MAX: i16 = 4_096;
const NEWER_MAX: i16 = 8_192;

/// Maximum increase of the counter from one request to the next: 1, plus the requests
/// that got lost or took another path. WinAoE writes its counter in its CPU's byte order,
/// so it appears to increase by 256.
const COUNTS_BY: i16 = 64;

/// Within this many ticks the counter advances by less than half its range, so clock and
/// counter agree on the order of two requests.
const AGREE_WITHIN: i16 = 4;

/// Set in the tags of tools in user space, which are in no order with the driver's.
const USER_SPACE: u32 = 1 << 31;

/// What is known about the order of a host's tags at one export.
#[derive(Clone, Copy, Default, Debug)]
pub struct TagOrder {
    newest: u32,
    newest_ns: u64,
    confidence: u8,
    /// Number of consecutive requests that a Linux host would not have sent this way.
    misfits: u8,
    seen: Seen,
    behind: Behind,
    /// Two hosts use this address: their tags are in no order with each other.
    is_shared: bool,
}

/// Consecutive requests that are all behind the newest one by about the same time.
#[derive(Clone, Copy, Default, Debug)]
struct Behind {
    newest: u32,
    lag: i16,
    since_ns: u64,
    times: u8,
}

/// Two hosts behind one address, such as virtual machines, have separate counters and
/// clocks. The case that matters is clocks that differ noticeably, but no more than those
/// of one host might. Then the requests of one are always behind those of the other, by a
/// constant time. Network delays do not behave like this, or not for this long. Pauses of
/// the target also make requests late by about the same time, but fewer in a row.
const BEHIND_TICKS: i16 = 64;
const BEHIND_TIMES: u8 = 16;
const BEHIND_NS: u64 = 1_000_000_000;

impl Behind {
    /// Adds a request sent `lag` ticks before the newest one. Returns whether it is from
    /// another host.
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
    /// A Linux host would not have sent it after those before: a new order starts with
    /// it.
    Misfit,
}

impl TagOrder {
    /// Handles an arriving request with this tag.
    pub fn observe(&mut self, tag: u32, now_ns: u64) -> Fit {
        if now_ns.saturating_sub(self.newest_ns) > HORIZON_NS {
            // It may have rebooted. `confidence` stays: the kind of host does not change.
            (self.newest, self.newest_ns) = (tag, now_ns);
            self.seen = Seen::default();
            return Fit::First;
        }
        match fit(self.newest, tag) {
            Some(Fit::Newer) => {
                let ahead = steps(self.newest, tag);
                self.seen.advance(counter(self.newest), ahead);
                let counts = ahead <= COUNTS_BY;
                (self.newest, self.newest_ns) = (tag, now_ns);
                self.confidence = self.confidence.saturating_add(counts.into());
                self.misfits = 0;
                Fit::Newer
            }
            Some(fit) => {
                self.seen.note(counter(tag), steps(tag, self.newest));
                let lag = ticks(tag, self.newest);
                if lag < BEHIND_TICKS || !self.behind.add(tag, lag, now_ns) {
                    return fit;
                }
                self.begin(tag, now_ns);
                self.is_shared = true;
                Fit::Misfit
            }
            None => {
                let misfits = self.misfits.saturating_add(1);
                self.begin(tag, now_ns);
                self.misfits = misfits;
                Fit::Misfit
            }
        }
    }

    fn begin(&mut self, tag: u32, now_ns: u64) {
        *self = Self { newest: tag, newest_ns: now_ns, is_shared: self.is_shared, ..Self::default() };
    }

    /// Whether these are two addresses of one host. One host has one counter for all its
    /// interfaces: together they have used each value once. `None` if too little is
    /// known.
    pub fn is_of_one_host(&self, other: &Self) -> Option<bool> {
        let skew = steps(self.newest, other.newest);
        let near = skew.unsigned_abs() <= SKEW_MAX
            && ticks(self.newest, other.newest).unsigned_abs() <= SKEW_TICKS_MAX;
        if !near || !self.is_believed() || !other.is_believed() {
            return None;
        }
        let end = counter(if skew < 0 { other.newest } else { self.newest });
        let (a, b) = (self.seen.last(end), other.seen.last(end));
        if a & b != 0 {
            return Some(false);
        }
        let enough = a.count_ones().min(b.count_ones()) >= EACH_MIN && (a | b).count_ones() >= TOGETHER_MIN;
        enough.then_some(true)
    }

    /// Whether no request sent after the one with this tag has arrived.
    pub fn is_newest(&self, tag: u32) -> bool {
        tag == self.newest
    }

    /// Whether the tags of this host show the order in which its requests were sent.
    pub fn is_believed(&self) -> bool {
        self.confidence >= BELIEVED && !self.is_shared
    }

    /// Whether the kind of host is known: then its reads provide no more information.
    pub fn is_settled(&self) -> bool {
        self.is_believed() || self.misfits >= UNORDERED
    }

    /// Whether a host may have booted since its last request, given an IDENTIFY with this
    /// tag and fit. A host whose tags continue in order has not. One that has booted
    /// counts from 0, and was silent before. The silence is required because a late or
    /// duplicate IDENTIFY also has a small counter if the counter has just started or
    /// wrapped.
    pub fn may_have_restarted(&self, tag: u32, fit: Fit, now_ns: u64) -> bool {
        let counts_from_0 = tag >> 16 < RESTARTED;
        let silent = now_ns.saturating_sub(self.newest_ns) >= BOOT_MIN_NS;
        !self.is_believed() || fit == Fit::Older && counts_from_0 && silent
    }

    /// Restarts the order, with any tag: the next one is the first.
    pub fn restart(&mut self) {
        (self.newest_ns, self.misfits, self.is_shared) = (0, 0, false);
    }
}

/// Maximum distance between two interfaces of one host: lanes are polled one after the
/// other, a batch each.
const SKEW_MAX: u16 = 192;
const SKEW_TICKS_MAX: u16 = 1_024;

/// Of the last 32 counter values, the number that each of two addresses must have used,
/// and the number that both together must have used. A single host uses all of them; two
/// hosts use some of them twice.
const EACH_MIN: u32 = 4;
const TOGETHER_MIN: u32 = 29;

/// The counter values that a host has used among the last 256: one bit each, indexed
/// modulo 256.
#[derive(Clone, Copy, Default, Debug)]
struct Seen {
    words: [u64; 4],
}

impl Seen {
    /// Advances the newest counter by `ahead`.
    fn advance(&mut self, newest: u8, ahead: i16) {
        if ahead >= 256 {
            *self = Self::default();
        }
        for step in 1..ahead.min(256) {
            self.set(newest.wrapping_add(step as u8), false);
        }
        self.set(newest.wrapping_add(ahead as u8), true);
    }

    /// Notes a request whose counter is `behind` the newest one.
    fn note(&mut self, counter: u8, behind: i16) {
        if (0..256).contains(&behind) {
            self.set(counter, true);
        }
    }

    fn set(&mut self, counter: u8, used: bool) {
        let bit = 1 << (counter % 64);
        if let Some(word) = self.words.get_mut(usize::from(counter / 64)) {
            *word = if used { *word | bit } else { *word & !bit };
        }
    }

    /// The last 32 counters up to `end`.
    fn last(&self, end: u8) -> u32 {
        let start = end.wrapping_sub(31);
        let word = |at: u8| self.words.get(usize::from(at % 4)).copied().unwrap_or(0);
        let (first, second) = (word(start / 64), word(start / 64 + 1));
        ((u128::from(second) << 64 | u128::from(first)) >> (start % 64)) as u32
    }
}

/// Maximum number of requests that a host may have sent after a restart, most of them
/// repeated IDENTIFYs, before one of them arrives.
const RESTARTED: u32 = 256;

/// Whether a tag is of the kind that can be in order.
pub fn may_be_ordered(tag: u32) -> bool {
    tag & USER_SPACE == 0
}

/// Whether the request with tag `a` was sent before the one with tag `b`. Both must be of
/// the same host, and no further apart than the horizon.
pub fn is_before(a: u32, b: u32) -> bool {
    let ticks = ticks(a, b);
    ticks > 0 || ticks == 0 && steps(a, b) > 0
}

/// The low bits of a tag's counter.
fn counter(tag: u32) -> u8 {
    (tag >> 16) as u8
}

/// How a request fits the newest one. `None` if one Linux host cannot have sent both.
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

/// The clock of `b` relative to `a`.
fn ticks(a: u32, b: u32) -> i16 {
    (b as u16).wrapping_sub(a as u16) as i16
}

/// The counter of `b` relative to `a`: a difference of 15 bits, sign-extended.
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

    /// A trusted host that has sent requests up to just before this counter and clock.
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

    /// Initiators that count differently are never trusted.
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
                // A counter with a clock that stands still is in order, too.
                assert!(!order.is_believed() || kind == 3, "kind {kind}, request {n}");
            }
        }
    }

    /// The lag may differ by an eighth of itself plus a quarter of `BEHIND_TICKS`.
    #[test]
    fn requests_are_behind_by_the_same_time_or_not() {
        for (lag, same) in [(683, false), (684, true), (916, true), (917, false)] {
            let mut behind = Behind::default();
            behind.add(tag(1, 1), 800, NOW_NS);
            behind.add(tag(2, 2), lag, NOW_NS);
            assert_eq!(behind.times, if same { 2 } else { 1 }, "{lag} ticks");
        }
    }

    /// A network that delays every second request for a moment.
    #[test]
    fn what_is_little_behind_is_of_the_same_host() {
        for (lag, same) in [(10, true), (63, true), (64, false)] {
            let mut order = linux(5_000, 20_000);
            for n in 0..3_000 {
                let now_ns = NOW_NS + u64::from(n) * 1_000_000;
                order.observe(tag(5_001 + 2 * n, 20_000 + n), now_ns);
                order.observe(tag(5_000 + 2 * n, 20_000 + n - lag), now_ns);
            }
            assert_eq!(order.is_believed(), same, "{lag} ticks");
        }
    }

    /// A host that reboots is not late, whatever its tags were before.
    #[test]
    fn after_silence_and_after_a_restart_an_order_begins() {
        let mut order = linux(5_000, 300);
        assert_eq!(order.observe(tag(5_000, 300), NOW_NS - TICK_NS + HORIZON_NS), Fit::Newer);
        let mut order = linux(5_000, 300);
        assert_eq!(order.observe(tag(1, 290), NOW_NS + HORIZON_NS + 1), Fit::First);
        assert_eq!(order.observe(tag(2, 290), NOW_NS + HORIZON_NS + 2), Fit::Newer);
        assert!(order.is_believed(), "it is the same kind of host");
        let mut order = linux(5_000, 300);
        order.restart();
        assert_eq!(order.observe(tag(1, 299), NOW_NS), Fit::First);
        assert_eq!(order.observe(tag(2, 299), NOW_NS), Fit::Newer);
    }

    /// Even if the counter has just started or wrapped.
    #[test]
    fn a_late_identify_is_no_restart() {
        for counter in [20, 255, 300, 5_000] {
            let mut order = linux(counter, 300);
            let old = tag(1, 298);
            let fit = order.observe(old, NOW_NS);
            assert_eq!(fit, Fit::Older, "{counter}");
            assert!(!order.may_have_restarted(old, fit, NOW_NS), "{counter}");
            assert!(order.may_have_restarted(old, fit, NOW_NS + BOOT_MIN_NS), "{counter}");
        }
        let mut order = linux(5_000, 300);
        for (counter, restarted) in [(RESTARTED - 1, true), (RESTARTED, false)] {
            let fit = order.observe(tag(counter, 298), NOW_NS);
            assert_eq!(order.may_have_restarted(tag(counter, 298), fit, NOW_NS + BOOT_MIN_NS), restarted);
        }
    }

    #[test]
    fn what_does_not_fit_ends_the_belief() {
        for wrong in [tag(5_000, 30_000), tag(4_999, 302), tag(5_000, 298), tag(4_999, 40_000)] {
            let mut order = linux(5_000, 300);
            assert_eq!(order.observe(wrong, NOW_NS), Fit::Misfit, "{wrong:#x}");
            assert!(!order.is_believed());
            assert_eq!(order.observe(wrong + 0x1_0000, NOW_NS), Fit::Newer, "it is the first of an order");
        }
    }

    /// A target that pauses repeatedly: what waited meanwhile is late by the length of
    /// the pause.
    #[test]
    fn pauses_of_much_the_same_length_are_not_another_host() {
        let (mut order, mut now) = (linux(5_000, 20_000), 20_000u32);
        let mut counter = 5_000;
        for pause in [150u32, 160, 140, 155, 148, 152, 40, 151, 149, 150, 290, 150] {
            let held_back = tag(counter + 1, now);
            for n in 2..10 {
                order.observe(tag(counter + n, now + pause), NOW_NS + u64::from(now + pause) * 1_000_000);
            }
            order.observe(held_back, NOW_NS + u64::from(now + pause) * 1_000_000);
            (now, counter) = (now + pause + 200, counter + 10);
            assert!(order.is_believed(), "after {pause} ticks");
        }
    }

    /// Two hosts with one address, at 1000 ticks per second: one sends every 10 ms, the
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
            assert!(found_ms.is_some_and(|ms| ms < 6_000), "lag {lag}: {found_ms:?}");
        }
    }

    /// Even if its tags later look ordered.
    #[test]
    fn a_shared_address_stays_one() {
        let mut order = TagOrder { is_shared: true, ..linux(5_000, 300) };
        assert_eq!(order.observe(tag(9_000, 40_000), NOW_NS), Fit::Misfit);
        for n in 1..100 {
            assert_eq!(order.observe(tag(9_000 + n, 40_000), NOW_NS), Fit::Newer);
        }
        assert!(!order.is_believed());
    }

    /// A single host many of whose requests the network delays, each by a different time.
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

    /// Two addresses, each of which has sent the counters selected for it.
    fn pair(mine: impl Fn(u32) -> bool, theirs: impl Fn(u32) -> bool) -> (TagOrder, TagOrder) {
        let (mut a, mut b) = (TagOrder::default(), TagOrder::default());
        for n in 300..800 {
            if mine(n) {
                a.observe(tag(n, n / 4), NOW_NS + u64::from(n));
            }
            if theirs(n) {
                b.observe(tag(n, n / 4), NOW_NS + u64::from(n));
            }
        }
        (a, b)
    }

    #[test]
    fn two_interfaces_use_each_counter_once() {
        let odd = |n: u32| n % 2 == 1;
        let (a, b) = pair(odd, |n| !odd(n));
        assert_eq!((a.is_of_one_host(&b), b.is_of_one_host(&a)), (Some(true), Some(true)));
        let (a, b) = pair(|n| n % 8 == 0, |n| n % 8 != 0);
        assert_eq!(a.is_of_one_host(&b), Some(true), "one of them seldom");
        let (a, b) = pair(|n| odd(n) && n < 700, |n| !odd(n));
        assert_eq!(a.is_of_one_host(&b), Some(true), "a batch of the other is not looked at yet");
        assert_eq!(b.is_of_one_host(&a), Some(true));
        // Values that the first one used 256 counts ago must not be taken for recent
        // ones.
        let (a, b) = pair(|n| odd(n) && n < 700 && !(500..560).contains(&n), |n| !odd(n));
        assert_eq!((a.is_of_one_host(&b), b.is_of_one_host(&a)), (Some(true), Some(true)));
        let (a, b) = pair(|n| odd(n) && n % 10 != 3, |n| !odd(n));
        assert_eq!(a.is_of_one_host(&b), Some(true), "some were lost");
    }

    #[test]
    fn two_hosts_use_counters_twice() {
        let (a, b) = pair(|_| true, |_| true);
        assert_eq!(a.is_of_one_host(&b), Some(false));
        let (a, b) = pair(|_| true, |n| n % 3 == 0);
        assert_eq!(a.is_of_one_host(&b), Some(false), "most of one were lost");
        let (a, b) = pair(|n| n % 3 == 0, |n| n % 3 == 1);
        assert_eq!(a.is_of_one_host(&b), None, "too little is known");
        let (a, b) = pair(|n| n % 2 == 1, |n| n % 2 == 0 && n > 770);
        assert!(a.is_believed() && !b.is_believed());
        assert_eq!((a.is_of_one_host(&b), b.is_of_one_host(&a)), (None, None), "one is not believed");
        let (a, b) = pair(|n| n < 500, |_| true);
        assert_eq!(a.is_of_one_host(&b), None, "too far apart");
    }

    #[test]
    fn the_last_counters_are_known_wherever_they_end() {
        let used = |counter: u8| u32::from(counter).wrapping_mul(0x9E37_79B9) >> 28 & 1 == 1;
        let mut seen = Seen::default();
        for _ in 0..2 {
            (0..=255).for_each(|counter| seen.set(counter, used(counter)));
        }
        for end in 0..=255u8 {
            let bit = |at: u8| u32::from(used(end.wrapping_sub(31 - at))) << at;
            assert_eq!(seen.last(end), (0..32).map(bit).sum::<u32>(), "up to {end}");
        }
    }

    #[test]
    fn tools_are_in_no_order() {
        assert!(may_be_ordered(0x7fff_ffff) && !may_be_ordered(0x8000_0000));
    }
}
