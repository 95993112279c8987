//! The store on a memory mapping, for files that are in memory. Without the mapping it uses
//! blocking calls, for a kernel without io_uring.
//!
//! - A **read** is one guarded copy from the mapping, or one `preadv`.
//! - **Durable writes** go through the descriptor, which is coherent with the mapping and
//!   reports a full or broken medium as an error, and become stable as a group: (1) the
//!   current size is checked, so that a write never restores a part of the file that was
//!   cut off; (2) every byte is in the page cache or the write fails; (3) when the worker
//!   polls for completions, one `fdatasync` covers every write since the last one; (4) when
//!   it returns, their data is on the medium; only then (5) their completions are queued. A
//!   crash before (5) loses only writes that were not acknowledged. A worker that received
//!   one request syncs after one write; one that received sixty syncs once for all of them.
//! - A **volatile write** is a guarded copy into the mapping, or one `pwritev`.
//! - If a guarded copy is **interrupted**, the same transfer is repeated through the
//!   descriptor, which reports the reason as an errno, or succeeds if the problem has
//!   passed.
//! - A **discard** punches holes through the descriptor, one for each range, which are
//!   visible in the mapping at once; a durable one then waits for the sync of the group, as
//!   a write does.
//! - A **failed flush** leaves pages that are marked clean but are not on the medium, and a
//!   second flush would report success. So the error is permanent: the store refuses all
//!   further writes and returns the error for every flush.
//!
//! A truncation in the instant between (1) and (2) is not detected; the lock (see `lock`)
//! keeps other programs away.

use std::io;

use super::completion_queue::CompletionQueue;
use super::descriptor::{self, Stopped};
use super::discard;
use super::file_facts;
use super::mapping::Mapping;
use super::open::Backing;
use super::{
    Access, Completion, Durability, Full, Geometry, IoError, IoVec, Kind, Op, OpenError, OpenOptions,
    SECTOR_BYTES, Store, Warning, ranges,
};
use crate::plant::{Bug, planted};

/// The most bytes of a request that are prefetched: the data of the longest reply. The
/// count of an unchecked frame may be larger.
const FORESEEN_MAX: u64 = 16 * SECTOR_BYTES;

/// How a write reaches the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writes {
    Refused,
    /// To the mapping, or to the page cache; stable after a flush.
    Volatile,
    /// Through the descriptor; complete after an `fdatasync`.
    Synced,
}

/// A file or block device, mapped or accessed through its descriptor.
#[derive(Debug)]
pub struct MmapStore {
    /// `None` for access through the descriptor.
    mapping: Option<Mapping>,
    backing: Backing,
    geometry: Geometry,
    writes: Writes,
    pages: Pages,
    failed: Option<IoError>,
    completed: CompletionQueue,
    /// The end of the file as last seen in this turn, so that a batch of zero reads queries
    /// it once.
    end_seen: u64,
}

