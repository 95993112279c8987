//! Requests in flight: tags, deadlines, and whose reply is whose.
//!
//! ```text
//! tag: 1 │ turn (19 bits) │ place (12 bits)
//! ```
//!
//! As in the Linux initiator, a request that is sent again gets a new tag, and
//! only the reply to the newest copy completes it.

use crate::aoe::TAG_USER;

use super::plan::Direction;

/// Most requests in flight.
pub const WINDOW_MAX: u16 = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 12;
const TURNS: u32 = 1 << (31 - PLACE_BITS);
/// Tags of which a place remembers that they were used.
const REMEMBERED: usize = 4;
/// The wait for a reply doubles with each attempt, this often.
const DOUBLINGS: u32 = 4;

/// A request, as it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Read or write.
    pub direction: Direction,
    /// The first sector.
    pub lba: u64,
    /// How many sectors.
    pub sectors: u8,
    /// The write that it is, where writes are checked.
    pub generation: u32,
}

/// A request that waits for its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flying {
    /// What was asked.
    pub request: Request,
    /// When it was sent first, in nanoseconds.
    pub first_ns: u64,
    sent_ns: u64,
    tries: u32,
}

/// What a reply's tag says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// It answers this request, which is no longer in flight.
    Answers(Flying),
    /// It answers an earlier copy of a request that was sent again.
    Late,
    /// Its request has been answered.
    Duplicate,
    /// No request has, or lately had, this tag.
    Unexpected,
}

/// What to do about a request that waited too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// Send it again, with this tag.
    Again(Request, u32),
    /// It is given up.
    Lost(Request),
}

/// The requests in flight.
#[derive(Debug)]
pub struct Flight {
    places: Vec<Place>,
    free: Vec<u16>,
    timeout_ns: u64,
    give_up_ns: u64,
}

#[derive(Clone, Debug, Default)]
struct Place {
    tag: u32,
    turn: u32,
    flying: Option<Flying>,
    /// Tags used before, and whether they were answered.
    past: [(u32, bool); REMEMBERED],
}

impl Place {
    fn next_tag(&mut self, at: u16) -> u32 {
        self.turn = (self.turn + 1) % TURNS;
        self.tag = TAG_USER | self.turn << PLACE_BITS | u32::from(at);
        self.tag
    }

    fn retire(&mut self, answered: bool) {
        self.past.rotate_right(1);
        if let Some(newest) = self.past.first_mut() {
            *newest = (self.tag, answered);
        }
    }
}

impl Flight {
    /// Room for `window` requests, at most [`WINDOW_MAX`].
    pub fn new(window: u16, timeout_ns: u64, give_up_ns: u64) -> Self {
        let window = window.min(WINDOW_MAX);
        Self {
            places: vec![Place::default(); window.into()],
            free: (0..window).rev().collect(),
            timeout_ns: timeout_ns.max(1),
            give_up_ns,
        }
    }

    /// Whether one more may be sent.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// Takes a request in; returns its tag.
    pub fn launch(&mut self, request: Request, now_ns: u64) -> Option<u32> {
        let at = self.free.pop()?;
        let place = self.places.get_mut(usize::from(at))?;
        place.flying = Some(Flying { request, first_ns: now_ns, sent_ns: now_ns, tries: 0 });
        Some(place.next_tag(at))
    }

    /// Takes a request back that could not be sent.
    pub fn recall(&mut self, tag: u32) {
        let at = tag & (u32::from(WINDOW_MAX) - 1);
        if let Some(place) = self.places.get_mut(at as usize) {
            place.flying = None;
            self.free.push(at as u16);
        }
    }

    /// Finds the request that a reply answers.
    pub fn land(&mut self, tag: u32) -> Match {
        let at = tag & (u32::from(WINDOW_MAX) - 1);
        let Some(place) = self.places.get_mut(at as usize) else {
            return Match::Unexpected;
        };
        if place.tag == tag
            && let Some(flying) = place.flying.take()
        {
            place.retire(true);
            self.free.push(at as u16);
            return Match::Answers(flying);
        }
        match place.past.iter_mut().find(|(past, _)| *past == tag) {
            Some((_, answered)) if *answered => Match::Duplicate,
            Some((_, answered)) => {
                *answered = true;
                Match::Late
            }
            None => Match::Unexpected,
        }
    }

