//! The directory: which worker owns which export. All workers share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Addressee;
use crate::wire::DropReason;
use crate::wire::aoe::{Address, Header};

/// The owner of an export: a worker, and an index in its export set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Index of the worker.
    pub worker: u16,
    /// Index of the export in the worker's export set.
    pub export: u16,
}

/// Maximum number of rows that a step looks at.
const STEP_MAX: usize = 64;

/// Where a request to several exports goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// To this export.
    To(Address, Owner),
    /// Past this export and those before it: none of them is addressed.
    Past(Address),
    /// There are no more.
    End,
}

/// Notes that workers make about an export, shared by all directories that list it.
#[derive(Debug, Default)]
struct Notes {
    /// It accepts no more writes after a failure.
    degraded: AtomicBool,
    /// Size in sectors; 0 if none was noted.
    sectors: AtomicU64,
    /// Its store does not respond.
    stuck: AtomicBool,
    /// A host has sent it any request other than a query.
    used: AtomicBool,
    /// Number of requests of hosts to change what hosts can set.
    host_changes: AtomicU64,
}

/// All exports of all workers, by address. Immutable except for the notes: when exports
/// are added or removed, a new directory replaces it.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Sorted by address.
    rows: Vec<(Address, Owner)>,
    /// One entry per row.
    notes: Vec<Arc<Notes>>,
}

impl Directory {
    /// A directory of these exports.
    pub fn new(mut rows: Vec<(Address, Owner)>) -> Self {
        rows.sort_unstable_by_key(|(address, _)| *address);
        let notes = rows.iter().map(|_| Arc::default()).collect();
        Self { rows, notes }
    }

    /// A copy with this export added, or moved to another owner.
    #[must_use]
    pub fn with(&self, address: Address, owner: Owner) -> Self {
        let mut next = self.without(address);
        let at = next.rows.partition_point(|(other, _)| *other < address);
        next.rows.insert(at, (address, owner));
        next.notes.insert(at, Arc::default());
        next
    }

    /// A copy without this export.
    #[must_use]
    pub fn without(&self, address: Address) -> Self {
        let mut next = self.clone();
        if let Some(at) = next.find_row(address) {
            next.rows.remove(at);
            next.notes.remove(at);
        }
        next
    }

    /// Notes that an export accepts no more writes.
    pub fn mark_degraded(&self, address: Address) {
        if let Some(notes) = self.notes_of(address) {
            notes.degraded.store(true, Ordering::Relaxed);
        }
    }

    /// Notes whether the store of an export is stuck.
    pub fn mark_stuck(&self, address: Address, stuck: bool) {
        if let Some(notes) = self.notes_of(address) {
            notes.stuck.store(stuck, Ordering::Relaxed);
        }
    }

    /// Notes that hosts use an export.
    pub fn mark_used(&self, address: Address) {
        if let Some(notes) = self.notes_of(address) {
            notes.used.store(true, Ordering::Relaxed);
        }
    }

    /// The exports that hosts use.
    pub fn used(&self) -> impl Iterator<Item = Address> + '_ {
        self.marked(|notes| &notes.used)
    }

    /// The exports that accept no more writes.
    pub fn degraded(&self) -> impl Iterator<Item = Address> + '_ {
        self.marked(|notes| &notes.degraded)
    }

    /// The exports whose store does not respond.
    pub fn stuck(&self) -> impl Iterator<Item = Address> + '_ {
        self.marked(|notes| &notes.stuck)
    }

    fn marked(&self, flag: fn(&Notes) -> &AtomicBool) -> impl Iterator<Item = Address> + '_ {
        let marked = self.rows.iter().zip(&self.notes).filter(move |(_, n)| flag(n).load(Ordering::Relaxed));
        marked.map(|((address, _), _)| *address)
    }

    /// Notes the size of an export, to be reported to the operator.
    pub fn note_size(&self, address: Address, sectors: u64) {
        if let Some(notes) = self.notes_of(address) {
            notes.sectors.store(sectors, Ordering::Relaxed);
        }
    }

    /// The sizes noted last, in sectors.
    pub fn sizes(&self) -> impl Iterator<Item = (Address, u64)> + '_ {
        let sizes = self.notes.iter().map(|notes| notes.sectors.load(Ordering::Relaxed));
        self.rows.iter().map(|(address, _)| *address).zip(sizes)
    }

    /// Counts a request of a host to change what hosts can set.
    pub fn note_host_change(&self, address: Address) {
        if let Some(notes) = self.notes_of(address) {
            notes.host_changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The numbers of these requests.
    pub fn host_changes(&self) -> impl Iterator<Item = (Address, u64)> + '_ {
        let counts = self.notes.iter().map(|notes| notes.host_changes.load(Ordering::Relaxed));
        self.rows.iter().map(|(address, _)| *address).zip(counts)
    }

    fn notes_of(&self, address: Address) -> Option<&Notes> {
        self.find_row(address).and_then(|at| self.notes.get(at)).map(Arc::as_ref)
    }

    /// The owner of the export with this address.
    pub fn owner(&self, address: Address) -> Option<Owner> {
        self.find_row(address).and_then(|at| self.rows.get(at)).map(|(_, owner)| *owner)
    }

    fn find_row(&self, address: Address) -> Option<usize> {
        self.rows.binary_search_by_key(&address, |(address, _)| *address).ok()
    }

    /// Where a request goes.
    #[inline]
    pub(super) fn addressee(&self, header: &Header) -> Addressee {
        match self.owner(header.address()) {
            Some(owner) => Addressee::One(owner),
            None if header.is_broadcast() && self.step(header, None) != Step::End => Addressee::Several,
            None => Addressee::None(DropReason::Address),
        }
    }

    /// Looks for the next export that a request to several addresses, after the one visited
    /// last. Takes a bounded time, however many exports there are.
    pub(super) fn step(&self, header: &Header, visited: Option<Address>) -> Step {
        let start = visited.map_or(0, |last| self.rows.partition_point(|(address, _)| *address <= last));
        let rows = self.rows.get(start..).unwrap_or(&[]);
        let near = rows.get(..STEP_MAX).unwrap_or(rows);
        match (near.iter().find(|(address, _)| header.is_for(*address)), near.last()) {
            (Some((address, owner)), _) => Step::To(*address, *owner),
            (None, Some((address, _))) if near.len() < rows.len() => Step::Past(*address),
            (None, _) => Step::End,
        }
    }

    /// All addresses and owners, sorted by address.
    pub fn rows(&self) -> &[(Address, Owner)] {
        &self.rows
    }
}
