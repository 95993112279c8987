//! All measurements of a case, and statistics over them.

use crate::outcome::{Ratio, Sample, Spread};

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
