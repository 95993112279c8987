//! io_uring: the calls of one store on one file or block device.
//!
//! A ring belongs to one thread, the worker's, and does nothing unless that thread calls it.
//! `submit` makes one system call for everything queued, and the same call runs the kernel
//! work that was deferred until then (DEFER_TASKRUN), so completions never interrupt the
//! worker. If nothing is queued and the kernel has no results, which it shows by a flag in
//! shared memory, no call is made.
//!
//! File and memory are registered: the kernel neither looks up the descriptor nor pins pages
//! for each call. Older kernels and strict limits get less of this, one feature at a time; the
//! calls are the same.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::{DEPTH, IoEngine, IoRequest, IoResult, IoSlice, QueueFull};
use crate::MemRegion;
use crate::file_facts;
use crate::open::Backing;

/// Entries of the queue: each slot of the store has one call at a time, plus one sync.
const ENTRIES: u32 = (2 * DEPTH) as u32;

/// The size limit of one registered buffer, set by the kernel.
const REGISTERED_BYTES_MAX: usize = 1 << 30;

const GETEVENTS: u32 = 1;

/// The most kernel threads that wait in a call (a sync, a FUSE server) for one worker. The
/// kernel's default limit is four per core for all rings of a thread together: a few calls
/// that hang would keep the other exports from syncing.
const BLOCKING_MAX: u32 = 1024;

/// An io_uring for calls on one file, disabled as yet.
pub(crate) struct Ring {
    uring: IoUring,
    /// Signalled when the kernel has results. Not the ring itself: a thread that polls a ring
    /// with DEFER_TASKRUN is not woken for completions from other kernel threads, such as a
    /// sync.
    event: OwnedFd,
}

/// The calls of a store on its file.
///
/// The memory that its calls write to outlives the ring if any are in flight when it is
/// dropped: the kernel tears a ring down some time after its descriptor is closed.
pub struct Uring {
    ring: IoUring,
    event: OwnedFd,
    done: VecDeque<(u32, IoResult)>,
    /// The result buffers of `statx`, one for each slot.
    sizes: Box<[libc::statx]>,
    areas: Vec<MemRegion>,
    backing: Backing,
    /// The worker's thread has enabled the ring, which makes it the owner.
    is_ours: bool,
    started: Instant,
    under_way: usize,
    /// ASYNC if a call would block the submitting thread.
    flags: squeue::Flags,
}

/// The only registered file.
const FILE: types::Fixed = types::Fixed(0);

impl Uring {
    /// The calls by this ring, which is on the same file.
    pub(crate) fn new(ring: Ring, backing: Backing) -> Self {
        // SAFETY: all-zero is a valid `statx`.
        let size: libc::statx = unsafe { std::mem::zeroed() };
        let mut flags = squeue::Flags::empty();
        // FUSE waits for its server, or for a lock, even in non-blocking mode.
        flags.set(squeue::Flags::ASYNC, file_facts::is_fuse(&backing.file));
        Self {
            ring: ring.uring,
            event: ring.event,
            done: VecDeque::with_capacity(2 * ENTRIES as usize),
            sizes: vec![size; DEPTH].into_boxed_slice(),
            areas: Vec::new(),
            backing,
            is_ours: false,
            started: Instant::now(),
            under_way: 0,
            flags,
        }
    }

    /// Whether this kernel provides io_uring.
    pub(crate) fn is_possible() -> bool {
        best_ring().is_ok()
    }

    /// The registered buffer that contains this memory.
    fn area_of(&self, memory: IoSlice) -> Option<u16> {
        let end = memory.base + memory.bytes as usize;
        let inside = |area: &MemRegion| memory.base >= area.base && end <= area.base + area.bytes;
        self.areas.iter().position(inside).map(|at| at as u16)
    }

