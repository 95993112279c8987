//! The store over a mapping: for files and devices that live in memory or are
//! served from the page cache.
//!
//! A file that lies in memory is mapped; any other is reached by its
//! descriptor, unless the operator wants it mapped.
//!
//! - A **read** is one guarded copy from the mapping, or one `preadv`.
//! - **Durable writes** go through the descriptor, which is coherent with the
//!   mapping and reports a full or broken medium as an error, and are made
//!   stable as a group: (1) the present size is checked, so that a write never
//!   brings back a part of the file that somebody cut off; (2) every byte is in
//!   the page cache or the write fails; (3) when the worker comes for
//!   completions, one `fdatasync` covers every write since the last one; (4) it
//!   returned, so their data is on the medium; only then (5) their completions
//!   are queued. A crash before (5) loses only what nobody was told about. A
//!   worker that received one request syncs after one write, one that received
//!   sixty syncs once for all of them.
//! - A **volatile write** is a guarded copy into the mapping, or one `pwritev`.
//! - When a guarded copy is **interrupted**, the same transfer goes through the
//!   descriptor, which says why by its errno (or succeeds, if the trouble has
//!   passed).
//! - A **flush** that failed leaves pages that are marked clean but are not on
//!   the medium, and a second flush would return success. So the fault
//!   stays: the store takes no more writes and answers every flush with it.
//!
//! A truncation in the instant between (1) and (2) goes unnoticed; the lock
//! (see `lock`) is what keeps other programs away.

use super::completed::Completed;
use super::descriptor;
use super::mapping::Mapping;
use super::open::Backing;
use super::remarks;
use super::{
    Access, Buffers, Completion, Durability, Fault, Full, Geometry, Kind, Op, OpenError, OpenOptions,
    SECTOR_BYTES, Store, Warning,
};

/// How a write gets to the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writes {
    Refused,
    /// Into the mapping, or the page cache; stable after a flush.
    Volatile,
    /// Through the descriptor; completed after an `fdatasync`.
    Synced,
}

/// A file or block device, mapped.
#[derive(Debug)]
pub struct MmapStore {
    /// None: by the descriptor.
    mapping: Option<Mapping>,
    backing: Backing,
    geometry: Geometry,
    writes: Writes,
    failed: Option<Fault>,
    completed: Completed,
    /// The file was seen to reach this far since the last harvest, so that a
    /// batch of reads of zeros asks once.
    end_seen: u64,
}

