//! The disk store: io_uring on files and block devices.
//!
//! ```text
//! submit ──► Slot ──► read ────────────────────────────────► unload ──► complete
//!              │                                                           ▲
//!              ├────► fill (part of a block: read it first) ───┐           │
//!              └────► write ◄──────────────────────────────────┘           │
//!                       ├── volatile, or each write stable by itself ──────┤
//!                       └── Commit: a sync begun afterwards ───────────────┘
//! ```
//!
//! **Durable writes**, and what a crash at each point leaves:
//!
//! 1. The bytes are handed to the system. A crash leaves any part of them; nothing has been
//!    acknowledged.
//! 2. The result reports that all of them were written ([`Slot::advance`]; a short write is
//!    continued, never acknowledged). They may still be in the cache of the disk. Metadata
//!    needed to find them may still be in memory, such as the flag that a reserved extent
//!    has data. A crash leaves any part.
//! 3. Only then does a sync begin ([`Commit::begin`]): `fdatasync`, which makes the file system
//!    write what it needs and the disk flush its cache. Alternatively the write itself did
//!    this (RWF_DSYNC), and steps 2 and 3 are one.
//! 4. The sync reports success: the bytes survive a crash.
//! 5. Only then is the completion queued, and the worker may acknowledge the write.
//!
//! A failed sync does not report which write failed, and the next one may succeed
//! although the bytes are lost. So every write that it covered fails, as does every
//! write given to the system before the sync failed, and the store accepts no more writes
//! ([`Store::degraded`]). A write that fails with RWF_DSYNC is reported to its own
//! initiator and affects no other write: every write acknowledged before had its own
//! flush.
//!
//! The store executes operations in any order. While an operation that writes a block is in
//! flight, the worker submits no other operation on that block, and it submits no write to a
//! block that is being read.

mod bounce;
mod commit;
mod io_engine;
mod ring;
mod slot;
mod uring;

use std::collections::VecDeque;

use bounce::Bounce;
use commit::Commit;
pub use io_engine::{IoEngine, IoRequest, IoResult, IoSlice, QueueFull};
pub use ring::{Calls, KernelWork, Registered, Ring};
use slot::{Slot, Step};
pub(crate) use uring::Uring;

use super::{Completion, Extent, Full, Geometry, IoError, Kind, Op, OpResult, SECTOR_BYTES, Store, span};
use crate::plant::{Bug, planted};

/// Maximum number of calls in flight for one store. More than a disk takes at a time;
/// further operations wait here instead of in the kernel.
pub const DEPTH: usize = 256;

/// Maximum number of operations that wait for a slot. Far more than the number of
/// requests that initiators are allowed to send.
const BACKLOG: usize = 2048;

/// The id of a group's sync; all other ids are slots.
const SYNC: u32 = u32::MAX;

/// How writes become stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Persist {
    /// Only at a flush.
    OnFlush,
    /// Each write by itself, before it completes (RWF_DSYNC).
    PerWrite,
    /// Many writes by one sync.
    Group,
}

/// Where the export lies on the disk, and how to treat it.
#[derive(Clone, Copy, Debug)]
pub struct DiskLayout {
    /// Its start in bytes; a multiple of the block size.
    pub offset_bytes: u64,
    /// Its length in bytes; `None` if it follows the size of the disk.
    pub length_bytes: Option<u64>,
    /// Its initial size, and its block size.
    pub geometry: Geometry,
    /// Refuse writes.
    pub read_only: bool,
    /// How writes become stable, and thus when they complete.
    pub persist: Persist,
}

/// A file or block device, accessed through an asynchronous engine.
pub struct DiskStore<K: IoEngine> {
    engine: K,
    layout: DiskLayout,
    /// Grows to its full size, without allocating, as it is used: most of many exports never
    /// use much of it.
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    backlog: VecDeque<Op>,
    bounce: Bounce,
    commit: Commit,
    completed: VecDeque<Completion>,
    failed: Option<IoError>,
    /// The end of the file as seen since the last kick; 0 if it was not queried since. A
    /// batch of writes queries it only once.
    end_seen: u64,
}

impl<K: IoEngine> DiskStore<K> {
    /// Creates a store on this engine. All memory is allocated here.
    ///
    /// # Errors
    ///
    /// No memory for the bounce buffers.
    pub fn new(engine: K, layout: DiskLayout) -> std::io::Result<Self> {
        Ok(Self {
            engine,
            layout,
            slots: Vec::with_capacity(DEPTH),
            free: Vec::with_capacity(DEPTH),
            backlog: VecDeque::with_capacity(BACKLOG),
            bounce: Bounce::new(DEPTH)?,
            commit: Commit::new(DEPTH),
            completed: VecDeque::with_capacity(DEPTH + BACKLOG),
            failed: None,
            end_seen: 0,
        })
    }

