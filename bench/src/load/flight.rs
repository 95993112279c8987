//! Requests in flight: tags, deadlines, resends, and matching of replies.
//!
//! ```text
//! tag: 1 │ thread │ turn │ place
//! ```
//!
//! As in the Linux initiator, a resent request gets a new tag, and only the reply to the
//! newest copy completes it. Place and thread take as many bits as they need. The turn
//! has the rest, so that a late reply does not match a tag in use.

use std::ops::Range;

use crate::port::Tags;

use super::plan::{Direction, Request};

/// Maximum number of requests in flight.
pub const WINDOW_MAX: u16 = 1 << 12;

/// The number of past tags that a place remembers.
const REMEMBERED: usize = 4;

/// A request that waits for its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flying {
    /// The request.
    pub request: Request,
    /// When it was due, in nanoseconds.
    pub due_ns: u64,
    /// When it was sent first.
    pub first_ns: u64,
    sent_ns: u64,
    tries: u32,
}

/// What the tag of a reply matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// This request, which is no longer in flight.
    Answers(Flying),
    /// An earlier copy of a resent request, or a request so old that it is not known
    /// whether it was answered.
    Late,
    /// A request that has been answered.
    Duplicate,
    /// No recent request.
    Unexpected,
}

/// What to do about an overdue request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// Resend it with this tag.
    Again(Request, u32),
    /// Give it up.
    Lost(Flying),
}

/// The requests in flight.
#[derive(Debug)]
pub struct Flight {
    places: Vec<Place>,
    free: Vec<u16>,
    layout: Layout,
    first_turn: u32,
    resend: Resend,
    give_up_ns: u64,
}

/// The bit fields of a tag.
#[derive(Clone, Copy, Debug)]
struct Layout {
    tags: Tags,
    place_bits: u32,
}

impl Layout {
    fn tag(self, turn: u32, place: u16) -> u32 {
        let own = turn.wrapping_shl(self.place_bits) | u32::from(place);
        self.tags.value | own & !self.tags.mask
    }

    /// Whether a tag is one of the last `used` tags of its place, up to this turn.
    fn was_used(self, tag: u32, turn: u32, used: u32) -> bool {
        let turns = !self.tags.mask >> self.place_bits;
        let ago = turn.wrapping_sub((tag & !self.tags.mask) >> self.place_bits) & turns;
        tag & self.tags.mask == self.tags.value && ago < used.min(turns / 2)
    }

    fn place(self, tag: u32) -> usize {
        (tag & ((1 << self.place_bits) - 1)) as usize
    }
}

#[derive(Clone, Debug, Default)]
struct Place {
    tag: u32,
    turn: u32,
    flying: Option<Flying>,
    /// Tags used earlier.
    past: [Past; REMEMBERED],
}

/// A tag used earlier.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    tag: u32,
    answered: bool,
    sent_ns: u64,
}

impl Place {
    fn next_tag(&mut self, layout: Layout, at: u16) -> u32 {
        self.turn = self.turn.wrapping_add(1);
        self.tag = layout.tag(self.turn, at);
        self.tag
    }

    fn retire(&mut self, answered: bool, sent_ns: u64) {
        self.past.rotate_right(1);
        if let Some(newest) = self.past.first_mut() {
            *newest = Past { tag: self.tag, answered, sent_ns };
        }
    }
}

impl Flight {
    /// Room for `window` requests, at most [`WINDOW_MAX`]. Consecutive runs should begin
    /// at different turns, so that replies to one are not taken for replies to the next.
    pub fn new(window: u16, tags: Tags, first_turn: u32, resend: Resend, give_up_ns: u64) -> Self {
        let window = window.clamp(1, WINDOW_MAX);
        let place = Place { turn: first_turn, ..Place::default() };
        Self {
            places: vec![place; window.into()],
            free: (0..window).rev().collect(),
            first_turn,
            layout: Layout { tags, place_bits: window.next_power_of_two().trailing_zeros() },
            resend,
            give_up_ns,
        }
    }

