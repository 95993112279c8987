//! The counts of a thread, and their sum over all threads.

use std::collections::BTreeMap;

use crate::outcome::{Interval, Latencies, Side, Trouble};

use super::plan::Direction;

/// Counts and latencies of an interval.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Reads.
    pub reads: Side,
    /// Writes.
    pub writes: Side,
    /// Problems.
    pub trouble: Trouble,
    /// When the last counted request was answered, in nanoseconds.
    pub last_ns: u64,
}

impl Tally {
    /// An empty tally, with service times for an open loop.
    pub fn new(open: bool) -> Self {
        let side = || Side { service: open.then(Latencies::default), ..Side::default() };
        Self { reads: side(), writes: side(), ..Self::default() }
    }

    /// The counts of a direction.
    pub fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.reads,
            Direction::Write => &mut self.writes,
        }
    }

    /// Records how long a request took: since it was due, and since it was first sent (if it
    /// was).
    pub fn record(&mut self, direction: Direction, response_ns: u64, service_ns: Option<u64>) {
        let side = self.side(direction);
        side.response.record(response_ns);
        if let (Some(service), Some(ns)) = (&mut side.service, service_ns) {
            service.record(ns);
        }
    }

    /// The number of answered reads and writes.
    pub fn completions(&self) -> u64 {
        self.reads.answered() + self.writes.answered()
    }

    /// Adds another tally of the same time or a later one.
    pub fn add(&mut self, other: &Self) {
        self.reads.add(&other.reads);
        self.writes.add(&other.writes);
        self.trouble.add(&other.trouble);
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// Resets it, keeping its memory.
    pub fn clear(&mut self) {
        for side in [&mut self.reads, &mut self.writes] {
            side.response.clear();
            side.unanswered = 0;
            side.service.iter_mut().for_each(Latencies::clear);
        }
        (self.trouble, self.last_ns) = (Trouble::default(), 0);
    }
}

/// The counts of a thread over an interval.
pub struct Part {
    /// The thread.
    pub thread: usize,
    /// The number of the interval; 0 is before counting begins.
    pub number: u64,
    /// The counts.
    pub tally: Tally,
}

/// The counts of all threads, in total and by interval.
pub struct Sum {
    /// The total.
    pub total: Tally,
    /// Intervals that are complete for every thread.
    pub intervals: Vec<Interval>,
    seconds: f64,
    /// Intervals that are complete for some threads.
    open: BTreeMap<u64, Tally>,
    /// The last complete interval of each thread.
    over: Vec<u64>,
}

impl Sum {
    /// For this number of threads, with intervals of this length.
    pub fn new(open_loop: bool, threads: usize, seconds: f64) -> Self {
        Self {
            total: Tally::new(open_loop),
            intervals: Vec::new(),
            seconds,
            open: BTreeMap::new(),
            over: vec![0; threads],
        }
    }

    /// Adds a part; returns the counts of intervals that are now complete.
    pub fn add(&mut self, Part { thread, number, tally }: &mut Part) -> Vec<Tally> {
        if *number == 0 {
            // Problems before counting began are left out, unless they make the run
            // invalid.
            tally.trouble = Trouble {
                retransmits: 0,
                late: 0,
                duplicates: 0,
                unexpected: 0,
                dropped: 0,
                ..std::mem::take(&mut tally.trouble)
            };
        }
        self.total.add(tally);
        self.open.entry((*number).max(1)).or_default().add(tally);
        self.over[*thread] = *number;
        let all = self.over.iter().copied().min().unwrap_or(0);
        self.close(all)
    }

    /// Ends the last interval, `seconds` after counting began.
    pub fn finish(&mut self, seconds: f64) {
        self.close(u64::MAX);
        let idle = |i: &Interval| i.reads.unpack().is_empty() && i.writes.unpack().is_empty();
        while self.intervals.pop_if(|last| last.from_s >= seconds && idle(last)).is_some() {}
        if let Some(last) = self.intervals.last_mut().filter(|last| last.from_s < seconds) {
            last.seconds = last.seconds.min(seconds - last.from_s);
        }
    }

    fn close(&mut self, up_to: u64) -> Vec<Tally> {
        let later = self.open.split_off(&up_to.saturating_add(1));
        let closed = std::mem::replace(&mut self.open, later);
        self.intervals.extend(closed.iter().map(|(number, tally)| Interval {
            from_s: (number - 1) as f64 * self.seconds,
            seconds: self.seconds,
            reads: tally.reads.response.pack(),
            writes: tally.writes.response.pack(),
            unanswered_reads: tally.reads.unanswered,
            unanswered_writes: tally.writes.unanswered,
            resent: tally.trouble.retransmits,
            dropped: tally.trouble.dropped,
        }));
        closed.into_values().collect()
    }
}

#[cfg(test)]
mod sum_tests {
    use super::*;
    use crate::load::plan::Direction;

    fn part(thread: usize, number: u64, answers: u64) -> Part {
        let mut tally = Tally::new(false);
        for n in 0..answers {
            tally.record(Direction::Read, 1000 + n, None);
        }
        tally.trouble.retransmits = answers;
        tally.trouble.lost = 1;
        Part { thread, number, tally }
    }

    #[test]
    fn intervals_close_when_every_thread_has_passed_them_and_add_up() {
        let mut sum = Sum::new(false, 2, 0.5);
        let mut closed = Vec::new();
        // The second thread hands over its first two intervals as one.
        for (thread, number, answers) in [(0, 1, 5), (0, 2, 6), (1, 2, 7), (0, 3, 1), (1, 3, 2), (1, 4, 0)] {
            closed.extend(sum.add(&mut part(thread, number, answers)).iter().map(Tally::completions));
        }
        assert_eq!(closed, [5, 13, 3]);
        sum.finish(1.2);
        let seen: Vec<_> =
            sum.intervals.iter().map(|i| (i.from_s, i.seconds, i.reads.unpack().len(), i.resent)).collect();
        let last = sum.intervals.last().map(|i| i.seconds);
        assert_eq!(seen[..2], [(0.0, 0.5, 5, 5), (0.5, 0.5, 13, 13)]);
        assert_eq!((seen.len(), seen[2].2), (3, 3), "an empty one after the end is none");
        assert!(last.is_some_and(|seconds| (seconds - 0.2).abs() < 1e-9));
        assert_eq!((sum.total.completions(), sum.total.trouble.lost), (21, 6));
    }

    #[test]
    fn a_warm_up_counts_only_where_it_failed() {
        let mut sum = Sum::new(false, 1, 1.0);
        sum.add(&mut Part { number: 0, ..part(0, 0, 0) });
        let mut warm = part(0, 0, 0);
        warm.tally.trouble.retransmits = 9;
        sum.add(&mut warm);
        assert_eq!((sum.total.trouble.retransmits, sum.total.trouble.lost), (0, 2));
    }
}
