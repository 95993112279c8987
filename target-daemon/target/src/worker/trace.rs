//! Tracing of single requests and frames, for an observer.
//!
//! Reports one request in every `every`, and every dropped frame. The channel is bounded
//! and a worker never waits: if the observer is too slow, records are dropped and
//! counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_channel::{Sender, TrySendError};

use super::messages::Finished;
use crate::observe::{Operation, Outcome};
use crate::ring::{Frame, Umem};
use crate::wire::{DropReason, ata};

/// Maximum number of bytes captured from a frame.
pub const CAPTURE_MAX: usize = 256;

/// What to trace, and where to send it.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// Trace one request in this many; 0 for none.
    pub every: u32,
    /// Whether to trace frames that get no reply.
    pub dropped: bool,
    /// Where to send the records.
    pub to: Sender<Traced>,
    /// Number of records that did not fit in the channel.
    pub missed: Arc<AtomicU64>,
}

impl Tracer {
    /// Sends a record, or counts it as missed. `false` if the receiver is gone.
    pub fn tell(&self, traced: Traced) -> bool {
        match self.to.try_send(traced) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// A traced request or frame.
#[derive(Clone, Debug)]
pub struct Traced {
    /// What happened to it.
    pub what: TraceOutcome,
    /// The time.
    pub at: SystemTime,
    /// The lane that received it.
    pub lane: u16,
    /// Length of the frame in bytes.
    pub len: u32,
    /// Number of valid bytes in `bytes`.
    pub captured: u16,
    /// The start of the frame: of the reply, if there was one.
    pub bytes: [u8; CAPTURE_MAX],
}

/// What happened to a request or frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceOutcome {
    /// The request was processed.
    Request {
        /// The kind of request.
        operation: Operation,
        /// The ATA request, if it was one: a reply does not repeat it.
        asked: Option<ata::Request>,
        /// How it ended.
        outcome: Outcome,
        /// From the rx ring to now, in nanoseconds.
        service_ns: u64,
        /// The part of that spent in the store; 0 if the store was not involved.
        store_ns: u64,
    },
    /// It was dropped.
    Dropped(DropReason),
}

/// The tracing state of a worker.
#[derive(Debug, Default)]
pub(super) struct Tracing {
    tracer: Option<Tracer>,
    /// Number of requests until the next traced one.
    left: u32,
}

impl Tracing {
    /// Starts or stops tracing.
    pub fn set(&mut self, tracer: Option<Tracer>) {
        self.left = tracer.as_ref().map_or(0, |tracer| tracer.every);
        self.tracer = tracer;
    }

    /// Traces a finished request.
    #[inline]
    pub fn done(&mut self, done: &Finished, umem: &Umem, now_ns: u64) {
        if self.tracer.is_some() {
            self.look(done, umem, now_ns);
        }
    }

    #[cold]
    fn look(&mut self, done: &Finished, umem: &Umem, now_ns: u64) {
        if let Some(reason) = done.dropped {
            return self.tell_dropped(done.lane, umem, &done.frame, reason, done.bytes);
        }
        self.left = self.left.saturating_sub(1);
        let Some(tracer) = self.tracer.as_ref().filter(|tracer| tracer.every > 0 && self.left == 0) else {
            return;
        };
        self.left = tracer.every;
        let what = TraceOutcome::Request {
            operation: done.operation,
            asked: done.asked,
            outcome: done.outcome,
            service_ns: done.service_ns(now_ns),
            store_ns: done.store_ns(now_ns).unwrap_or(0),
        };
        // The frame itself may be longer: it has room for a reply.
        let len = done.reply_len.unwrap_or(done.bytes);
        self.tell(what, done.lane, umem, &done.frame, len);
    }

    /// Traces a dropped frame.
    #[inline]
    pub fn dropped(&mut self, lane: u16, umem: &Umem, frame: &Frame, reason: DropReason) {
        if self.tracer.is_some() {
            self.tell_dropped(lane, umem, frame, reason, frame.len() as u32);
        }
    }

    #[cold]
    fn tell_dropped(&mut self, lane: u16, umem: &Umem, frame: &Frame, reason: DropReason, len: u32) {
        if self.tracer.as_ref().is_some_and(|tracer| tracer.dropped) {
            self.tell(TraceOutcome::Dropped(reason), lane, umem, frame, len);
        }
    }

    #[cold]
    fn tell(&mut self, what: TraceOutcome, lane: u16, umem: &Umem, frame: &Frame, len: u32) {
        let piece = umem.piece(frame, 0);
        let captured = piece.len().min(len as usize).min(CAPTURE_MAX);
        let mut bytes = [0; CAPTURE_MAX];
        if let (Some(to), Some(from)) = (bytes.get_mut(..captured), piece.get(..captured)) {
            to.copy_from_slice(from);
        }
        let at = SystemTime::now();
        let traced = Traced { what, at, lane, len, captured: captured as u16, bytes };
        if !self.tracer.as_ref().is_some_and(|tracer| tracer.tell(traced)) {
            // The receiver is gone, whether or not a command to stop arrives.
            self.set(None);
        }
    }
}