    /// Whether another request may be sent.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty() && self.places.len() - self.free.len() < self.resend.allowed()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Adds a request that was due at `due_ns`; returns its tag.
    pub fn launch(&mut self, request: Request, due_ns: u64, now_ns: u64) -> Option<u32> {
        let at = self.free.pop()?;
        let place = self.places.get_mut(usize::from(at))?;
        place.flying = Some(Flying { request, due_ns, first_ns: now_ns, sent_ns: now_ns, tries: 0 });
        Some(place.next_tag(self.layout, at))
    }

    /// Removes a request that could not be sent.
    pub fn recall(&mut self, tag: u32) {
        let at = self.layout.place(tag);
        if let Some(place) = self.places.get_mut(at) {
            place.flying = None;
            self.free.push(at as u16);
        }
    }

    /// Matches a reply with its request.
    pub fn land(&mut self, tag: u32, now_ns: u64) -> Match {
        let at = self.layout.place(tag);
        let Some(place) = self.places.get_mut(at) else {
            return Match::Unexpected;
        };
        if place.tag == tag
            && let Some(flying) = place.flying.take()
        {
            place.retire(true, flying.sent_ns);
            self.free.push(at as u16);
            self.resend.answered(now_ns.saturating_sub(flying.sent_ns), true);
            return Match::Answers(flying);
        }
        match place.past.iter_mut().find(|past| past.tag == tag) {
            Some(past) if past.answered => Match::Duplicate,
            Some(past) => {
                past.answered = true;
                self.resend.answered(now_ns.saturating_sub(past.sent_ns), false);
                Match::Late
            }
            // Too old to be remembered, but ours.
            None if self.layout.was_used(tag, place.turn, place.turn.wrapping_sub(self.first_turn)) => {
                Match::Late
            }
            None => Match::Unexpected,
        }
    }

    /// Whether a request is for the sectors of one in flight, and one of the two is a write.
    pub fn conflicts(&self, Request { direction, lba, .. }: Request) -> bool {
        let mut requests = self.places.iter().filter_map(|place| place.flying).map(|flying| flying.request);
        requests.any(|other| {
            other.lba == lba && (direction == Direction::Write || other.direction == Direction::Write)
        })
    }

    /// The places to check by [`expire`](Self::expire) for overdue requests: none if it is
    /// not time.
    pub fn to_expire(&mut self, now_ns: u64) -> Range<u16> {
        let all = self.places.len() as u16;
        0..if self.resend.looks(now_ns) { all } else { 0 }
    }

    /// What to do about the request at a place, if its reply is overdue.
    pub fn expire(&mut self, at: u16, now_ns: u64) -> Option<Overdue> {
        let place = self.places.get_mut(usize::from(at))?;
        let flying = place.flying.as_mut()?;
        let was = *flying;
        if now_ns >= was.first_ns.saturating_add(self.give_up_ns) {
            place.flying = None;
            place.retire(false, was.sent_ns);
            self.free.push(at);
            return Some(Overdue::Lost(was));
        }
        if now_ns < was.sent_ns.saturating_add(self.resend.patience_ns(was.tries)) {
            return None;
        }
        flying.tries += 1;
        flying.sent_ns = now_ns;
        place.retire(false, was.sent_ns);
        self.resend.missed();
        Some(Overdue::Again(was.request, place.next_tag(self.layout, at)))
    }
}

/// The timeout doubles with each attempt, at most this many times.
const DOUBLINGS: u32 = 4;
/// How often the Linux initiator checks for overdue requests.
const LINUX_TICK_NS: u64 = 100_000_000;

/// A resend strategy.
#[derive(Clone, Debug)]
pub enum Resend {
    /// After a timeout that doubles with each attempt.
    Doubling {
        /// The initial timeout.
        timeout_ns: u64,
    },
    /// As the Linux initiator does it.
    Linux(Linux),
}

/// The state of the Linux initiator for one target. Moving averages of the round-trip
/// time and of its deviation determine when a reply is overdue, and each overdue reply
/// shrinks the window.
#[derive(Clone, Debug)]
pub struct Linux {
    average_ns: f64,
    deviation_ns: f64,
    /// The current window.
    allowed: usize,
    /// The maximum window.
    most: usize,
    /// The window up to which it grows fast.
    threshold: usize,
    /// Replies until it grows by one beyond that.
    until_growth: usize,
    look_at_ns: u64,
}

