//! The times at which requests should start.
//!
//! In an open loop the times are fixed in advance and do not depend on the target: while
//! the window is full, a due request waits, and its waiting counts. In a closed loop each
//! reply triggers the next request. A target that stalls then gets fewer requests, and
//! the stall shows only in the few requests that were in flight (coordinated omission).

/// No limit.
pub const NEVER: u64 = u64::MAX;

/// When requests start, and which of them count.
#[derive(Debug)]
pub struct Schedule {
    /// Requests due from this time on count, in nanoseconds.
    pub from_ns: u64,
    /// No request starts from this time on.
    pub end_ns: u64,
    /// The interval of an open loop; `None` if requests start as soon as there is room.
    gap_ns: Option<f64>,
    next_ns: f64,
}

impl Schedule {
    /// A closed loop.
    pub fn closed() -> Self {
        Self { from_ns: 0, end_ns: NEVER, gap_ns: None, next_ns: 0.0 }
    }

    /// An open loop of `rate` requests per second at equal intervals. The first comes
    /// after this fraction of an interval.
    pub fn constant(rate: f64, phase: f64) -> Self {
        let gap_ns = 1e9 / rate;
        Self { gap_ns: Some(gap_ns), next_ns: phase * gap_ns, ..Self::closed() }
    }

    /// Sets the start of counting and the end.
    pub fn between(self, from_ns: u64, end_ns: u64) -> Self {
        Self { from_ns, end_ns, ..self }
    }

    /// Whether it is an open loop.
    pub fn is_open(&self) -> bool {
        self.gap_ns.is_some()
    }

    /// When the next request is due; `None` if that is after the end.
    pub fn next_ns(&self, now_ns: u64) -> Option<u64> {
        let next_ns = if self.is_open() { self.next_ns as u64 } else { now_ns };
        (next_ns < self.end_ns).then_some(next_ns)
    }

    /// Moves on to the next request.
    pub fn advance(&mut self) {
        self.next_ns += self.gap_ns.unwrap_or(0.0);
    }

    /// Whether a request that was due at `due_ns` and is answered now counts.
    pub fn counts(&self, due_ns: u64, now_ns: u64) -> bool {
        if self.is_open() {
            // Every due request counts, however late its reply.
            return due_ns >= self.from_ns;
        }
        (self.from_ns..self.end_ns).contains(&now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(mut schedule: Schedule) -> Vec<u64> {
        std::iter::from_fn(|| schedule.next_ns(0).inspect(|_| schedule.advance())).collect()
    }

    #[test]
    fn a_constant_schedule_neither_drifts_nor_passes_its_end() {
        let all = times(Schedule::constant(300_000.0, 0.5).between(0, 10_000_000_000));
        assert_eq!(all.len(), 3_000_000);
        assert_eq!(all[0], 1666);
        assert!(all[2_999_999].abs_diff(9_999_998_333) <= 1, "{}", all[2_999_999]);
    }

    #[test]
    fn in_an_open_loop_what_was_due_counts_and_in_a_closed_one_what_is_answered() {
        let open = Schedule::constant(1.0, 0.0).between(10, 20);
        assert!(!open.counts(9, 15) && open.counts(10, 15) && open.counts(19, 1000));
        let closed = Schedule::closed().between(10, 20);
        assert!(closed.counts(9, 10) && !closed.counts(8, 9) && !closed.counts(19, 20));
    }
}
