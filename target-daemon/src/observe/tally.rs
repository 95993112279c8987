//! What is counted for each export.

use super::{Latency, Operation};

/// How a request has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// Answered: it was done.
    Done,
    /// Answered with an error.
    Failed,
    /// Not answered: the host resends it, or was not entitled to an answer.
    Unanswered,
}

impl Outcome {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Unanswered];

    /// The name in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "error",
            Self::Unanswered => "unanswered",
        }
    }
}

/// What is counted for one export, by the worker that owns it.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests by [`Operation`] and [`Outcome`].
    pub requests: [[u64; Outcome::ALL.len()]; Operation::ALL.len()],
    /// Bytes that were read, and sent.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Requests that waited for an earlier one to the same sectors.
    pub waited: u64,
    /// Writes that were not executed because the same one was under way.
    pub folded: u64,
    /// Copies of writes that had been answered: answered again, not executed.
    pub repeated: u64,
    /// Response times in nanoseconds: from the driver's poll, of which the frame carries
    /// a stamp, to the reply. Of frames without a stamp nothing is counted here.
    pub response: Latency,
    /// Service times in nanoseconds: from the rx ring to the reply.
    pub service: Latency,
    /// Times in nanoseconds that the store took.
    pub store: Latency,
}

impl Tally {
    /// All zero. All memory is taken here.
    pub fn new() -> Self {
        Self {
            requests: [[0; Outcome::ALL.len()]; Operation::ALL.len()],
            bytes_read: 0,
            bytes_written: 0,
            waited: 0,
            folded: 0,
            repeated: 0,
            response: Latency::new(),
            service: Latency::new(),
            store: Latency::new(),
        }
    }

    /// Counts a request.
    pub fn count(&mut self, operation: Operation, outcome: Outcome) {
        let row = self.requests.get_mut(operation as usize);
        if let Some(n) = row.and_then(|row| row.get_mut(outcome as usize)) {
            *n += 1;
        }
    }

    /// Whether a host has asked anything but who the export is.
    pub fn is_used(&self) -> bool {
        let asked = |operation| Outcome::ALL.iter().any(|outcome| self.requests(operation, *outcome) > 0);
        Operation::ALL.into_iter().filter(|operation| *operation != Operation::Query).any(asked)
    }

    /// Requests of this kind that ended so.
    pub fn requests(&self, operation: Operation, outcome: Outcome) -> u64 {
        self.requests.get(operation as usize).and_then(|row| row.get(outcome as usize)).copied().unwrap_or(0)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
