//! The bytes of the disk: what is stable, and what is written over it and may
//! still be lost.

use std::collections::{BTreeMap, HashMap};

use super::SimStats;
use super::chance::Chance;
use crate::store::SECTOR_BYTES;

const SECTOR: usize = SECTOR_BYTES as usize;

/// The medium and the volatile cache in front of it.
#[derive(Debug)]
pub(super) struct Cache {
    /// What a read finds.
    visible: Vec<u8>,
    /// What is left after a crash that takes all the rest.
    stable: Vec<u8>,
    /// For each sector what was written over the stable bytes, oldest first.
    unstable: BTreeMap<u64, Vec<Version>>,
    /// Contents of sectors, by their hash: how often each was written, and
    /// whether it was ever stable.
    known: HashMap<(u64, u64), Known>,
}

#[derive(Debug)]
struct Version {
    /// The call that wrote it.
    serial: u64,
    bytes: Box<[u8]>,
    /// When that call ended.
    finished: Option<u64>,
    /// A sync that should have made it stable has failed.
    lost: bool,
}

#[derive(Clone, Copy, Default, Debug)]
struct Known {
    written: u32,
    stable: bool,
}

impl Cache {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            visible: vec![0; bytes],
            stable: vec![0; bytes],
            unstable: BTreeMap::new(),
            known: HashMap::new(),
        }
    }

    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    pub(super) fn resize(&mut self, bytes: usize) {
        self.visible.resize(bytes, 0);
        self.stable.resize(bytes, 0);
        self.unstable.retain(|sector, _| *sector < bytes as u64 / SECTOR_BYTES);
    }

    /// Fills `to` from there; the bytes that there were.
    pub(super) fn read(&self, at: u64, to: &mut [u8]) -> usize {
        let from = self.visible.get(at as usize..).unwrap_or(&[]);
        let n = to.len().min(from.len());
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        n
    }

    /// Writes the sectors of `from` that `whether` draws. Beyond the end, the
    /// disk grows, as a file does.
    pub(super) fn write(
        &mut self,
        at: u64,
        from: &[u8],
        serial: u64,
        chance: &mut Chance,
        whether: impl Fn(&mut Chance) -> bool,
    ) {
        let end = at as usize + from.len();
        if end > self.visible.len() {
            self.visible.resize(end, 0);
            self.stable.resize(end, 0);
        }
        for (sector, bytes) in (at / SECTOR_BYTES..).zip(from.chunks_exact(SECTOR)) {
            if !whether(chance) {
                continue;
            }
            if let Some(to) = sector_mut(&mut self.visible, sector) {
                to.copy_from_slice(bytes);
            }
            self.known.entry((sector, hash(bytes))).or_default().written += 1;
            let version = Version { serial, bytes: bytes.into(), finished: None, lost: false };
            self.unstable.entry(sector).or_default().push(version);
        }
    }

    /// Writes zeros.
    pub(super) fn punch(&mut self, at: u64, bytes: u64, serial: u64, chance: &mut Chance) {
        let end = (at + bytes).min(self.visible.len() as u64);
        let zeros = vec![0; end.saturating_sub(at) as usize];
        self.write(at, &zeros, serial, chance, |_| true);
    }

    /// A call that wrote has ended: its sectors wait for a sync from now on,
    /// or are stable already.
    pub(super) fn finish(&mut self, serial: u64, moment: u64, stable: bool) {
        for versions in self.unstable.values_mut() {
            for version in versions.iter_mut().filter(|version| version.serial == serial) {
                version.finished = Some(moment);
            }
        }
        if stable {
            self.settle(|version| version.serial == serial);
        }
    }

    /// A sync that was pushed at this moment has ended.
    pub(super) fn sync(&mut self, pushed: u64, good: bool, chance: &mut Chance) {
        let covered = |version: &Version| version.finished.is_some_and(|finished| finished < pushed);
        if good {
            return self.settle(|version| covered(version) && !version.lost);
        }
        for version in self.unstable.values_mut().flatten().filter(|version| covered(version)) {
            version.lost |= chance.below(4) != 0;
        }
    }

    /// Makes stable what `which` names, and forgets what that was written over.
    fn settle(&mut self, which: impl Fn(&Version) -> bool) {
        let Self { stable, unstable, known, .. } = self;
        unstable.retain(|&sector, versions| {
            let Some(last) = versions.iter().rposition(&which) else { return true };
            for version in versions.drain(..=last) {
                if which(&version) {
                    known.entry((sector, hash(&version.bytes))).or_default().stable = true;
                    if let Some(to) = sector_mut(stable, sector) {
                        to.copy_from_slice(&version.bytes);
                    }
                }
            }
            !versions.is_empty()
        });
    }

    /// Each sector keeps what was stable or any that was written since.
    pub(super) fn crash(&mut self, chance: &mut Chance, happened: &mut SimStats) {
        // For each call that wrote: whether it has kept sectors, and lost some.
        let mut calls: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
        for (sector, versions) in std::mem::take(&mut self.unstable) {
            let kept = chance.below(versions.len() as u64 + 1).checked_sub(1);
            for (at, version) in (0..).zip(&versions) {
                let call = calls.entry(version.serial).or_default();
                *(if kept == Some(at) { &mut call.0 } else { &mut call.1 }) = true;
            }
            happened.sectors_lost += u64::from(kept != Some(versions.len() as u64 - 1));
            let kept = kept.and_then(|kept| versions.get(kept as usize));
            if let (Some(version), Some(to)) = (kept, sector_mut(&mut self.stable, sector)) {
                self.known.entry((sector, hash(&version.bytes))).or_default().stable = true;
                to.copy_from_slice(&version.bytes);
            }
        }
        happened.torn += calls.values().filter(|call| **call == (true, true)).count() as u64;
        self.visible.clone_from(&self.stable);
    }

    pub(super) fn was_stable(&self, sector: u64, bytes: &[u8]) -> bool {
        self.known.get(&(sector, hash(bytes))).is_some_and(|known| known.stable)
    }

    pub(super) fn times_written(&self, sector: u64, bytes: &[u8]) -> u32 {
        self.known.get(&(sector, hash(bytes))).map_or(0, |known| known.written)
    }
}

fn sector_mut(bytes: &mut [u8], sector: u64) -> Option<&mut [u8]> {
    let at = sector as usize * SECTOR;
    bytes.get_mut(at..at + SECTOR)
}

fn hash(bytes: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(bytes)
}
