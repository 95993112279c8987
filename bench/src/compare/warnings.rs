//! Warnings about a comparison.

use crate::conditions::Cores;
use crate::outcome::{Footprint, Sample, Spread, applying, counted};

use super::plan::Plan;
use super::samples::Samples;

/// If idle time is below this fraction, the generator may be the bottleneck.
const IDLE_LOW: f64 = 0.03;
/// Maximum deviation of rounds from the median.
const SPREAD: f64 = 0.20;
/// If the load average is above this at the start, something else was running.
const LOAD_HIGH: f64 = 0.5;
/// Minimum meaningful length of a measurement, in seconds.
const SHORT_S: f64 = 1.0;
/// Maximum fraction of the cores' time stolen by a hypervisor.
const STEAL: f64 = 0.02;
/// Maximum step of the wall clock, in microseconds; above it, the clock was set.
const CLOCK_STEP_US: f64 = 1000.0;
/// Minimum number of footprints from which drift is inferred.
const FOOTPRINTS: usize = 40;
/// Growth of memory above this fraction, and above this amount, is drift.
const MEMORY_GROWS: f64 = 0.05;
const MEMORY_GROWS_KIB: f64 = 4096.0;
/// Growth of open descriptors above this is drift.
const DESCRIPTORS_GROW: f64 = 4.0;

/// Warnings about the machine at the start of a comparison.
pub fn of_machine(plan: &Plan, cores: &Cores, load_average: f64) -> Vec<String> {
    let (target, generator) = (plan.target_core, plan.generator_core);
    let mut shared = vec![target, generator];
    shared.sort_unstable();
    shared.dedup();
    shared.retain(|core| !cores.isolated.contains(core));
    let shared: Vec<String> = shared.iter().map(usize::to_string).collect();
    let slow: Vec<&str> = cores
        .governors
        .iter()
        .filter(|(core, name)| (*core == target || *core == generator) && name != "performance")
        .map(|(_, name)| name.as_str())
        .collect();
    let all = [
        (
            load_average > LOAD_HIGH,
            format!("preliminary: other work was running (load average {load_average:.1} at the start)"),
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
            target != generator && cores.are_siblings(target, generator),
            format!("cores {target} and {generator} are threads of one: target and generator share it"),
        ),
        (target == generator, format!("target and generator share core {target}")),
    ];
    applying(all)
}

/// Warnings about the measurements of a target.
pub fn of_target(samples: &Samples, at: usize) -> Vec<String> {
    let networks: Vec<&Sample> = samples.of(at).filter(|sample| sample.has_network()).collect();
    let mut found = trouble(&networks);
    found.extend(samples.iops(at).and_then(rounds));
    found.extend(machine(&samples.of(at).collect::<Vec<_>>()));
    found.extend(samples.of(at).find_map(|sample| drift(&sample.footprints)));
    found
}

/// Problems on the network and at its ends.
fn trouble(networks: &[&Sample]) -> Vec<String> {
    let sum = |of: fn(&Sample) -> u64| networks.iter().map(|sample| of(sample)).sum::<u64>();
    let mut found = counted([
        (sum(Sample::faults), "sectors held the wrong data"),
        (sum(Sample::failed), "requests failed"),
        (sum(|sample| sample.outcome.trouble.unsent), "requests were due and never sent"),
        (sum(|sample| sample.outcome.trouble.unexpected), "replies were to nothing that was asked"),
        (sum(Sample::resent), "requests were sent again"),
        (sum(Sample::dropped), "frames were dropped"),
    ]);
    let idle = networks.iter().map(|sample| sample.outcome.idle).fold(1.0, f64::min);
    let beyond = networks.iter().map(|sample| &sample.outcome.setup).find(|s| s.window > s.buffer_count);
    let (window, count) = beyond.map_or((0, 0), |setup| (setup.window, setup.buffer_count));
    let unchecked = networks.iter().any(|s| s.outcome.verify.as_ref().is_some_and(|v| v.checked == 0));
    found.extend(applying([
        (
            idle < IDLE_LOW,
            format!("the generator was idle for {:.0} % only, it may be the limit", 100.0 * idle),
        ),
        (beyond.is_some(), format!("{window} in flight is beyond the {count} that it allows")),
        (unchecked, "no sector that was read could be checked".to_owned()),
    ]));
    found
}

fn rounds(iops: Spread) -> Option<String> {
    let Spread { least, median, most } = iops;
    let wide = most > median * (1.0 + SPREAD) || least < median * (1.0 - SPREAD);
    wide.then(|| format!("rounds differ by more than ±{:.0} %", 100.0 * SPREAD))
}

