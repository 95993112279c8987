//! One pause: an old write waits, and a newer one is acknowledged.
//!
//! ```text
//! old lane:  A ───────────── waits ───────────────────────► ?      read
//! new lane:      A again ──► acknowledged, B ──► acknowledged       │
//! target:    └────────── stopped ───────────────┘ continues ────────┴► B
//! ```

use std::time::{Duration, Instant};

use super::case::{Case, Who};
use super::cores::Cores;
use super::host::{Extent, Hosts, OpId, place, value_of};
use super::qmp::Qmp;
use super::stop::{Freezer, Stopped, Target};
use super::wire::{Lane, Way};
use crate::crash::random::Random;
use crate::sim::value::Value;

/// The longest time for which a late worker gets no core.
const LATE_MAX: Duration = Duration::from_millis(50);

/// The same in a VM, which is emulated.
const LATE_IN_VM_MAX: Duration = Duration::from_millis(300);

/// When the resend is repeated while a worker wakes late.
const RESEND_LATE: Duration = Duration::from_millis(3);

/// The same in a VM.
const RESEND_LATE_IN_VM: Duration = Duration::from_millis(30);

/// The longest time between the writes before a pause and the pause.
const SETTLE_MAX_US: u64 = 3000;

/// The outcome of a pause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The newer write is there.
    Good,
    /// The newer write was acknowledged but is not there; the text describes what is.
    Stale(String),
    /// No acknowledgement, so nothing was proved.
    None,
}

/// The parts of the daemon that concern a pause.
pub struct Subject<'a> {
    /// Its process.
    pub pid: u32,
    /// The threads of its workers, or the processors of its VM.
    pub workers: &'a [i32],
    /// Other threads that must continue while a worker wakes late.
    pub others: &'a [i32],
    /// The cores on which all of these may run.
    pub cores: &'a [Cores],
    /// Its control group.
    pub freezer: Option<&'a Freezer>,
    /// Its VM.
    pub vm: Option<&'a Qmp>,
    /// The worker of each export.
    pub owners: &'a [usize],
    /// Frames on the first queue of an interface go straight to the owner.
    pub spreads: bool,
}

impl Subject<'_> {
    /// The worker that receives the frames of a lane.
    fn worker_of(&self, lane: Lane, export: usize) -> usize {
        if lane.queue == 0 && self.spreads { self.owners[export] } else { lane.queue % self.workers.len() }
    }

    /// The old and the new lane. Usually a worker other than the owner receives from the
    /// old one, and a third one, or the owner itself, from the new one.
    fn lanes(&self, case: &Case, random: &mut Random) -> [Lane; 2] {
        let (interfaces, queues) = (case.setup.interfaces, case.setup.queues());
        let all =
            (0..interfaces).flat_map(|interface| (0..queues).map(move |queue| Lane { interface, queue }));
        let pairs = all.clone().flat_map(|old| all.clone().map(move |new| [old, new]));
        let pairs: Vec<_> = pairs.filter(|[old, new]| old != new).collect();
        let is_directed = |pair: &&[Lane; 2]| {
            let [old, new] = pair.map(|lane| self.worker_of(lane, case.export));
            old != self.owners[case.export] && old != new
        };
        let directed: Vec<_> = pairs.iter().filter(is_directed).copied().collect();
        let from = if directed.is_empty() || random.within(0..10) == 0 { &pairs } else { &directed };
        from[random.within(0..from.len() as u64) as usize]
    }

    fn stop(&self, case: &Case, old: usize, random: &mut Random) -> Stopped<'_> {
        let target = match case.who {
            Who::Process => Target::Process(self.pid),
            // Occasionally the owner instead.
            Who::Thread if random.within(0..10) == 0 => {
                Target::Thread(self.workers[self.owners[case.export]])
            }
            Who::Thread => Target::Thread(self.workers[old]),
            Who::Cgroup => Target::Group(self.freezer.expect("a control group that freezes")),
            Who::Vm => Target::Vm(self.vm.expect("a VM")),
        };
        Stopped::new(target).unwrap_or_else(|error| panic!("stopping {target:?}: {error}"))
    }

    fn threads(&self) -> impl Iterator<Item = i32> {
        self.workers.iter().chain(self.others).copied()
    }

    /// Restricts this worker to one core, and all others to the rest.
    fn crowd(&self, late: usize, core: usize, all: Cores) {
        for (at, tid) in self.threads().enumerate() {
            let cores = if at == late { Cores::one(core) } else { all.without(core) };
            cores.give(tid).expect("a thread of the target");
        }
    }

    fn free(&self) {
        for (tid, cores) in self.threads().zip(self.cores) {
            cores.give(tid).expect("a thread of the target");
        }
    }
}

