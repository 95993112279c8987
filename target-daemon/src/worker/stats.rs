//! What one worker counts. Plain values: only the worker touches them.

use std::time::Duration;

use crate::store::{IoError, Kind};
use crate::wire::DropReason;

/// Counters of one worker, since it started. Those of its exports are theirs
/// ([`crate::observe::Tally`]).
#[derive(Clone, Default, Debug)]
pub struct Stats {
    /// Frames that got no reply, by reason.
    pub drops: [u64; DropReason::ALL.len()],
    /// The rest.
    pub counters: Counters,
    /// Time without anything to do, spinning or asleep.
    pub idle: Duration,
}

/// Events of one worker.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Replies and announcements that went to a tx ring.
    pub replies: u64,
    /// Reads that a store completed.
    pub reads: u64,
    /// Writes that a store completed.
    pub writes: u64,
    /// Flushes that a store completed.
    pub flushes: u64,
    /// Requests to forget sectors that a store completed.
    pub discards: u64,
    /// Operations that failed for the medium.
    pub media_faults: u64,
    /// Writes that found no space.
    pub no_space_faults: u64,
    /// Operations that failed for another reason.
    pub other_faults: u64,
    /// Operations that the system could not do just now: not answered.
    pub transient_faults: u64,
    /// Operations that a store had not finished after 10 s.
    pub stuck_operations: u64,
    /// Requests that waited for an earlier one to the same sectors.
    pub waited: u64,
    /// Writes that were not executed because the same one was under way.
    pub folded: u64,
    /// Writes that wait for the same one and were dropped because newer ones do.
    pub followers_released: u64,
    /// Copies of writes that had been answered: answered again, not executed.
    pub repeated: u64,
    /// Times that an initiator used a tag again for another write.
    pub tags_reused: u64,
    /// Requests given to the worker that owns their export.
    pub handed_over: u64,
    /// Requests dropped because the owner's channel was full.
    pub hand_over_full: u64,
    /// Writes dropped because an overlapping one that was sent later had been answered,
    /// or may have been.
    pub late_writes: u64,
    /// Requests to set a config string, mask list or reservation that were dropped as
    /// late copies.
    pub late_sets: u64,
    /// Writes answered to hosts for which their export had no place to remember them.
    pub not_remembered: u64,
    /// Requests dropped because too many were in flight.
    pub slab_full: u64,
    /// Requests dropped because the store's queue was full.
    pub store_full: u64,
    /// Requests dropped because no chunk was free for their reply.
    pub no_chunks: u64,
    /// Replies dropped because the tx ring was full.
    pub tx_full: u64,
    /// Replies that did not fit their frame. Always 0.
    pub unsendable: u64,
    /// Completions for operations that were not in flight. Always 0.
    pub stale_completions: u64,
    /// Times that the kernel refused to send.
    pub kick_errors: u64,
    /// Times that the chunks of a lane did not add up. Always 0.
    pub imbalances: u64,
    /// Times that the worker went to sleep.
    pub sleeps: u64,
}

impl Counters {
    /// Names and values, for reports.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("replies", self.replies),
            ("reads", self.reads),
            ("writes", self.writes),
            ("flushes", self.flushes),
            ("discards", self.discards),
            ("media_faults", self.media_faults),
            ("no_space_faults", self.no_space_faults),
            ("other_faults", self.other_faults),
            ("transient_faults", self.transient_faults),
            ("stuck_operations", self.stuck_operations),
            ("waited", self.waited),
            ("folded", self.folded),
            ("followers_released", self.followers_released),
            ("repeated", self.repeated),
            ("tags_reused", self.tags_reused),
            ("handed_over", self.handed_over),
            ("hand_over_full", self.hand_over_full),
            ("late_writes", self.late_writes),
            ("late_sets", self.late_sets),
            ("not_remembered", self.not_remembered),
            ("slab_full", self.slab_full),
            ("store_full", self.store_full),
            ("no_chunks", self.no_chunks),
            ("tx_full", self.tx_full),
            ("unsendable", self.unsendable),
            ("stale_completions", self.stale_completions),
            ("kick_errors", self.kick_errors),
            ("imbalances", self.imbalances),
            ("sleeps", self.sleeps),
        ]
    }
}

impl Stats {
    /// Counts a frame that gets no reply.
    pub fn dropped(&mut self, reason: DropReason) {
        if let Some(n) = self.drops.get_mut(reason.index()) {
            *n += 1;
        }
    }

    /// Counts an operation that a store has finished.
    pub fn completed(&mut self, kind: Kind, result: Result<(), IoError>) {
        match kind {
            Kind::Read => self.counters.reads += 1,
            Kind::Write => self.counters.writes += 1,
            Kind::Flush => self.counters.flushes += 1,
            Kind::Discard => self.counters.discards += 1,
            Kind::Measure => {}
        }
        match result {
            Ok(()) => {}
            Err(IoError::Media) => self.counters.media_faults += 1,
            Err(IoError::NoSpace) => self.counters.no_space_faults += 1,
            Err(IoError::Transient) => self.counters.transient_faults += 1,
            Err(IoError::ReadOnly | IoError::Range | IoError::System) => self.counters.other_faults += 1,
        }
    }

    /// Drops by reason, for reports.
    pub fn drop_rows(&self) -> Vec<(&'static str, u64)> {
        DropReason::ALL.iter().map(|r| r.name()).zip(self.drops).collect()
    }
}