    fn start(&mut self, op: Op) {
        let at = match self.check(&op) {
            Ok(at) => at,
            Err(fault) => {
                return self.completed.push_back(Completion { token: op.token, result: Err(fault) });
            }
        };
        let Some(id) = self.free_slot() else { return self.backlog.push_back(op) };
        let slot = Slot::new(op, at, self.layout.geometry.block_bytes);
        let (step, fits) = (slot.step, slot.fits());
        if let Some(bytes) = slot.bounces() {
            self.bounce.claim(id as usize, bytes);
        }
        if let Some(place) = self.slots.get_mut(id as usize) {
            *place = Some(slot);
        }
        match step {
            // No frame carries this many bytes.
            _ if !fits => self.finish(id, Err(IoError::System)),
            Step::Read | Step::Fill => self.transfer(id),
            Step::Write => self.write(id),
            Step::Sync => self.commit.wait(id),
            Step::Measure => self.call(id, IoRequest::Measure),
            Step::Punch => self.punch(id),
        }
    }

    /// The index of a slot that is free.
    fn free_slot(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        (self.slots.len() < DEPTH).then(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        })
    }

    /// The offset on the disk at which an operation starts, if it may begin.
    fn check(&mut self, op: &Op) -> Result<u64, IoError> {
        let at = self.layout.offset_bytes + op.range_in(self.layout.geometry)?;
        match op.kind {
            Kind::Write | Kind::Discard if self.layout.read_only || self.failed.is_some() => {
                Err(IoError::ReadOnly)
            }
            Kind::Write => self.check_end(at + op.buffers.len() as u64).map(|()| at),
            Kind::Discard if !self.layout.geometry.discards => Err(IoError::System),
            Kind::Discard => self.check_end(at + span(&op.buffers).map_or(0, Extent::end)).map(|()| at),
            Kind::Flush => self.failed.map_or(Ok(at), Err),
            _ => Ok(at),
        }
    }

    /// Checks that the file still extends this far: a write must not extend a file that
    /// was truncated.
    fn check_end(&mut self, end: u64) -> OpResult {
        if end > self.end_seen {
            self.end_seen = self.engine.end();
        }
        if end <= self.end_seen { Ok(()) } else { Err(IoError::Media) }
    }

    /// Hands the rest of the current step to the engine.
    fn transfer(&mut self, id: u32) {
        let Some(Some(slot)) = self.slots.get(id as usize) else { return };
        let (at, memory) = slot.rest(id as usize, &self.bounce);
        let stable = self.layout.persist == Persist::PerWrite && !planted(Bug::AckBeforeStable);
        let call = match slot.step {
            Step::Write => IoRequest::Write { at, memory, stable },
            _ => IoRequest::Read { at, memory },
        };
        self.call(id, call);
    }

    fn write(&mut self, id: u32) {
        let Self { slots, bounce, commit, .. } = self;
        match slots.get_mut(id as usize) {
            Some(Some(slot)) if slot.load(id as usize, bounce) => {
                slot.begin_write(commit.write_began());
                self.transfer(id);
            }
            _ => self.finish(id, Err(IoError::System)),
        }
    }

    fn call(&mut self, id: u32, call: IoRequest) {
        if self.engine.push(id, call) == Err(QueueFull) {
            // Cannot happen: the queue has an entry for each slot, and one more.
            self.finish(id, Err(IoError::Transient));
        }
    }

    /// Handles the result of a call: starts the next call, or ends the operation.
    fn proceed(&mut self, id: u32, outcome: IoResult) {
        let Some(slot) = self.slot(id) else { return };
        let n = match outcome {
            Ok(n) => n,
            Err(errno) => return self.finish(id, Err(IoError::from_errno(errno))),
        };
        let step = slot.step;
        let moves = matches!(step, Step::Read | Step::Fill | Step::Write);
        if moves && n == 0 {
            // End of file, or a write that makes no progress.
            return self.finish(id, Err(IoError::Media));
        }
        if moves && !slot.advance(n) {
            return self.transfer(id);
        }
        match step {
            Step::Read => self.unload(id),
            Step::Fill => self.write(id),
            Step::Write => self.written(id),
            Step::Measure => {
                self.measured(n);
                self.finish(id, Ok(()));
            }
            Step::Punch => self.punch(id),
            Step::Sync => {}
        }
    }

    /// Discards the next range of an operation. After the last one, the discard continues like
    /// a write whose bytes were accepted.
    fn punch(&mut self, id: u32) {
        let offset = self.layout.offset_bytes;
        match self.slot(id).and_then(Slot::next_range) {
            Some(range) => self.call(id, IoRequest::Punch { at: offset + range.at, bytes: range.bytes }),
            None => self.written(id),
        }
    }

    fn unload(&mut self, id: u32) {
        let Self { slots, bounce, .. } = self;
        let there = match slots.get_mut(id as usize) {
            Some(Some(slot)) => slot.unload(id as usize, bounce),
            _ => false,
        };
        self.finish(id, if there { Ok(()) } else { Err(IoError::System) });
    }

    /// Handles a write or discard that was accepted completely: completes it, or makes it
    /// wait for a sync.
    fn written(&mut self, id: u32) {
        self.end_write(id);
        let waits = match self.layout.persist {
            Persist::Group => true,
            // RWF_DSYNC does not apply to discards.
            Persist::PerWrite => self.slot(id).is_some_and(|slot| slot.step == Step::Punch),
            Persist::OnFlush => false,
        };
        if !waits || planted(Bug::AckBeforeStable) {
            self.finish(id, Ok(()));
        } else if self.failed.is_some() {
            self.finish(id, Err(IoError::Media));
        } else {
            self.commit.wait(id);
        }
    }

    /// Begins the next sync, if an operation waits for one and none is in flight.
    fn sync(&mut self) {
        if self.commit.begin(|| self.engine.now_ns())
            && self.engine.push(SYNC, IoRequest::Sync) == Err(QueueFull)
        {
            self.commit.defer();
        }
    }

    fn synced(&mut self, outcome: IoResult) {
        self.commit.end();
        let result = match outcome {
            Ok(_) => Ok(()),
            Err(_) if planted(Bug::SwallowedSyncError) => Ok(()),
            Err(errno) => Err(IoError::from_errno(errno).of_sync()),
        };
        if let Err(fault) = result {
            self.failed.get_or_insert(fault);
            while let Some(id) = self.commit.next_waiting() {
                self.finish(id, Err(fault));
            }
        }
        while let Some(id) = self.commit.next_covered() {
            self.finish(id, result);
        }
    }

    fn measured(&mut self, disk_bytes: u64) {
        let block = u64::from(self.layout.geometry.block_bytes);
        let rest = disk_bytes.saturating_sub(self.layout.offset_bytes);
        let bytes = self.layout.length_bytes.unwrap_or(rest - rest % block);
        if bytes >= SECTOR_BYTES {
            self.layout.geometry.sectors = bytes / SECTOR_BYTES;
        }
    }

    fn slot(&mut self, id: u32) -> Option<&mut Slot> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Ends the disk write of this slot, if it has one.
    fn end_write(&mut self, id: u32) {
        if let Some(age) = self.slot(id).and_then(|slot| slot.age.take()) {
            self.commit.write_ended(age);
        }
    }

    fn finish(&mut self, id: u32, result: OpResult) {
        self.end_write(id);
        let Some(slot) = self.slots.get_mut(id as usize).and_then(Option::take) else { return };
        self.bounce.release(id as usize);
        self.free.push(id);
        self.completed.push_back(Completion { token: slot.token, result });
    }
}