/// Runs one pause.
pub fn run(case: &Case, subject: &Subject<'_>, hosts: &mut Hosts, random: &mut Random) -> Outcome {
    let [old, new] = subject.lanes(case, random);
    hosts.wire.aim(old, new).expect("masks of queues");
    let mut race = Race::new(case, hosts, random);
    let Some(before) = race.prepare() else { return Outcome::None };
    race.hosts.is_loaded = case.is_loaded;
    race.hosts.wait(Instant::now() + Duration::from_micros(random.within(0..SETTLE_MAX_US)), None);

    let old_worker = subject.worker_of(old, case.export);
    if case.wakes_late {
        subject.crowd(old_worker, race.hosts.wire.core(Way::New), race.hosts.wire.all_cores());
    }
    let stopped = subject.stop(case, old_worker, random);
    let begin = Instant::now();
    let a = race.hosts.write(Way::Old, race.older);
    // The resend comes early, so that there is time for everything that follows.
    let part = 0.1 + random.within(0..400) as f64 / 1000.0;
    race.hosts.wait(begin + case.hold.mul_f64(part), None);
    race.hosts.resend(Way::New, a);
    race.hosts.wait(begin + case.hold, Some(a));
    let mut b = race.answer(a);
    race.hosts.wait(begin + case.hold, None);
    if case.wakes_late {
        drop(stopped);
        b = race.during_late_wake_up(a, b);
        subject.free();
    } else {
        drop(stopped);
    }

    if !race.hosts.until_done(Way::New, a) {
        return Outcome::None;
    }
    let b = b.unwrap_or_else(|| race.hosts.write(Way::New, race.newer));
    if !race.hosts.until_done(Way::New, b) {
        return Outcome::None;
    }
    let hz = race.hosts.hz();
    let told = |what| format!("{what} (old lane {old:?} of worker {old_worker}, new lane {new:?}, HZ {hz})");
    match race.look(&before, a, b) {
        Ok(()) => Outcome::Good,
        Err(what) => Outcome::Stale(told(what)),
    }
}

/// The two writes of a pause.
struct Race<'a> {
    hosts: &'a mut Hosts,
    older: Extent,
    newer: Extent,
    /// All sectors of both.
    whole: Extent,
    sectors_max: u8,
    /// How long a late worker has no core, and when the resend is repeated meanwhile.
    late: (Duration, Duration),
}

impl<'a> Race<'a> {
    fn new(case: &Case, hosts: &'a mut Hosts, random: &mut Random) -> Self {
        let sectors_max = case.setup.sectors_max;
        let host = case.tags as usize;
        let place = place(host, random);
        let extent = |(lba, count)| Extent { host, export: case.export, lba: place + lba, count };
        let [older, newer] = case.shape.extents(sectors_max).map(extent);
        let lba = older.lba.min(newer.lba);
        let end = |extent: Extent| extent.lba + u64::from(extent.count);
        let whole = Extent { lba, count: (end(older).max(end(newer)) - lba) as u8, ..older };
        let late = match case.who {
            Who::Vm => (LATE_IN_VM_MAX, RESEND_LATE_IN_VM),
            _ => (LATE_MAX, RESEND_LATE),
        };
        Self { hosts, older, newer, whole, sectors_max, late }
    }

    /// All of it, split into requests.
    fn parts(&self) -> Vec<Extent> {
        let (whole, most) = (self.whole, self.sectors_max);
        let offsets = (0..whole.count).step_by(usize::from(most));
        let part = |at| Extent { lba: whole.lba + u64::from(at), count: most.min(whole.count - at), ..whole };
        offsets.map(part).collect()
    }

    /// Writes all of it, over both lanes, to make sure that both are open. Returns the
    /// value of each sector.
    fn prepare(&mut self) -> Option<Vec<Value>> {
        let mut before = Vec::new();
        for way in [Way::New, Way::Old] {
            before.clear();
            for part in self.parts() {
                let op = self.hosts.write(way, part);
                if !self.hosts.until_done(way, op) {
                    return None;
                }
                before.extend(vec![value_of(op); usize::from(part.count)]);
            }
        }
        Some(before)
    }

    /// Sends the newer write, if the older one has been acknowledged.
    fn answer(&mut self, a: OpId) -> Option<OpId> {
        self.hosts.is_done(a).then(|| self.hosts.write(Way::New, self.newer))
    }

    /// The target continues, but one worker has no core: this thread occupies it with a
    /// higher priority, and never blocks here.
    fn during_late_wake_up(&mut self, a: OpId, mut b: Option<OpId>) -> Option<OpId> {
        let (late_max, resend) = self.late;
        self.hosts.spins = true;
        let end = Instant::now() + late_max;
        self.hosts.wait(end.min(Instant::now() + resend), Some(a));
        while !self.hosts.is_done(a) && Instant::now() < end {
            self.hosts.resend(Way::New, a);
            self.hosts.wait(end.min(Instant::now() + resend), Some(a));
        }
        b = b.or_else(|| self.answer(a));
        if let Some(b) = b {
            self.hosts.wait(end, Some(b));
        }
        self.hosts.spins = false;
        b
    }

    /// Reads the sectors. The read uses the old lane, so it is executed after the requests
    /// that waited there.
    fn look(&mut self, before: &[Value], a: OpId, b: OpId) -> Result<(), String> {
        let mut found = Vec::new();
        for part in self.parts() {
            let read = self.hosts.read(Way::Old, part);
            assert!(self.hosts.until_done(Way::Old, read), "a read is not answered");
            found.extend(self.hosts.values(read));
        }
        let is_in = |extent: Extent, lba| extent.lba <= lba && lba < extent.lba + u64::from(extent.count);
        for (lba, (found, before)) in (self.whole.lba..).zip(found.into_iter().zip(before)) {
            let expected = match () {
                () if is_in(self.newer, lba) => value_of(b),
                () if is_in(self.older, lba) => value_of(a),
                () => *before,
            };
            if found != expected {
                let name = |value| match value {
                    _ if value == value_of(a) => "the older write",
                    _ if value == value_of(b) => "the newer write",
                    _ if value == *before => "what was there before",
                    _ => "something else",
                };
                return Err(format!("sector {lba} holds {}, not {}", name(found), name(expected)));
            }
        }
        Ok(())
    }
}