impl MmapStore {
    /// Opens, locks and maps what `options` describe.
    pub fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        let backing = Backing::open(options)?;
        let mapped = match options.access {
            Access::Mapped => true,
            Access::Direct | Access::Cached | Access::Descriptor => false,
            Access::Fitting => file_facts::is_resident(backing.file()),
        };
        Self::over(backing, options, mapped)
    }

    /// A store on an opened file, mapped or through its descriptor.
    pub(super) fn over(backing: Backing, options: &OpenOptions, mapped: bool) -> Result<Self, OpenError> {
        let writes = match (options.read_only, options.durability) {
            (true, _) => Writes::Refused,
            (false, Durability::Volatile) => Writes::Volatile,
            (false, Durability::Durable) => Writes::Synced,
        };
        let pages = Pages { pinned: options.pin, huge: options.huge && !file_facts::is_huge(backing.file()) };
        let map = || map(&backing, backing.bytes(), writes, pages);
        let mapping = mapped.then(map).transpose();
        let mapping = mapping.map_err(|refused| refused.error(options, backing.bytes()))?;
        let geometry = Geometry {
            discards: backing.discards(),
            ..Geometry::new(backing.bytes() / SECTOR_BYTES, backing.physical_bytes())
        };
        Ok(Self {
            mapping,
            backing,
            geometry,
            writes,
            pages,
            failed: None,
            completed: CompletionQueue::new(),
            end_seen: 0,
        })
    }

    /// Warnings for the operator about the file.
    pub fn warnings(&self) -> &[Warning] {
        self.backing.warnings()
    }

    /// Whether reads use a mapping instead of the descriptor.
    pub fn is_mapped(&self) -> bool {
        self.mapping.is_some()
    }

    fn execute(&mut self, op: &mut Op) -> Result<(), IoError> {
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

    fn read(&mut self, at: u64, buffers: &mut IoVec) -> Result<(), IoError> {
        let copied = self.mapping.as_ref().map(|mapping| mapping.read(at as usize, buffers));
        if copied != Some(Ok(())) {
            return Ok(descriptor::read(self.backing.file(), buffers, self.backing.offset() + at)?);
        }
        // In a truncated file, the rest of the last page reads as zeros without SIGBUS.
        // Then the last byte of the read is such a zero, so any other last byte avoids the
        // query.
        if buffers.last() == Some(0) && self.end_of(at, buffers) > self.end_seen {
            self.end_seen = self.backing.bytes_now()?;
            if self.end_of(at, buffers) > self.end_seen {
                return Err(IoError::Media);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, buffers: &IoVec) -> Result<(), IoError> {
        self.check_writable()?;
        self.check_end(self.end_of(at, buffers))?;
        if self.writes == Writes::Volatile
            && let Some(mapping) = &self.mapping
        {
            if mapping.write(at as usize, buffers).is_ok() {
                return Ok(());
            }
            // It may have been interrupted because the file has just shrunk.
            self.check_end(self.end_of(at, buffers))?;
        }
        Ok(descriptor::write(self.backing.file(), buffers, self.backing.offset() + at)?)
    }

    fn discard(&mut self, buffers: &IoVec) -> Result<(), IoError> {
        self.check_writable()?;
        if !self.geometry.discards {
            return Err(IoError::System);
        }
        if let Some(span) = super::span(buffers) {
            self.check_end(self.backing.offset() + span.end())?;
        }
        for range in ranges(buffers) {
            let at = self.backing.offset() + range.at;
            let mut punched = discard::punch(self.backing.file(), at, range.bytes);
            if punched == Err(Stopped::Errno(libc::EBUSY)) {
                // A device that is claimed, as ours are, drops only stable data from the
                // page cache.
                self.flush()?;
                punched = discard::punch(self.backing.file(), at, range.bytes);
            }
            punched?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        if let Some(fault) = self.failed {
            self.completed.settle(Err(fault));
            return Err(fault);
        }
        let result = descriptor::sync(self.backing.file()).map_err(|why| IoError::from(why).of_sync());
        self.failed = result.err();
        self.completed.settle(result);
        result
    }

    fn measure(&mut self) {
        let Some(bytes) = self.backing.resized() else { return };
        let map = |_: &Mapping| map(&self.backing, bytes, self.writes, self.pages);
        if let Ok(mapping) = self.mapping.as_ref().map(map).transpose() {
            self.mapping = mapping;
            self.backing.set_bytes(bytes);
            self.geometry.sectors = bytes / SECTOR_BYTES;
        }
    }

    fn check_writable(&self) -> Result<(), IoError> {
        let refused = self.writes == Writes::Refused || self.failed.is_some();
        if refused { Err(IoError::ReadOnly) } else { Ok(()) }
    }

    /// Checks that the file still reaches the end of an operation.
    fn check_end(&self, end: u64) -> Result<(), IoError> {
        if end <= self.backing.bytes_now()? { Ok(()) } else { Err(IoError::Media) }
    }

    fn end_of(&self, at: u64, buffers: &IoVec) -> u64 {
        self.backing.offset() + at + buffers.len() as u64
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
        let unstable = op.kind.writes()
            && self.writes == Writes::Synced
            && result.is_ok()
            && !planted(Bug::AckBeforeStable);
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
    fn try_inline(&mut self, op: &mut Op) -> Option<Result<(), IoError>> {
        let at_once = match op.kind {
            Kind::Read => true,
            Kind::Write => self.writes == Writes::Volatile,
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
        self.completed.pop()
    }
}

/// The operator's options for the pages of a mapping.
#[derive(Clone, Copy, Debug)]
struct Pages {
    pinned: bool,
    huge: bool,
}

/// Why mapping failed.
enum Unmapped {
    Refused(io::Error),
    NotHuge(io::Error),
    Unpinnable(io::Error),
}

impl Unmapped {
    fn error(self, options: &OpenOptions, bytes: u64) -> OpenError {
        let path = &options.path;
        match self {
            Self::Refused(source) => OpenError::system(path, "map", source),
            Self::NotHuge(source) => {
                OpenError::new(path, "the kernel has no huge pages for it", "leave huge out").because(source)
            }
            Self::Unpinnable(source) => {
                let limit = locked_limit();
                let what =
                    format!("its {bytes} bytes cannot be pinned, and the limit for locked memory is {limit}");
                let remedy = "raise it (`ulimit -l`, LimitMEMLOCK=), see that the host has memory to spare, or leave pin out";
                OpenError::new(path, what, remedy).because(source)
            }
        }
    }
}

/// The limit for locked memory of this process, as text.
fn locked_limit() -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let row = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    row.and_then(|row| row.split_whitespace().next()).unwrap_or("unknown").to_owned()
}

/// Maps the extent. Writable only if writes use the mapping: nothing can change a durable
/// store except through its descriptor, not even a bug.
fn map(backing: &Backing, bytes: u64, writes: Writes, pages: Pages) -> Result<Mapping, Unmapped> {
    let mapping = Mapping::new(backing.file(), backing.offset(), bytes, writes == Writes::Volatile);
    let mut mapping = mapping.map_err(Unmapped::Refused)?;
    if pages.huge {
        mapping.ask_for_huge_pages().map_err(Unmapped::NotHuge)?;
    }
    if pages.pinned {
        mapping.pin().map_err(Unmapped::Unpinnable)?;
    } else if file_facts::is_resident(backing.file()) {
        mapping.populate();
    }
    Ok(mapping)
}
