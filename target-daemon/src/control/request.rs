//! What the control thread can be asked for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{EventfdFlags, eventfd};

use super::overview::Overview;
use crate::wire::aoe::Address;
use crate::worker::Tracer;

/// Asks that may wait for the control thread.
const WAITING_MAX: usize = 64;

/// Takes the answer to where it is awaited. Called once, from the control
/// thread; it must not block.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// What a change has done, in words for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangeReport {
    /// One line each: "0.3 added: /srv/x.img (direct)". Empty: nothing had to
    /// change.
    pub lines: Vec<String>,
}

/// Why nothing was changed: one message that names the thing, the value and the
/// remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlError {
    /// What was asked for is not possible as asked.
    Request(String),
    /// There is no such export.
    Unknown(String),
    /// This machine has to change first, or a store does not let go.
    Machine(String),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(text) | Self::Unknown(text) | Self::Machine(text) => f.write_str(text),
        }
    }
}

/// What the control thread can be asked for. A change takes effect as a whole
/// or not at all, and its answer comes when it has.
pub enum Request {
    /// All that there is to know.
    Overview(Answer<Overview>),
    /// The configuration as it is now.
    Configuration(Answer<crate::config::Serve>),
    /// Export one more, given as on the command line: `0.3=/srv/x.img,ro`.
    Add {
        /// The export.
        export: Box<crate::config::Export>,
        /// When it is served and announced, or why not.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Stop serving one: what is under way is finished first.
    Remove {
        /// Which.
        address: Address,
        /// Also if what hosts have written to it is lost.
        force: bool,
        /// When its store is closed, and what hosts have written is stable.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Refuse writes from now on, or take them again.
    ReadOnly {
        /// Which.
        address: Address,
        /// Whether to refuse.
        read_only: bool,
        /// When it is so.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Look at the size of an export now.
    Resize {
        /// Which.
        address: Address,
        /// When its size is known; the line tells it.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Tell of single requests and frames from now on. One can look at a time: the
    /// last.
    Trace {
        /// Of what, and to whom.
        tracer: Tracer,
        /// When the workers have been told; the interface of each lane, by the
        /// index of the lane.
        answer: Answer<Vec<String>>,
    },
    /// Tell of single requests and frames no more.
    EndTrace,
    /// Read the configuration file again.
    Reload {
        /// As if each export in it had `force`.
        force: bool,
        /// When it is in force, or why not.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Take writes again to a file of which a sync has failed.
    Recover {
        /// Which export of it.
        address: Address,
        /// Why that may be: for the log.
        reason: String,
        /// When it takes them.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Take the reservation of an export away.
    ClearReservation {
        /// Which.
        address: Address,
        /// When it is gone, also from the state folder.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
    /// Empty the mask list of an export: everybody on its list may use it again.
    ClearMask {
        /// Which.
        address: Address,
        /// When it is empty, also in the state folder.
        answer: Answer<Result<ChangeReport, ControlError>>,
    },
}

/// The end that asks. Clones ask the same thread.
#[derive(Clone, Debug)]
pub struct RequestSender {
    to: Sender<Request>,
    wake: Arc<WakeFd>,
}

/// The end of the control thread. Its descriptor is readable when something may
/// have been asked.
#[derive(Debug)]
pub struct RequestQueue {
    from: Receiver<Request>,
    wake: Arc<WakeFd>,
}

/// What both ends have.
#[derive(Debug)]
struct WakeFd {
    fd: OwnedFd,
    /// Nobody answers any more.
    ended: AtomicBool,
}

/// Both ends.
///
/// # Errors
///
/// Those of `eventfd`.
pub fn channel() -> io::Result<(RequestSender, RequestQueue)> {
    let (to, from) = bounded(WAITING_MAX);
    let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let wake = Arc::new(WakeFd { fd, ended: AtomicBool::new(false) });
    Ok((RequestSender { to, wake: Arc::clone(&wake) }, RequestQueue { from, wake }))
}

impl RequestSender {
    /// Asks. `false`: too much waits already, or the daemon ends; the answer
    /// will not come.
    #[must_use]
    pub fn ask(&self, ask: Request) -> bool {
        let sent = self.to.try_send(ask).is_ok();
        // Full means that it has been rung already.
        let _ = rustix::io::write(&self.wake.fd, &1u64.to_ne_bytes());
        // Sent too late to be taken out: see the end of `Asked`.
        sent && !self.wake.ended.load(Ordering::SeqCst)
    }
}

impl RequestQueue {
    /// The next thing that was asked.
    pub fn next(&self) -> Option<Request> {
        let next = self.from.try_recv().ok();
        if next.is_none() {
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.wake.fd, &mut count);
        }
        // What came in between has rung the wake before it was read, or after.
        next.or_else(|| self.from.try_recv().ok())
    }
}

impl AsFd for RequestQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.fd.as_fd()
    }
}

impl Drop for RequestQueue {
    /// The channel would keep what waits in it, and who asked would wait for an answer.
    fn drop(&mut self) {
        self.wake.ended.store(true, Ordering::SeqCst);
        while self.from.try_recv().is_ok() {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_has_asked_is_told_of_the_end() {
        let (sender, asked) = channel().unwrap();
        let (answer, answered) = std::sync::mpsc::channel();
        assert!(sender.ask(Request::Overview(Box::new(move |_| answer.send(()).unwrap()))));
        drop(asked);
        assert!(answered.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Disconnected));
        assert!(!sender.ask(Request::EndTrace));
    }
}
