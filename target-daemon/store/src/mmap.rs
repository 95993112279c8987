//! The store on a memory mapping, for files that are in memory. Without io_uring, it
//! serves all others too, by blocking calls.
//!
//! - A **read** is one copy from the mapping, or one `preadv`.
//! - **Durable writes** go through the descriptor (coherent with the mapping; reports a full
//!   or broken medium as an error) and become stable as a group: (1) the current size is
//!   checked, so that a write never restores a part of the file that was cut off; (2) every
//!   byte is in the page cache or the write fails; (3) when the worker polls for
//!   completions, one `fdatasync` covers every write since the last one; (4) when it
//!   returns, their data is on the medium; only then (5) their completions are queued. A
//!   crash before (5) loses only writes that were not acknowledged. A worker that received
//!   one request syncs after one write; after sixty requests, it syncs once for all.
//! - A **volatile write** is a copy into the mapping, or one `pwritev`. A copy cannot extend
//!   the file, so its size is checked once in a turn.
//! - If SIGBUS **interrupts** a copy, the same transfer is repeated through the
//!   descriptor, which reports the reason as an errno, or succeeds if the problem has
//!   passed.
//! - A **discard** punches a hole for each range, through the descriptor; the mapping shows
//!   it at once. A durable discard then waits for the sync of the group, as a write does.
//! - A **failed flush** leaves pages that are marked clean but are not on the medium, and a
//!   second flush would report success. So the error is permanent: the store refuses all
//!   further writes and returns the error for every flush.
//!
//! A truncation in the instant between (1) and (2) is not detected; the lock (see `lock`)
//! keeps other programs away.

use std::io;

use super::completion_queue::CompletionQueue;
use super::mapping::Mapping;
use super::open::Backing;
use super::{
    Completion, Durability, Full, Geometry, IoError, IoVec, Kind, Op, OpResult, OpenError, OpenOptions,
    SECTOR_BYTES, Store, descriptor, file_facts, ranges,
};
use crate::plant::{Bug, planted};

/// The most bytes of a request that are prefetched: the data of the longest reply. The
/// count of an unchecked frame may be larger.
const FORESEEN_MAX: u64 = 16 * SECTOR_BYTES;

/// A file or block device, mapped or accessed through its descriptor.
#[derive(Debug)]
pub struct MmapStore {
    /// `None` for access through the descriptor.
    mapping: Option<Mapping>,
    backing: Backing,
    geometry: Geometry,
    /// Writes go to the mapping or the page cache, and are stable after a flush. Otherwise they
    /// go through the descriptor, and are complete after an `fdatasync`.
    is_volatile: bool,
    failed: Option<IoError>,
    completed: CompletionQueue,
    /// The end of the file as last seen in this turn, so that a batch of zero reads or of
    /// volatile writes queries it once.
    end_seen: u64,
}

impl MmapStore {
    /// A store on an opened file, mapped or through its descriptor.
    pub(super) fn over(backing: Backing, mapped: bool) -> Result<Self, OpenError> {
        let mapping = mapped.then(|| map(&backing, backing.bytes)).transpose()?;
        let geometry = Geometry {
            discards: backing.discards,
            ..Geometry::new(backing.bytes / SECTOR_BYTES, backing.physical_bytes)
        };
        Ok(Self {
            mapping,
            is_volatile: backing.options.durability == Durability::Volatile,
            backing,
            geometry,
            failed: None,
            completed: CompletionQueue::new(),
            end_seen: 0,
        })
    }

    fn execute(&mut self, op: &mut Op) -> OpResult {
        let at = op.range_in(self.geometry)?;
        match op.kind {
            Kind::Read => self.read(at, &mut op.buffers),
            Kind::Write => self.write(at, &op.buffers),
            Kind::Flush => self.flush(),
            Kind::Discard => self.discard(&op.buffers),
            Kind::Measure => {
                self.measure();
                Ok(())
            }
        }
    }

    fn read(&mut self, at: u64, buffers: &mut IoVec) -> OpResult {
        if !self.mapping.as_ref().is_some_and(|mapping| mapping.read(at as usize, buffers)) {
            return Ok(descriptor::read(&self.backing.file, buffers, self.offset() + at)?);
        }
        // In a truncated file, the rest of the last page reads as zeros without SIGBUS.
        // Then the last byte of the read is such a zero, so any other last byte avoids the
        // query.
        if buffers.last() == Some(0) { self.see_end(self.end_of(at, buffers)) } else { Ok(()) }
    }

    fn write(&mut self, at: u64, buffers: &IoVec) -> OpResult {
        self.check_writable()?;
        let end = self.end_of(at, buffers);
        if self.is_volatile && self.mapping.is_some() {
            self.see_end(end)?;
            if self.mapping.as_ref().is_some_and(|mapping| mapping.write(at as usize, buffers)) {
                return Ok(());
            }
        }
        // Always the present end: the file may just have shrunk, which also interrupts a copy.
        self.check_end(end)?;
        Ok(descriptor::write(&self.backing.file, buffers, self.offset() + at)?)
    }

