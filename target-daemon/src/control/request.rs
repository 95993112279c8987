//! Requests to the control thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::event::{EventfdFlags, eventfd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;
use crate::shelf::HostSetting;
use crate::wire::aoe::Address;
use crate::worker::Tracer;

/// Maximum number of requests in the channel.
const WAITING_MAX: usize = 64;

/// Delivers the answer. Called once, on the control thread; it must not block.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// The result of a change, as text for people.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangeReport {
    /// One line per change: "0.3 added: /srv/x.img (direct)". Empty if nothing had to
    /// change.
    #[serde(rename = "changed")]
    pub lines: Vec<String>,
    /// The line of an export that was removed without a successful last sync.
    #[serde(skip)]
    pub unsynced: Option<String>,
}

impl ChangeReport {
    /// A report of one line.
    pub fn of(line: String) -> Self {
        Self { lines: vec![line], unsynced: None }
    }
}

/// Why nothing was changed. Each message names the thing, the value and the remedy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlError {
    /// The request is invalid.
    #[error("{0}")]
    Request(String),
    /// There is no such export.
    #[error("{0}")]
    Unknown(String),
    /// The machine has to change first, or a store is still busy.
    #[error("{0}")]
    Machine(String),
}

/// The outcome of a change.
pub type Changed = Result<ChangeReport, ControlError>;

/// A request to the control thread.
pub enum Request {
    /// Returns a snapshot.
    Snapshot(Answer<Snapshot>),
    /// Returns the current configuration.
    Configuration(Answer<crate::config::Serve>),
    /// Changes something. Answered when it has taken effect, or with the reason for
    /// refusal.
    Change(Change, Answer<Changed>),
    /// Starts tracing requests and frames. There is one trace at a time; a new one
    /// replaces it.
    Trace {
        /// What to trace, and where to send it.
        tracer: Tracer,
        /// Sent when the workers have the tracer: the interface of each lane, by lane
        /// index.
        answer: Answer<Vec<String>>,
    },
    /// Stops tracing.
    EndTrace,
}

/// A change. It takes effect completely or not at all.
#[derive(Debug)]
pub enum Change {
    /// Adds an export, given as on the command line: `0.3=/srv/x.img,ro`. It takes effect
    /// when it is served and announced.
    Add {
        /// The export.
        export: Box<crate::config::Export>,
        /// Its file, opened by the caller ([`Handed`](crate::store::Handed)). Without any, it
        /// is opened by its path.
        descriptors: Vec<OwnedFd>,
    },
    /// Removes an export after finishing its requests in flight: its store is closed and
    /// written data is durable.
    Remove {
        /// The export.
        address: Address,
        /// Even if data is lost.
        force: bool,
    },
    /// Starts or stops refusing writes.
    ReadOnly {
        /// The export.
        address: Address,
        /// Whether to refuse writes.
        read_only: bool,
    },
    /// Checks the size of an export now; the line of the report gives it.
    Resize(Address),
    /// Reloads the configuration file.
    Reload {
        /// Treats each export in it as if it had `force`.
        force: bool,
        /// Changes nothing, and reports what would change.
        dry_run: bool,
    },
    /// Accepts writes again to the file of an export after a failed sync.
    Recover {
        /// Any export of the file.
        address: Address,
        /// Why it is safe to do so; for the log.
        reason: String,
    },
    /// Clears what hosts have set on an export, also in the state folder.
    Clear {
        /// The export.
        address: Address,
        /// What to clear.
        setting: HostSetting,
        /// Hosts may set nothing from now on.
        refuse: bool,
    },
}

/// The sending end of the channel. Clones send to the same thread.
#[derive(Clone, Debug)]
pub struct RequestSender {
    to: SyncSender<Request>,
    wake: Arc<OwnedFd>,
}

/// The receiving end, for the control thread. Its descriptor is readable when a request
/// may be waiting. Dropping it drops the waiting requests, so that their senders do not
/// wait for answers.
#[derive(Debug)]
pub struct RequestQueue {
    from: Receiver<Request>,
    wake: Arc<OwnedFd>,
}

/// Creates the channel.
///
/// # Errors
///
/// Those of `eventfd`.
pub fn channel() -> io::Result<(RequestSender, RequestQueue)> {
    // Not one of crossbeam, which would keep the waiting requests until the last sender is
    // gone.
    let (to, from) = sync_channel(WAITING_MAX);
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    Ok((RequestSender { to, wake: Arc::clone(&wake) }, RequestQueue { from, wake }))
}

impl RequestSender {
    /// Sends a request. Returns `false` if the channel is full or the daemon is exiting;
    /// then no answer will come.
    #[must_use]
    pub fn ask(&self, ask: Request) -> bool {
        let sent = self.to.try_send(ask).is_ok();
        // The write fails only if the counter is full, and then the descriptor is
        // readable anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        sent
    }
}

impl RequestQueue {
    /// Takes the next request.
    pub fn next(&self) -> Option<Request> {
        self.from.try_recv().ok().or_else(|| {
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
            // A request that arrives in between wrote to the eventfd before the read above,
            // or will after it.
            self.from.try_recv().ok()
        })
    }
}

impl AsFd for RequestQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_asked_is_told_of_the_end() {
        let (sender, asked) = channel().unwrap();
        let (answer, answered) = std::sync::mpsc::channel();
        assert!(sender.ask(Request::Snapshot(Box::new(move |_| answer.send(()).unwrap()))));
        drop(asked);
        assert!(answered.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Disconnected));
        assert!(!sender.ask(Request::EndTrace));
    }
}
