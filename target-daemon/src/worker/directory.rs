//! Who owns which export: made once, shared by all workers, read only.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::wire::aoe::{Address, Header};

/// The place of an export: its worker, and its index there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Index of the worker.
    pub worker: u16,
    /// Index of the export in the worker's shelf.
    pub export: u16,
}

/// All exports of all workers, by address.
#[derive(Debug, Default)]
pub struct Directory {
    /// Sorted by address.
    rows: Vec<(Address, Owner)>,
    /// Whether the export of each row takes no more writes after a fault.
    degraded: Vec<AtomicBool>,
    /// The size of the export of each row in sectors, if it was noted.
    sizes: Vec<AtomicU64>,
    /// Whether the store of each does not answer.
    stuck: Vec<AtomicBool>,
}

impl Directory {
    /// A directory of these exports.
    pub fn new(mut rows: Vec<(Address, Owner)>) -> Self {
        rows.sort_unstable_by_key(|(address, _)| *address);
        let flags = || rows.iter().map(|_| AtomicBool::new(false)).collect();
        let sizes = rows.iter().map(|_| AtomicU64::new(0)).collect();
        Self { degraded: flags(), stuck: flags(), sizes, rows }
    }

    /// Notes that an export takes no more writes.
    pub fn mark_degraded(&self, address: Address) {
        self.set(&self.degraded, address, true);
    }

    /// Notes that the store of an export does not answer, or does again.
    pub fn mark_stuck(&self, address: Address, stuck: bool) {
        self.set(&self.stuck, address, stuck);
    }

    /// The exports that take no more writes.
    pub fn degraded(&self) -> impl Iterator<Item = Address> + '_ {
        self.marked(&self.degraded)
    }

    /// The exports whose stores do not answer.
    pub fn stuck(&self) -> impl Iterator<Item = Address> + '_ {
        self.marked(&self.stuck)
    }

    fn set(&self, flags: &[AtomicBool], address: Address, value: bool) {
        if let Some(flag) = self.find_row(address).and_then(|at| flags.get(at)) {
            flag.store(value, Ordering::Relaxed);
        }
    }

    fn marked<'a>(&'a self, flags: &'a [AtomicBool]) -> impl Iterator<Item = Address> + 'a {
        let marked = self.rows.iter().zip(flags).filter(|(_, flag)| flag.load(Ordering::Relaxed));
        marked.map(|((address, _), _)| *address)
    }

    /// Notes the size of an export, for whoever tells the operator.
    pub fn note_size(&self, address: Address, sectors: u64) {
        if let Some(size) = self.find_row(address).and_then(|at| self.sizes.get(at)) {
            size.store(sectors, Ordering::Relaxed);
        }
    }

    /// The sizes that were noted last, in sectors.
    pub fn sizes(&self) -> impl Iterator<Item = (Address, u64)> + '_ {
        let sizes = self.sizes.iter().map(|size| size.load(Ordering::Relaxed));
        self.rows.iter().map(|(address, _)| *address).zip(sizes)
    }

    /// The owner of the export with this address.
    pub fn owner(&self, address: Address) -> Option<Owner> {
        self.find_row(address).and_then(|at| self.rows.get(at)).map(|(_, owner)| *owner)
    }

    fn find_row(&self, address: Address) -> Option<usize> {
        self.rows.binary_search_by_key(&address, |(address, _)| *address).ok()
    }

    /// The owners of the exports that a request is for: one, or with a
    /// broadcast shelf or slot any number.
    pub fn find<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = Owner> + 'a {
        let exact = Address { shelf: header.shelf, slot: header.slot };
        let rows = match self.rows.binary_search_by_key(&exact, |(address, _)| *address) {
            Ok(at) => self.rows.get(at..=at),
            Err(_) if header.is_broadcast() => Some(self.rows.as_slice()),
            Err(_) => None,
        };
        let rows = rows.unwrap_or(&[]).iter();
        rows.filter(|(address, _)| header.is_for(*address)).map(|(_, owner)| *owner)
    }

    /// Every address and its owner, in order.
    pub fn rows(&self) -> &[(Address, Owner)] {
        &self.rows
    }
}
