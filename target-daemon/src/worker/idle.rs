//! What a worker does when a turn found no work.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::asleep::Asleep;

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

/// Longest sleep. Nothing depends on it: every reason to wake up has a
/// descriptor. It bounds the harm of a wake-up that a driver loses.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// Wakes a sleeping worker from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<WakeFd>);

#[derive(Debug)]
struct WakeFd {
    asleep: Asleep,
    event: OwnedFd,
    heartbeats: Heartbeats,
}

/// Counted at each turn, so away from what other workers look at.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Heartbeats(AtomicU64);

impl Waker {
    /// A waker for one worker.
    ///
    /// # Errors
    ///
    /// Those of `eventfd`.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(WakeFd { asleep: Asleep::default(), event, heartbeats: Heartbeats::default() })))
    }

    /// Wakes the worker if it sleeps. A system call only then.
    pub fn wake(&self) {
        if self.0.asleep.must_notify() {
            self.notify();
        }
    }

    /// How often the worker has turned: more within each 100 ms, unless it is
    /// stuck.
    pub fn heartbeats(&self) -> u64 {
        self.0.heartbeats.0.load(Ordering::Acquire)
    }

    /// Wakes the worker in any case.
    pub fn notify(&self) {
        // Full means that it has been rung already.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }
}

/// What a worker sleeps on: everything that may wake it is registered once.
#[derive(Debug)]
pub struct EpollWaiter {
    waker: Waker,
    epoll: OwnedFd,
}

impl EpollWaiter {
    /// Wakes a worker by its wake fd, by a lane that has
    /// something to read, and by a store each time that it rings. A store's
    /// descriptor stays readable (`Store::fd`), so only the edge counts.
    ///
    /// # Errors
    ///
    /// Those of `epoll`.
    pub fn new<'a>(
        waker: &'a Waker,
        lanes: impl Iterator<Item = BorrowedFd<'a>>,
        stores: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let level = lanes.chain([waker.0.event.as_fd()]);
        for source in level {
            epoll::add(&epoll, source, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        let waiter = Self { waker: waker.clone(), epoll };
        for store in stores {
            waiter.watch(store)?;
        }
        Ok(waiter)
    }

    /// From now on this store wakes the worker, too, until its descriptor is
    /// closed.
    pub fn add_store(&self, store: Option<BorrowedFd<'_>>) {
        // Without it, the worker looks at the store each time that its longest
        // sleep is over.
        let _ = store.map(|store| self.watch(store));
    }

    fn watch(&self, store: BorrowedFd<'_>) -> io::Result<()> {
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        match epoll::add(&self.epoll, store, epoll::EventData::new_u64(0), edge) {
            // Exports may share a descriptor.
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// The worker has turned once more.
    pub fn heartbeat(&self) {
        // Nobody else counts here.
        let beats = &self.waker.0.heartbeats.0;
        beats.store(beats.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Sleeps until something wakes us, or `limit` is over. `ready` is asked
    /// once more when the others can see that we sleep: what they sent before
    /// that woke no one.
    pub fn sleep(&self, limit: Duration, ready: impl Fn() -> bool) {
        let WakeFd { asleep, event, .. } = &*self.waker.0;
        asleep.sleep(ready, || {
            let timeout = Timespec { tv_sec: 0, tv_nsec: limit.min(SLEEP_MAX).subsec_nanos().into() };
            // One is enough: whoever wakes looks everywhere. An error (a
            // signal) is a wake-up like any other.
            let mut events = [MaybeUninit::uninit(); 1];
            let _ = epoll::wait(&self.epoll, &mut events, Some(&timeout));
            let mut count = [0; 8];
            let _ = rustix::io::read(event, &mut count);
        });
    }
}
