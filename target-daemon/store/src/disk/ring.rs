//! The io_uring of a worker: the calls of all its stores.
//!
//! The ring belongs to one thread, the worker's, and does nothing unless that thread calls it.
//! Stores queue their calls in [`Calls`]. Once or twice a turn the worker moves them to the
//! ring and makes one system call for all of them ([`Ring::exchange`]). The same call runs the
//! kernel work that was deferred until then (DEFER_TASKRUN), so completions never interrupt the
//! worker. If nothing is queued and the kernel has no results, which it shows by a flag in
//! shared memory, no call is made.
//!
//! The memory of frames and bounce buffers is registered once: the kernel pins no pages for a
//! call. Older kernels and strict limits get less of this, one feature at a time; the calls are
//! the same.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::bounce::Pool;
use super::{DEPTH, IoSlice, SYNC};
use crate::MemRegion;

/// Entries of the submission queue. If it is full, it is submitted.
const ENTRIES: u32 = (2 * DEPTH) as u32;

/// The size limit of one registered buffer, set by the kernel.
const REGISTERED_BYTES_MAX: usize = 1 << 30;

const GETEVENTS: u32 = 1;

/// The most kernel threads that wait in a call (a sync, a FUSE server) for one worker. The
/// kernel's default limit is four per core: a few calls that hang would keep the other exports
/// from syncing.
const BLOCKING_MAX: u32 = 1024;

/// Bits of the user data of a call, above those that its store uses: the index of its store.
const OWNER_SHIFT: u32 = 48;

/// Marks the user data of a call that a kernel thread executes or may have to finish: a sync, a
/// write, a discard, a `statx`, any call to FUSE.
pub(super) const BY_KERNEL_THREAD: u64 = 1 << 33;

/// Marks the user data of a sync, or of a durable write to a disk that has to flush its cache.
pub(super) const DURABLE: u64 = 1 << 34;

/// The calls of one store, on their way to the ring of its worker and back.
#[derive(Debug)]
pub struct Calls {
    queued: VecDeque<squeue::Entry>,
    done: VecDeque<(u64, i32)>,
    under_way: usize,
}

impl Calls {
    /// Room for `calls` calls at a time. All memory is allocated here.
    pub fn new(calls: usize) -> Self {
        Self { queued: VecDeque::with_capacity(calls), done: VecDeque::with_capacity(calls), under_way: 0 }
    }

    /// Queues a call. Its user data is below 2^48.
    ///
    /// # Safety
    ///
    /// The memory that the call names stays valid, and belongs to the kernel, until
    /// [`Self::take_done`] has returned its result.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        self.queued.push_back(entry);
        self.under_way += 1;
    }

    /// Adds the result of a call that needs no ring.
    pub fn finish(&mut self, user_data: u64, result: i32) {
        self.under_way += 1;
        self.deliver(user_data, result);
    }

    /// User data and result of the next finished call.
    pub fn take_done(&mut self) -> Option<(u64, i32)> {
        let done = self.done.pop_front()?;
        self.under_way -= 1;
        Some(done)
    }

    /// Number of calls whose result has not been taken.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether calls wait to be moved to the ring.
    pub fn is_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Adds the result of a call.
    pub fn deliver(&mut self, user_data: u64, result: i32) {
        self.done.push_back((user_data, result));
    }
}

/// The memory that a ring has registered, and the bounce buffers in it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Empty if the kernel refused to register it: then each call pins its own memory.
    areas: Arc<[MemRegion]>,
    pub(super) pool: Arc<Pool>,
}

impl Registered {
    /// The index of the area that contains this memory.
    pub(super) fn area_of(&self, memory: IoSlice) -> Option<u16> {
        let end = memory.base + memory.bytes as usize;
        let inside = |area: &MemRegion| memory.base >= area.base && end <= area.base + area.bytes;
        self.areas.iter().position(inside).map(|at| at as u16)
    }