    fn entry(&mut self, id: u32, call: IoRequest) -> Option<squeue::Entry> {
        let entry = match call {
            IoRequest::Read { at, memory } => {
                let to = memory.base as *mut u8;
                match self.area_of(memory) {
                    Some(area) => opcode::ReadFixed::new(FILE, to, memory.bytes, area).offset(at).build(),
                    None => opcode::Read::new(FILE, to, memory.bytes).offset(at).build(),
                }
            }
            IoRequest::Write { at, memory, stable } => {
                let (from, len) = (memory.base as *const u8, memory.bytes);
                let flags = if stable { libc::RWF_DSYNC } else { 0 };
                match self.area_of(memory) {
                    Some(area) => {
                        opcode::WriteFixed::new(FILE, from, len, area).offset(at).rw_flags(flags).build()
                    }
                    None => opcode::Write::new(FILE, from, len).offset(at).rw_flags(flags).build(),
                }
            }
            IoRequest::Sync => opcode::Fsync::new(FILE).flags(types::FsyncFlags::DATASYNC).build(),
            IoRequest::Punch { at, bytes } => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                opcode::Fallocate::new(FILE, bytes).offset(at).mode(mode).build()
            }
            IoRequest::Measure => return self.measure(id),
        };
        Some(entry.user_data(id.into()).flags(self.flags))
    }

    /// Queries the size. `statx` may have to ask a file server; the kernel knows the size of a
    /// device.
    fn measure(&mut self, id: u32) -> Option<squeue::Entry> {
        // A device's size is known without an asynchronous call.
        if self.backing.is_device {
            let size = self.backing.bytes_now().map_err(|e| e.raw_os_error().unwrap_or(libc::EIO));
            self.done.push_back((id, size));
            return None;
        }
        let Some(size) = self.sizes.get_mut(id as usize) else {
            self.done.push_back((id, Err(libc::EINVAL)));
            return None;
        };
        let file = types::Fd(self.backing.file.as_raw_fd());
        let call = opcode::Statx::new(file, c"".as_ptr(), (&raw mut *size).cast());
        let call = call.flags(libc::AT_EMPTY_PATH).mask(libc::STATX_SIZE).build();
        Some(call.user_data(MEASURE | u64::from(id)))
    }

    fn reap(&mut self) {
        let Self { ring, done, sizes, under_way, .. } = self;
        for entry in ring.completion() {
            *under_way = under_way.saturating_sub(1);
            let id = entry.user_data();
            let outcome = match entry.result() {
                errno @ ..0 => Err(-errno),
                // A measurement has its mark in the upper half of the id.
                _ if id >= MEASURE => {
                    let size = sizes.get(id as u32 as usize);
                    size.map(|size| size.stx_size).ok_or(libc::EINVAL)
                }
                n => Ok(n as u64),
            };
            done.push_back((id as u32, outcome));
        }
    }
}

/// The size of a file as cached by this kernel. Every other query can take long: it may ask a
/// server, or wait for a sync in flight (`lseek` takes the inode lock on FUSE).
fn known_size(file: &File) -> Option<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Some(statx(file, c"", flags, StatxFlags::SIZE).ok()?.stx_size)
}

/// Marks the user data of a `statx`.
const MEASURE: u64 = 1 << 32;

impl Ring {
    /// Creates a ring for this file.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_setup`: the kernel has no io_uring, or forbids it.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        let uring = best_ring()?;
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        uring.submitter().register_files(&[file.as_raw_fd()])?;
        uring.submitter().register_eventfd(event.as_raw_fd())?;
        restrict(&uring);
        Ok(Self { uring, event })
    }
}

/// Restricts the ring to the operations that this store uses, effective when the ring is
/// enabled. A kernel without restrictions still provides a ring.
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
    let flags = (squeue::Flags::FIXED_FILE | squeue::Flags::ASYNC).bits();
    let mut restrictions: Vec<Restriction> = opcodes.map(Restriction::sqe_op).into();
    restrictions.extend(REGISTER_OPS.map(Restriction::register_op));
    restrictions.push(Restriction::sqe_flags_allowed(flags));
    if let Err(e) = ring.submitter().register_restrictions(&mut restrictions) {
        log::debug!("io_uring restrictions: {e}");
    }
}

/// What may be registered once the ring is enabled, by the numbers of the kernel's
/// `io_uring_register_op`: register buffers, unregister buffers, unregister files, and limit
/// the kernel threads.
const REGISTER_OPS: [u8; 4] = [0, 1, 3, 19];

/// Creates a ring with the best set of features that this kernel has. It is disabled: a ring
/// belongs to the thread that enables it, which is not the one that opens stores.
fn best_ring() -> io::Result<IoUring> {
    // Linux 6.1.
    let deferred = IoUring::builder()
        .setup_cqsize(2 * ENTRIES)
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(ENTRIES);
    match deferred {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            IoUring::builder().setup_r_disabled().build(ENTRIES)
        }
        ring => ring,
    }
}

