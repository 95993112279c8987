//! Counters of an export.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Latency, Operation, counters};

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// Replied: done.
    Done,
    /// Replied with an error.
    Failed,
    /// No reply: the host resends it, or was not entitled to one.
    Unanswered,
}

impl Outcome {
    /// All outcomes, in the order of their values.
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

counters! {
    /// Counters of an export. The names of the fields are those of the JSON document.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", default)]
    pub struct ExportCounters {
        /// Bytes read and sent.
        bytes_read in READ_BYTES,
        /// Bytes that were written.
        bytes_written in WRITTEN_BYTES,
        /// Requests that waited for an earlier one on the same sectors.
        waited in WAITED,
        /// Writes not executed because the same write was already in flight.
        folded in FOLDED,
        /// Duplicates of completed writes: answered again, not executed.
        repeated in REPEATED,
        /// Requests that waited for a limit.
        limited in LIMITED,
        /// The time that they waited, in nanoseconds.
        limited_ns,
    }
}

/// What is counted of one export, by the worker that owns it.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests by [`Operation`] and [`Outcome`].
    pub requests: [[u64; Outcome::ALL.len()]; Operation::ALL.len()],
    /// Everything else that is counted.
    pub counters: ExportCounters,
    /// Response times in nanoseconds: from the driver poll, by the frame's stamp, to the
    /// reply. Excludes frames without a stamp.
    pub response: Latency,
    /// Service times in nanoseconds: from the rx ring to the reply.
    pub service: Latency,
    /// Times in nanoseconds spent in the store.
    pub store: Latency,
}

impl Tally {
    /// All zero. Allocates all memory here.
    pub fn new() -> Self {
        Self {
            requests: [[0; Outcome::ALL.len()]; Operation::ALL.len()],
            counters: ExportCounters::default(),
            response: Latency::new(),
            service: Latency::new(),
            store: Latency::new(),
        }
    }

    /// Counts a request.
    #[inline]
    pub fn count(&mut self, operation: Operation, outcome: Outcome) {
        let row = self.requests.get_mut(operation as usize);
        if let Some(n) = row.and_then(|row| row.get_mut(outcome as usize)) {
            *n += 1;
        }
    }

    /// Whether a host has sent any request other than a query.
    pub fn is_used(&self) -> bool {
        let asked = |operation| Outcome::ALL.iter().any(|outcome| self.requests(operation, *outcome) > 0);
        Operation::ALL.into_iter().filter(|operation| *operation != Operation::Query).any(asked)
    }

    /// Number of requests of this kind with this outcome.
    pub fn requests(&self, operation: Operation, outcome: Outcome) -> u64 {
        self.requests.get(operation as usize).and_then(|row| row.get(outcome as usize)).copied().unwrap_or(0)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
