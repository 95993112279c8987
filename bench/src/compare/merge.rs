//! Merges all rounds of a target into one outcome, which is shown as one curve.

use crate::conditions::condition;
use crate::outcome::{Condition, Footprint, Interval, Outcome, Sample};

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
