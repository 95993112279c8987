//! What a worker does after a turn that found no work: spin or sleep.

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
    /// Spins this long after the last work, then sleeps until a frame or a message
    /// arrives.
    Adaptive {
        /// Spinning costs a core but avoids the wakeup latency. A few round trips of an
        /// initiator with one outstanding request is a good value.
        spin: Duration,
    },
    /// Never sleeps.
    Spin,
}

/// Maximum duration of a sleep. Nothing depends on it, since every event to wake up for
/// has a descriptor; it bounds the damage if a driver loses a wakeup.
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

/// Incremented every turn, so on a cache line of its own.
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

    /// Wakes the worker if it sleeps; otherwise makes no system call.
    pub fn wake(&self) {
        if self.0.asleep.must_notify() {
            self.notify();
        }
    }

    /// Number of turns so far. It increases at least every 100 ms unless the worker is
    /// stuck.
    pub fn heartbeats(&self) -> u64 {
        self.0.heartbeats.0.load(Ordering::Acquire)
    }

    /// Wakes the worker unconditionally.
    pub fn notify(&self) {
        // An error means that the counter is full: it is already signalled.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }
}

/// What a worker sleeps on. Every event source is registered once.
#[derive(Debug)]
pub struct EpollWaiter {
    waker: Waker,
    epoll: OwnedFd,
}

impl EpollWaiter {
    /// A waiter that the waker, a readable lane, or a signal from a store wakes. A
    /// store's descriptor stays readable (`Store::fd`), so it is edge-triggered.
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

    /// Adds a store that wakes the worker, until its descriptor is closed.
    pub fn add_store(&self, store: Option<BorrowedFd<'_>>) {
        // If this fails, the worker still checks the store whenever its longest sleep is
        // over.
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

    /// Counts a turn of the worker.
    pub fn heartbeat(&self) {
        // This worker is the only writer.
        let beats = &self.waker.0.heartbeats.0;
        beats.store(beats.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Sleeps until an event, or for `limit`. Calls `ready` once more after the flag is
    /// visible to others: what they sent before that has woken no one.
    pub fn sleep(&self, limit: Duration, ready: impl Fn() -> bool) {
        let WakeFd { asleep, event, .. } = &*self.waker.0;
        asleep.sleep(ready, || {
            let timeout = Timespec { tv_sec: 0, tv_nsec: limit.min(SLEEP_MAX).subsec_nanos().into() };
            // One event is enough: the worker checks everything after a wakeup. An error
            // (a signal) is just another wakeup.
            let mut events = [MaybeUninit::uninit(); 1];
            let _ = epoll::wait(&self.epoll, &mut events, Some(&timeout));
            let mut count = [0; 8];
            let _ = rustix::io::read(event, &mut count);
        });
    }
}
