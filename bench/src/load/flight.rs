//! Requests in flight: tags, deadlines, resends, and matching of replies.
//!
//! ```text
//! tag: 1 │ thread │ turn │ place
//! ```
//!
//! As in the Linux initiator, a resent request gets a new tag, and only the reply to the
//! newest copy completes it. Place and thread take as many bits as they need. The turn
//! has the rest, so that a late reply does not match a tag in use.

use crate::port::Tags;

use super::plan::{Direction, Request};

/// Maximum number of requests in flight.
pub const WINDOW_MAX: u16 = 1 << 12;
/// The timeout doubles with each attempt, at most this many times.
const DOUBLINGS: u32 = 4;

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
    tags: Tags,
    place_bits: u32,
    first_turn: u32,
    timeout_ns: u64,
    give_up_ns: u64,
}

#[derive(Clone, Debug)]
struct Place {
    /// The turn of its newest tag.
    turn: u32,
    /// Which of its newest tags have been answered; bit 0 is the newest.
    answered: u64,
    flying: Option<Flying>,
}

impl Flight {
    /// Room for `window` requests, at most [`WINDOW_MAX`], which are resent after a timeout.
    /// Consecutive runs should begin at different turns, so that replies to one are not taken
    /// for replies to the next.
    pub fn new(window: u16, tags: Tags, first_turn: u32, timeout_ns: u64, give_up_ns: u64) -> Self {
        let window = window.clamp(1, WINDOW_MAX);
        Self {
            places: vec![Place { turn: first_turn, answered: 0, flying: None }; window.into()],
            free: (0..window).rev().collect(),
            tags,
            place_bits: window.next_power_of_two().trailing_zeros(),
            first_turn,
            timeout_ns,
            give_up_ns,
        }
    }

    /// Whether another request may be sent.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// The number of places.
    pub fn window(&self) -> u16 {
        self.places.len() as u16
    }

    /// Adds a request that was due at `due_ns`; returns its tag.
    pub fn launch(&mut self, request: Request, due_ns: u64, now_ns: u64) -> Option<u32> {
        let at = self.free.pop()?;
        let flying = Flying { request, due_ns, first_ns: now_ns, sent_ns: now_ns, tries: 0 };
        self.places[usize::from(at)].flying = Some(flying);
        Some(self.next_tag(at))
    }

    /// Removes a request that could not be sent.
    pub fn recall(&mut self, tag: u32) {
        let at = self.place(tag);
        self.places[usize::from(at)].flying = None;
        self.free.push(at);
    }

    /// Matches a reply with its request.
    pub fn land(&mut self, tag: u32) -> Match {
        let (at, Tags { value, mask }) = (self.place(tag), self.tags);
        let Some(place) = self.places.get_mut(usize::from(at)) else {
            return Match::Unexpected;
        };
        let turns = !mask >> self.place_bits;
        let newer_tags = place.turn.wrapping_sub((tag & !mask) >> self.place_bits) & turns;
        let tags_used = place.turn.wrapping_sub(self.first_turn).min(turns / 2);
        if tag & mask != value || newer_tags >= tags_used {
            return Match::Unexpected;
        }
        let bit = 1_u64.checked_shl(newer_tags).unwrap_or(0);
        let was_answered = place.answered & bit != 0;
        place.answered |= bit;
        match place.flying.take_if(|_| newer_tags == 0) {
            Some(flying) => {
                self.free.push(at);
                Match::Answers(flying)
            }
            None if was_answered => Match::Duplicate,
            None => Match::Late,
        }
    }

    /// Whether a request is for the sectors of one in flight, and one of the two is a write.
    pub fn conflicts(&self, Request { direction, lba, .. }: Request) -> bool {
        let mut requests = self.places.iter().filter_map(|place| place.flying).map(|flying| flying.request);
        requests.any(|other| {
            other.lba == lba && (direction == Direction::Write || other.direction == Direction::Write)
        })
    }

