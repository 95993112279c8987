//! Warnings about a comparison.

use std::collections::BTreeSet;
use std::path::Path;

use crate::conditions;
use crate::outcome::{Outcome, Sample, Spread, applying, counted};

use super::plan::Plan;

/// Maximum deviation of rounds from the median.
const SPREAD: f64 = 0.20;
/// If the load average is above this at the start, something else was running.
const LOAD_HIGH: f64 = 0.5;
/// Maximum fraction of the cores' time stolen by a hypervisor.
const STEAL: f64 = 0.02;
/// Warnings about the machine at the start of a comparison.
pub fn of_machine(plan: &Plan, root: &Path) -> Vec<String> {
    let (target, generator) = (plan.target_core, plan.generator_here);
    let isolated = conditions::cores(root, "isolated");
    let cores: BTreeSet<usize> = generator.into_iter().chain([target]).collect();
    let shared = cores.iter().filter(|core| !isolated.contains(core)).map(usize::to_string);
    let shared = Vec::from_iter(shared);
    let slow = cores.iter().filter_map(|core| conditions::governor(root, *core));
    let slow = Vec::from_iter(slow.filter(|name| name != "performance"));
    let siblings = conditions::cores(root, &format!("cpu{target}/topology/thread_siblings_list"));
    let sibling = generator.filter(|core| *core != target && siblings.contains(core));
    let load = conditions::load_average(root);
    applying([
        (
            load > LOAD_HIGH,
            format!("preliminary: other work was running (load average {load:.1} at the start)"),
        ),
        (
            !shared.is_empty(),
            format!(
                "core {} not isolated: others may run there (boot with isolcpus=LIST nohz_full=LIST)",
                shared.join(" and ")
            ),
        ),
        (
            !slow.is_empty(),
            format!("the governor is {}, not performance: cores change their speed", slow.join(" and ")),
        ),
        (
            sibling.is_some(),
            format!(
                "cores {target} and {} are threads of one: target and generator share it",
                sibling.unwrap_or_default()
            ),
        ),
        (Some(target) == generator, format!("target and generator share core {target}")),
    ])
}