    /// Whether a request touches sectors on which another is in flight, and one
    /// of the two is a write.
    pub fn conflicts(&self, direction: Direction, lba: u64, sectors: u8) -> bool {
        let end = lba + u64::from(sectors);
        self.places.iter().filter_map(|place| place.flying).any(|Flying { request: r, .. }| {
            let overlap = r.lba < end && lba < r.lba + u64::from(r.sectors);
            overlap && (direction == Direction::Write || r.direction == Direction::Write)
        })
    }

    /// Calls `each` for every request whose reply is overdue.
    pub fn expire(&mut self, now_ns: u64, mut each: impl FnMut(Overdue)) {
        for (at, place) in (0..).zip(&mut self.places) {
            let Some(flying) = &mut place.flying else {
                continue;
            };
            let patience = self.timeout_ns << flying.tries.min(DOUBLINGS);
            if now_ns < flying.sent_ns.saturating_add(patience) {
                continue;
            }
            let request = flying.request;
            if now_ns >= flying.first_ns.saturating_add(self.give_up_ns) {
                place.flying = None;
                place.retire(false);
                self.free.push(at);
                each(Overdue::Lost(request));
                continue;
            }
            flying.tries += 1;
            flying.sent_ns = now_ns;
            place.retire(false);
            each(Overdue::Again(request, place.next_tag(at)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const READ: Request = Request { direction: Direction::Read, lba: 8, sectors: 2, generation: 0 };

    fn overdue(flight: &mut Flight, now_ns: u64) -> Vec<Overdue> {
        let mut list = Vec::new();
        flight.expire(now_ns, |o| list.push(o));
        list
    }

    #[test]
    fn a_reply_is_what_its_tag_says() {
        let mut flight = Flight::new(2, 10, 100);
        let tag = flight.launch(READ, 0).unwrap();
        assert_eq!(flight.land(tag ^ 1), Match::Unexpected, "the other place");
        assert_eq!(flight.land(tag ^ 1 << 12), Match::Unexpected, "another turn");
        assert!(matches!(flight.land(tag), Match::Answers(Flying { request: READ, .. })));
        assert_eq!(flight.land(tag), Match::Duplicate);
        assert!(flight.is_empty());
    }

    #[test]
    fn only_the_newest_copy_completes_a_request() {
        let mut flight = Flight::new(1, 10, 100);
        let first = flight.launch(READ, 0).unwrap();
        assert_eq!(overdue(&mut flight, 9), []);
        let [Overdue::Again(READ, second)] = overdue(&mut flight, 10)[..] else { unreachable!() };
        assert_ne!(first, second);
        assert_eq!(flight.land(first), Match::Late);
        assert_eq!(flight.land(first), Match::Duplicate);
        assert!(matches!(flight.land(second), Match::Answers(Flying { first_ns: 0, .. })));
    }

    #[test]
    fn the_wait_doubles_and_ends() {
        let mut flight = Flight::new(1, 10, 100);
        flight.launch(READ, 0).unwrap();
        assert_eq!(overdue(&mut flight, 10).len(), 1);
        assert_eq!(overdue(&mut flight, 29).len(), 0);
        assert_eq!(overdue(&mut flight, 30).len(), 1);
        assert_eq!(overdue(&mut flight, 100), [Overdue::Lost(READ)]);
        assert!(flight.is_empty() && flight.has_room());
    }

    #[test]
    fn a_write_shares_its_sectors_with_nobody() {
        let mut flight = Flight::new(4, 10, 100);
        flight.launch(READ, 0).unwrap();
        for (direction, lba, expected) in [
            (Direction::Read, 8, false),
            (Direction::Write, 9, true),
            (Direction::Write, 7, true),
            (Direction::Write, 10, false),
            (Direction::Write, 6, false),
        ] {
            assert_eq!(flight.conflicts(direction, lba, 2), expected, "{direction:?} {lba}");
        }
    }
}
