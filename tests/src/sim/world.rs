//! The run itself: events in the order of a time that nobody waits for.

mod hosts;
mod net;
mod serve;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use xblade::store::disk::fake::SimDisk;

use super::history::{self, Op};
use super::initiator::{Initiator, TICK_NS};
use super::marks::Marks;
use super::rng::Rng;
use super::scenario::Scenario;
use super::trace::Trace;
use super::value::SECTOR;
use super::{Options, Report};
use crate::FakeTarget;

/// A worker that has nothing to do is turned this often. In truth it spins.
const HEARTBEAT_NS: u64 = 10_000_000;
/// Far more than a run takes.
const EVENTS_MAX: u64 = 3_000_000;

/// Why a run has failed.
type Violation = String;

pub(super) struct World {
    seed: u64,
    options: Options,
    scenario: Scenario,
    rng: Rng,
    now_ns: u64,
    /// Counts what initiators do and hear, to tell before from after.
    moment: u64,
    events: BTreeMap<(u64, u64), Event>,
    /// Events that were ever scheduled.
    scheduled: u64,
    trace: Trace,
    marks: Marks,
    disks: Vec<SimDisk>,
    /// `None` while it is down.
    target: Option<FakeTarget>,
    /// Starts of the target.
    starts: u32,
    turns: Vec<Turns>,
    /// Since when each export must refuse writes.
    refusing: Vec<Option<u64>>,
    hosts: Vec<Host>,
    ops: Vec<Op>,
    /// Operations still to be issued.
    left: u32,
    /// Those who issue them, one at a time each.
    issuers: usize,
    tags: HashMap<(usize, u32), Tag>,
    /// Writes that were sent not long ago, to be sent once more.
    past: VecDeque<Rc<Sent>>,
    /// The last write to each export that was done, and was sent more than
    /// once: a copy of it may still wait somewhere.
    repeated: Vec<Option<(u64, u8)>>,
    resting: bool,
}

/// When a worker is turned.
#[derive(Clone, Copy, Debug)]
struct Turns {
    next_ns: u64,
    paused_until_ns: u64,
}

struct Host {
    linux: Initiator,
    dead: bool,
    /// Nothing is heard from it until then.
    silent_until_ns: u64,
    /// Requests that it has sent since the target started.
    sent_in_start: u32,
    /// Last delivery on its link to, and from, each lane.
    to_lane_ns: Vec<u64>,
    from_lane_ns: Vec<u64>,
}

/// A frame that an initiator has sent.
#[derive(Debug)]
struct Sent {
    host: usize,
    op: u32,
    tag: u32,
    lane: usize,
    bytes: Vec<u8>,
    sent_ns: u64,
    /// Start of the target at that time.
    start: u32,
}

/// What is known of a tag that was sent.
#[derive(Debug)]
struct Tag {
    op: u32,
    lane: usize,
    delivered: u32,
    replies: u32,
    /// A reply without an error has left the target.
    answered: bool,
}

#[derive(Debug)]
enum Event {
    ToLane { sent: Rc<Sent>, copy: Copy },
    ToHost { host: usize, frame: Rc<[u8]> },
    Tick(usize),
    Issue(usize),
    Pause(usize),
    Release(usize),
    Crash,
    Restart,
}

/// Which delivery of a frame it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copy {
    First,
    Duplicate,
    Replay,
}