/// Warnings about the measurements of a target, and about its merged outcome.
pub fn of_target(samples: &[&Sample], merged: &Outcome) -> Vec<String> {
    let shortest = samples.iter().map(|sample| sample.outcome.seconds).fold(f64::INFINITY, f64::min);
    let mut found = Outcome { seconds: shortest, ..merged.clone() }.suspicions();
    let sum = |of: fn(&Sample) -> u64| samples.iter().map(|sample| of(sample)).sum::<u64>();
    found.extend(counted([
        (sum(Sample::faults), "sectors held the wrong data"),
        (sum(Sample::failed), "requests failed"),
    ]));
    let [dropped, at_target] = [sum(|s| s.machine.dropped), sum(|s| s.machine.dropped_at_target)];
    if dropped > 0 {
        found.push(format!(
            "{dropped} frames were dropped on the way, {at_target} by the target's interface and {} by the \
             generator's: more came at once than a queue or ring holds, and each lost frame costs its request a second",
            dropped - at_target.min(dropped)
        ));
    }
    let Spread { least, median, most } =
        Spread::of(samples.iter().map(|sample| sample.outcome.iops())).unwrap_or_default();
    let steal = samples.iter().map(|sample| sample.machine.steal).fold(0.0, f64::max);
    found.extend(applying([
        (
            most > median * (1.0 + SPREAD) || least < median * (1.0 - SPREAD),
            format!("rounds differ by more than ±{:.0} %", 100.0 * SPREAD),
        ),
        (steal > STEAL, format!("the hypervisor gave {:.0} % of the cores' time to others", 100.0 * steal)),
    ]));
    found
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::samples::merged;
    use super::super::tests as fake;
    use super::*;
    use crate::args::{Args, Command};
    use crate::conditions::tests::Tree;
    use crate::outcome::Verified;

    fn found(rates: &[f64], change: impl Fn(&mut Sample)) -> String {
        let round = |iops: &f64| {
            let mut sample = fake::sample("echo", 1, *iops);
            // Long enough, at a rate of 100.
            sample.outcome.seconds *= 2.0;
            change(&mut sample);
            sample
        };
        let rounds: Vec<Sample> = rates.iter().map(round).collect();
        let rounds: Vec<&Sample> = rounds.iter().collect();
        of_target(&rounds, &merged(&rounds).unwrap()).join(", ")
    }

    #[test]
    fn a_quiet_run_is_not_suspect() {
        assert_eq!(found(&[100.0, 119.0, 100.0, 81.0], |_| ()), "");
        assert_eq!(
            found(&[100.0], |sample| sample.outcome.setup.window = sample.outcome.setup.buffer_count),
            ""
        );
        assert_eq!(found(&[100.0], |sample| sample.machine.steal = 0.019), "");
        let checked = |sample: &mut Sample| {
            sample.outcome.verify = Some(Verified { checked: 1, ..Verified::default() });
        };
        assert_eq!(found(&[100.0], checked), "");
        let bare = |sample: &mut Sample| {
            sample.outcome.setup.exports.clear();
            sample.outcome.idle = 1.0;
        };
        assert_eq!(found(&[100.0], bare), "");
    }

    #[test]
    fn each_suspicion_is_told() {
        let two = |change: fn(&mut Sample)| found(&[100.0, 100.0], change);
        assert!(two(|s| s.outcome.trouble.retransmits = 2).starts_with("4 requests were sent again"));
        let dropped = two(|s| (s.machine.dropped, s.machine.dropped_at_target) = (3, 1));
        let ends = "6 frames were dropped on the way, 2 by the target's interface and 4 by the generator's: more came";
        assert!(dropped.starts_with(ends), "{dropped}");
        assert_eq!(two(|s| s.outcome.trouble.lost = 1), "2 requests failed");
        assert!(two(|s| s.outcome.idle = 0.02).starts_with("the generator was busy 98 % of the time"));
        assert!(two(|s| s.outcome.setup.window = 65).contains("65 is beyond the 64"));
        assert_eq!(two(|s| s.machine.steal = 0.03), "the hypervisor gave 3 % of the cores' time to others");
        assert_eq!(two(|s| s.outcome.seconds = 0.9), "0.90 s is too short to say much");
        assert!(two(|s| s.outcome.verify = Some(Verified::default())).starts_with("no sector that was read"));
        let faulty = |s: &mut Sample| {
            let faults = [("stale".to_owned(), 2), ("corrupt".to_owned(), 1)].into();
            s.outcome.verify = Some(Verified { checked: 9, faults, ..Verified::default() });
        };
        assert_eq!(found(&[100.0], faulty), "3 sectors held the wrong data");
        for rates in [[100.0, 121.0, 100.0], [100.0, 79.0, 100.0]] {
            assert_eq!(found(&rates, |_| ()), "rounds differ by more than ±20 %");
        }
    }

    fn plan(words: &str) -> Plan {
        let words =
            ["xblade-bench", "compare", "--backing", "/tmp"].into_iter().chain(words.split_whitespace());
        let Command::Compare(args) = Args::parse_from(words).command else { unreachable!() };
        Plan::new(&args).unwrap()
    }

    #[test]
    fn the_machine_is_suspect_for_each_reason_and_for_none_when_it_is_well_set_up() {
        let of = |isolated: &str, governed: &str, shared: &str, load: &str| {
            let files = [
                ("proc/loadavg", load),
                ("sys/devices/system/cpu/isolated", isolated),
                ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", governed),
                ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", shared),
            ];
            of_machine(&plan(""), Tree::new(&files).path()).join("; ")
        };
        assert_eq!(of("0-1", "performance", "1,3", "0.4"), "");
        assert!(
            of("0-1", "performance", "1,3", "0.6")
                .starts_with("preliminary: other work was running (load average 0.6")
        );
        assert!(of("0", "performance", "1,3", "0").starts_with("core 1 not isolated"));
        assert!(of("", "performance", "1,3", "0").starts_with("core 0 and 1 not isolated"));
        assert!(of("0-1", "powersave", "1,3", "0").starts_with("the governor is powersave"));
        assert!(of("0-1", "performance", "0-1", "0").starts_with("cores 1 and 0 are threads of one"));
        let tree = Tree::new(&[("sys/devices/system/cpu/isolated", "0-1")]);
        assert_eq!(of_machine(&plan("--target-core 0"), tree.path()), ["target and generator share core 0"]);
        let remote = plan("--target-core 0 --interface eth1 --remote ssh --remote-interface eth1");
        assert_eq!(of_machine(&remote, tree.path()), [""; 0], "the generator has a core of another host");
    }
}
