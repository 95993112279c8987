//! The variables of a test: the daemon, and what is done to it.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::crash::random::Random;

/// What is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Who {
    /// The whole process, by SIGSTOP.
    Process,
    /// One worker, by ptrace.
    Thread,
    /// A frozen control group.
    Cgroup,
    /// The VM that it runs in, by QMP.
    #[value(skip)]
    Vm,
}

/// What an idle worker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Idle {
    /// Sleeps.
    Adaptive,
    /// Spins.
    Spin,
}

/// How a host makes tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Tags {
    /// Counted, and nothing else.
    Plain,
    /// As the Linux driver does: 15 bits counted, over 16 bits of jiffies.
    Linux,
}

impl Tags {
    /// One host for each.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Linux];
}

/// What is behind an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Store {
    /// A file in memory.
    Mmap,
    /// A file on a disk, past the page cache.
    Direct,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Durability {
    /// When it is stable.
    Durable,
    /// When it is done.
    Volatile,
}

/// The position of the newer write relative to the older one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// The same sectors.
    Same,
    /// Some of its sectors, and others.
    Partial,
    /// All of its sectors, and others.
    Larger,
    /// Only some of its sectors.
    Smaller,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Same, Self::Partial, Self::Larger, Self::Smaller];

    /// The first sector and the sector count, within a place, of the older write and of the
    /// newer one.
    pub fn extents(self, sectors_max: u8) -> [(u64, u8); 2] {
        match self {
            Self::Same if sectors_max < 12 => [(8, 2), (8, 2)],
            Self::Partial if sectors_max < 12 => [(8, 2), (9, 2)],
            Self::Larger if sectors_max < 12 => [(8, 1), (7, 2)],
            Self::Smaller if sectors_max < 12 => [(8, 2), (9, 1)],
            Self::Same => [(8, 4), (8, 4)],
            Self::Partial => [(6, 6), (9, 8)],
            Self::Larger => [(8, 1), (4, 12)],
            Self::Smaller => [(4, 12), (8, 2)],
        }
    }
}

/// The setup of a daemon.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Its workers; also the queues of each interface, but at least two.
    pub workers: usize,
    /// Its interfaces.
    pub interfaces: usize,
    /// `--idle`.
    pub idle: Idle,
    /// The most sectors of a request.
    pub sectors_max: u8,
}

impl Setup {
    /// The queues of each interface.
    pub fn queues(&self) -> usize {
        self.workers.max(2)
    }
}

/// A pause.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The setup of the daemon.
    pub setup: Setup,
    /// What is stopped.
    pub who: Who,
    /// The tags of the host.
    pub tags: Tags,
    /// The index of the export.
    pub export: usize,
    /// Its store.
    pub store: Store,
    /// Its durability.
    pub durability: Durability,
    /// The two writes.
    pub shape: Shape,
    /// The duration.
    pub hold: Duration,
    /// When the pause ends, the worker of the old write's lane gets no core at first, so it
    /// wakes late.
    pub wakes_late: bool,
    /// Whether there is background load.
    pub is_loaded: bool,
}

impl Case {
    /// Draws the rest of a case.
    pub fn draw(row: &Row, setup: Setup, hold_ms: (u64, u64), random: &mut Random) -> Self {
        let Row { who, tags, export, store, durability } = *row;
        let shape = Shape::ALL[random.within(0..4) as usize];
        let wakes_late = who != Who::Thread && setup.workers > 1 && random.within(0..5) > 0;
        let is_loaded = random.within(0..2) == 0;
        let hold = hold(hold_ms, random);
        Self { setup, who, tags, export, store, durability, shape, hold, wakes_late, is_loaded }
    }

    /// The combination for which it counts.
    pub fn row(&self) -> String {
        self.values()[..7].join(" ")
    }

    /// Each of its properties.
    pub fn values(&self) -> [String; 10] {
        let Setup { workers, interfaces, idle, .. } = self.setup;
        let ms = self.hold.as_millis();
        [
            lower(&self.who),
            format!("{workers} workers"),
            format!("{interfaces} interfaces"),
            lower(&idle),
            format!("{} tags", lower(&self.tags)),
            lower(&self.store),
            lower(&self.durability),
            format!("newer {}", lower(&self.shape)),
            match ms {
                ..10 => "below 10 ms",
                10..50 => "10 to 49 ms",
                50..100 => "50 to 99 ms",
                _ => "100 ms and more",
            }
            .to_owned(),
            format!("{}{}", if self.is_loaded { "load" } else { "no load" }, late(self.wakes_late)),
        ]
    }
}

fn late(wakes_late: bool) -> &'static str {
    if wakes_late { ", wakes late" } else { "" }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}", self.values().join(", "), self.hold)
    }
}

/// What varies while one daemon runs.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is stopped.
    pub who: Who,
    /// The tags of the host.
    pub tags: Tags,
    /// The index of the export.
    pub export: usize,
    /// Its store.
    pub store: Store,
    /// Its durability.
    pub durability: Durability,
}

/// The name of a value as on the command line.
pub fn lower(value: &impl fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// A duration in this range, short ones more often: its logarithm is uniform.
fn hold((shortest, longest): (u64, u64), random: &mut Random) -> Duration {
    let (low, high) = ((shortest as f64).ln(), (longest as f64).ln());
    let part = random.within(0..1 << 20) as f64 / f64::from(1 << 20);
    Duration::from_secs_f64((low + part * (high - low)).exp() / 1000.0)
}
