//! An initiator that sends, resends and gives up like the Linux driver
//! (`drivers/block/aoe/aoecmd.c`), by the driver's own rules for windows and timers.

use std::collections::VecDeque;

use crate::Mac;

/// Interval at which the driver checks its timers.
pub(super) const TICK_NS: u64 = 100_000_000;
/// A request outstanding for longer takes the export down.
const DEAD_US: u64 = 180_000_000;
/// Nanoseconds per jiffy, at 250 per second.
const JIFFY_NS: u64 = 4_000_000;
/// Scale of the averages, as powers of two.
const AVERAGE_SHIFT: u32 = 8;
const DEVIATION_SHIFT: u32 = 3;

/// How an initiator numbers its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tags {
    /// A 15-bit counter above 16 bits of a clock; a resend gets a new tag.
    Linux,
    /// A counter from 1 below a constant; a resend keeps its tag.
    Ipxe,
    /// A counter from 1; a resend keeps its tag.
    WinAoe,
}

/// A host that uses one export of the target.
#[derive(Debug)]
pub(super) struct Initiator {
    /// Its address on each lane of the target.
    pub(super) macs: Vec<Mac>,
    pub(super) export: usize,
    pub(super) tags: Tags,
    /// Its clock at the start.
    jiffies: u64,
    /// The lanes by which it reaches the target, used in turn.
    lanes: Vec<usize>,
    next_lane: usize,
    counter: u16,
    /// In microseconds, times 256 and times 8.
    average: i64,
    deviation: i64,
    /// The network is never slower than this: nothing is resent earlier.
    timeout_min_us: u64,
    window: usize,
    window_max: usize,
    threshold: usize,
    growth: usize,
    flights: Vec<Flight>,
    /// Timed out, to be resent when the window has room.
    deferred: VecDeque<Flight>,
    /// Not sent yet.
    waiting: VecDeque<u32>,
}

/// A request without a reply yet.
#[derive(Clone, Copy, Debug)]
struct Flight {
    op: u32,
    tag: u32,
    sent_ns: u64,
    waited_us: u64,
}

/// A frame to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) op: u32,
    pub(super) tag: u32,
    pub(super) lane: usize,
    pub(super) again: bool,
}

/// The result of checking the timers.
#[derive(Debug, Default)]
pub(super) struct Expired {
    pub(super) requests: usize,
    pub(super) collapsed: bool,
    /// The requests that it has given up.
    pub(super) dead: Vec<u32>,
}