    /// What to do about the request at a place, if its reply is overdue.
    pub fn expire(&mut self, at: u16, now_ns: u64) -> Option<Overdue> {
        let place = &mut self.places[usize::from(at)];
        let flying = place.flying.as_mut()?;
        if now_ns >= flying.first_ns.saturating_add(self.give_up_ns) {
            self.free.push(at);
            return place.flying.take().map(Overdue::Lost);
        }
        if now_ns < flying.sent_ns.saturating_add(self.timeout_ns << flying.tries.min(DOUBLINGS)) {
            return None;
        }
        flying.tries += 1;
        flying.sent_ns = now_ns;
        let request = flying.request;
        Some(Overdue::Again(request, self.next_tag(at)))
    }

    fn next_tag(&mut self, at: u16) -> u32 {
        let place = &mut self.places[usize::from(at)];
        place.turn = place.turn.wrapping_add(1);
        place.answered <<= 1;
        let own = place.turn.wrapping_shl(self.place_bits) | u32::from(at);
        self.tags.value | own & !self.tags.mask
    }

    fn place(&self, tag: u32) -> u16 {
        (tag & ((1 << self.place_bits) - 1)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Request = Request { direction: Direction::Read, lba: 8, generation: 0 };

    fn flight(window: u16) -> Flight {
        Flight::new(window, Tags::ALL, 0, 10, 100)
    }

    fn overdue(flight: &mut Flight, now_ns: u64) -> Vec<Overdue> {
        (0..flight.window()).filter_map(|at| flight.expire(at, now_ns)).collect()
    }

    #[test]
    fn a_reply_is_what_its_tag_says() {
        let mut flight = flight(2);
        let tag = flight.launch(READ, 0, 0).unwrap();
        assert_eq!(flight.land(tag ^ 1), Match::Unexpected, "the other place");
        assert_eq!(flight.land(tag ^ 1 << 7), Match::Unexpected, "another turn");
        assert!(matches!(flight.land(tag), Match::Answers(Flying { request: READ, .. })));
        assert_eq!(flight.land(tag), Match::Duplicate);
        assert!(flight.is_empty());
    }

    #[test]
    fn only_the_newest_copy_completes_a_request() {
        let mut flight = flight(1);
        let first = flight.launch(READ, 0, 0).unwrap();
        assert_eq!(overdue(&mut flight, 9), []);
        let [Overdue::Again(READ, second)] = overdue(&mut flight, 10)[..] else { unreachable!() };
        assert_ne!(first, second);
        assert_eq!(flight.land(first), Match::Late);
        assert_eq!(flight.land(first), Match::Duplicate);
        assert!(matches!(flight.land(second), Match::Answers(Flying { first_ns: 0, .. })));
    }

    #[test]
    fn tags_stay_with_their_thread_and_come_back_late() {
        let tags = Tags::of(2, 3);
        let mut flight = Flight::new(3, tags, u32::MAX - 1, 10, 100);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let [a, b] = [0, 1].map(|_| flight.launch(READ, 0, 0).unwrap());
            for tag in [a, b] {
                assert!(tags.has(tag) && seen.insert(tag), "{tag:#x}");
                assert!(matches!(flight.land(tag), Match::Answers(_)));
            }
        }
    }

    #[test]
    fn what_was_sent_long_ago_is_late_and_what_never_was_is_unexpected() {
        let mut flight = Flight::new(4, Tags::of(1, 2), 77, 10, 100);
        let tags: Vec<u32> = (0..100)
            .map(|_| {
                let tag = flight.launch(READ, 0, 0).unwrap();
                assert!(matches!(flight.land(tag), Match::Answers(_)));
                tag
            })
            .collect();
        assert_eq!(flight.land(tags[99]), Match::Duplicate);
        assert_eq!(flight.land(tags[0]), Match::Late);
        let next = tags[99] + 4;
        for never in [next, tags[0] - 4, tags[0] ^ 1 << 30, tags[0] ^ 1, tags[50] ^ 1 << 20] {
            assert_eq!(flight.land(never), Match::Unexpected, "{never:#x}");
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
