//! Continuous requests with checked replies.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use xblade::wire::aoe::Address;

use crate::image::patterns;
use xblade_kit::{Initiator, PATIENCE};

/// Sectors per request.
const SECTORS: u64 = 2;

/// The performance of an export over some time.
#[derive(Debug)]
pub struct Measure {
    /// Replies per second.
    pub rate: f64,
    /// The 99th percentile of the latency; `None` without replies.
    pub p99: Option<Duration>,
}

/// A host that keeps a window of requests in flight. Each place of its window writes its
/// own sectors, reads them back, and so on.
pub struct Load {
    host: Initiator,
    at: Address,
    /// The last version written in each place.
    versions: Vec<u64>,
    flight: HashMap<u32, Flight>,
}

struct Flight {
    place: usize,
    writes: bool,
    sent: Instant,
}

impl Load {
    pub fn new(mut host: Initiator, at: Address, window: usize) -> Self {
        // Other hosts of the test receive the same replies.
        host.set_next_tag(0x0100_0000 * (1 + u32::from(at.slot)));
        let mut load = Self { host, at, versions: vec![0; window], flight: HashMap::new() };
        (0..window).for_each(|place| load.write(place));
        load
    }

    /// Continues for this time.
    pub fn run(&mut self, time: Duration) -> Measure {
        let start = Instant::now();
        let mut latencies = Vec::new();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            let Some((flight, latency)) = self.step(left) else { break };
            latencies.push(latency);
            if flight.writes { self.read(flight.place) } else { self.write(flight.place) }
        }
        latencies.sort();
        let p99 = latencies.get(latencies.len() * 99 / 100).copied();
        Measure { rate: latencies.len() as f64 / start.elapsed().as_secs_f64(), p99 }
    }

    /// Waits until all requests in flight have ended.
    pub fn finish(mut self) {
        while !self.flight.is_empty() {
            assert!(self.step(PATIENCE).is_some(), "{} requests were never answered", self.flight.len());
        }
    }

    /// The next reply, checked, and its latency.
    fn step(&mut self, limit: Duration) -> Option<(Flight, Duration)> {
        let flight = &self.flight;
        let (tag, answer) = self.host.next_answer(limit, |tag| flight.contains_key(&tag))?;
        let flight = self.flight.remove(&tag).expect("asked for");
        assert_eq!((answer.status, answer.error), (0x40, 0), "{}: writes: {}", self.at, flight.writes);
        if !flight.writes {
            let held = patterns(lba(flight.place), SECTORS, self.versions[flight.place]);
            assert!(answer.data == held, "{}: wrong data at {}", self.at, lba(flight.place));
        }
        let latency = flight.sent.elapsed();
        Some((flight, latency))
    }

    fn write(&mut self, place: usize) {
        self.versions[place] += 1;
        let data = patterns(lba(place), SECTORS, self.versions[place]);
        let tag = self.host.send_write(self.at, lba(place), &data);
        self.flight.insert(tag, Flight { place, writes: true, sent: Instant::now() });
    }

    fn read(&mut self, place: usize) {
        let tag = self.host.send_read(self.at, lba(place), SECTORS as u8);
        self.flight.insert(tag, Flight { place, writes: false, sent: Instant::now() });
    }
}

fn lba(place: usize) -> u64 {
    place as u64 * SECTORS
}
