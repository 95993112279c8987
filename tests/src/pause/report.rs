//! The results.

use std::collections::BTreeMap;
use std::fmt;

use super::Options;
use super::case::Case;
use super::race::Outcome;

/// The most losses and sectors that are reported.
const TOLD_MAX: usize = 10;

/// The number of pauses, by outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// All.
    pub pauses: u64,
    /// An acknowledged newer write was not there.
    pub stale: u64,
    /// No acknowledgement, so nothing was proved.
    pub none: u64,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        self.pauses += 1;
        self.stale += u64::from(matches!(outcome, Outcome::Stale(_)));
        self.none += u64::from(*outcome == Outcome::None);
    }
}

/// The results.
#[derive(Clone, Debug, Default)]
pub struct Report {
    title: String,
    /// The total.
    pub all: Count,
    /// The number of sectors whose history cannot be explained.
    pub unexplained: u64,
    /// The number of resends.
    pub resends: u64,
    /// What was not possible on this machine.
    pub skipped: Vec<String>,
    /// The first losses, as text.
    pub losses: Vec<String>,
    rows: BTreeMap<String, Count>,
    /// By property and its value.
    values: BTreeMap<(usize, String), Count>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        let plant = options.plant.as_ref().map(|bug| format!(", planted {bug}")).unwrap_or_default();
        Self { title: format!("seed {}{plant}", options.seed), ..Self::default() }
    }

    pub(super) fn add(&mut self, case: &Case, outcome: &Outcome) {
        self.all.add(outcome);
        self.rows.entry(case.row()).or_default().add(outcome);
        for (property, value) in case.values().into_iter().enumerate() {
            self.values.entry((property, value)).or_default().add(outcome);
        }
        if let Outcome::Stale(what) = outcome {
            self.tell(format!("pause {} ({case}): {what}", self.all.pauses));
        }
    }

    pub(super) fn add_unexplained(&mut self, daemon: &str, sectors: Vec<String>) {
        self.unexplained += sectors.len() as u64;
        for sector in sectors {
            self.tell(format!("{daemon}: {sector}"));
        }
    }

    pub(super) fn skip(&mut self, what: String) {
        if !self.skipped.contains(&what) {
            self.skipped.push(what);
        }
    }

    fn tell(&mut self, loss: String) {
        if self.losses.len() < TOLD_MAX {
            self.losses.push(loss);
        }
    }

    /// Whether no old write has overwritten a newer one.
    pub fn is_whole(&self) -> bool {
        self.all.stale == 0 && self.unexplained == 0
    }

    /// Whether enough was acknowledged for the result to mean something: a target that
    /// drops everything also loses nothing.
    pub fn shows_something(&self) -> bool {
        self.all.pauses > 0 && self.all.none * 4 <= self.all.pauses
    }

    /// The counts of all pauses with this property.
    pub fn of(&self, value: &str) -> Count {
        let found = self.values.iter().find(|((_, name), _)| name == value);
        found.map(|(_, count)| *count).unwrap_or_default()
    }

    /// One line for each combination.
    pub fn table(&self) -> String {
        table(self.rows.iter().map(|(name, count)| (name.as_str(), *count)))
    }

    /// A summary in one line.
    pub fn line(&self) -> String {
        let Self { title, all: Count { pauses, stale, none }, unexplained, resends, .. } = self;
        format!(
            "{title}: {pauses} pauses, {stale} newer acknowledged writes overwritten by the older one, \
             {none} never acknowledged, {unexplained} sectors unexplained, {resends} resends"
        )
    }
}

fn table<'a>(lines: impl Iterator<Item = (&'a str, Count)>) -> String {
    let mut text = format!("{:<72} {:>7} {:>7} {:>7}\n", "", "pauses", "stale", "none");
    for (name, Count { pauses, stale, none }) in lines {
        text += &format!("{name:<72} {pauses:>7} {stale:>7} {none:>7}\n");
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for loss in &self.losses {
            writeln!(f, "{loss}")?;
        }
        write!(f, "{}", table(self.values.iter().map(|((_, name), count)| (name.as_str(), *count))))?;
        for skipped in &self.skipped {
            writeln!(f, "SKIPPED: {skipped}")?;
        }
        write!(f, "{}", self.line())
    }
}