    /// The registered areas.
    pub fn areas(&self) -> &[MemRegion] {
        &self.areas
    }
}

/// What the kernel does for the stores of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelWork {
    /// Nothing.
    None,
    /// Calls that most devices finish without a kernel thread.
    Inline,
    /// Calls that a kernel thread executes or finishes. It may be bound to the worker's core: if
    /// the worker spins without yielding its core, the thread does not run.
    InThreads,
    /// One of these, and nothing else: the write or the sync of a lone durable write.
    Single,
}

/// The io_uring of a worker.
pub struct Ring {
    uring: IoUring,
    /// Signalled when the kernel has results. Not the ring itself: a thread that polls a ring
    /// with DEFER_TASKRUN is not woken for completions from other kernel threads, such as a
    /// sync.
    event: OwnedFd,
    registered: Registered,
    /// The worker's thread has enabled the ring, which makes it the owner.
    is_ours: bool,
    under_way: usize,
    /// Of these, those of [`BY_KERNEL_THREAD`].
    by_kernel_thread: usize,
    /// The last call that was moved here is [`KernelWork::Single`].
    is_single: bool,
}

impl Ring {
    /// A ring for the thread that first calls [`Self::exchange`], with this memory registered.
    /// The memory stays mapped as long as the ring lives.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_setup`, and no memory for the bounce buffers.
    pub fn open(mut areas: Vec<MemRegion>) -> io::Result<Self> {
        let mut uring = best_ring()?;
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        uring.submitter().register_eventfd(event.as_raw_fd())?;
        uring.completion().disable_eventfd();
        let pool = Arc::new(Pool::new()?);
        // Lanes may share memory.
        areas.sort_unstable_by_key(|area| area.base);
        areas.dedup();
        areas.push(pool.area());
        areas.retain(|area| area.bytes <= REGISTERED_BYTES_MAX);
        let iovec = |area: &MemRegion| libc::iovec { iov_base: area.base as *mut _, iov_len: area.bytes };
        let iovecs: Vec<_> = areas.iter().map(iovec).collect();
        // SAFETY: the caller promises that its areas stay mapped; the pool is dropped after the
        // ring, and never if calls are in flight.
        let is_registered = unsafe { uring.submitter().register_buffers(&iovecs) }.is_ok();
        restrict(&uring);
        let areas = if is_registered { areas } else { Vec::new() };
        let registered = Registered { areas: areas.into(), pool };
        Ok(Self {
            uring,
            event,
            registered,
            is_ours: false,
            under_way: 0,
            by_kernel_thread: 0,
            is_single: false,
        })
    }

