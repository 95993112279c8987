//! Persistence of what initiators set: the reply to a set is sent once it is on stable
//! storage.
//!
//! An export has at most one state with the state writer; what is set meanwhile goes with
//! the next one. So no flood of requests fills the channel, and one write answers many.

use std::collections::VecDeque;

use crossbeam_channel::Sender;

use super::messages::Finished;
use crate::shelf::{HostSetting, Saved, State};

/// Maximum number of replies waiting per export. Beyond that the oldest is dropped: its
/// host has resent the request long ago.
const REPLIES_MAX: usize = 64;

/// Maximum number of callers of the control thread waiting per export. Beyond that the
/// oldest is dropped: it has given up long ago, because the control thread waits for one
/// at a time.
const CALLERS_MAX: usize = 4;

/// After this time without an acknowledgement a state is sent again: the state writer
/// gives up on a worker that does not receive it.
const UNACKNOWLEDGED_NS: u64 = 1_000_000_000;

/// A state to be saved by the state writer.
#[derive(Debug)]
pub struct SaveRequest {
    /// The worker.
    pub worker: u16,
    /// The export, as an index at the worker.
    pub export: u16,
    /// The number of the export ([`ExportRuntime`](super::ExportRuntime)).
    pub number: u32,
    /// The revision of the state.
    pub revision: u64,
    /// Identifies the export to the state writer.
    pub key: String,
    /// The state.
    pub saved: Saved,
}

/// A state that is on stable storage.
#[derive(Clone, Copy, Debug)]
pub struct SaveAck {
    /// The export, as an index at the worker.
    pub export: u16,
    /// The number of the export.
    pub number: u32,
    /// Everything up to this revision is saved.
    pub revision: u64,
}

/// What became of a change by the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cleared {
    /// It is on stable storage.
    Saved,
    /// It is in force, but the state writer has too much to write: ask again.
    Busy,
}

/// What waits for a revision to be saved.
#[derive(Debug)]
pub(super) enum Waits {
    /// A reply.
    Reply(Finished),
    /// The control thread.
    Asked(Sender<Cleared>),
}

impl Waits {
    /// What it waits for is saved. Returns the reply, if it is one.
    pub fn saved(self) -> Option<Finished> {
        match self {
            Self::Reply(done) => Some(done),
            Self::Asked(to) => {
                let _ = to.try_send(Cleared::Saved);
                None
            }
        }
    }

    /// There is no room for the state. Returns a request that gets no reply: when its host
    /// resends it, the save is tried again.
    pub fn busy(self) -> Option<Finished> {
        match self {
            Self::Reply(done) => Some(done.without_reply()),
            Self::Asked(to) => {
                let _ = to.try_send(Cleared::Busy);
                None
            }
        }
    }
}

/// What is saved of an export, and what waits for it.
#[derive(Debug)]
pub(super) struct Saves {
    /// What the state file contains when everything is written.
    pub wanted: Saved,
    /// Increases with every change of `wanted`.
    pub revision: u64,
    /// The revision that is on stable storage.
    saved: u64,
    /// The revision that the state writer has not acknowledged yet, and since when.
    sent: Option<(u64, u64)>,
    replies: VecDeque<(u64, Finished)>,
    callers: VecDeque<(u64, Sender<Cleared>)>,
}

impl Saves {
    /// Of an export whose state is saved.
    pub fn new(state: &State) -> Self {
        Self {
            wanted: Saved::of(state),
            revision: 0,
            saved: 0,
            sent: None,
            replies: VecDeque::new(),
            callers: VecDeque::new(),
        }
    }

    /// Has the value in force saved.
    pub fn adopt(&mut self, setting: HostSetting, state: &State) {
        self.revision += u64::from(self.wanted.adopt(setting, state));
    }

    /// Whether everything is on stable storage.
    pub fn is_saved(&self) -> bool {
        self.saved >= self.revision
    }

    /// Whether the state has to wait until the one before is acknowledged.
    pub fn is_under_way(&self, now_ns: u64) -> bool {
        self.sent.is_some_and(|(_, since)| now_ns.saturating_sub(since) < UNACKNOWLEDGED_NS)
    }

    /// The newest state was sent to the state writer.
    pub fn sent(&mut self, now_ns: u64) {
        self.sent = Some((self.revision, now_ns));
    }

    /// Adds a waiter for the newest revision. Returns a request that gets no reply because
    /// too many wait. Replies and callers do not displace each other.
    pub fn add(&mut self, waits: Waits) -> Option<Finished> {
        match waits {
            Waits::Reply(done) => {
                self.replies.push_back((self.revision, done));
                let over = self.replies.len() > REPLIES_MAX;
                over.then(|| self.replies.pop_front()).flatten().map(|(_, done)| done.without_reply())
            }
            Waits::Asked(to) => {
                self.callers.push_back((self.revision, to));
                if self.callers.len() > CALLERS_MAX {
                    self.callers.pop_front();
                }
                None
            }
        }
    }

    /// A revision is on stable storage: releases what has waited for it.
    pub fn acknowledged(&mut self, revision: u64, done: &mut Vec<Finished>) {
        self.saved = self.saved.max(revision);
        self.sent = self.sent.filter(|(sent, _)| *sent > revision);
        while let Some((_, reply)) = self.replies.pop_front_if(|(wanted, _)| *wanted <= revision) {
            done.push(reply);
        }
        while let Some((_, to)) = self.callers.pop_front_if(|(wanted, _)| *wanted <= revision) {
            let _ = to.try_send(Cleared::Saved);
        }
    }

    /// There was no room for the newest state. Callers ask again, and so do hosts.
    pub fn busy(&mut self) {
        for (_, to) in self.callers.drain(..) {
            let _ = to.try_send(Cleared::Busy);
        }
    }

    /// Removes a reply, whatever it waits for.
    pub fn any(&mut self) -> Option<Finished> {
        self.replies.pop_front().map(|(_, done)| done.without_reply())
    }

    /// Number of replies that wait.
    pub fn len(&self) -> usize {
        self.replies.len()
    }
}
