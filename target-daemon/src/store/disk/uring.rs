//! io_uring: the calls of one store on one file or block device.
//!
//! A ring belongs to one thread, the worker's, and everything happens when
//! that thread asks: `submit` makes one system call for all that is queued,
//! and the same call runs what the kernel has put off until then
//! (DEFER_TASKRUN), so outcomes never interrupt the worker. Where nothing is
//! queued and the kernel has nothing for us, which it shows by a flag in
//! shared memory, no call is made.
//!
//! File and memory are registered: the kernel neither looks up the descriptor
//! nor pins pages for each call. Older kernels and strict limits get less of
//! that, one step at a time; the calls are the same.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Instant;

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::{DEPTH, IoEngine, IoRequest, IoResult, IoSlice, QueueFull};
use crate::store::MemRegion;
use crate::store::file_facts;
use crate::store::open::Backing;

/// Entries of the queue: each slot of the store has one call at a time, and
/// there is one sync.
const ENTRIES: u32 = (2 * DEPTH) as u32;

/// What one registered area may have, by the kernel's rule.
const REGISTERED_BYTES_MAX: usize = 1 << 30;

const GETEVENTS: u32 = 1;

/// Most kernel threads that wait in a call (a sync, a FUSE server) for one
/// worker. The kernel's own limit is four a core for all rings of a thread
/// together: a few calls that hang would keep the other exports from syncing.
const BLOCKING_MAX: u32 = 1024;

/// A ring on an open file.
///
/// What its calls write to outlives it if any are under way when it is dropped:
/// the kernel ends a ring some time after its descriptor was closed.
pub struct Uring {
    ring: IoUring,
    done: VecDeque<(u32, IoResult)>,
    /// Where `statx` puts its answer, for each slot.
    sizes: Box<[libc::statx]>,
    areas: Vec<MemRegion>,
    /// Signalled when the kernel has something to hand back. Not the ring
    /// itself: a thread that waits on a ring with DEFER_TASKRUN by `poll` is
    /// not woken for what other threads of the kernel finish, a sync for one.
    event: OwnedFd,
    backing: Backing,
    /// A device cannot grow by a write, and tells its size without asking it.
    is_device: bool,
    /// The worker's thread has made it its own.
    is_ours: bool,
    started: Instant,
    under_way: usize,
    /// ASYNC where a call would wait in the thread that submits it.
    flags: squeue::Flags,
}

/// The file, the only one that is registered.
const FILE: types::Fixed = types::Fixed(0);

impl Uring {
    /// A ring for this file.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_setup`: the kernel has none, or forbids it.
    pub(in crate::store) fn new(backing: Backing) -> Result<Self, (Backing, io::Error)> {
        let (ring, event) = match make_ring(backing.file().as_raw_fd()) {
            Ok(made) => made,
            Err(e) => return Err((backing, e)),
        };
        // SAFETY: all-zero is a valid `statx`.
        let size: libc::statx = unsafe { std::mem::zeroed() };
        Ok(Self {
            ring,
            done: VecDeque::with_capacity(2 * ENTRIES as usize),
            sizes: vec![size; DEPTH].into_boxed_slice(),
            areas: Vec::new(),
            event,
            is_device: backing.is_device(),
            // FUSE waits for its server, or for a lock, though it was asked not to.
            flags: if file_facts::is_fuse(backing.file()) {
                squeue::Flags::ASYNC
            } else {
                squeue::Flags::empty()
            },
            backing,
            is_ours: false,
            started: Instant::now(),
            under_way: 0,
        })
    }

    /// Whether this kernel gives rings.
    pub(in crate::store) fn is_possible() -> bool {
        best_ring().is_ok()
    }

