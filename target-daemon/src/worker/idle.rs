//! What a worker does when a turn found no work.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

/// How an idle worker behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdlePolicy {
    /// Spins this long after the last work, then sleeps until a frame or a
    /// message comes.
    Adaptive {
        /// Spinning costs a core but saves the wake-up: a few times the round
        /// trip of an initiator with one request on the way.
        spin: Duration,
    },
    /// Never sleeps.
    Spin,
}

/// Most lanes that one worker can wait on.
pub const LANES_MAX: usize = 63;

/// Longest sleep. Nothing depends on it: every reason to wake up has a
/// descriptor. It bounds the harm of a wake-up that a driver loses.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// Wakes a sleeping worker from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    asleep: AtomicBool,
    event: OwnedFd,
}

impl Waker {
    /// A waker for one worker.
    ///
    /// # Errors
    ///
    /// Those of `eventfd`.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Bell { asleep: AtomicBool::new(false), event })))
    }

    /// Wakes the worker if it sleeps. A system call only then.
    pub fn wake(&self) {
        if self.0.asleep.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Wakes the worker in any case.
    pub fn ring(&self) {
        // Full means that it has been rung already.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }

    /// Sleeps until a frame arrives on one of `lanes`, somebody wakes us, or
    /// `limit` is over. `ready` is asked once more when the others can see that
    /// we sleep: what they sent before that rang no bell.
    pub fn sleep<'a>(
        &'a self,
        lanes: impl Iterator<Item = BorrowedFd<'a>>,
        limit: Duration,
        ready: impl Fn() -> bool,
    ) {
        self.0.asleep.store(true, Ordering::SeqCst);
        if !ready() {
            self.wait(lanes, limit.min(SLEEP_MAX));
        }
        self.0.asleep.store(false, Ordering::SeqCst);
    }

    fn wait<'a>(&'a self, lanes: impl Iterator<Item = BorrowedFd<'a>>, limit: Duration) {
        let bell = self.0.event.as_fd();
        let mut fds: [PollFd<'a>; LANES_MAX + 1] =
            std::array::from_fn(|_| PollFd::from_borrowed_fd(bell, PollFlags::IN));
        let mut used = 1;
        for (place, fd) in fds.iter_mut().skip(1).zip(lanes) {
            *place = PollFd::from_borrowed_fd(fd, PollFlags::IN);
            used += 1;
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        // An error (a signal) is a wake-up like any other.
        let _ = poll(fds.get_mut(..used).unwrap_or(&mut []), Some(&timeout));
        let mut count = [0; 8];
        let _ = rustix::io::read(bell, &mut count);
    }
}
