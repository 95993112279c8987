//! All measurements of a case, and what they come to.

use crate::report::Table;

use super::case::Case;
use super::sample::Sample;
use super::target::Target;

/// What is shown where there is nothing to show.
const NONE: &str = "–";

/// All measurements of a case: one of each target in every round.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The case.
    pub case: Case,
    /// The targets.
    pub targets: Vec<Target>,
    /// By round, then in the order of the targets.
    pub rounds: Vec<Vec<Sample>>,
}

/// A target that the others are compared with.
struct Reference {
    at: usize,
    name: String,
}

impl Samples {
    /// One line for each target.
    pub fn table(&self) -> Table {
        let references = self.references();
        let mut head: Vec<String> = ["target", "IOPS", "min–max k", "MB/s"].map(str::to_owned).to_vec();
        head.extend(references.iter().map(|reference| format!("of {}", reference.name)));
        let rest = ["CPU ns/IO", "usr+sys", "core busy", "gen idle", "p50 us", "p99 us", "drops", "resent"];
        head.extend(rest.map(str::to_owned));
        let mut table = Table::new(head);
        for at in 0..self.targets.len() {
            let ratios =
                references.iter().map(|to| shown(Some(self.ratio(at, to.at)), |x| format!("{x:.2}")));
            table.row(self.rate(at).into_iter().chain(ratios).chain(self.cost(at)));
        }
        table
    }

    /// The name of a target.
    pub fn name(&self, at: usize) -> String {
        self.targets.get(at).map(|target| target.name(&self.case)).unwrap_or_default()
    }

    /// Least, median and most requests a second.
    pub fn iops(&self, at: usize) -> (f64, f64, f64) {
        let mut all = self.all(at, |sample| Some(sample.iops));
        all.sort_by(f64::total_cmp);
        let (least, most) = (all.first().copied(), all.last().copied());
        (least.unwrap_or(f64::NAN), median(all), most.unwrap_or(f64::NAN))
    }

    /// The samples of a target.
    pub fn of(&self, at: usize) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().filter_map(move |round| round.get(at))
    }

    /// Those that are compared with, of those that are there: the ceilings, and
    /// the first vblade.
    fn references(&self) -> Vec<Reference> {
        let wanted: [fn(&Target) -> bool; 3] =
            [|target| *target == Target::Echo, Target::is_fio, |target| matches!(target, Target::Vblade(_))];
        let find = |wanted: fn(&Target) -> bool| {
            let at = self.targets.iter().position(wanted)?;
            let vblades = self.targets.iter().filter(|target| matches!(target, Target::Vblade(_))).count();
            let name = match self.targets.get(at)? {
                Target::Echo => "echo".to_owned(),
                Target::Fio { .. } => "fio".to_owned(),
                _ if vblades == 1 => "vblade".to_owned(),
                target => target.name(&self.case),
            };
            Some(Reference { at, name })
        };
        wanted.into_iter().filter_map(find).collect()
    }

    fn rate(&self, at: usize) -> Vec<String> {
        let (least, middle, most) = self.iops(at);
        vec![
            self.name(at),
            format!("{:.1} k", middle / 1e3),
            format!("{:.1}–{:.1}", least / 1e3, most / 1e3),
            shown(self.mid(at, |s| Some(s.mb_per_s)), |x| format!("{x:.0}")),
        ]
    }

    fn cost(&self, at: usize) -> Vec<String> {
        let whole = |x: f64| format!("{x:.0}");
        let percent = |x: f64| format!("{:.0} %", 100.0 * x);
        let user = self.mid(at, |s| s.cpu.map(|cpu| cpu.user_ns));
        let system = self.mid(at, |s| s.cpu.map(|cpu| cpu.system_ns));
        let parts = user.zip(system).map(|(user, system)| format!("{user:.0}+{system:.0}"));
        let network = |of: fn(&super::sample::Network) -> u64| {
            let counts: Vec<u64> = self.of(at).filter_map(|s| s.network.as_ref()).map(of).collect();
            if counts.is_empty() { NONE.to_owned() } else { counts.iter().sum::<u64>().to_string() }
        };
        vec![
            shown(self.mid(at, |s| s.cpu.map(|cpu| cpu.user_ns + cpu.system_ns)), whole),
            parts.unwrap_or_else(|| NONE.to_owned()),
            shown(self.mid(at, |s| s.core_busy), percent),
            shown(self.mid(at, |s| s.network.as_ref().map(|n| n.generator_idle)), percent),
            shown(self.mid(at, |s| Some(s.latency.p50_us)), whole),
            shown(self.mid(at, |s| Some(s.latency.p99_us)), whole),
            network(|n| n.dropped),
            network(|n| n.resent),
        ]
    }

    fn all(&self, at: usize, of: impl Fn(&Sample) -> Option<f64>) -> Vec<f64> {
        self.of(at).filter_map(of).collect()
    }

    fn mid(&self, at: usize, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        Some(median(self.all(at, of))).filter(|middle| !middle.is_nan())
    }

    /// The median over the rounds of the ratio within a round: what slows the
    /// whole machine for a while slows both.
    fn ratio(&self, at: usize, to: usize) -> f64 {
        let within = |round: &Vec<Sample>| Some(round.get(at)?.iops / round.get(to)?.iops);
        median(self.rounds.iter().filter_map(within).collect())
    }
}

