//! What is measured, and what came of it.

use crate::args::{CompareArgs, Extra, Op};
use crate::load::Summary;
use crate::report::Table;

use super::target::{Durability, Kind};

/// One line of conditions: every target is measured under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// MTU of the pair.
    pub mtu: usize,
    /// Reads or writes.
    pub op: Op,
    /// Requests in flight.
    pub window: u16,
    /// When writes are acknowledged.
    pub durability: Durability,
}

impl Case {
    /// The cases that were asked for.
    pub fn list(args: &CompareArgs) -> Vec<Self> {
        let read = |mtu| Self { mtu, op: Op::Read, window: args.window, durability: Durability::Volatile };
        let also = |mtu, extra: &Extra| match extra {
            Extra::WriteVolatile => Self { op: Op::Write, ..read(mtu) },
            Extra::WriteDurable => Self { op: Op::Write, durability: Durability::Durable, ..read(mtu) },
            Extra::WindowOne => Self { window: 1, ..read(mtu) },
        };
        let of = |&mtu: &usize| {
            std::iter::once(read(mtu)).chain(args.also.iter().map(move |extra| also(mtu, extra)))
        };
        args.mtu.iter().flat_map(of).collect()
    }

    /// Its heading.
    pub fn name(&self, sectors: u8) -> String {
        let kib = f64::from(sectors) / 2.0;
        let op = match (self.op, self.durability) {
            (Op::Write, Durability::Durable) => "durable writes",
            (Op::Write, Durability::Volatile) => "volatile writes",
            _ => "reads",
        };
        format!("MTU {}, random {op} of {kib} KiB, {} in flight", self.mtu, self.window)
    }
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What the generator found.
    pub summary: Summary,
    /// Frames that either end of the pair dropped meanwhile.
    pub drops: u64,
}

/// All measurements of a case: one of each target in every round.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The case.
    pub case: Case,
    /// The targets.
    pub kinds: Vec<Kind>,
    /// By round, then in the order of the targets.
    pub rounds: Vec<Vec<Sample>>,
}

impl Samples {
    /// One line for each target.
    pub fn table(&self) -> Table<13> {
        let mut table = Table::new([
            "target",
            "IOPS",
            "min–max",
            "MB/s",
            "of echo",
            "of vblade",
            "CPU ns/IO",
            "core busy",
            "gen idle",
            "p50 us",
            "p99 us",
            "drops",
            "resent",
        ]);
        for (at, kind) in self.kinds.iter().enumerate() {
            table.row(self.row(at, *kind));
        }
        table
    }

    /// Sectors in a request.
    pub fn sectors(&self) -> u8 {
        self.rounds.first().and_then(|round| round.first()).map_or(0, |first| first.summary.setup.sectors)
    }

    /// How the generator's frames left and arrived.
    pub fn port(&self) -> &str {
        self.rounds.first().and_then(|round| round.first()).map_or("", |first| &first.summary.setup.port)
    }

    fn row(&self, at: usize, kind: Kind) -> [String; 13] {
        let iops = self.all(at, |s| s.summary.iops);
        let (least, most) =
            (iops.iter().copied().fold(f64::MAX, f64::min), iops.iter().copied().fold(0.0, f64::max));
        let kilo = |n: f64| format!("{:.1} k", n / 1e3);
        let mid = |of: fn(&Sample) -> f64| median(self.all(at, of));
        let sum = |of: fn(&Sample) -> u64| self.rounds.iter().filter_map(|r| r.get(at)).map(of).sum::<u64>();
        [
            kind.name().to_owned(),
            kilo(median(iops)),
            format!("{:.0}–{:.0}", least / 1e3, most / 1e3),
            format!("{:.0}", mid(|s| s.summary.mb_per_s)),
            format!("{:.2}", self.ratio(at, Kind::Echo)),
            format!("{:.2}", self.ratio(at, Kind::Vblade)),
            format!("{:.0}", mid(|s| s.summary.target_ns_per_request.unwrap_or(f64::NAN))),
            format!("{:.0} %", 100.0 * mid(|s| s.summary.target_core_busy.unwrap_or(f64::NAN))),
            format!("{:.0} %", 100.0 * mid(|s| s.summary.idle)),
            format!("{:.0}", mid(|s| s.summary.latency.p50_us)),
            format!("{:.0}", mid(|s| s.summary.latency.p99_us)),
            sum(|s| s.drops + s.summary.trouble.dropped).to_string(),
            sum(|s| s.summary.trouble.retransmits).to_string(),
        ]
    }

    fn all(&self, at: usize, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.get(at)).map(of).collect()
    }

    /// The median over the rounds of the ratio within a round: what slows the
    /// whole machine for a while slows both.
    fn ratio(&self, at: usize, to: Kind) -> f64 {
        let Some(to) = self.kinds.iter().position(|kind| *kind == to) else { return f64::NAN };
        let (ours, theirs) = (self.all(at, |s| s.summary.iops), self.all(to, |s| s.summary.iops));
        median(ours.into_iter().zip(theirs).map(|(a, b)| a / b).collect())
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), middle.checked_sub(1).and_then(|below| values.get(below))) {
        (Some(&high), Some(&low)) if values.len().is_multiple_of(2) => (low + high) / 2.0,
        (Some(&high), _) => high,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(iops: f64) -> Sample {
        Sample { summary: Summary { iops, ..Summary::default() }, drops: 1 }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let case = Case { mtu: 1500, op: Op::Read, window: 64, durability: Durability::Volatile };
        // In the second round the machine was ten times slower.
        let rounds = [1.0, 0.1, 1.0]
            .map(|speed| [400.0, 300.0, 100.0].map(|iops| sample(iops * speed)).to_vec())
            .to_vec();
        let kinds = vec![Kind::Echo, Kind::Xblade, Kind::Vblade];
        let samples = Samples { case, kinds, rounds };
        assert!((samples.ratio(1, Kind::Echo) - 0.75).abs() < 1e-9);
        assert!((samples.ratio(1, Kind::Vblade) - 3.0).abs() < 1e-9);
        let text = samples.table().text();
        assert!(text.contains("0.75") && text.contains("3.00"), "{text}");
    }
}