    /// The registered area that holds this memory.
    fn area_of(&self, memory: IoSlice) -> Option<u16> {
        let inside = |area: &MemRegion| {
            let skip = memory.base.checked_sub(area.base)?;
            (skip + memory.bytes as usize <= area.bytes).then_some(())
        };
        self.areas.iter().position(|area| inside(area).is_some()).map(|at| at as u16)
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

    /// The size of a file by `statx`, which may have to ask a server; that of a
    /// device is known to the kernel.
    fn measure(&mut self, id: u32) -> Option<squeue::Entry> {
        if self.is_device {
            let size = self.backing.bytes_now().map_err(|e| e.raw_os_error().unwrap_or(libc::EIO));
            self.done.push_back((id, size));
            return None;
        }
        let Some(size) = self.sizes.get_mut(id as usize) else {
            self.done.push_back((id, Err(libc::EINVAL)));
            return None;
        };
        let statx = opcode::Statx::new(
            types::Fd(self.backing.file().as_raw_fd()),
            c"".as_ptr(),
            (&raw mut *size).cast(),
        );
        let statx = statx.flags(libc::AT_EMPTY_PATH).mask(libc::STATX_SIZE).build();
        Some(statx.user_data(MEASURE | u64::from(id)))
    }

    fn reap(&mut self) {
        let Self { ring, done, sizes, under_way, .. } = self;
        for entry in ring.completion() {
            *under_way = under_way.saturating_sub(1);
            let id = entry.user_data();
            let outcome = match entry.result() {
                errno @ ..0 => Err(-errno),
                // The mark of a measurement is in the upper half of its id.
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

/// The size of a file as this kernel knows it. To ask for it in any other way
/// can take long: a server is asked, or a sync that is under way waited for
/// (`lseek` takes the lock of the inode on FUSE).
fn known_size(file: &File) -> Option<u64> {
    // SAFETY: all-zero is a valid `statx`.
    let mut facts: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: a valid descriptor, an empty path that ends with a zero, and a
    // structure for the call to fill.
    let result =
        unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_SIZE, &raw mut facts) };
    (result == 0).then_some(facts.stx_size)
}

/// Marks the user data of a `statx`.
const MEASURE: u64 = 1 << 32;

fn make_ring(file: RawFd) -> io::Result<(IoUring, OwnedFd)> {
    let ring = best_ring()?;
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    ring.submitter().register_files(&[file])?;
    ring.submitter().register_eventfd(event.as_raw_fd())?;
    restrict(&ring);
    Ok((ring, event))
}

/// Leaves the ring what this store does with it, from the moment on when it is
/// enabled. A kernel without restrictions has rings all the same.
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

/// What is registered after a ring is enabled, by the numbers of the kernel's
/// `io_uring_register_op`: buffers, their end, the end of files, and the limit
/// of kernel threads.
const REGISTER_OPS: [u8; 4] = [0, 1, 3, 19];

/// A ring with all that this kernel can do.
fn best_ring() -> io::Result<IoUring> {
    // Disabled: it belongs to the thread that enables it, and that is not the
    // one which opens stores. Linux 6.1.
    let deferred = IoUring::builder()
        .setup_cqsize(2 * ENTRIES)
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(ENTRIES);
    match deferred {
        Ok(ring) => return Ok(ring),
        Err(e) if e.raw_os_error() != Some(libc::EINVAL) => return Err(e),
        Err(_) => {}
    }
    // Disabled here and below only so that it can be restricted.
    let cooperative = IoUring::builder()
        .setup_cqsize(2 * ENTRIES)
        .setup_r_disabled()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .build(ENTRIES);
    match cooperative {
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
        // SAFETY: `Store::register` promises that the areas stay mapped for as
        // long as the store lives, and the ring ends with it.
        let registered = unsafe { self.ring.submitter().register_buffers(&iovecs) };
        // Refused where memory may not be locked: then each call pins its own.
        self.areas = if registered.is_ok() { areas } else { Vec::new() };
    }

    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull> {
        let Some(entry) = self.entry(id, call) else { return Ok(()) };
        // SAFETY: the memory that the entry names stays valid and the kernel's
        // until the outcome is there (`Piece`); the answer of a `statx` goes
        // into a box that is dropped after the ring.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| QueueFull)?;
        self.under_way += 1;
        Ok(())
    }

    fn submit(&mut self) {
        if !self.is_ours {
            // Fails only if it has been done, or need not be.
            let _ = self.ring.submitter().register_enable_rings();
            // An older kernel keeps its own limit.
            let _ = self.ring.submitter().register_iowq_max_workers(&mut [BLOCKING_MAX, 0]);
            self.is_ours = true;
        }
        let queue = self.ring.submission();
        let (queued, wanted) = (queue.len() as u32, queue.taskrun());
        drop(queue);
        if queued > 0 || wanted {
            // What the kernel does not take now (EAGAIN, EBUSY, EINTR) stays in
            // the queue for the next turn.
            // SAFETY: no signal mask is passed.
            let _ = unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) };
        }
        self.reap();
    }

    fn next(&mut self) -> Option<(u32, IoResult)> {
        self.done.pop_front()
    }

    fn end(&self) -> u64 {
        if self.is_device { u64::MAX } else { known_size(self.backing.file()).unwrap_or(u64::MAX) }
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
            // The kernel goes on with them after the ring's end. Until they are
            // over, nobody else may have the file: what they write would land
            // on top of newer data. The lock ends with their last one.
            self.backing.stay_locked();
            // Some of them may still write here.
            std::mem::forget(std::mem::take(&mut self.sizes));
            return;
        }
        // The ring itself ends some time after its descriptor was closed. The
        // file is to be free at once.
        let _ = self.ring.submitter().unregister_files();
        let _ = self.ring.submitter().unregister_buffers();
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("backing", &self.backing).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// The ring of a store, enabled, on a file without a name.
    fn ring() -> (IoUring, OwnedFd, File) {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::open(std::env::temp_dir(), flags, rustix::fs::Mode::RUSR).unwrap();
        let (ring, event) = make_ring(file.as_raw_fd()).unwrap();
        ring.submitter().register_enable_rings().unwrap();
        (ring, event, file.into())
    }

    fn outcome(ring: &mut IoUring, entry: &squeue::Entry) -> i32 {
        // SAFETY: the entries of the tests name no memory but constants.
        unsafe { ring.submission().push(entry) }.unwrap();
        ring.submit_and_wait(1).unwrap();
        ring.completion().next().unwrap().result()
    }

    #[test]
    fn a_ring_does_what_its_store_does_and_nothing_else() {
        let (mut ring, _event, _file) = ring();
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