fn shown(value: Option<f64>, how: impl Fn(f64) -> String) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| NONE.to_owned(), how)
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
#[allow(clippy::panic)]
mod tests {
    use super::super::case::Durability;
    use super::super::sample::{CpuTime, Network};
    use super::super::target::Mode;
    use super::*;
    use crate::args::Op;

    const CASE: Case =
        Case { mtu: 9000, op: Op::Write, sectors: 8, window: 64, durability: Durability::Durable };

    fn sample(iops: f64) -> Sample {
        Sample { iops, network: Some(Network::default()), ..Sample::default() }
    }

    /// In the second round the machine was ten times slower.
    fn samples(targets: &[Target], rates: &[f64]) -> Samples {
        let round = |speed: f64| rates.iter().map(|iops| sample(iops * speed)).collect();
        Samples { case: CASE, targets: targets.to_vec(), rounds: [1.0, 0.1, 1.0].map(round).to_vec() }
    }

    fn lines(samples: &Samples) -> Vec<Vec<String>> {
        let text = samples.table().markdown();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        text.lines().map(cells).collect()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let targets = [Target::Echo, Target::Xblade(None), Target::Vblade(Mode::AsNeeded)];
        let all = lines(&samples(&targets, &[400.0, 300.0, 100.0]));
        let [head, _, echo, xblade, vblade] = &all[..] else { panic!("{all:?}") };
        assert_eq!(head[5..7], ["of echo", "of vblade"]);
        assert_eq!(echo[5..7], ["1.00", "4.00"]);
        assert_eq!(xblade[5..7], ["0.75", "3.00"]);
        assert_eq!(vblade[5..7], ["0.25", "1.00"]);
        // 1, 3 and 2 within rounds, and 1 from median to median.
        let rounds = [[100.0, 100.0], [10.0, 30.0], [150.0, 300.0]];
        let rounds = rounds.map(|rates| rates.map(sample).to_vec()).to_vec();
        let samples = Samples { rounds, ..samples(&[Target::Echo, Target::Xblade(None)], &[]) };
        assert_eq!(lines(&samples)[3][5], "2.00");
    }

    #[test]
    fn there_is_no_ratio_to_a_target_that_is_missing() {
        let targets =
            [Target::Fio { busy: false }, Target::Xblade(None), Target::Xblade(Some("file".to_owned()))];
        let mut samples = samples(&targets, &[400.0, 300.0, 100.0]);
        let all = lines(&samples);
        assert_eq!(all[0][5..7], ["of fio", "CPU ns/IO"]);
        assert_eq!([&all[3][5], &all[4][5]], ["0.75", "0.25"]);
        // Its first round alone counts.
        for round in &mut samples.rounds[1..] {
            round.truncate(1);
        }
        samples.rounds[0][0].iops = 600.0;
        assert_eq!(lines(&samples)[3][5], "0.50");
        samples.rounds[0].truncate(1);
        assert_eq!(lines(&samples)[3][5], "–");
    }

    #[test]
    fn of_several_vblades_the_first_is_compared_with_and_named() {
        let targets = [Mode::DirectSync, Mode::Sync].map(Target::Vblade);
        let samples = samples(&targets, &[100.0, 50.0]);
        let all = lines(&samples);
        assert_eq!([&all[0][5], &all[3][5]], ["of vblade -b 64 -d -s", "0.50"]);
    }

    #[test]
    fn user_and_system_time_are_apart_and_what_has_no_network_has_no_drops() {
        let cpu = Some(CpuTime { user_ns: 1200.0, system_ns: 3400.0 });
        let mut samples = samples(&[Target::Fio { busy: false }], &[400.0]);
        samples.rounds = vec![vec![Sample { cpu, network: None, ..sample(400.0) }]];
        assert_eq!(lines(&samples)[2][6..=13], ["4600", "1200+3400", "–", "–", "0", "0", "–", "–"]);
    }
}
