//! The messages between the worker that received a request and the one that owns its
//! export. If these are the same worker, the values are passed directly.

use super::inflight::Task;
use crate::observe::{Operation, Outcome};
use crate::plant::{Bug, planted};
use crate::ring::Frame;
use crate::wire::DropReason;
use crate::wire::aoe::Header;
use crate::wire::ata;

/// A request on its way to the worker that owns its export.
#[derive(Debug)]
pub struct Inbound {
    /// The request. Its frame already has room for the reply, because only the worker of
    /// its lane can extend it.
    pub frame: Frame,
    /// Its header.
    pub header: Header,
    /// Its ATA header, if it is a complete ATA request.
    pub ata: Option<ata::Request>,
    /// The lane that received it, as an index among all lanes.
    pub lane: u16,
    /// The number of its host.
    pub host: u16,
    /// Whether others that arrived later may have been executed before it.
    pub held: bool,
    /// Whether another worker received it, which counts its chunks.
    pub from_afar: bool,
    /// The export, as an index at its owner.
    pub export: u16,
    /// Length of the request in bytes.
    pub request_len: u32,
    /// When it was received, in nanoseconds of the worker's clock.
    pub received_ns: u64,
    /// Lower bound of its arrival time, for a frame without a stamp.
    pub since_ns: u64,
}

/// When a request arrived, meaning when its driver was polled. Lower and upper bound in
/// nanoseconds of the worker's clock; they are equal if the frame carries a stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Not before this.
    pub earliest_ns: u64,
    /// Not after this.
    pub latest_ns: u64,
    /// The worker that received it, and that executes or passes on what it receives in this
    /// order; [`HELD`] if it did not do so with this one.
    pub worker: u16,
}

/// Stands for the worker of a request that was held: no order with any other is known.
pub const HELD: u16 = u16::MAX;

/// A finished request on its way back to its lane.
#[derive(Debug)]
pub struct Finished {
    /// The reply, or the request if there is no reply.
    pub frame: Frame,
    /// The lane to send it on.
    pub lane: u16,
    /// The number of its host.
    pub host: u16,
    /// Length of the reply; `None` for no reply.
    pub reply_len: Option<u32>,
    /// For counters, like the fields below.
    pub operation: Operation,
    /// The ATA request, if it was one. For tracing only.
    pub asked: Option<ata::Request>,
    /// How the request ended.
    pub outcome: Outcome,
    /// Why it gets no reply, if its content is the reason.
    pub dropped: Option<DropReason>,
    /// The export, as an index at its owner.
    pub export: u16,
    /// Length of the data; of the whole frame, for a request that gets no reply.
    pub bytes: u32,
    /// When the request was received.
    pub received_ns: u64,
    /// When it was submitted to the store; 0 if it was not.
    pub submitted_ns: u64,
}

impl Finished {
    /// Removes the reply.
    #[must_use]
    pub fn without_reply(self) -> Self {
        Self { reply_len: None, outcome: Outcome::Unanswered, ..self }
    }

    /// Time from the rx ring until now.
    #[inline]
    pub fn service_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.received_ns)
    }

    /// The part of that spent in the store; `None` if the store was not involved.
    #[inline]
    pub fn store_ns(&self, now_ns: u64) -> Option<u64> {
        // The pass in which it was submitted may have begun before it was received.
        (self.submitted_ns > 0).then(|| now_ns.saturating_sub(self.submitted_ns.max(self.received_ns)))
    }
}

#[cfg(test)]
impl Inbound {
    /// A request of 60 bytes that arrived at this time, on the first lane of its worker.
    pub fn of(frame: Frame, header: Header, at_ns: u64) -> Self {
        Self {
            frame,
            header,
            ata: None,
            lane: 0,
            host: 0,
            held: false,
            from_afar: false,
            export: 0,
            request_len: 60,
            received_ns: at_ns,
            since_ns: at_ns,
        }
    }
}

impl Arrival {
    /// Whether a worker keeps the order between this and what arrived there.
    pub fn is_in_order_with(self, worker: u16) -> bool {
        self.worker == worker && worker != HELD
    }
}

impl Inbound {
    /// When it arrived; `worker` received it.
    #[inline]
    pub fn arrival(&self, worker: u16) -> Arrival {
        let (earliest_ns, latest_ns) = match self.frame.arrived_ns() {
            Some(ns) => (ns, ns),
            None => (self.since_ns, self.received_ns),
        };
        Arrival {
            earliest_ns,
            latest_ns,
            worker: if self.held && !planted(Bug::HeldInOrder) { HELD } else { worker },
        }
    }

    /// Finishes the request with a reply of this length.
    pub fn done(self, operation: Operation, outcome: Outcome, reply_len: Option<u32>) -> Finished {
        Finished {
            frame: self.frame,
            lane: self.lane,
            host: self.host,
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

    /// Finishes a request for which the store did this, with a reply of this length, if any.
    #[inline]
    pub fn answered(self, task: &Task, (reply_len, outcome): (Option<u32>, Outcome)) -> Finished {
        Finished {
            frame: self.frame,
            lane: self.lane,
            host: self.host,
            reply_len,
            operation: task.operation,
            asked: Some(task.ata),
            outcome,
            dropped: None,
            export: self.export,
            bytes: if reply_len.is_some() { task.fingerprint.bytes } else { self.request_len },
            received_ns: self.received_ns,
            submitted_ns: task.submitted_ns,
        }
    }

    /// Finishes the request without a reply, for this reason.
    pub fn dropped(self, operation: Operation, reason: DropReason) -> Finished {
        Finished { dropped: Some(reason), ..self.unanswered(operation) }
    }

    /// Finishes the request without a reply.
    pub fn unanswered(self, operation: Operation) -> Finished {
        let bytes = self.request_len;
        Finished { bytes, ..self.done(operation, Outcome::Unanswered, None) }
    }
}