impl Linux {
    /// The state after discovery of the target.
    pub fn new(window: u16) -> Self {
        let most = usize::from(window).max(1);
        Self {
            average_ns: 0.25e9,
            deviation_ns: 2e9,
            allowed: (most / 2).max(1),
            most,
            threshold: most / 2,
            until_growth: 0,
            look_at_ns: 0,
        }
    }

    fn overdue_after_ns(&self) -> u64 {
        (2.0 * self.average_ns + 8.0 * self.deviation_ns).max(1e3) as u64
    }

    fn took(&mut self, ns: u64) {
        let error = ns as f64 - self.average_ns;
        self.average_ns += error / 256.0;
        self.deviation_ns += (error.abs() - self.deviation_ns) / 8.0;
    }

    fn grow(&mut self) {
        if self.allowed < self.threshold {
            self.allowed += 1;
        } else if self.until_growth > 0 {
            self.until_growth -= 1;
        } else if self.allowed < self.most {
            self.allowed += 1;
            self.until_growth = self.allowed;
        }
    }
}

impl Resend {
    /// The current window.
    pub fn allowed(&self) -> usize {
        match self {
            Self::Doubling { .. } => usize::MAX,
            Self::Linux(linux) => linux.allowed,
        }
    }

    /// Whether it is time to check for overdue requests.
    pub fn looks(&mut self, now_ns: u64) -> bool {
        let Self::Linux(linux) = self else { return true };
        let looks = now_ns >= linux.look_at_ns;
        if looks {
            linux.look_at_ns = now_ns + LINUX_TICK_NS;
        }
        looks
    }

    /// The timeout after the last copy.
    pub fn patience_ns(&self, tries: u32) -> u64 {
        match self {
            Self::Doubling { timeout_ns } => timeout_ns << tries.min(DOUBLINGS),
            Self::Linux(linux) => linux.overdue_after_ns(),
        }
    }

    /// Records an answer to the newest copy of a request or to an earlier one.
    pub fn answered(&mut self, after_ns: u64, newest: bool) {
        if let Self::Linux(linux) = self {
            linux.took(after_ns);
            if newest {
                linux.grow();
            }
        }
    }