    fn discard(&mut self, buffers: &IoVec) -> OpResult {
        self.check_writable()?;
        if !self.geometry.discards {
            return Err(IoError::System);
        }
        if let Some(span) = super::span(buffers) {
            self.check_end(self.offset() + span.end())?;
        }
        for range in ranges(buffers) {
            let at = self.offset() + range.at;
            let mut punched = descriptor::punch(&self.backing.file, at, range.bytes);
            if punched.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
                // A device that is claimed, as ours are, drops only stable data from the
                // page cache.
                self.flush()?;
                punched = descriptor::punch(&self.backing.file, at, range.bytes);
            }
            punched?;
        }
        Ok(())
    }

    fn flush(&mut self) -> OpResult {
        if let Some(fault) = self.failed {
            self.completed.settle(Err(fault));
            return Err(fault);
        }
        // `fdatasync` also covers what was written through the mapping: the first store to a
        // clean page marks it dirty in the page cache, and `msync(MS_SYNC)` makes the same call
        // in the kernel, for a range.
        let result = self.backing.file.sync_data().map_err(|why| IoError::from(why).of_sync());
        self.failed = result.err();
        self.completed.settle(result);
        result
    }

    fn measure(&mut self) {
        let Some(bytes) = self.backing.resized() else { return };
        let map = |_: &Mapping| map(&self.backing, bytes);
        if let Ok(mapping) = self.mapping.as_ref().map(map).transpose() {
            self.mapping = mapping;
            self.backing.bytes = bytes;
            self.geometry.sectors = bytes / SECTOR_BYTES;
        }
    }

    fn check_writable(&self) -> OpResult {
        let refused = self.backing.options.read_only || self.failed.is_some();
        if refused { Err(IoError::ReadOnly) } else { Ok(()) }
    }

    /// As [`Self::check_end`], but queries the end only once in a turn. For copies from and to
    /// the mapping: they cannot extend a file.
    #[inline]
    fn see_end(&mut self, end: u64) -> OpResult {
        if end > self.end_seen {
            self.end_seen = self.backing.bytes_now()?;
        }
        if end <= self.end_seen { Ok(()) } else { Err(IoError::Media) }
    }

    /// Checks that the file still reaches the end of an operation.
    fn check_end(&self, end: u64) -> OpResult {
        if end <= self.backing.bytes_now()? { Ok(()) } else { Err(IoError::Media) }
    }

    /// Where it starts in the file.
    fn offset(&self) -> u64 {
        self.backing.options.offset_bytes
    }

    fn end_of(&self, at: u64, buffers: &IoVec) -> u64 {
        self.offset() + at + buffers.len() as u64
    }
}

impl Store for MmapStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn degraded(&self) -> Option<IoError> {
        self.failed
    }

    fn degrade(&mut self, fault: IoError) {
        self.failed.get_or_insert(fault);
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let mut op = self.completed.admit(op)?;
        let result = self.execute(&mut op);
        let unstable =
            op.kind.writes() && !self.is_volatile && result.is_ok() && !planted(Bug::AckBeforeStable);
        if unstable {
            self.completed.wait(op.token);
        } else {
            self.completed.push(op.token, result);
        }
        Ok(())
    }

    fn prefetch(&self, sector: u64, sectors: u64) {
        if let Some(mapping) = &self.mapping
            && let Some(at) = sector.checked_mul(SECTOR_BYTES).and_then(|at| usize::try_from(at).ok())
        {
            mapping.prefetch(at, (sectors * SECTOR_BYTES).min(FORESEEN_MAX) as usize);
        }
    }

    /// Operations that are one copy from or to the mapping.
    fn try_inline(&mut self, op: &mut Op) -> Option<OpResult> {
        let at_once = match op.kind {
            Kind::Read => true,
            Kind::Write => self.is_volatile,
            Kind::Flush | Kind::Discard | Kind::Measure => false,
        };
        (at_once && self.mapping.is_some()).then(|| self.execute(op))
    }

    fn kick(&mut self) {
        self.end_seen = 0;
    }

    fn complete(&mut self) -> Option<Completion> {
        if self.completed.only_waits() {
            // The result goes to every write that waits for it.
            let _ = self.flush();
        }
        let completion = self.completed.pop();
        if completion.is_none() {
            // Operations that had to wait may have asked for it since the kick.
            self.end_seen = 0;
        }
        completion
    }
}

/// Maps the extent. Writable only if writes use the mapping: nothing can change a durable
/// store except through its descriptor, not even a bug.
fn map(backing: &Backing, bytes: u64) -> Result<Mapping, OpenError> {
    let (options, file) = (&backing.options, &backing.file);
    let writable = !options.read_only && options.durability == Durability::Volatile;
    let mut mapping = Mapping::new(file, options.offset_bytes, bytes, writable)
        .map_err(|source| OpenError::system(&options.path, "map", source))?;
    if options.huge && !file_facts::is_huge(file) {
        mapping.ask_for_huge_pages().map_err(|source| {
            let what = "the kernel has no huge pages for it";
            OpenError::new(&options.path, what, "leave huge out").because(source)
        })?;
    }
    if options.pin {
        mapping.pin().map_err(|source| unpinnable(options, bytes).because(source))?;
    } else if file_facts::is_resident(file) {
        mapping.populate();
    }
    Ok(mapping)
}

fn unpinnable(options: &OpenOptions, bytes: u64) -> OpenError {
    let limit = locked_limit();
    let what = format!("its {bytes} bytes cannot be pinned, and the limit for locked memory is {limit}");
    let remedy =
        "raise it (`ulimit -l`, LimitMEMLOCK=), see that the host has memory to spare, or leave pin out";
    OpenError::new(&options.path, what, remedy)
}

/// The limit for locked memory of this process, as text; "unknown" to a worker, which maps a
/// grown file again. There `getrlimit` is forbidden too, and rustix does not expect it to fail.
fn locked_limit() -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let row = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    row.and_then(|row| row.split_whitespace().next()).unwrap_or("unknown").to_owned()
}