/// Problems of the machine during the measurement.
fn machine(samples: &[&Sample]) -> Vec<String> {
    let most = |of: fn(&Sample) -> f64| samples.iter().map(|sample| of(sample)).fold(0.0, f64::max);
    let steal = most(|sample| sample.machine.steal);
    let step = most(|sample| sample.machine.clock_step_us.abs());
    let seconds = samples.iter().map(|sample| sample.outcome.seconds).fold(f64::INFINITY, f64::min);
    let all = [
        (steal > STEAL, format!("the hypervisor gave {:.0} % of the cores' time to others", 100.0 * steal)),
        (step > CLOCK_STEP_US, format!("the clock was set by {:.1} ms meanwhile", step / 1e3)),
        (seconds < SHORT_S, format!("{seconds:.2} s is too short to say much")),
    ];
    applying(all)
}

/// Compares the second quarter of the time, when everything has been allocated, with the
/// last.
fn drift(footprints: &[Footprint]) -> Option<String> {
    let quarter = footprints.len() / 4;
    if footprints.len() < FOOTPRINTS {
        return None;
    }
    let middle = |which: usize, of: fn(&Footprint) -> u64| {
        let part = footprints.get(which * quarter..(which + 1) * quarter)?;
        Spread::of(part.iter().map(|footprint| of(footprint) as f64)).map(|spread| spread.median)
    };
    let grown = |of, share: f64, least: f64| {
        let (before, after) = (middle(1, of)?, middle(3, of)?);
        (after > before * (1.0 + share) && after > before + least).then_some((before, after))
    };
    if let Some((before, after)) = grown(|f| f.memory_kib, MEMORY_GROWS, MEMORY_GROWS_KIB) {
        return Some(format!("its memory grew from {:.1} to {:.1} MiB", before / 1024.0, after / 1024.0));
    }
    let (before, after) = grown(|f| f.descriptors, 0.0, DESCRIPTORS_GROW)?;
    Some(format!("its descriptors grew from {before:.0} to {after:.0}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::target::Target;
    use super::super::tests as fake;
    use super::*;
    use crate::args::{Args, Command};
    use crate::conditions::tests::Tree;
    use crate::outcome::Verified;

    fn found(rates: &[f64], change: impl Fn(&mut Sample)) -> String {
        let round = |iops: &f64| {
            let mut sample = fake::sample(*iops);
            // Long enough, at a rate of 100.
            sample.outcome.seconds *= 2.0;
            change(&mut sample);
            vec![sample]
        };
        let rounds = rates.iter().map(round).collect();
        of_target(&Samples { rounds, ..fake::samples(&[Target::Echo], &[]) }, 0).join(", ")
    }

    #[test]
    fn a_quiet_run_is_not_suspect() {
        assert_eq!(found(&[100.0, 119.0, 100.0, 81.0], |_| ()), "");
        assert_eq!(
            found(&[100.0], |sample| sample.outcome.setup.window = sample.outcome.setup.buffer_count),
            ""
        );
        assert_eq!(found(&[100.0], |sample| sample.machine.steal = 0.019), "");
        assert_eq!(found(&[100.0], |sample| sample.machine.clock_step_us = -900.0), "");
        let checked = |sample: &mut Sample| {
            sample.outcome.verify = Some(Verified { checked: 1, ..Verified::default() });
        };
        assert_eq!(found(&[100.0], checked), "");
    }

    #[test]
    fn each_suspicion_is_told_with_the_target() {
        let two = |change: fn(&mut Sample)| found(&[100.0, 100.0], change);
        assert_eq!(two(|s| s.outcome.trouble.retransmits = 2), "4 requests were sent again");
        assert_eq!(two(|s| s.machine.dropped = 1), "2 frames were dropped");
        assert_eq!(two(|s| s.outcome.trouble.dropped = 1), "2 frames were dropped");
        assert_eq!(two(|s| s.outcome.trouble.lost = 1), "2 requests failed");
        assert_eq!(
            two(|s| s.outcome.idle = 0.02),
            "the generator was idle for 2 % only, it may be the limit"
        );
        assert_eq!(two(|s| s.outcome.setup.window = 65), "65 in flight is beyond the 64 that it allows");
        assert_eq!(two(|s| s.machine.steal = 0.03), "the hypervisor gave 3 % of the cores' time to others");
        let clock = "the clock was set by 2.0 ms meanwhile";
        assert_eq!(
            (two(|s| s.machine.clock_step_us = -2000.0), two(|s| s.machine.clock_step_us = 2e3)),
            (clock.into(), clock.into())
        );
        assert_eq!(two(|s| s.outcome.seconds = 0.9), "0.90 s is too short to say much");
        let unchecked = "no sector that was read could be checked";
        assert_eq!(two(|s| s.outcome.verify = Some(Verified::default())), unchecked);
        let faulty = |s: &mut Sample| {
            let faults = vec![("stale".to_owned(), 2), ("corrupt".to_owned(), 1)];
            s.outcome.verify = Some(Verified { checked: 9, faults, ..Verified::default() });
        };
        assert_eq!(found(&[100.0], faulty), "3 sectors held the wrong data");
        for rates in [[100.0, 121.0, 100.0], [100.0, 79.0, 100.0]] {
            assert_eq!(found(&rates, |_| ()), "rounds differ by more than ±20 %");
        }
        let both = |s: &mut Sample| (s.machine.dropped, s.outcome.trouble.retransmits) = (1, 1);
        assert_eq!(found(&[100.0], both), "1 requests were sent again, 1 frames were dropped");
    }

    #[test]
    fn a_target_without_a_network_cannot_lose_frames() {
        let bare = |sample: &mut Sample| {
            sample.outcome.setup.exports.clear();
            sample.outcome.idle = 0.0;
            sample.machine.dropped = 1;
        };
        assert_eq!(found(&[100.0], bare), "");
    }

    #[test]
    fn growth_over_time_is_told_and_what_is_allocated_at_first_is_not() {
        let run = |memory: fn(u64) -> u64, descriptors: fn(u64) -> u64| {
            let one = |n| Footprint { at_s: n as f64, memory_kib: memory(n), descriptors: descriptors(n) };
            drift(&(0..100).map(one).collect::<Vec<_>>())
        };
        assert_eq!(run(|_| 50_000, |_| 20), None);
        assert_eq!(run(|n| if n < 20 { 1000 } else { 50_000 }, |_| 20), None, "a start is no drift");
        assert_eq!(run(|n| 1000 + n, |n| 20 + n % 3), None, "little");
        let grew = run(|n| 10_000 + 1000 * n, |_| 20).unwrap();
        assert!(grew.starts_with("its memory grew from 45."), "{grew}");
        assert_eq!(run(|_| 1, |n| 20 + n / 10).unwrap(), "its descriptors grew from 23 to 28");
        let few: Vec<Footprint> =
            (0..10).map(|n| Footprint { memory_kib: n << 20, ..Footprint::default() }).collect();
        assert_eq!(drift(&few), None);
    }

    fn plan(words: &str) -> Plan {
        let words =
            ["xblade-bench", "compare", "--backing", "/tmp"].into_iter().chain(words.split_whitespace());
        let Command::Compare(args) = Args::parse_from(words).command else { unreachable!() };
        Plan::new(&args).unwrap()
    }

    #[test]
    fn the_machine_is_suspect_for_each_reason_and_for_none_when_it_is_well_set_up() {
        let governor = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";
        let siblings = "sys/devices/system/cpu/cpu0/topology/thread_siblings_list";
        let of = |isolated: &str, governed: &str, shared: &str, load: f64| {
            let files = [
                ("sys/devices/system/cpu/online", "0-3"),
                ("sys/devices/system/cpu/isolated", isolated),
                (governor, governed),
                (siblings, shared),
            ];
            let tree = Tree::new(&files);
            of_machine(&plan(""), &Cores::read(tree.path()), load).join("; ")
        };
        assert_eq!(of("0-1", "performance", "0,2", 0.4), "");
        assert!(
            of("0-1", "performance", "0,2", 0.6)
                .starts_with("preliminary: other work was running (load average 0.6")
        );
        assert!(of("0", "performance", "0,2", 0.0).starts_with("core 1 not isolated"));
        assert!(of("", "performance", "0,2", 0.0).starts_with("core 0 and 1 not isolated"));
        assert!(of("0-1", "powersave", "0,2", 0.0).starts_with("the governor is powersave"));
        assert!(of("0-1", "performance", "0-1", 0.0).starts_with("cores 1 and 0 are threads of one"));
        let tree = Tree::new(&[("sys/devices/system/cpu/isolated", "0-1")]);
        let one = of_machine(&plan("--target-core 0"), &Cores::read(tree.path()), 0.0);
        assert_eq!(one, ["target and generator share core 0"]);
    }
}
