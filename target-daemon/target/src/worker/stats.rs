//! Counters of a worker. Plain values that only the worker accesses.

use std::time::Duration;

use crate::observe::family::{DROPPED, INCONSISTENCIES, RECEIVED, SENT, UNSTAMPED};
use crate::observe::{Count, counters};
use crate::ring::{LaneCounters, RingStatistics};
use crate::store::{IoError, Kind};
use crate::wire::DropReason;

/// Counters of a worker since it started. Those of an export are in
/// [`crate::observe::Tally`].
#[derive(Clone, Default, Debug)]
pub struct Stats {
    /// Frames that got no reply, by reason.
    pub drops: [u64; DropReason::NAMES.len()],
    /// Everything else.
    pub counters: Counters,
    /// Time without anything to do, spinning or asleep.
    pub idle: Duration,
}

counters! {
    /// Events of one worker.
    pub struct Counters {
        /// Replies and announcements put into a tx ring.
        replies in REPLIES,
        /// Reads that a store completed.
        reads,
        /// Writes that a store completed.
        writes,
        /// Flushes that a store completed.
        flushes,
        /// Discards that a store completed.
        discards,
        /// Operations that failed because of the medium.
        media_faults in FAULTS("media"),
        /// Writes that failed for lack of space.
        no_space_faults in FAULTS("no_space"),
        /// Operations that the system temporarily could not execute; they get no reply.
        transient_faults in FAULTS("transient"),
        /// Operations that failed for another reason.
        other_faults in FAULTS("other"),
        /// Operations that a store had not finished after 10 s.
        stuck_operations in STUCK_OPERATIONS,
        /// Requests that waited for an earlier one on the same sectors.
        waited,
        /// Writes not executed because the same write was already in flight.
        folded,
        /// Duplicates of answered writes or sets: answered again, not executed.
        repeated,
        /// Times an initiator reused a tag for a different write.
        tags_reused in TAGS_REUSED,
        /// Requests passed to the worker that owns their export.
        handed_over in HANDED_OVER,
        /// Requests dropped because the owner's channel was full.
        hand_over_full in DROPPED("room", "hand_over_full"),
        /// Writes dropped because an overlapping one that was sent later has been answered,
        /// or may have been.
        late_writes in DROPPED("room", "late_write"),
        /// Requests to set a config string, mask list or reservation that were dropped as
        /// late duplicates.
        late_sets in DROPPED("room", "late_set"),
        /// Answered writes not remembered, because the export had no entry left for their
        /// host.
        not_remembered in NOT_REMEMBERED,
        /// Requests dropped because too many of their host were waiting.
        over_share in DROPPED("room", "over_share"),
        /// Requests that waited for a limit, dropped after a second, or when their host resent
        /// them.
        limited_too_long in DROPPED("room", "limit"),
        /// Requests dropped because too many were in flight.
        slab_full in DROPPED("room", "slab_full"),
        /// Requests dropped because the store's queue was full.
        store_full in DROPPED("room", "store_full"),
        /// Requests dropped because no chunk was free for their reply.
        no_chunks in DROPPED("room", "no_chunks"),
        /// Replies dropped because the tx ring was full.
        tx_full in DROPPED("room", "tx_full"),
        /// Coalesced writes dropped because newer ones took their place.
        followers_released in DROPPED("room", "follower_released"),
        /// Replies that did not fit their frame. Always 0.
        unsendable in INCONSISTENCIES("unsendable"),
        /// Completions for operations that were not in flight. Always 0.
        stale_completions in INCONSISTENCIES("stale_completion"),
        /// Times the kernel refused to send.
        kick_errors in KICK_ERRORS,
        /// Times the chunks of a lane did not add up. Always 0.
        imbalances in INCONSISTENCIES("imbalance"),
        /// Times the worker went to sleep.
        sleeps in SLEEPS,
    }
}

impl Stats {
    /// Counts a frame that gets no reply.
    pub fn dropped(&mut self, reason: DropReason) {
        if let Some(n) = self.drops.get_mut(reason as usize) {
            *n += 1;
        }
    }

    /// Counts an operation that a store has completed.
    #[inline]
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

    /// Drops by reason.
    pub fn drop_rows(&self) -> Vec<Count> {
        let rows = DropReason::NAMES.into_iter().zip(self.drops);
        rows.map(|(name, n)| Count::new(name, n).shown(&DROPPED, &["worker", name])).collect()
    }
}

/// The counters of a lane, and what the kernel counts of its rings.
pub fn lane_rows(lane: LaneCounters, kernel: RingStatistics) -> Vec<Count> {
    vec![
        Count::new("received", lane.received).shown(&RECEIVED, &[]),
        Count::new("unstamped", lane.unstamped).shown(&UNSTAMPED, &[]),
        Count::new("transmitted", lane.transmitted).shown(&SENT, &[]),
        Count::new("kernel_rx_ring_full", kernel.rx_ring_full).shown(&DROPPED, &["ring", "rx_ring_full"]),
        Count::new("kernel_fill_ring_empty", kernel.fill_ring_empty)
            .shown(&DROPPED, &["ring", "fill_ring_empty"]),
        Count::new("kernel_rx_dropped", kernel.rx_dropped).shown(&DROPPED, &["ring", "rx_dropped"]),
        Count::new("too_long", lane.too_long).shown(&DROPPED, &["lane", "too_long"]),
        Count::new("bad_descriptors", lane.bad_descriptors).shown(&INCONSISTENCIES, &["bad_descriptor"]),
        Count::new("bad_completions", lane.bad_completions).shown(&INCONSISTENCIES, &["bad_completion"]),
        Count::new("kernel_rx_invalid", kernel.rx_invalid).shown(&INCONSISTENCIES, &["rx_invalid"]),
        Count::new("kernel_tx_invalid", kernel.tx_invalid).shown(&INCONSISTENCIES, &["tx_invalid"]),
    ]
}
