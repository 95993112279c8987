//! All measurements of a case, and statistics over them.

use crate::conditions::condition;
use crate::outcome::{Condition, Footprint, Interval, Outcome, Ratio, Sample, Spread};

use super::case::Case;
use super::target::Target;

/// All measurements of a case: one of each target per round.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The case.
    pub case: Case,
    /// The targets.
    pub targets: Vec<Target>,
    /// By round, then by target.
    pub rounds: Vec<Vec<Sample>>,
}

/// A target that the others are compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// Its index.
    pub at: usize,
    /// Its shortest name.
    pub name: String,
}

impl Samples {
    /// The name of a target.
    pub fn name(&self, at: usize) -> String {
        self.targets.get(at).map(|target| target.name(&self.case)).unwrap_or_default()
    }

    /// Requests per second.
    pub fn iops(&self, at: usize) -> Option<Spread> {
        Spread::of(self.of(at).map(|sample| sample.outcome.iops()))
    }

    /// The samples of a target.
    pub fn of(&self, at: usize) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().filter_map(move |round| round.get(at))
    }

    /// The median of values of a target, over the rounds that have it.
    pub fn mid(&self, at: usize, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        Spread::of(self.of(at).filter_map(of)).map(|spread| spread.median)
    }

    /// The ratio of two targets in the same round, over all rounds: what slows the whole
    /// machine for a while slows both.
    pub fn ratio(&self, at: usize, to: usize) -> Option<Spread> {
        let within =
            |round: &Vec<Sample>| Some(round.get(at)?.outcome.iops() / round.get(to)?.outcome.iops());
        Spread::of(self.rounds.iter().filter_map(within))
    }

    /// The ratios of all targets to the references.
    pub fn ratios(&self) -> Vec<Ratio> {
        let ratio = |at: usize, to: &Reference| {
            Some(Ratio { target: self.name(at), to: self.name(to.at), rounds: self.ratio(at, to.at)? })
        };
        let references = self.references();
        let each = |at| references.iter().filter_map(move |to| ratio(at, to)).collect::<Vec<_>>();
        (0..self.targets.len()).flat_map(each).collect()
    }

    /// The references among the targets: the ceilings, and the first vblade.
    pub fn references(&self) -> Vec<Reference> {
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
}

// Merges all rounds of a target into one outcome, which is shown as one curve.

/// Merges the rounds of one target; `None` if there are none. Rates are those of all
/// rounds together, which may differ from the medians in tables.
pub fn merged<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<Outcome> {
    let samples: Vec<&Sample> = samples.collect();
    let (first, rest) = samples.split_first()?;
    let mut all = first.outcome.clone();
    // Warnings are shown with the case, once for all rounds.
    all.warnings.clear();
    all.idle = samples.iter().map(|sample| sample.outcome.idle).fold(1.0, f64::min);
    for sample in rest {
        add(&mut all, &sample.outcome);
    }
    for sample in &samples {
        all.conditions.extend(footprint(sample, samples.len() > 1));
    }
    Some(all)
}

fn add(all: &mut Outcome, more: &Outcome) {
    let from_s = all.seconds;
    let later = |interval: &Interval| Interval { from_s: interval.from_s + from_s, ..interval.clone() };
    all.intervals.extend(more.intervals.iter().map(later));
    all.seconds += more.seconds;
    all.reads.add(&more.reads);
    all.writes.add(&more.writes);
    all.trouble.add(&more.trouble);
    if let (Some(all), Some(more)) = (&mut all.cost, &more.cost) {
        all.user_ns += more.user_ns;
        all.system_ns += more.system_ns;
    }
    if let (Some(all), Some(more)) = (&mut all.verify, &more.verify) {
        all.checked += more.checked;
        all.unchecked += more.unchecked;
        all.faults.extend(more.faults.iter().cloned());
        all.examples.extend(more.examples.iter().cloned());
    }
}