impl Initiator {
    /// A host with a window of up to `window_max`. It has already measured `rtt_us`, or
    /// nothing yet.
    pub(super) fn new(
        macs: Vec<Mac>,
        export: usize,
        tags: Tags,
        lanes: Vec<usize>,
        window_max: usize,
        rtt_us: Option<u64>,
        timeout_min_us: u64,
    ) -> Self {
        // A quarter of a second and two seconds if nothing was measured.
        let (average, deviation) = rtt_us.map_or((250_000, 2_000_000), |us| (us as i64, us as i64 / 4));
        Self {
            macs,
            export,
            tags,
            jiffies: 0,
            lanes,
            next_lane: 0,
            counter: 0,
            average: average << AVERAGE_SHIFT,
            deviation: deviation << DEVIATION_SHIFT,
            timeout_min_us,
            window: (window_max / 2).max(1),
            window_max,
            threshold: window_max / 2,
            growth: 0,
            flights: Vec::new(),
            deferred: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// It has booted: counter and clock now have these values.
    pub(super) fn boot(&mut self, counter: u16, jiffies: u64) {
        self.counter = counter;
        self.jiffies = jiffies;
    }

    /// Whether it sends from more than one address.
    pub(super) fn has_two_addresses(&self) -> bool {
        self.lanes.iter().any(|lane| self.macs[*lane] != self.macs[self.lanes[0]])
    }

    /// Nothing is in flight or waiting to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.deferred.is_empty() && self.waiting.is_empty()
    }

    /// Accepts a request from the layer above.
    pub(super) fn queue(&mut self, op: u32) {
        self.waiting.push_back(op);
    }

    /// The next frame that the window allows; resends come first.
    pub(super) fn next_frame(&mut self, now_ns: u64) -> Option<Sending> {
        if self.flights.len() >= self.window {
            return None;
        }
        let (op, waited_us, before) = match self.deferred.pop_front() {
            Some(flight) => {
                (flight.op, flight.waited_us + since_us(flight.sent_ns, now_ns), Some(flight.tag))
            }
            None => (self.waiting.pop_front()?, 0, None),
        };
        let again = before.is_some();
        let tag = match before.filter(|_| self.tags != Tags::Linux) {
            Some(tag) => tag,
            None => self.new_tag(now_ns),
        };
        self.flights.push(Flight { op, tag, sent_ns: now_ns, waited_us });
        self.next_lane = (self.next_lane + 1) % self.lanes.len();
        Some(Sending { op, tag, lane: self.lanes[self.next_lane], again })
    }

    fn new_tag(&mut self, now_ns: u64) -> u32 {
        self.counter = (self.counter + 1) & 0x7FFF;
        let counter = u32::from(self.counter);
        match self.tags {
            Tags::Linux => counter << 16 | self.clock(now_ns),
            Tags::Ipxe => 0x18AE_0000 | counter,
            Tags::WinAoe => counter,
        }
    }

    /// 16 bits of its clock.
    fn clock(&self, now_ns: u64) -> u32 {
        (now_ns / JIFFY_NS + self.jiffies) as u32 & 0xFFFF
    }

    /// Checks the timers.
    pub(super) fn tick(&mut self, now_ns: u64) -> Expired {
        let timeout_us = self.timeout_us();
        let mut expired = Expired::default();
        let is_late = |flight: &Flight| since_us(flight.sent_ns, now_ns) >= timeout_us;
        let (late, rest): (Vec<Flight>, Vec<Flight>) =
            self.flights.iter().partition(|flight| is_late(flight));
        if late.iter().any(|flight| flight.waited_us + since_us(flight.sent_ns, now_ns) > DEAD_US) {
            expired.dead = self.flights.drain(..).map(|flight| flight.op).collect();
            expired.dead.extend(self.deferred.drain(..).map(|flight| flight.op));
            expired.dead.extend(self.waiting.drain(..));
            return expired;
        }
        self.flights = rest;
        expired.requests = late.len();
        if !late.is_empty() && self.window != 1 {
            self.threshold = self.window / 2;
            self.window = 1;
            expired.collapsed = true;
        }
        self.deferred.extend(late);
        expired
    }

    /// Handles a reply with this tag: returns the operation that it ends, and whether
    /// that had already timed out. `None` if no operation waits for it.
    pub(super) fn reply(&mut self, tag: u32, now_ns: u64) -> Option<(u32, bool)> {
        if let Some(at) = self.flights.iter().position(|flight| flight.tag == tag) {
            let flight = self.flights.remove(at);
            self.measure(since_us(flight.sent_ns, now_ns));
            self.grow();
            return Some((flight.op, false));
        }
        if let Some(at) = self.deferred.iter().position(|flight| flight.tag == tag) {
            let flight = self.deferred.remove(at)?;
            self.measure(since_us(flight.sent_ns, now_ns));
            return Some((flight.op, true));
        }
        if self.tags == Tags::Linux {
            let ticks = (self.clock(now_ns) as u16).wrapping_sub(tag as u16);
            self.measure(u64::from(ticks) * JIFFY_NS / 1_000);
        }
        None
    }

    fn timeout_us(&self) -> u64 {
        let timeout = 2 * (self.average >> AVERAGE_SHIFT) + 8 * (self.deviation >> DEVIATION_SHIFT);
        (timeout as u64).max(self.timeout_min_us)
    }

    fn measure(&mut self, rtt_us: u64) {
        let mut error = rtt_us as i64 - (self.average >> AVERAGE_SHIFT);
        self.average += error;
        error = error.abs() - (self.deviation >> DEVIATION_SHIFT);
        self.deviation += error;
    }

    fn grow(&mut self) {
        if self.window >= self.window_max {
            return;
        }
        if self.window < self.threshold {
            self.window += 1;
        } else if self.flights.len() + 1 == self.window {
            if self.growth == 0 {
                self.window += 1;
                self.growth = self.window;
            } else {
                self.growth -= 1;
            }
        }
    }
}

fn since_us(then_ns: u64, now_ns: u64) -> u64 {
    now_ns.saturating_sub(then_ns) / 1_000
}
