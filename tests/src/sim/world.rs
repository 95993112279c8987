//! The run itself: events in the order of a simulated time.

mod changes;
mod hosts;
mod inside;
mod net;
mod reboot;
mod serve;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use xblade::shelf::HostRate;
use xblade::wire::ether;
use xblade::worker::{Worker, WorkerCommand};
use xblade_sim::FakeRings;
use xblade_sim::disk::SimDisk;

use self::changes::Change;
use super::checker::Moment;
use super::history::{self, Op, Setting};
use super::initiator::{Initiator, TICK_NS};
use super::marks::Marks;
use super::rng::Rng;
use super::scenario::Scenario;
use super::trace::Trace;
use super::value::{SECTOR, Value};
use super::{Options, Report};
use crate::{FakeTarget, frame};

/// Interval between turns of a worker that does not sleep. In reality it spins.
const HEARTBEAT_NS: u64 = 10_000_000;
/// Shorter pauses happen all the time.
const PAUSE_MIN_NS: u64 = 100_000;
/// Far more than a run needs.
const EVENTS_MAX: u64 = 3_000_000;

/// Why a run failed.
type Violation = String;

pub(super) struct World {
    seed: u64,
    options: Options,
    scenario: Scenario,
    rng: Rng,
    now_ns: u64,
    /// Counts what initiators do and hear, to order events.
    moment: u64,
    events: BTreeMap<(u64, u64), Event>,
    /// Number of events ever scheduled.
    scheduled: u64,
    trace: Trace,
    marks: Marks,
    disks: Vec<SimDisk>,
    /// What the workers share; `None` while the target is down.
    target: Option<FakeTarget>,
    /// `None` for a worker that is inside a turn or down.
    workers: Vec<Option<Worker<FakeRings>>>,
    /// Commands from the control thread to each worker.
    commands: Vec<VecDeque<WorkerCommand>>,
    /// Number of starts of the target.
    starts: u32,
    turns: Vec<Turns>,
    /// The change to an export in progress.
    change: Option<Change>,
    /// An index that no export of any worker has had.
    free_index: u16,
    /// This export gets no new operations.
    halted: Option<usize>,
    /// Number of events and turns so far.
    steps: u64,
    /// The violation, if one was found.
    failed: Option<Violation>,
    /// Since when each export must refuse writes.
    refusing: Vec<Option<u64>>,
    /// Limits of hosts over all exports.
    host_rates: Arc<[Arc<HostRate>]>,
    hosts: Vec<Host>,
    ops: Vec<Op>,
    /// Number of operations still to be issued.
    left: u32,
    /// Number of issuers; each issues one operation at a time.
    issuers: usize,
    tags: HashMap<(usize, u32), Tag>,
    /// Writes sent recently, to be replayed.
    past: VecDeque<Rc<Sent>>,
    /// The last completed write to each export that was sent more than once: a copy of it
    /// may still be waiting somewhere.
    repeated: Vec<Option<(u64, u8)>>,
    /// For each export and setting: the values attempted since a set last succeeded.
    set_to: Vec<[Vec<Value>; 3]>,
    /// The sets in flight.
    setting: Vec<[Option<u32>; 3]>,
    /// The moments at which all settings were lost.
    settings_lost: Vec<Moment>,
    resting: bool,
}

/// When a worker has its turns.
#[derive(Clone, Copy, Debug)]
struct Turns {
    next_ns: u64,
    paused_until_ns: u64,
}

struct Host {
    linux: Initiator,
    dead: bool,
    /// It hears nothing until then.
    silent_until_ns: u64,
    /// Number of replies that the target has sent it, each to a newer request than all
    /// before, since the target or the host started: after enough of them the target
    /// knows the host's tags.
    in_order: u32,
    newest_answered: u32,
    /// Number of boots so far, and the operations since the last one.
    boots: u32,
    since_boot: Vec<u32>,
    /// It is about to reboot, and issues nothing.
    halted: bool,
    /// Number of checks left whether it can reboot.
    patience: u32,
    /// The IDENTIFY sent at boot, until it is answered.
    booting: Option<u32>,
    /// The operations to repeat after the reboot.
    script: VecDeque<u32>,
    /// Time of the last delivery on its link to, and from, each lane.
    to_lane_ns: Vec<u64>,
    from_lane_ns: Vec<u64>,
}