/// Memory and descriptors of a target over time.
fn footprint(sample: &Sample, several: bool) -> Option<Condition> {
    let (first, last) = (sample.footprints.first()?, sample.footprints.last()?);
    let most = |of: fn(&Footprint) -> u64| sample.footprints.iter().map(of).max().unwrap_or(0);
    let name = if several { format!("held in round {}", sample.round) } else { "held over time".to_owned() };
    let mib = |kib: u64| kib as f64 / 1024.0;
    Some(condition(
        name,
        format!(
            "memory {:.1} MiB at first, {:.1} at last, {:.1} at most; descriptors {}, {}, {}",
            mib(first.memory_kib),
            mib(last.memory_kib),
            mib(most(|footprint| footprint.memory_kib)),
            first.descriptors,
            last.descriptors,
            most(|footprint| footprint.descriptors),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests as fake;
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds_and_have_their_spread() {
        let targets = [Target::Echo, Target::Xblade(None)];
        // 1, 3 and 2 within rounds, and 3 between the medians.
        let rounds = [[100.0, 100.0], [10.0, 30.0], [150.0, 300.0]];
        let rounds = rounds.map(|rates| rates.map(fake::sample).to_vec()).to_vec();
        let samples = Samples { rounds, ..fake::samples(&targets, &[]) };
        let near = |spread: Spread, expected: [f64; 3]| {
            let found = [spread.least, spread.median, spread.most];
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9)
        };
        assert!(near(samples.ratio(1, 0).unwrap(), [1.0, 2.0, 3.0]));
        assert!(near(samples.iops(1).unwrap(), [30.0, 100.0, 300.0]));
        let all = samples.ratios();
        let named: Vec<(&str, &str)> = all.iter().map(|r| (r.target.as_str(), r.to.as_str())).collect();
        assert_eq!(named, [("echo", "echo"), ("xblade", "echo")]);
        assert!((all[1].rounds.most - 3.0).abs() < 1e-9);
    }

    #[test]
    fn there_is_no_ratio_to_a_target_that_is_missing() {
        let targets = [Target::Fio { busy: false }, Target::Xblade(None)];
        let mut samples = fake::samples(&targets, &[400.0, 300.0]);
        // Only its first round counts.
        for round in &mut samples.rounds[1..] {
            round.truncate(1);
        }
        assert!((samples.ratio(1, 0).unwrap().median - 0.75).abs() < 1e-9);
        samples.rounds[0].truncate(1);
        assert_eq!(samples.ratio(1, 0), None);
    }

    #[test]
    fn of_several_vblades_the_first_is_compared_with_and_named() {
        let targets = ["vblade:ds", "vblade:s"].map(|word| word.parse().unwrap());
        let references = fake::samples(&targets, &[100.0, 50.0]).references();
        assert_eq!(references, [Reference { at: 0, name: "vblade -b 64 -d -s".to_owned() }]);
        let one = [Target::Xblade(None), "vblade:s".parse().unwrap()];
        assert_eq!(fake::samples(&one, &[1.0, 1.0]).references()[0].name, "vblade");
    }
}

#[cfg(test)]
mod merge_tests {
    use super::super::tests as fake;
    use super::*;
    use crate::outcome::{Cost, Trouble};

    fn sample(iops: f64, idle: f64) -> Sample {
        let mut sample = fake::sample(iops);
        sample.outcome.idle = idle;
        sample.outcome.cost = Some(Cost { user_ns: 10, system_ns: 20, core_busy: Some(0.5) });
        sample.outcome.trouble = Trouble { retransmits: 1, lost: 2, ..Trouble::default() };
        sample.outcome.intervals = vec![Interval { from_s: 0.5, ..Interval::default() }];
        sample.outcome.warnings = vec!["the same".to_owned()];
        sample
    }

    #[test]
    fn rounds_are_added_up_one_after_the_other() {
        let rounds = [sample(100.0, 0.5), sample(50.0, 0.25)];
        let all = merged(rounds.iter()).unwrap();
        assert_eq!((all.completions(), all.seconds), (200, 3.0));
        assert_eq!((all.trouble.retransmits, all.trouble.lost, all.idle), (2, 4, 0.25));
        assert_eq!(all.cost.unwrap().system_ns, 40);
        let from: Vec<f64> = all.intervals.iter().map(|interval| interval.from_s).collect();
        assert_eq!(from, [0.5, 1.5]);
        assert_eq!(all.warnings, [""; 0]);
        assert_eq!(merged([].iter()), None);
    }

    #[test]
    fn what_a_target_held_is_told() {
        let footprint = |memory_kib, descriptors| Footprint { at_s: 0.0, memory_kib, descriptors };
        let footprints = vec![footprint(1024, 5), footprint(4096, 9), footprint(2048, 6)];
        let sample = Sample { footprints, ..sample(1.0, 0.5) };
        let all = merged([sample].iter()).unwrap();
        let told = "memory 1.0 MiB at first, 2.0 at last, 4.0 at most; descriptors 5, 6, 9";
        assert_eq!(all.conditions, [condition("held over time", told)]);
    }
}
