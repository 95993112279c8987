//! The calls of one store on its file or block device, through the ring of its worker.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

use io_uring::{opcode, squeue, types};
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::ring::{BY_KERNEL_THREAD, Calls, DURABLE, Registered};
use super::{DEPTH, IoEngine, IoRequest, IoResult, IoSlice, QueueFull};
use crate::open::Backing;
use crate::{Durability, device, file_facts};

/// The calls of a store on its file.
///
/// The memory that its calls write to outlives the store if any are in flight when it is
/// dropped: the kernel tears a ring down some time after its descriptor is closed.
pub struct Uring {
    calls: Calls,
    /// The result buffers of `statx`, one for each slot.
    sizes: Box<[libc::statx]>,
    /// `None` before it has joined a worker.
    registered: Option<Registered>,
    backing: Backing,
    started: Instant,
    /// ASYNC if a call would block the submitting thread.
    flags: squeue::Flags,
    /// How a write is marked.
    write_marks: u64,
}

impl Uring {
    /// The calls on this file.
    pub(crate) fn new(backing: Backing) -> Self {
        // SAFETY: all-zero is a valid `statx`.
        let sizes = unsafe { Box::new_zeroed_slice(DEPTH).assume_init() };
        let mut flags = squeue::Flags::empty();
        // FUSE waits for its server, or for a lock, even in non-blocking mode.
        flags.set(squeue::Flags::ASYNC, file_facts::is_fuse(&backing.file));
        // Without a volatile cache, or with FUA, a stable write takes little longer than others.
        let is_slow =
            backing.options.durability == Durability::Durable && !device::writes_through(&backing.facts);
        let write_marks = BY_KERNEL_THREAD | if is_slow { DURABLE } else { 0 };
        let calls = Calls::new(DEPTH + 1);
        Self { calls, sizes, registered: None, backing, started: Instant::now(), flags, write_marks }
    }

    /// The registered buffer that contains this memory.
    fn area_of(&self, memory: IoSlice) -> Option<u16> {
        self.registered.as_ref()?.area_of(memory)
    }

    fn entry(&mut self, id: u32, call: IoRequest) -> Option<squeue::Entry> {
        // Not registered with the ring: a registered file is released only some time after its
        // store is closed, on older kernels.
        let file = types::Fd(self.backing.file.as_raw_fd());
        let marks = match call {
            IoRequest::Write { .. } => self.write_marks,
            IoRequest::Sync => BY_KERNEL_THREAD | DURABLE,
            IoRequest::Punch { .. } => BY_KERNEL_THREAD,
            _ if self.flags.contains(squeue::Flags::ASYNC) => BY_KERNEL_THREAD,
            _ => 0,
        };
        let entry = match call {
            IoRequest::Read { at, memory } => {
                let to = memory.base as *mut u8;
                match self.area_of(memory) {
                    Some(area) => opcode::ReadFixed::new(file, to, memory.bytes, area).offset(at).build(),
                    None => opcode::Read::new(file, to, memory.bytes).offset(at).build(),
                }
            }
            IoRequest::Write { at, memory, stable } => {
                let (from, len) = (memory.base as *const u8, memory.bytes);
                let flags = if stable { libc::RWF_DSYNC } else { 0 };
                match self.area_of(memory) {
                    Some(area) => {
                        opcode::WriteFixed::new(file, from, len, area).offset(at).rw_flags(flags).build()
                    }
                    None => opcode::Write::new(file, from, len).offset(at).rw_flags(flags).build(),
                }
            }
            IoRequest::Sync => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            IoRequest::Punch { at, bytes } => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                opcode::Fallocate::new(file, bytes).offset(at).mode(mode).build()
            }
            IoRequest::Measure => return self.measure(id),
        };
        Some(entry.user_data(marks | u64::from(id)).flags(self.flags))
    }

    /// Queries the size. `statx` may have to ask a file server; the kernel knows the size of a
    /// device.
    fn measure(&mut self, id: u32) -> Option<squeue::Entry> {
        let size = self.sizes.get_mut(id as usize)?;
        let id = MEASURE | BY_KERNEL_THREAD | u64::from(id);
        if self.backing.is_device {
            let found = self.backing.bytes_now();
            size.stx_size = *found.as_ref().unwrap_or(&0);
            self.calls.finish(id, found.map_or_else(|e| -e.raw_os_error().unwrap_or(libc::EIO), |_| 0));
            return None;
        }
        let file = types::Fd(self.backing.file.as_raw_fd());
        let call = opcode::Statx::new(file, c"".as_ptr(), (&raw mut *size).cast());
        let call = call.flags(libc::AT_EMPTY_PATH).mask(libc::STATX_SIZE).build();
        Some(call.user_data(id))
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

impl IoEngine for Uring {
    fn join(&mut self, registered: &Registered) {
        self.registered = Some(registered.clone());
    }

    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull> {
        if let Some(entry) = self.entry(id, call) {
            // SAFETY: the memory that the entry names stays valid and belongs to the kernel
            // until the result is there (`IoSlice`). The result of a `statx` goes into a box
            // that is never freed while calls are under way.
            unsafe { self.calls.push(entry) };
        }
        Ok(())
    }

    fn next(&mut self) -> Option<(u32, IoResult)> {
        let (id, result) = self.calls.take_done()?;
        let outcome = match result {
            errno @ ..0 => Err(-errno),
            // A measurement has its mark above the id.
            _ if id & MEASURE != 0 => {
                self.sizes.get(id as u32 as usize).map(|size| size.stx_size).ok_or(libc::EINVAL)
            }
            n => Ok(n as u64),
        };
        Some((id as u32, outcome))
    }

    fn end(&self) -> u64 {
        // A device cannot grow by a write.
        if self.backing.is_device { u64::MAX } else { known_size(&self.backing.file).unwrap_or(u64::MAX) }
    }

    fn goes_on(&self) -> bool {
        self.calls.under_way() > 0
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn calls(&mut self) -> Option<&mut Calls> {
        Some(&mut self.calls)
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.goes_on() {
            // The kernel continues with these calls after the ring is gone. Until they end, no
            // other process may use the file: their writes would overwrite newer data. The
            // lock ends with the last of them.
            self.backing.stays_locked.store(true, Ordering::Release);
            // Some of them may still write here.
            std::mem::forget(std::mem::take(&mut self.sizes));
        }
    }
}
