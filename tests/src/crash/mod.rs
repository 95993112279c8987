//! Acknowledged sectors are never lost: the real process under load, killed or
//! with the power of its file system cut, and what is there afterwards.
//!
//! ```text
//! Initiator ──writes──► xblade serve ──► file ◄── check ── WriteHistory
//!     └─────── what was sent, what was acknowledged ─────────┘
//! ```
//!
//! [`kill`] sends SIGKILL, again and again over the same file; [`power`] shuts
//! the file system down under the process, and mounts it again; [`state`] does
//! that to the file system of the state folder. All that they
//! set up hangs on namespaces of threads and goes away with the process, but
//! for a folder, which the next run removes.

pub mod disk;
mod initiator;
pub mod kill;
pub mod write_history;
pub mod power;
pub mod random;
mod stage;
pub mod stamp;
pub mod state;
mod watchdog;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use write_history::{Checked, Wrong};

pub use stage::remove_leftovers;
pub(crate) use stage::{in_memory, remove_left_folders};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Crashes.
    pub cycles: u64,
    /// Decides where writes go and how long each load lasts.
    pub seed: u64,
    /// `store=` of the export; its default if `None`.
    pub store: Option<String>,
    /// `durability=volatile`.
    pub volatile: bool,
    /// A bug to plant in the daemon, by its name in `xblade::plant`.
    pub plant: Option<String>,
    /// Where files go; if `None`, where they suit best.
    pub folder: Option<PathBuf>,
    /// Writes under way.
    pub window: usize,
    /// Go on after a loss.
    pub carry_on: bool,
    /// Says how it goes.
    pub verbose: bool,
    /// Set from outside: end after this cycle.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// So many crashes of the default store.
    pub fn new(cycles: u64, seed: u64) -> Self {
        Self {
            cycles,
            seed,
            store: None,
            volatile: false,
            plant: None,
            folder: None,
            window: 32,
            carry_on: false,
            verbose: false,
            stop: Arc::default(),
        }
    }

    fn must_end(&self, report: &Report) -> bool {
        self.stop.load(Ordering::Relaxed) || (report.losing_cycles > 0 && !self.carry_on)
    }
}

/// How long a load lasts.
fn load_time(random: &mut random::Random) -> Duration {
    Duration::from_micros(random.within(20_000..120_000))
}

/// The most sectors of one cycle that a report tells of.
const TOLD_MAX: usize = 8;

/// What has come out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was done, in short.
    pub title: String,
    /// Crashes.
    pub cycles: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were answered with an error.
    pub errors: u64,
    /// Requests that were sent once more.
    pub resends: u64,
    /// Writes that were acknowledged after the power cut that they were under
    /// way in: they count as not acknowledged.
    pub late: u64,
    /// Sectors that were looked at, of those that had ever been written.
    pub sectors: u64,
    /// Sectors with something older than what was acknowledged.
    pub lost: u64,
    /// Sectors with something that nobody sent to them.
    pub torn: u64,
    /// Sectors of which more than one generation would have been right.
    pub unknown: u64,
    /// Cycles with a sector lost or torn.
    pub losing_cycles: u64,
    /// Each such cycle, with some of its sectors.
    pub losses: Vec<String>,
}

impl Report {
    fn new(title: String) -> Self {
        Self { title, ..Self::default() }
    }

    /// Panics if anything was lost.
    pub fn assert_nothing_lost(&self) {
        assert!(self.losing_cycles == 0, "{self}\n{}", self.losses.join("\n"));
    }

    fn add(&mut self, options: &Options, checked: &Checked) {
        self.sectors += checked.sectors;
        self.unknown += checked.unknown;
        self.lost += checked.lost.len() as u64;
        self.torn += checked.torn.len() as u64;
        if !(checked.lost.is_empty() && checked.torn.is_empty()) {
            self.losing_cycles += 1;
            self.losses.push(self.tell(options, checked));
        }
    }

    fn tell(&self, options: &Options, checked: &Checked) -> String {
        let (cycle, seed) = (self.cycles, options.seed);
        let (lost, torn) = (checked.lost.len(), checked.torn.len());
        let mut text = format!("seed {seed}, cycle {cycle}: {lost} sectors lost, {torn} torn");
        for (what, Wrong { lba, found, allowed }) in checked
            .torn
            .iter()
            .map(|wrong| ("torn", wrong))
            .chain(checked.lost.iter().map(|wrong| ("lost", wrong)))
            .take(TOLD_MAX)
        {
            text += &format!("\n  {what}: sector {lba} holds {found:?}, and may hold");
            for version in allowed {
                let known = if version.acknowledged.is_some() { "acknowledged" } else { "sent" };
                text += &format!(" {} ({known})", version.generation);
            }
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, cycles, acknowledged, sectors, lost, torn, unknown, .. } = self;
        write!(
            f,
            "{title}: {cycles} cycles, {acknowledged} writes acknowledged, {sectors} sectors checked, {lost} lost, \
             {torn} torn, {unknown} unknown; {} errors, {} resends, {} answers after the cut, {} cycles with a loss",
            self.errors, self.resends, self.late, self.losing_cycles
        )
    }
}