impl MmapStore {
    /// Opens, locks and maps what `options` describe.
    pub fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        let backing = Backing::open(options)?;
        let mapped = match options.access {
            Access::Mapped => true,
            Access::Direct | Access::Cached | Access::Descriptor => false,
            Access::Fitting => remarks::is_resident(backing.file()),
        };
        Self::over(backing, options, mapped)
    }

    /// A store over what has been opened, mapped or by its descriptor.
    pub(super) fn over(backing: Backing, options: &OpenOptions, mapped: bool) -> Result<Self, OpenError> {
        let writes = match (options.read_only, options.durability) {
            (true, _) => Writes::Refused,
            (false, Durability::Volatile) => Writes::Volatile,
            (false, Durability::Durable) => Writes::Synced,
        };
        let map = || map(&backing, backing.bytes(), writes);
        let mapping = mapped.then(map).transpose();
        let mapping = mapping.map_err(|source| OpenError::system(&options.path, "map", source))?;
        let geometry = Geometry::new(backing.bytes() / SECTOR_BYTES, backing.physical_bytes());
        Ok(Self {
            mapping,
            backing,
            geometry,
            writes,
            failed: None,
            completed: Completed::new(),
            end_seen: 0,
        })
    }

    /// What the operator should know about the file, though it was opened.
    pub fn warnings(&self) -> &[Warning] {
        self.backing.warnings()
    }

    /// Whether reads come from a mapping, rather than by the descriptor.
    pub fn is_mapped(&self) -> bool {
        self.mapping.is_some()
    }

    fn execute(&mut self, op: &mut Op) -> Result<(), Fault> {
        let at = op.range_in(self.geometry)?;
        match op.kind {
            Kind::Read => self.read(at, &mut op.buffers),
            Kind::Write => self.write(at, &op.buffers),
            Kind::Flush => self.flush(),
            Kind::Discard => Err(Fault::System),
            Kind::Measure => {
                self.measure();
                Ok(())
            }
        }
    }

    fn read(&mut self, at: u64, buffers: &mut Buffers) -> Result<(), Fault> {
        let copied = self.mapping.as_ref().map(|mapping| mapping.read(at as usize, buffers));
        if copied != Some(Ok(())) {
            return Ok(descriptor::read(self.backing.file(), buffers, self.backing.offset() + at)?);
        }
        // The page with the end of a truncated file reads as zeros behind the
        // end, without SIGBUS. Then the last byte is one of those zeros: any
        // other last byte saves the question.
        if buffers.last() == Some(0) && self.end_of(at, buffers) > self.end_seen {
            self.end_seen = self.backing.bytes_now()?;
            if self.end_of(at, buffers) > self.end_seen {
                return Err(Fault::Media);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, buffers: &Buffers) -> Result<(), Fault> {
        if self.writes == Writes::Refused || self.failed.is_some() {
            return Err(Fault::ReadOnly);
        }
        self.check_end(at, buffers)?;
        if self.writes == Writes::Volatile
            && let Some(mapping) = &self.mapping
        {
            if mapping.write(at as usize, buffers).is_ok() {
                return Ok(());
            }
            // It may have been interrupted because the file has shrunk just now.
            self.check_end(at, buffers)?;
        }
        Ok(descriptor::write(self.backing.file(), buffers, self.backing.offset() + at)?)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if let Some(fault) = self.failed {
            self.completed.settle(Err(fault));
            return Err(fault);
        }
        let result = descriptor::sync(self.backing.file()).map_err(Fault::from);
        self.failed = result.err();
        self.completed.settle(result);
        result
    }

    fn measure(&mut self) {
        let Some(bytes) = self.backing.resized() else { return };
        let map = |_: &Mapping| map(&self.backing, bytes, self.writes);
        if let Ok(mapping) = self.mapping.as_ref().map(map).transpose() {
            self.mapping = mapping;
            self.backing.set_bytes(bytes);
            self.geometry.sectors = bytes / SECTOR_BYTES;
        }
    }

    /// Whether the file still reaches as far as the operation.
    fn check_end(&self, at: u64, buffers: &Buffers) -> Result<(), Fault> {
        if self.end_of(at, buffers) <= self.backing.bytes_now()? { Ok(()) } else { Err(Fault::Media) }
    }

    fn end_of(&self, at: u64, buffers: &Buffers) -> u64 {
        self.backing.offset() + at + buffers.len() as u64
    }
}

impl Store for MmapStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn degraded(&self) -> Option<Fault> {
        self.failed
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let mut op = self.completed.admit(op)?;
        let result = self.execute(&mut op);
        let unstable = op.kind == Kind::Write && self.writes == Writes::Synced && result.is_ok();
        if unstable {
            self.completed.wait(op.token);
        } else {
            self.completed.push(op.token, result);
        }
        Ok(())
    }

    fn complete(&mut self) -> Option<Completion> {
        self.end_seen = 0;
        if self.completed.only_waits() {
            // The result goes to every write that waits for it.
            let _ = self.flush();
        }
        self.completed.pop()
    }
}

/// Writable only if writes go that way: a durable store cannot be changed past
/// its descriptor, not even by a bug.
fn map(backing: &Backing, bytes: u64, writes: Writes) -> std::io::Result<Mapping> {
    let mapping = Mapping::new(backing.file(), backing.offset(), bytes, writes == Writes::Volatile)?;
    if remarks::is_resident(backing.file()) {
        mapping.populate();
    }
    Ok(mapping)
}