impl World {
    pub(super) fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::draw(&mut rng);
        let disk =
            |rng: &mut Rng, sectors: u64, habits| SimDisk::new(rng.draw(), sectors * SECTOR as u64, habits);
        let disks: Vec<_> = scenario.exports.iter().map(|e| disk(&mut rng, e.sectors, e.habits)).collect();
        let mut world = Self {
            seed,
            options,
            now_ns: 0,
            moment: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            trace: Trace::new(options.trace),
            marks: Marks::default(),
            target: None,
            starts: 0,
            turns: vec![Turns { next_ns: 0, paused_until_ns: 0 }; usize::from(scenario.workers)],
            refusing: vec![None; disks.len()],
            disks,
            hosts: Vec::new(),
            ops: Vec::new(),
            left: scenario.ops,
            issuers: 0,
            tags: HashMap::new(),
            past: VecDeque::new(),
            repeated: vec![None; scenario.exports.len()],
            resting: false,
            rng,
            scenario,
        };
        world.start_target();
        world.start_hosts();
        world.start_trouble();
        world
    }

    /// All of it, to the end.
    pub(super) fn run(mut self) -> Report {
        let result = self.play().and_then(|()| self.judge());
        if let Some(target) = self.target.take() {
            self.count(&target);
        }
        self.count_disks();
        let (hash, trace) = self.trace.end();
        let ops = self.ops.len() as u64;
        Report { seed: self.seed, violation: result.err(), marks: self.marks, hash, trace, ops }
    }

    fn play(&mut self) -> Result<(), Violation> {
        for _ in 0..EVENTS_MAX {
            if self.issuers == 0 && !self.resting {
                self.rest();
            }
            if self.resting && self.is_at_rest() {
                return Ok(());
            }
            self.step()?;
        }
        Err("it does not come to rest".to_owned())
    }

    /// The next event, or turn of a worker.
    fn step(&mut self) -> Result<(), Violation> {
        let event_ns = self.events.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        let turn = match self.target {
            Some(_) => (0..self.turns.len()).min_by_key(|worker| self.turns[*worker].next_ns),
            None => None,
        };
        if let Some(worker) = turn.filter(|worker| self.turns[*worker].next_ns < event_ns) {
            self.now_ns = self.turns[worker].next_ns;
            return self.turn(worker);
        }
        let Some(((at, _), event)) = self.events.pop_first() else {
            return Err("nothing is left to happen".to_owned());
        };
        self.now_ns = at;
        self.handle(event)
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::ToLane { sent, copy } => self.deliver(&sent, copy),
            Event::ToHost { host, frame } => return self.hear(host, &frame),
            Event::Restart => self.start_target(),
            _ if self.resting => {}
            Event::Tick(host) => {
                self.tick(host);
                self.at(self.now_ns + TICK_NS, Event::Tick(host));
            }
            Event::Issue(host) => self.issue(host),
            Event::Pause(worker) => self.pause(worker),
            Event::Release(export) => {
                self.disks[export].advance(self.now_ns);
                self.disks[export].release_stuck();
                let wait_ns = self.rng.between(300_000_000, 4_000_000_000);
                self.at(self.now_ns + wait_ns, Event::Release(export));
            }
            Event::Crash => self.crash(),
        }
        Ok(())
    }

    /// Schedules what begins by itself.
    fn start_trouble(&mut self) {
        if let Some(every_ns) = self.scenario.pause_every_ns {
            for worker in 0..self.turns.len() {
                let at = self.rng.below(every_ns);
                self.at(at, Event::Pause(worker));
            }
        }
        for export in 0..self.disks.len() {
            let scene = &self.scenario.exports[export];
            if scene.habits.stuck > 0 && !scene.stuck_for_ever {
                self.at(1_000_000_000, Event::Release(export));
            }
        }
    }

    /// A worker gets no time: either so little that it does not matter, or, of
    /// several, more than 50 ms (docs/THREATS.md tells of the window between).
    fn pause(&mut self, worker: usize) {
        let several = self.turns.len() > 1;
        let shortest_ns = if several { self.rng.pick(&[60_000_000, 200_000_000]) } else { 100_000 };
        let pause_ns = self.rng.between(shortest_ns, 300_000_000);
        self.marks.hit(if several { "pause of one of two workers" } else { "pause of the only worker" });
        self.trace.note(self.now_ns, "pause", &[worker as u64, pause_ns]);
        let turns = &mut self.turns[worker];
        turns.paused_until_ns = self.now_ns + pause_ns;
        turns.next_ns = turns.next_ns.max(turns.paused_until_ns);
        if let Some(every_ns) = self.scenario.pause_every_ns {
            let wait_ns = pause_ns + self.rng.between(every_ns / 2, 2 * every_ns);
            self.at(self.now_ns + wait_ns, Event::Pause(worker));
        }
    }

    /// No initiator wants anything more: no more trouble, and what is under way
    /// comes to its end.
    fn rest(&mut self) {
        self.resting = true;
        for disk in &self.disks {
            disk.advance(self.now_ns);
            disk.heal();
            disk.release_stuck();
        }
    }

    fn is_at_rest(&self) -> bool {
        let is_busy = |target: &FakeTarget| {
            target.workers.iter().any(|worker| worker.is_busy())
                || self.turns.iter().any(|turns| turns.next_ns < self.now_ns + HEARTBEAT_NS / 2)
        };
        let traffic = |event: &Event| !matches!(event, Event::Tick(_) | Event::Pause(_) | Event::Release(_));
        self.target.as_ref().is_some_and(|target| !is_busy(target)) && !self.events.values().any(traffic)
    }

    /// Everything must add up, and every read be explained.
    fn judge(&mut self) -> Result<(), Violation> {
        self.check_at_rest()?;
        for export in 0..self.disks.len() {
            let disk = &self.disks[export];
            if self.scenario.crash_at_end {
                self.marks.hit("power cut at the end");
                disk.crash();
            }
            let holds = disk.bytes();
            self.trace.bytes(&holds);
            history::judge(self.seed, &self.ops, export, self.scenario.exports[export].sectors, &holds)?;
        }
        Ok(())
    }

    fn at(&mut self, at_ns: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at_ns, self.scheduled), event);
    }

    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}