    /// Why this kernel provides no io_uring, if it does not. Asked once, because the rings of
    /// the workers are opened when xblade starts.
    pub fn is_missing() -> Option<io::Error> {
        static WHY: OnceLock<Option<i32>> = OnceLock::new();
        // Others, such as a lack of descriptors, are errors of opening the ring.
        const REFUSED: [i32; 5] = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL, libc::ENOMEM];
        let why = || best_ring().err().and_then(|why| why.raw_os_error()).filter(|why| REFUSED.contains(why));
        WHY.get_or_init(why).map(io::Error::from_raw_os_error)
    }

    /// The memory that stores may use, for [`Store::join`](crate::Store::join).
    pub fn registered(&self) -> &Registered {
        &self.registered
    }

    /// Becomes readable when the kernel has results, between [`Self::arm`] and
    /// [`Self::disarm`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// What is under way.
    pub fn kernel_work(&self) -> KernelWork {
        match self.by_kernel_thread {
            _ if self.under_way == 0 => KernelWork::None,
            0 => KernelWork::Inline,
            _ if self.is_single => KernelWork::Single,
            _ => KernelWork::InThreads,
        }
    }

    /// Moves the queued calls of the store with this index to the ring.
    pub fn take(&mut self, owner: u16, calls: &mut Calls) {
        while let Some(entry) = calls.queued.front() {
            let id = entry.get_user_data();
            let entry = entry.clone().user_data(id | u64::from(owner) << OWNER_SHIFT);
            // SAFETY: `Calls::push` promises that the memory stays valid.
            if unsafe { self.uring.submission().push(&entry) }.is_err() {
                self.enter();
                if self.uring.submission().is_full() {
                    // The kernel accepts nothing now: at the next turn.
                    return;
                }
                continue;
            }
            calls.queued.pop_front();
            // The sync of several writes belongs to them.
            let is_lone_sync = id as u32 != SYNC || self.is_single;
            self.is_single = id & DURABLE != 0 && self.under_way == 0 && is_lone_sync;
            self.under_way += 1;
            self.by_kernel_thread += usize::from(id & BY_KERNEL_THREAD != 0);
        }
    }

    /// Submits the calls that were moved here, and delivers results: index of the store, user
    /// data of the call, result. Makes at most one system call, and none if there is nothing to
    /// do in either direction. Returns whether there were results.
    pub fn exchange(&mut self, mut deliver: impl FnMut(u16, u64, i32)) -> bool {
        let queue = self.uring.submission();
        let wanted = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        if wanted || !self.is_ours {
            self.enter();
        }
        let before = self.under_way;
        for entry in self.uring.completion() {
            let user_data = entry.user_data();
            let id = user_data & ((1 << OWNER_SHIFT) - 1);
            self.under_way = self.under_way.saturating_sub(1);
            self.by_kernel_thread =
                self.by_kernel_thread.saturating_sub(usize::from(id & BY_KERNEL_THREAD != 0));
            deliver((user_data >> OWNER_SHIFT) as u16, id, entry.result());
        }
        self.under_way < before
    }

    /// Makes results signal the descriptor. Returns whether there are any already: then the
    /// worker must not sleep.
    pub fn arm(&mut self) -> bool {
        self.uring.completion().enable_eventfd();
        // The kernel first shows that it has results, then reads whether to signal. On
        // processors where it may do so in the other order, a lost signal costs one sleep of the
        // longest duration.
        fence(Ordering::SeqCst);
        let queue = self.uring.submission();
        let news = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        news || !self.uring.completion().is_empty()
    }

    /// Ends the signals: the worker is awake, and asks.
    pub fn disarm(&mut self) {
        self.uring.completion().disable_eventfd();
    }

    fn enter(&mut self) {
        if !self.is_ours {
            self.begin();
        }
        let queued = self.uring.submission().len() as u32;
        // What the kernel does not accept now (EAGAIN, EBUSY, EINTR) stays queued for the next
        // turn.
        // SAFETY: no signal mask is passed.
        let _ = unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) };
    }

    /// Makes this thread the owner of the ring.
    fn begin(&mut self) {
        self.is_ours = true;
        let submitter = self.uring.submitter();
        // Fails only if the ring need not be enabled.
        let _ = submitter.register_enable_rings();
        // An older kernel keeps its own limits.
        let _ = submitter.register_iowq_max_workers(&mut [BLOCKING_MAX, 0]);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.under_way > 0 {
            // The kernel tears a ring down some time after its descriptor is closed. Until then
            // it may write here.
            std::mem::forget(Arc::clone(&self.registered.pool));
        }
    }
}

/// Restricts the ring to the operations that stores use, effective when the ring is enabled. A
/// kernel without restrictions still provides a ring.
fn restrict(ring: &IoUring) {
    if crate::plant::left_out("restrictions") {
        return;
    }
    let opcodes = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::ReadFixed::CODE,
        opcode::WriteFixed::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::Statx::CODE,
    ];
    let mut restrictions: Vec<Restriction> = opcodes.map(Restriction::sqe_op).into();
    restrictions.push(Restriction::register_op(REGISTER_OP));
    restrictions.push(Restriction::sqe_flags_allowed(squeue::Flags::ASYNC.bits()));
    if let Err(e) = ring.submitter().register_restrictions(&mut restrictions) {
        log::debug!("io_uring restrictions: {e}");
    }
}