impl IoEngine for Uring {
    fn register(&mut self, areas: &[MemRegion]) {
        let areas: Vec<MemRegion> =
            areas.iter().copied().filter(|area| area.bytes <= REGISTERED_BYTES_MAX).collect();
        let iovec = |area: &MemRegion| libc::iovec { iov_base: area.base as *mut _, iov_len: area.bytes };
        let iovecs: Vec<_> = areas.iter().map(iovec).collect();
        // SAFETY: `Store::register` promises that the areas stay mapped as long as the store
        // lives, and the ring ends with the store.
        let registered = unsafe { self.ring.submitter().register_buffers(&iovecs) };
        // Refused if memory may not be locked: then each call pins its own.
        self.areas = if registered.is_ok() { areas } else { Vec::new() };
    }

    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull> {
        let Some(entry) = self.entry(id, call) else { return Ok(()) };
        // SAFETY: the memory that the entry names stays valid and belongs to the kernel until
        // the result is there (`IoSlice`); the result of a `statx` goes into a box that is
        // dropped after the ring.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| QueueFull)?;
        self.under_way += 1;
        Ok(())
    }

    fn submit(&mut self) {
        if !self.is_ours {
            // Fails only if the ring is enabled already, or need not be.
            let _ = self.ring.submitter().register_enable_rings();
            // An older kernel keeps its own limit.
            let _ = self.ring.submitter().register_iowq_max_workers(&mut [BLOCKING_MAX, 0]);
            self.is_ours = true;
        }
        let queue = self.ring.submission();
        let (queued, wanted) = (queue.len() as u32, queue.taskrun());
        drop(queue);
        if queued > 0 || wanted {
            // What the kernel does not accept now (EAGAIN, EBUSY, EINTR) stays queued for the
            // next turn.
            // SAFETY: no signal mask is passed.
            let _ = unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) };
        }
        self.reap();
    }

    fn next(&mut self) -> Option<(u32, IoResult)> {
        self.done.pop_front()
    }

    fn end(&self) -> u64 {
        // A device cannot grow by a write.
        if self.backing.is_device { u64::MAX } else { known_size(&self.backing.file).unwrap_or(u64::MAX) }
    }

    fn goes_on(&self) -> bool {
        self.under_way > 0
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.event.as_fd())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.under_way > 0 {
            // The kernel continues with these calls after the ring is gone. Until they end, no
            // other process may use the file: their writes would overwrite newer data. The
            // lock ends with the last of them.
            self.backing.stays_locked = true;
            // Some of them may still write here.
            std::mem::forget(std::mem::take(&mut self.sizes));
            return;
        }
        // The ring itself ends some time after its descriptor is closed. The file must be free
        // at once.
        let _ = self.ring.submitter().unregister_files();
        let _ = self.ring.submitter().unregister_buffers();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An enabled ring as a store has it, on an unnamed file.
    fn ring() -> (Ring, File) {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::open(std::env::temp_dir(), flags, rustix::fs::Mode::RUSR).unwrap();
        let file = file.into();
        let ring = Ring::open(&file).unwrap();
        ring.uring.submitter().register_enable_rings().unwrap();
        (ring, file)
    }

    fn outcome(ring: &mut IoUring, entry: &squeue::Entry) -> i32 {
        // SAFETY: the entries of the tests use no memory except constants.
        unsafe { ring.submission().push(entry) }.unwrap();
        ring.submit_and_wait(1).unwrap();
        ring.completion().next().unwrap().result()
    }

    #[test]
    fn a_ring_does_what_its_store_does_and_nothing_else() {
        let (Ring { uring: mut ring, event: _event }, _file) = ring();
        let sync = opcode::Fsync::new(FILE).flags(types::FsyncFlags::DATASYNC).build();
        assert_eq!(outcome(&mut ring, &sync), 0);
        assert_eq!(outcome(&mut ring, &sync.flags(squeue::Flags::ASYNC)), 0);
        let others = [
            opcode::Nop::new().build(),
            opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), c"/etc/passwd".as_ptr()).build(),
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
            opcode::Fsync::new(FILE).build().flags(squeue::Flags::IO_DRAIN),
        ];
        for entry in &others {
            assert_eq!(outcome(&mut ring, entry), -libc::EACCES, "{entry:?}");
        }
        let submitter = ring.submitter();
        submitter.register_iowq_max_workers(&mut [BLOCKING_MAX, 0]).unwrap();
        let more = submitter.register_files_update(0, &[-1]).unwrap_err();
        assert_eq!(more.raw_os_error(), Some(libc::EACCES));
        submitter.unregister_files().unwrap();
    }
}