/// A frame sent by an initiator.
#[derive(Debug)]
struct Sent {
    host: usize,
    op: u32,
    tag: u32,
    lane: usize,
    bytes: Vec<u8>,
    sent_ns: u64,
    /// Number of starts of the target, and of boots of the host, when it was sent.
    start: u32,
    boot: u32,
}

/// What is known about a tag that was sent.
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
    Halt(usize),
    Boot(usize),
    Change,
}

/// Kind of delivery of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copy {
    First,
    /// A first delivery that was delayed in the network.
    Late,
    Duplicate,
    Replay,
}

/// The limit of every other host, if there is one.
fn host_rates(scenario: &Scenario) -> Arc<[Arc<HostRate>]> {
    let hosts = (0..scenario.initiators.len() as u8).step_by(2).map(|host| ether::Mac(frame::mac(host)));
    let limit =
        (!scenario.host_rate.is_unlimited()).then(|| HostRate::new(scenario.host_rate, hosts.collect()));
    limit.into_iter().map(Arc::new).collect()
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
            workers: Vec::new(),
            commands: (0..scenario.workers).map(|_| VecDeque::new()).collect(),
            starts: 0,
            change: None,
            free_index: 16,
            halted: None,
            steps: 0,
            failed: None,
            set_to: vec![Default::default(); disks.len()],
            setting: vec![[None; 3]; disks.len()],
            settings_lost: Vec::new(),
            turns: vec![Turns { next_ns: 0, paused_until_ns: 0 }; usize::from(scenario.workers)],
            refusing: vec![None; disks.len()],
            host_rates: host_rates(&scenario),
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
        let stamped = world.scenario.stamped.iter().filter(|stamped| **stamped).count();
        if stamped > 0 && stamped < world.scenario.stamped.len() {
            world.marks.hit("stamped and unstamped lanes");
        }
        world.start_target();
        world.start_hosts();
        world.start_trouble();
        world
    }

    /// Runs everything to the end.
    pub(super) fn run(self) -> Report {
        let mut world = *inside::play(Box::new(self));
        let result = match world.failed.take() {
            Some(failed) => Err(failed),
            None => world.judge(),
        };
        for worker in std::mem::take(&mut world.workers).into_iter().flatten() {
            world.count(&worker);
        }
        world.target = None;
        world.count_disks();
        let (hash, trace) = world.trace.end();
        let ops = world.ops.len() as u64;
        Report { seed: world.seed, violation: result.err(), marks: world.marks, hash, trace, ops }
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::ToLane { sent, copy } => self.deliver(&sent, copy),
            Event::ToHost { host, frame } => return self.hear(host, &frame),
            Event::Restart => self.start_target(),
            Event::Change => self.change(),
            _ if self.resting => {}
            Event::Tick(host) => {
                self.tick(host);
                self.at(self.now_ns + TICK_NS, Event::Tick(host));
            }
            Event::Issue(host) => self.issue(host),
            Event::Pause(worker) => self.pause(worker),
            Event::Halt(host) => self.halt(host),
            Event::Boot(host) => self.boot(host),
            Event::Release(export) => {
                self.disks[export].advance(self.now_ns);
                self.disks[export].release_stuck();
                self.wake_all();
                let wait_ns = self.rng.between(300_000_000, 4_000_000_000);
                self.at(self.now_ns + wait_ns, Event::Release(export));
            }
            Event::Crash => self.crash(),
        }
        Ok(())
    }

    /// Schedules the events that start by themselves.
    fn start_trouble(&mut self) {
        if let Some(every_ns) = self.scenario.pause_every_ns {
            for worker in 0..self.turns.len() {
                let at = self.rng.below(every_ns);
                self.at(at, Event::Pause(worker));
            }
        }
        if let Some(every_ns) = self.scenario.change_every_ns {
            let at = self.rng.below(every_ns);
            self.at(at, Event::Change);
        }
        for host in 0..self.hosts.len() {
            if let Some(at) = self.scenario.initiators[host].reboot_ns {
                self.at(at, Event::Halt(host));
            }
        }
        for export in 0..self.disks.len() {
            let scene = &self.scenario.exports[export];
            if scene.habits.stuck > 0 && !scene.stuck_for_ever {
                self.at(1_000_000_000, Event::Release(export));
            }
        }
    }

    /// How long a worker is not scheduled.
    fn draw_pause(&mut self) -> u64 {
        let longest_ns = self.rng.pick(&[5_000_000, 50_000_000, 300_000_000]);
        self.rng.between(PAUSE_MIN_NS, longest_ns)
    }

    /// Pauses a worker between two turns.
    fn pause(&mut self, worker: usize) {
        let several = self.turns.len() > 1;
        let pause_ns = self.draw_pause();
        self.marks.hit(match (several, pause_ns < 50_000_000) {
            (false, _) => "pause of the only worker",
            (true, false) => "pause of one of two workers",
            (true, true) => "pause of one of two workers, below 50 ms",
        });
        self.trace.note(self.now_ns, "pause", &[worker as u64, pause_ns]);
        let turns = &mut self.turns[worker];
        turns.paused_until_ns = self.now_ns + pause_ns;
        turns.next_ns = turns.next_ns.max(turns.paused_until_ns);
        if let Some(every_ns) = self.scenario.pause_every_ns {
            let wait_ns = pause_ns + self.rng.between(every_ns / 2, 2 * every_ns);
            self.at(self.now_ns + wait_ns, Event::Pause(worker));
        }
    }

    /// All initiators are done: stops causing trouble, and finishes what is in flight.
    fn rest(&mut self) {
        self.resting = true;
        for disk in &self.disks {
            disk.advance(self.now_ns);
            disk.heal();
            disk.release_stuck();
        }
        self.wake_all();
    }

    fn is_at_rest(&self) -> bool {
        let traffic = |event: &Event| {
            matches!(event, Event::ToLane { .. } | Event::ToHost { .. } | Event::Restart)
                || matches!(event, Event::Change if self.change.is_some())
        };
        self.target.is_some()
            && !self.is_busy()
            && !self.turns.iter().any(|turns| turns.next_ns < self.now_ns + HEARTBEAT_NS / 2)
            && !self.events.values().any(traffic)
    }

    /// Describes what keeps the run from coming to rest.
    fn tell_unrest(&self) -> String {
        let commands: usize = self.commands.iter().map(VecDeque::len).sum();
        let busy = self.workers.iter().filter(|worker| worker.as_ref().is_none_or(Worker::is_busy)).count();
        let (resting, issuers, left) = (self.resting, self.issuers, self.left);
        let (change, halted, events) = (&self.change, self.halted, self.events.len());
        format!(
            "resting {resting}, {issuers} issuers, {left} left, {events} events, {busy} busy workers, \
             {commands} commands, halted {halted:?}, {change:?}"
        )
    }

    /// Whether a worker has something to do, or is inside a turn.
    fn is_busy(&self) -> bool {
        let busy = |worker: &Option<Worker<FakeRings>>| worker.as_ref().is_none_or(Worker::is_busy);
        self.workers.iter().any(busy) || self.commands.iter().any(|commands| !commands.is_empty())
    }

    /// Everything must add up, and every read must be explained.
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
            for setting in Setting::ALL {
                history::judge_setting(&self.ops, export, setting, &self.settings_lost)?;
            }
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