impl<K: IoEngine> Drop for DiskStore<K> {
    fn drop(&mut self) {
        if self.engine.goes_on() {
            self.bounce.keep();
        }
    }
}

impl<K: IoEngine> Store for DiskStore<K> {
    fn geometry(&self) -> Geometry {
        self.layout.geometry
    }

    fn join(&mut self, registered: &Registered) {
        self.bounce.join(&registered.pool);
        self.engine.join(registered);
    }

    fn degraded(&self) -> Option<IoError> {
        self.failed
    }

    fn degrade(&mut self, fault: IoError) {
        self.failed.get_or_insert(fault);
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        if self.backlog.len() + self.completed.len() >= BACKLOG {
            return Err(Full(op));
        }
        self.start(op);
        Ok(())
    }

    fn kick(&mut self) {
        self.end_seen = 0;
        self.sync();
        self.engine.submit();
        let mut more = false;
        while let Some((id, outcome)) = self.engine.next() {
            more = true;
            if id == SYNC { self.synced(outcome) } else { self.proceed(id, outcome) }
        }
        while (!self.free.is_empty() || self.slots.len() < DEPTH)
            && let Some(op) = self.backlog.pop_front()
        {
            more = true;
            self.start(op);
        }
        if more {
            // Submit what this led to: a sync, or the rest of a short transfer. Waiting for
            // the next turn would delay every write of a group by one turn.
            self.sync();
            self.engine.submit();
        }
    }

    fn complete(&mut self) -> Option<Completion> {
        let completion = self.completed.pop_front();
        if completion.is_none() {
            // Operations that had to wait may have asked for it since the kick.
            self.end_seen = 0;
        }
        completion
    }

    fn calls(&mut self) -> Option<&mut Calls> {
        self.engine.calls()
    }
}

#[cfg(test)]
mod tests;