/// What may be registered once the ring is enabled: the number of kernel threads
/// (`IORING_REGISTER_IOWQ_MAX_WORKERS`).
const REGISTER_OP: u8 = 19;

/// Creates a ring with the best set of features that this kernel has. It is disabled: a ring
/// belongs to the thread that enables it, which is not the one that opens it.
fn best_ring() -> io::Result<IoUring> {
    // Linux 6.1.
    let deferred = IoUring::builder()
        .setup_cqsize(4 * ENTRIES)
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(ENTRIES);
    match deferred {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            IoUring::builder().setup_cqsize(4 * ENTRIES).setup_r_disabled().build(ENTRIES)
        }
        ring => ring,
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} calls under way, {} by kernel threads)", self.under_way, self.by_kernel_thread)
    }
}

#[cfg(test)]
mod tests {
    use io_uring::types;

    use super::*;

    fn outcome(ring: &mut IoUring, entry: &squeue::Entry) -> i32 {
        // SAFETY: the entries of the tests use no memory except constants.
        unsafe { ring.submission().push(entry) }.unwrap();
        ring.submit_and_wait(1).unwrap();
        ring.completion().next().unwrap().result()
    }

    #[test]
    fn a_ring_does_what_stores_do_and_nothing_else() {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::open(std::env::temp_dir(), flags, rustix::fs::Mode::RUSR).unwrap();
        let file = types::Fd(file.as_raw_fd());
        // As in xblade: another thread opens it.
        let opened = std::thread::spawn(|| Ring::open(Vec::new()));
        let mut ring = opened.join().unwrap().unwrap();
        ring.enter();
        let sync = opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build();
        assert_eq!(outcome(&mut ring.uring, &sync), 0);
        assert_eq!(outcome(&mut ring.uring, &sync.flags(squeue::Flags::ASYNC)), 0);
        let others = [
            opcode::Nop::new().build(),
            opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), c"/etc/passwd".as_ptr()).build(),
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
            opcode::Fsync::new(file).build().flags(squeue::Flags::IO_DRAIN),
        ];
        for entry in &others {
            assert_eq!(outcome(&mut ring.uring, entry), -libc::EACCES, "{entry:?}");
        }
        let submitter = ring.uring.submitter();
        submitter.register_iowq_max_workers(&mut [BLOCKING_MAX, 0]).unwrap();
        let refused = [
            submitter.register_files(&[0]).unwrap_err(),
            submitter.unregister_buffers().unwrap_err(),
            submitter.unregister_eventfd().unwrap_err(),
        ];
        assert!(refused.iter().all(|error| error.raw_os_error() == Some(libc::EACCES)), "{refused:?}");
    }

    /// More calls than the ring has entries, of two stores: each store gets its own results.
    #[test]
    fn each_store_gets_its_results() {
        let (file, _other) = (std::fs::File::open("/dev/zero").unwrap(), ());
        let mut ring = Ring::open(Vec::new()).unwrap();
        let mut stores = [3 * ENTRIES as usize, 5].map(Calls::new);
        for (calls, count) in stores.iter_mut().zip([3 * ENTRIES, 5]) {
            for n in 0..count {
                let read = opcode::Read::new(types::Fd(file.as_raw_fd()), std::ptr::null_mut(), 0);
                // SAFETY: a read of 0 bytes uses no memory.
                unsafe { calls.push(read.build().user_data(n.into())) };
            }
        }
        let mut results = [Vec::new(), Vec::new()];
        while results.iter().map(Vec::len).sum::<usize>() < 3 * ENTRIES as usize + 5 {
            for (owner, calls) in (7..).zip(&mut stores) {
                ring.take(owner, calls);
            }
            ring.exchange(|owner, id, result| {
                assert_eq!(result, 0);
                stores[usize::from(owner) - 7].deliver(id, result);
            });
            for (calls, results) in stores.iter_mut().zip(&mut results) {
                results.extend(std::iter::from_fn(|| calls.take_done()).map(|(id, _)| id));
            }
        }
        for (results, count) in results.iter_mut().zip([3 * u64::from(ENTRIES), 5]) {
            results.sort_unstable();
            assert_eq!(*results, (0..count).collect::<Vec<_>>());
        }
        assert_eq!((ring.under_way, ring.by_kernel_thread), (0, 0));
    }

    #[test]
    fn an_armed_ring_signals_and_a_disarmed_one_does_not() {
        let mut ring = Ring::open(Vec::new()).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut byte = [0u8; 1];
        let mut calls = Calls::new(1);
        let mut signalled = |ring: &mut Ring, armed: bool| {
            let read = opcode::Read::new(types::Fd(reader.as_raw_fd()), byte.as_mut_ptr(), 1).build();
            // SAFETY: the byte outlives the call, which ends below.
            unsafe { calls.push(read) };
            ring.take(0, &mut calls);
            assert!(!ring.exchange(|_, _, _| {}), "nothing to read");
            if armed {
                assert!(!ring.arm());
            }
            std::io::Write::write_all(&mut &writer, &[1]).unwrap();
            let mut fd = [rustix::event::PollFd::new(&ring.event, rustix::event::PollFlags::IN)];
            let limit =
                rustix::event::Timespec { tv_sec: 0, tv_nsec: if armed { 999_999_999 } else { 50_000_000 } };
            let n = rustix::event::poll(&mut fd, Some(&limit)).unwrap();
            ring.disarm();
            let _ = rustix::io::read(&ring.event, &mut [0; 8]);
            while !ring.exchange(|_, _, result| assert_eq!(result, 1)) {}
            n
        };
        assert_eq!([true, false, true].map(|armed| signalled(&mut ring, armed)), [1, 0, 1]);
    }

    /// The sync of a burst of writes belongs to the burst; a write after it starts over.
    #[test]
    fn a_single_durable_call_is_told_from_others() {
        const WRITE: u64 = BY_KERNEL_THREAD | DURABLE;
        let (reader, writer) = std::io::pipe().unwrap();
        let (mut byte, mut calls) = ([0u8; 1], Calls::new(4));
        let mut ring = Ring::open(Vec::new()).unwrap();
        let mut begin = |ring: &mut Ring, id: u64| {
            let read = opcode::Read::new(types::Fd(reader.as_raw_fd()), byte.as_mut_ptr(), 1).build();
            // SAFETY: the byte outlives the calls, which end below.
            unsafe { calls.push(read.user_data(id)) };
            ring.take(0, &mut calls);
            ring.kernel_work()
        };
        let end = |ring: &mut Ring| {
            std::io::Write::write_all(&mut &writer, &[1]).unwrap();
            while !ring.exchange(|_, _, _| {}) {}
            ring.kernel_work()
        };
        let sync = WRITE | u64::from(SYNC);
        for (calls, expected) in [
            (&[WRITE | 1][..], &[KernelWork::Single][..]),
            (&[sync], &[KernelWork::Single]),
            (&[WRITE | 2, WRITE | 3], &[KernelWork::Single, KernelWork::InThreads]),
            (&[sync], &[KernelWork::InThreads]),
            (&[WRITE | 4], &[KernelWork::Single]),
            (&[5], &[KernelWork::Inline]),
            (&[BY_KERNEL_THREAD | 6], &[KernelWork::InThreads]),
            (&[7, WRITE | 8], &[KernelWork::Inline, KernelWork::InThreads]),
        ] {
            let works: Vec<_> = calls.iter().map(|call| begin(&mut ring, *call)).collect();
            assert_eq!(works, expected, "{calls:x?}");
            let last = calls.iter().map(|_| end(&mut ring)).last();
            assert_eq!(last, Some(KernelWork::None));
        }
    }
}
