//! What a worker does after a turn that found no work: spin, yield or sleep.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

use super::asleep::Asleep;
use crate::store::KernelWork;

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
    /// Sleeps only for kernel threads that need the core.
    Spin,
}

/// What an idle worker does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Runs another turn.
    Spin,
    /// Leaves its core to other threads that are ready, then runs another turn.
    Yield,
    /// Sleeps.
    Sleep,
}

impl IdlePolicy {
    /// What to do after a turn without work, `quiet` after the last one with work. If
    /// `must_poll`, nothing would wake the worker when a store has finished something.
    pub fn rest(self, quiet: Duration, work: KernelWork, must_poll: bool) -> Rest {
        let rest = match (self, work) {
            // Takes 0.6 of the CPU time, and little longer. With several calls, waking up would
            // delay the next ones.
            (_, KernelWork::Single) => Rest::Sleep,
            (Self::Adaptive { spin }, _) if quiet >= spin => Rest::Sleep,
            (Self::Spin, KernelWork::InThreads) if quiet >= SPIN_MAX => Rest::Sleep,
            (_, KernelWork::InThreads) => Rest::Yield,
            // The device may need a thread of this core after all.
            (Self::Spin, KernelWork::Inline) if quiet >= SPIN_MAX => Rest::Yield,
            _ => Rest::Spin,
        };
        match work {
            _ if rest != Rest::Sleep || !must_poll => rest,
            KernelWork::None => Rest::Spin,
            _ => Rest::Yield,
        }
    }
}

/// How long a worker with [`IdlePolicy::Spin`] waits before it sleeps for kernel threads, or, with
/// only reads under way, before it yields.
const SPIN_MAX: Duration = Duration::from_micros(50);

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

/// What a worker sleeps on.
///
/// It waits with `ppoll`, which watches the lanes only while the worker sleeps. With epoll the
/// kernel would look for a sleeper at every frame that it has sent.
#[derive(Debug)]
pub struct Waiter {
    waker: Waker,
    /// Copies of the descriptors of the ring, if there is one, and of the lanes.
    others: Vec<OwnedFd>,
    /// Number of the first descriptors that are counters, and have to be read: the waker's, and
    /// the ring's.
    counters: usize,
}

/// The descriptors of a [`Waiter`], as `ppoll` wants them.
pub type Sources<'a> = Vec<PollFd<'a>>;

impl Waiter {
    /// A waiter that the waker, the ring of the stores, or a readable lane wakes.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new<'a>(
        waker: &Waker,
        ring: Option<BorrowedFd<'a>>,
        lanes: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<Self> {
        let others = ring.into_iter().chain(lanes).map(|source| source.try_clone_to_owned());
        let counters = 1 + usize::from(ring.is_some());
        Ok(Self { waker: waker.clone(), others: others.collect::<io::Result<_>>()?, counters })
    }

    /// The descriptors, for [`Self::sleep`].
    pub fn sources(&self) -> Sources<'_> {
        let all = [&self.waker.0.event].into_iter().chain(&self.others);
        all.map(|source| PollFd::new(source, PollFlags::IN)).collect()
    }

    /// Counts a turn of the worker.
    pub fn heartbeat(&self) {
        // This worker is the only writer.
        let beats = &self.waker.0.heartbeats.0;
        beats.store(beats.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Sleeps until an event, or for `limit`. Calls `ready` once more after the flag is
    /// visible to others: what they sent before that has woken no one.
    pub fn sleep(&self, sources: &mut Sources<'_>, limit: Duration, ready: impl Fn() -> bool) {
        self.waker.0.asleep.sleep(ready, || {
            let timeout = Timespec { tv_sec: 0, tv_nsec: limit.min(SLEEP_MAX).subsec_nanos().into() };
            // The worker checks everything after a wakeup. An error (a signal) is just another
            // wakeup, and sets no result.
            if poll(sources, Some(&timeout)).is_err() {
                return;
            }
            for source in sources.iter().take(self.counters).filter(|source| !source.revents().is_empty()) {
                let _ = rustix::io::read(source, &mut [0; 8]);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_leaves_its_core_to_kernel_threads_that_need_it() {
        let adaptive = IdlePolicy::Adaptive { spin: Duration::from_micros(90) };
        let spin = IdlePolicy::Spin;
        for (policy, quiet, work, expected) in [
            (adaptive, 89, KernelWork::None, [Rest::Spin, Rest::Spin]),
            (adaptive, 90, KernelWork::None, [Rest::Sleep, Rest::Spin]),
            (adaptive, 89, KernelWork::Inline, [Rest::Spin, Rest::Spin]),
            (adaptive, 90, KernelWork::Inline, [Rest::Sleep, Rest::Yield]),
            (adaptive, 0, KernelWork::Single, [Rest::Sleep, Rest::Yield]),
            (adaptive, 89, KernelWork::InThreads, [Rest::Yield, Rest::Yield]),
            (adaptive, 90, KernelWork::InThreads, [Rest::Sleep, Rest::Yield]),
            (spin, 9_000, KernelWork::None, [Rest::Spin, Rest::Spin]),
            (spin, 49, KernelWork::Inline, [Rest::Spin, Rest::Spin]),
            (spin, 50, KernelWork::Inline, [Rest::Yield, Rest::Yield]),
            (spin, 0, KernelWork::Single, [Rest::Sleep, Rest::Yield]),
            (spin, 49, KernelWork::InThreads, [Rest::Yield, Rest::Yield]),
            (spin, 50, KernelWork::InThreads, [Rest::Sleep, Rest::Yield]),
        ] {
            let quiet = Duration::from_micros(quiet);
            let rest = [false, true].map(|must_poll| policy.rest(quiet, work, must_poll));
            assert_eq!(rest, expected, "{policy:?}, {quiet:?}, {work:?}");
        }
    }
}
