//! What a worker tells of single requests and frames, to who wants to look.
//!
//! One request of so many, and every frame that is dropped. What nobody takes in
//! time is not told, but counted: the channel is bounded, and a worker never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_channel::{Sender, TrySendError};

use super::Worker;
use super::messages::Finished;
use crate::observe::{Operation, Outcome};
use crate::ring::{Frame, Rings, Umem};
use crate::wire::{DropReason, ata};

/// Most bytes of a frame that are told.
pub const CAPTURE_MAX: usize = 256;

/// Who looks, and at what.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// One request of so many; 0 for none.
    pub every: u32,
    /// Frames that get no answer.
    pub dropped: bool,
    /// Where they go.
    pub to: Sender<Traced>,
    /// How many found no room there.
    pub missed: Arc<AtomicU64>,
}

impl Tracer {
    /// Tells, or counts that it could not. `false`: nobody looks any more.
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

/// What is told of a request or a frame.
#[derive(Clone, Debug)]
pub struct Traced {
    /// What has become of it.
    pub what: TraceOutcome,
    /// When.
    pub at: SystemTime,
    /// The lane that it came in on.
    pub lane: u16,
    /// Length of the frame in bytes.
    pub len: u32,
    /// How many of `bytes` are its own.
    pub captured: u16,
    /// How it begins: of a request that was answered, the answer.
    pub bytes: [u8; CAPTURE_MAX],
}

/// What has become of a request or a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceOutcome {
    /// It was dealt with.
    Request {
        /// What it asked for.
        operation: Operation,
        /// The same in full, if it was an ATA command: a reply does not repeat it.
        asked: Option<ata::Request>,
        /// How it ended.
        outcome: Outcome,
        /// From the rx ring to now, in nanoseconds.
        service_ns: u64,
        /// What the store took of that; 0 if it was not asked.
        store_ns: u64,
    },
    /// It was dropped.
    Dropped(DropReason),
}

/// What a worker has of a [`Tracer`].
#[derive(Debug, Default)]
pub(super) struct Tracing {
    tracer: Option<Tracer>,
    /// Requests until the next one that is told.
    left: u32,
}

impl Tracing {
    /// Looks, or looks no more.
    pub fn set(&mut self, tracer: Option<Tracer>) {
        self.left = tracer.as_ref().map_or(0, |tracer| tracer.every);
        self.tracer = tracer;
    }

    /// A request was dealt with.
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

    /// A frame is dropped.
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
            // Whatever has become of the order to look no more.
            self.set(None);
        }
    }
}

impl<R: Rings> Worker<R> {
    /// Tells of requests and frames from now on, or no more.
    pub fn trace(&mut self, tracer: Option<Tracer>) {
        self.tracing.set(tracer);
    }
}
