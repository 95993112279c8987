//! The BPF maps through which user space controls the XDP program and reads its counters.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, XskMap};
use xblade_ebpf::{
    ACL, ACL_MAX, COUNTERS, Counter, LANES, OWNERS, OWNERS_MAX, SETTINGS, Settings, first_lane,
};

/// A map of the running program could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The access list is longer than its map.
    #[error("the access list has {0} addresses, the most is {ACL_MAX}: shorten it")]
    AclTooLong(usize),
    /// The object lacks the map, or it has the wrong type: a build error.
    #[error("the XDP program has no usable map `{0}`: rebuild xblade")]
    Missing(&'static str),
    /// The kernel refused.
    #[error("cannot access the map `{map}` of the XDP program")]
    Kernel {
        /// The map.
        map: &'static str,
        /// The kernel's error.
        source: Box<aya::maps::MapError>,
    },
}

/// An export, and the worker that owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its shelf.
    pub shelf: u16,
    /// Its slot.
    pub slot: u8,
    /// The index of its worker.
    pub worker: u16,
}

/// The maps of one loaded program.
pub(super) struct Maps {
    lanes: XskMap<MapData>,
    owners: HashMap<MapData, u32, u32>,
    /// What is in `owners`.
    owned: BTreeMap<u32, u32>,
    workers: u8,
    counters: PerCpuArray<MapData, u64>,
    acl: HashMap<MapData, [u8; 6], u8>,
    settings: Array<MapData, [u8; 8]>,
}

impl Maps {
    /// Takes the maps out of the loaded object.
    pub(super) fn take(ebpf: &mut Ebpf, workers: u8) -> Result<Self, MapError> {
        Ok(Self {
            lanes: take(ebpf, LANES)?,
            owners: take(ebpf, OWNERS)?,
            owned: BTreeMap::new(),
            workers,
            counters: take(ebpf, COUNTERS)?,
            acl: take(ebpf, ACL)?,
            settings: take(ebpf, SETTINGS)?,
        })
    }

    /// [`super::Program::register`].
    pub(super) fn register(&mut self, queue: u32, socket: RawFd) -> Result<(), MapError> {
        self.lanes.set(first_lane(queue, self.workers), socket, 0).map_err(kernel(LANES))
    }

    /// [`super::Program::register_for`].
    pub(super) fn register_for(&mut self, worker: u8, queue: u32, socket: RawFd) -> Result<(), MapError> {
        let lane = first_lane(queue, self.workers) + 1 + u32::from(worker);
        self.lanes.set(lane, socket, 0).map_err(kernel(LANES))
    }

    /// [`super::Program::set_owners`].
    pub(super) fn set_owners(&mut self, owners: impl Iterator<Item = Owned>) -> Result<(), MapError> {
        let row = |owned: Owned| (u32::from(owned.shelf) << 8 | u32::from(owned.slot), owned.worker.into());
        let wanted: BTreeMap<u32, u32> = owners.map(row).take(OWNERS_MAX).collect();
        let gone: Vec<u32> = self.owned.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.owners.remove(&key).map_err(kernel(OWNERS))?;
            self.owned.remove(&key);
        }
        for (key, worker) in wanted {
            if self.owned.get(&key) != Some(&worker) {
                self.owners.insert(key, worker, 0).map_err(kernel(OWNERS))?;
                self.owned.insert(key, worker);
            }
        }
        Ok(())
    }

    /// [`super::Program::unregister`].
    pub(super) fn unregister(&mut self, queue: u32) -> Result<(), MapError> {
        self.lanes.unset(first_lane(queue, self.workers)).map_err(kernel(LANES))
    }

    /// [`super::Program::counters`].
    pub(super) fn counters(&self) -> Result<[u64; Counter::COUNT], MapError> {
        let mut sums = [0_u64; Counter::COUNT];
        for (sum, counter) in sums.iter_mut().zip(Counter::ALL) {
            let cpus = self.counters.get(&(counter as u32), 0).map_err(kernel(COUNTERS))?;
            *sum = cpus.iter().fold(0, |sum, value| sum.wrapping_add(*value));
        }
        Ok(sums)
    }

    /// Replaces the settings.
    pub(super) fn set(&mut self, settings: &Settings) -> Result<(), MapError> {
        self.settings.set(0, settings.to_bytes(), 0).map_err(kernel(SETTINGS))
    }

    /// Replaces the access list. To disable it, the flag is cleared first. To enable it,
    /// the flag is set last, after old addresses were removed to make room for new ones.
    pub(super) fn set_acl(&mut self, settings: &mut Settings, acl: &[[u8; 6]]) -> Result<(), MapError> {
        if acl.len() > ACL_MAX {
            return Err(MapError::AclTooLong(acl.len()));
        }
        let wanted = Settings { acl_on: !acl.is_empty(), ..*settings };
        if !wanted.acl_on {
            self.set(&wanted)?;
            *settings = wanted;
        }
        let listed: Result<Vec<[u8; 6]>, _> = self.acl.keys().collect();
        for gone in listed.map_err(kernel(ACL))?.iter().filter(|mac| !acl.contains(mac)) {
            self.acl.remove(gone).map_err(kernel(ACL))?;
        }
        for mac in acl {
            self.acl.insert(mac, 1, 0).map_err(kernel(ACL))?;
        }
        self.set(&wanted)?;
        *settings = wanted;
        Ok(())
    }
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, MapError> {
    let map = ebpf.take_map(name).ok_or(MapError::Missing(name))?;
    M::try_from(map).map_err(|_| MapError::Missing(name))
}

fn kernel(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> MapError {
    move |source| MapError::Kernel { map, source: Box::new(source) }
}