    /// Records an overdue reply.
    pub fn missed(&mut self) {
        if let Self::Linux(linux) = self
            && linux.allowed > 1
        {
            (linux.threshold, linux.allowed) = (linux.allowed / 2, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Request = Request { direction: Direction::Read, lba: 8, generation: 0 };

    fn flight(window: u16) -> Flight {
        Flight::new(window, Tags::ALL, 0, Resend::Doubling { timeout_ns: 10 }, 100)
    }

    fn overdue(flight: &mut Flight, now_ns: u64) -> Vec<Overdue> {
        flight.to_expire(now_ns).filter_map(|at| flight.expire(at, now_ns)).collect()
    }

    #[test]
    fn a_reply_is_what_its_tag_says() {
        let mut flight = flight(2);
        let tag = flight.launch(READ, 0, 0).unwrap();
        assert_eq!(flight.land(tag ^ 1, 5), Match::Unexpected, "the other place");
        assert_eq!(flight.land(tag ^ 1 << 7, 5), Match::Unexpected, "another turn");
        assert!(matches!(flight.land(tag, 5), Match::Answers(Flying { request: READ, .. })));
        assert_eq!(flight.land(tag, 5), Match::Duplicate);
        assert!(flight.is_empty());
    }

    #[test]
    fn only_the_newest_copy_completes_a_request() {
        let mut flight = flight(1);
        let first = flight.launch(READ, 0, 0).unwrap();
        assert_eq!(overdue(&mut flight, 9), []);
        let [Overdue::Again(READ, second)] = overdue(&mut flight, 10)[..] else { unreachable!() };
        assert_ne!(first, second);
        assert_eq!(flight.land(first, 5), Match::Late);
        assert_eq!(flight.land(first, 5), Match::Duplicate);
        assert!(matches!(flight.land(second, 5), Match::Answers(Flying { first_ns: 0, .. })));
    }

    #[test]
    fn tags_stay_with_their_thread_and_come_back_late() {
        let tags = Tags::of(2, 3);
        let mut flight = Flight::new(3, tags, u32::MAX - 1, Resend::Doubling { timeout_ns: 10 }, 100);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let [a, b] = [0, 1].map(|_| flight.launch(READ, 0, 0).unwrap());
            for tag in [a, b] {
                assert!(tags.has(tag) && seen.insert(tag), "{tag:#x}");
                assert!(matches!(flight.land(tag, 5), Match::Answers(_)));
            }
        }
    }

    #[test]
    fn what_was_sent_long_ago_is_late_and_what_never_was_is_unexpected() {
        let mut flight = Flight::new(4, Tags::of(1, 2), 77, Resend::Doubling { timeout_ns: 10 }, 100);
        let tags: Vec<u32> = (0..100)
            .map(|_| {
                let tag = flight.launch(READ, 0, 0).unwrap();
                assert!(matches!(flight.land(tag, 5), Match::Answers(_)));
                tag
            })
            .collect();
        assert_eq!(flight.land(tags[99], 5), Match::Duplicate);
        assert_eq!(flight.land(tags[0], 5), Match::Late);
        let next = tags[99] + 4;
        for never in [next, tags[0] - 4, tags[0] ^ 1 << 30, tags[0] ^ 1, tags[50] ^ 1 << 20] {
            assert_eq!(flight.land(never, 5), Match::Unexpected, "{never:#x}");
        }
    }

    #[test]
    fn the_wait_doubles_and_ends() {
        let mut flight = flight(1);
        flight.launch(READ, 0, 0).unwrap();
        assert_eq!(overdue(&mut flight, 10).len(), 1);
        assert_eq!(overdue(&mut flight, 29).len(), 0);
        assert_eq!(overdue(&mut flight, 30).len(), 1);
        assert!(matches!(
            overdue(&mut flight, 100)[..],
            [Overdue::Lost(Flying { request: READ, due_ns: 0, .. })]
        ));
        assert!(flight.is_empty() && flight.has_room());
    }

    #[test]
    fn a_write_shares_its_sectors_with_nobody() {
        let mut flight = flight(4);
        flight.launch(READ, 0, 0).unwrap();
        for (direction, lba, expected) in
            [(Direction::Read, 8, false), (Direction::Write, 8, true), (Direction::Write, 10, false)]
        {
            let request = Request { direction, lba, generation: 0 };
            assert_eq!(flight.conflicts(request), expected, "{request:?}");
        }
    }
}

#[cfg(test)]
mod resend_tests {
    use super::*;

    #[test]
    fn the_wait_falls_with_replies_as_in_linux() {
        let mut linux = Linux::new(64);
        // Timeouts after these numbers of replies in 100 us, from a simulation of the
        // driver.
        let mut replies = 0;
        for (after, seconds) in
            [(0, 16.5), (1, 14.7), (10, 6.1), (100, 1.73), (256, 0.94), (500, 0.36), (1000, 0.051)]
        {
            while replies < after {
                linux.took(100_000);
                replies += 1;
            }
            let got = linux.overdue_after_ns() as f64 / 1e9;
            assert!((got / seconds - 1.0).abs() < 0.05, "after {after}: {got} s, not {seconds}");
        }
    }

    #[test]
    fn one_overdue_reply_makes_the_window_small_and_replies_make_it_grow() {
        let mut resend = Resend::Linux(Linux::new(64));
        assert_eq!(resend.allowed(), 32);
        resend.missed();
        resend.missed();
        assert_eq!(resend.allowed(), 1);
        (0..15).for_each(|_| resend.answered(1000, true));
        assert_eq!(resend.allowed(), 16, "fast, to half of what it was");
        (0..17).for_each(|_| resend.answered(1000, true));
        assert_eq!(resend.allowed(), 17, "then by one for each window of replies");
        (0..10_000).for_each(|_| resend.answered(1000, true));
        assert_eq!(resend.allowed(), 64);
    }

    #[test]
    fn linux_looks_ten_times_a_second() {
        let mut resend = Resend::Linux(Linux::new(64));
        let looks = (0..1000).filter(|ms| resend.looks(ms * 1_000_000)).count();
        assert_eq!(looks, 10);
    }
}
