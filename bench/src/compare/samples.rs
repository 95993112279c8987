//! Statistics over the measurements of a case: one of each target per round.

use crate::outcome::{Interval, Outcome, Ratio, Sample, Spread};

use super::target::{BEFORE, XBLADE};

/// The names of the targets, in order.
pub fn names(samples: &[Sample]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for sample in samples {
        if !names.contains(&sample.target.as_str()) {
            names.push(&sample.target);
        }
    }
    names
}

/// The samples of a target.
pub fn of<'a>(samples: &'a [Sample], target: &'a str) -> impl Iterator<Item = &'a Sample> + Clone {
    samples.iter().filter(move |sample| sample.target == target)
}

/// A target's requests per second.
pub fn iops(samples: &[Sample], target: &str) -> Option<Spread> {
    Spread::of(of(samples, target).map(|sample| sample.outcome.iops()))
}

/// A figure of two targets in the same round, over all rounds: what slows the whole machine for
/// a while slows both.
pub fn within(
    samples: &[Sample],
    target: &str,
    to: &str,
    figure: impl Fn(&Sample, &Sample) -> Option<f64>,
) -> Option<Spread> {
    let of_round = |sample: &Sample| {
        let other = of(samples, to).find(|other| other.round == sample.round)?;
        figure(sample, other)
    };
    Spread::of(of(samples, target).filter_map(of_round))
}

/// The ratio of the rates of two targets.
pub fn ratio(samples: &[Sample], target: &str, to: &str) -> Option<Spread> {
    within(samples, target, to, |one, other| Some(one.outcome.iops() / other.outcome.iops()))
}

/// The name of the same target in the build before.
pub fn before(target: &str) -> Option<String> {
    target.strip_prefix(XBLADE).map(|variant| format!("{BEFORE}{variant}"))
}

/// The ratios of all targets to the references, and to the build before.
pub fn ratios(samples: &[Sample]) -> Vec<Ratio> {
    let (names, references) = (names(samples), references(samples));
    let earlier: Vec<_> = names.iter().filter_map(|target| Some((*target, before(target)?))).collect();
    let pairs = names.iter().flat_map(|target| references.iter().map(move |to| (*target, *to)));
    let pairs = pairs.chain(earlier.iter().map(|(target, to)| (*target, to.as_str())));
    let ratio = |(target, to): (&str, &str)| {
        Some(Ratio { target: target.to_owned(), to: to.to_owned(), rounds: ratio(samples, target, to)? })
    };
    pairs.filter_map(ratio).collect()
}

/// The targets that the others are compared with: the ceilings, and the first vblade.
pub fn references(samples: &[Sample]) -> Vec<&str> {
    let names = names(samples);
    let find = |prefix| names.iter().copied().find(|name| name.starts_with(prefix));
    ["echo", "fio", "vblade"].into_iter().filter_map(find).collect()
}

/// Merges all rounds of a target into one outcome, which is shown as one curve; `None` if
/// there are none. Rates are those of all rounds together, which may differ from the
/// medians in tables.
pub fn merged(samples: &[&Sample]) -> Option<Outcome> {
    let (first, rest) = samples.split_first()?;
    let mut all = first.outcome.clone();
    rest.iter().for_each(|sample| add(&mut all, &sample.outcome));
    Some(all)
}

fn add(all: &mut Outcome, more: &Outcome) {
    let from_s = all.seconds;
    let later = |interval: &Interval| Interval { from_s: interval.from_s + from_s, ..interval.clone() };
    all.intervals.extend(more.intervals.iter().map(later));
    all.seconds += more.seconds;
    all.idle = all.idle.min(more.idle);
    all.reads.add(&more.reads);
    all.writes.add(&more.writes);
    all.trouble.add(&more.trouble);
    if let (Some(all), Some(more)) = (&mut all.cost, &more.cost) {
        all.user_ns += more.user_ns;
        all.system_ns += more.system_ns;
    }
    if let (Some(all), Some(more)) = (&mut all.verify, &more.verify) {
        all.add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests as fake;
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds_and_have_their_spread() {
        // 1, 3 and 2 within rounds, and 3 between the medians.
        let rounds = [[100.0, 100.0], [10.0, 30.0], [150.0, 300.0]];
        let samples = fake::rounds(&["echo", "xblade"], &rounds);
        let near = |spread: Spread, expected: [f64; 3]| {
            let found = [spread.least, spread.median, spread.most];
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9)
        };
        assert!(near(ratio(&samples, "xblade", "echo").unwrap(), [1.0, 2.0, 3.0]));
        assert!(near(iops(&samples, "xblade").unwrap(), [30.0, 100.0, 300.0]));
        let all = ratios(&samples);
        let named: Vec<(&str, &str)> = all.iter().map(|r| (r.target.as_str(), r.to.as_str())).collect();
        assert_eq!(named, [("echo", "echo"), ("xblade", "echo")]);
        assert!((all[1].rounds.most - 3.0).abs() < 1e-9);
    }

    #[test]
    fn there_is_no_ratio_to_a_target_that_is_missing() {
        let mut samples = fake::samples(&["fio", "xblade"], &[400.0, 300.0]);
        // Only its first round counts.
        samples.retain(|sample| sample.target == "fio" || sample.round == 1);
        assert!((ratio(&samples, "xblade", "fio").unwrap().median - 0.75).abs() < 1e-9);
        samples.retain(|sample| sample.target == "fio");
        assert_eq!(ratio(&samples, "xblade", "fio"), None);
    }

    #[test]
    fn of_several_vblades_the_first_is_compared_with() {
        let names = ["xblade", "vblade -d -s", "vblade"];
        assert_eq!(references(&fake::samples(&names, &[100.0, 50.0, 1.0])), ["vblade -d -s"]);
    }

    #[test]
    fn a_build_is_compared_with_the_same_target_of_the_build_before() {
        let names = ["before store=mmap", "before", "xblade store=mmap", "xblade store=ram"];
        let all = ratios(&fake::samples(&names, &[100.0, 1.0, 150.0, 7.0]));
        let found: Vec<_> = all.iter().map(|r| (r.target.as_str(), r.to.as_str(), r.rounds.median)).collect();
        assert_eq!(found, [("xblade store=mmap", "before store=mmap", 1.5)]);
    }
}

#[cfg(test)]
mod merge_tests {
    use super::super::tests as fake;
    use super::*;
    use crate::outcome::{Cost, Trouble};

    fn sample(iops: f64, idle: f64) -> Sample {
        let mut sample = fake::sample("x", 1, iops);
        sample.outcome.idle = idle;
        sample.outcome.cost = Some(Cost { user_ns: 10, system_ns: 20 });
        sample.outcome.trouble = Trouble { retransmits: 1, lost: 2, ..Trouble::default() };
        sample.outcome.intervals = vec![Interval { from_s: 0.5, ..Interval::default() }];
        sample
    }

    #[test]
    fn rounds_are_added_up_one_after_the_other() {
        let rounds = [sample(100.0, 0.5), sample(50.0, 0.25)];
        let all = merged(&rounds.each_ref()).unwrap();
        assert_eq!((all.name.as_str(), all.completions(), all.seconds), ("x", 200, 3.0));
        assert_eq!((all.trouble.retransmits, all.trouble.lost, all.idle), (2, 4, 0.25));
        assert_eq!(all.cost.unwrap().system_ns, 40);
        let from: Vec<f64> = all.intervals.iter().map(|interval| interval.from_s).collect();
        assert_eq!(from, [0.5, 1.5]);
        assert_eq!(merged(&[]), None);
    }
}
