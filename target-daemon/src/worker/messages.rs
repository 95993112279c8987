//! What travels between the worker that received a request and the one that
//! owns its export. Within one worker the same values are passed by hand.

use crate::observe::{Operation, Outcome};
use crate::ring::Frame;
use crate::wire::DropReason;
use crate::wire::aoe::Header;
use crate::wire::ata;

/// A request on its way to the owner of its export.
#[derive(Debug)]
pub struct Inbound {
    /// The request. Its frame has room for the reply already: only the worker
    /// of its lane can make it longer.
    pub frame: Frame,
    /// Its header.
    pub header: Header,
    /// The lane that it came in on, among all lanes.
    pub lane: u16,
    /// The export, in its owner's shelf.
    pub export: u16,
    /// Length of the request in bytes.
    pub request_len: u32,
    /// When it was received, in nanoseconds of the worker's clock.
    pub received_ns: u64,
    /// When it arrived at the earliest, if its frame has no stamp.
    pub since_ns: u64,
}

/// When a request arrived: at the driver that was polled for it. Two bounds, in
/// nanoseconds of the worker's clock, which are one where the frame carries a stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Not before this.
    pub earliest_ns: u64,
    /// Not after this.
    pub latest_ns: u64,
    /// The worker that received it.
    pub worker: u16,
}

/// A request that was dealt with, on its way back to its lane.
#[derive(Debug)]
pub struct Finished {
    /// The reply, in place of the request.
    pub frame: Frame,
    /// The lane that it leaves by.
    pub lane: u16,
    /// Length of the reply; `None` for no reply.
    pub reply_len: Option<u32>,
    /// For what is counted, with those below.
    pub operation: Operation,
    /// The same in full, if it was an ATA command, for who looks at single
    /// requests: nothing else depends on it.
    pub asked: Option<ata::Request>,
    /// How it has ended.
    pub outcome: Outcome,
    /// Why it gets no reply, if that is for what it asks.
    pub dropped: Option<DropReason>,
    /// The export, in its owner's shelf.
    pub export: u16,
    /// Length of its data; of a request that gets no answer, of the whole frame.
    pub bytes: u32,
    /// From the job.
    pub received_ns: u64,
    /// When its store was given it; 0 if it was not.
    pub submitted_ns: u64,
}

impl Finished {
    /// The same, but it gets no reply.
    #[must_use]
    pub fn without_reply(self) -> Self {
        Self { reply_len: None, outcome: Outcome::Unanswered, ..self }
    }

    /// How long it took, from the rx ring to now.
    pub fn service_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.received_ns)
    }

    /// What its store took of that; `None` if it was not asked.
    pub fn store_ns(&self, now_ns: u64) -> Option<u64> {
        // The round in which it was lent had begun before it was received.
        (self.submitted_ns > 0).then(|| now_ns.saturating_sub(self.submitted_ns.max(self.received_ns)))
    }
}

impl Inbound {
    /// When it arrived, at this worker.
    pub fn arrival(&self, worker: u16) -> Arrival {
        let (earliest_ns, latest_ns) = match self.frame.arrived_ns() {
            Some(ns) => (ns, ns),
            None => (self.since_ns, self.received_ns),
        };
        Arrival { earliest_ns, latest_ns, worker }
    }

    /// The end of this job: so long a reply.
    pub fn done(self, operation: Operation, outcome: Outcome, reply_len: Option<u32>) -> Finished {
        Finished {
            frame: self.frame,
            lane: self.lane,
            reply_len,
            operation,
            asked: None,
            outcome: if reply_len.is_some() { outcome } else { Outcome::Unanswered },
            dropped: None,
            export: self.export,
            bytes: 0,
            received_ns: self.received_ns,
            submitted_ns: 0,
        }
    }

    /// The end of this job: it may not be answered.
    pub fn dropped(self, operation: Operation, reason: DropReason) -> Finished {
        Finished { dropped: Some(reason), ..self.unanswered(operation) }
    }

    /// The end of this job: no reply.
    pub fn unanswered(self, operation: Operation) -> Finished {
        let bytes = self.request_len;
        Finished { bytes, ..self.done(operation, Outcome::Unanswered, None) }
    }
}
