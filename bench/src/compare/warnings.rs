//! Why a comparison may not be what it seems.

use super::sample::Network;
use super::samples::Samples;

/// Below this share of idle time the generator is suspected to be the limit.
const IDLE_LOW: f64 = 0.03;
/// Rounds that differ by more than this from the median are too different.
const SPREAD: f64 = 0.20;
/// Above this load somebody else was working when a comparison began.
const LOAD_HIGH: f64 = 0.5;

/// What is suspect about a case.
pub fn of_samples(samples: &Samples) -> Vec<String> {
    (0..samples.targets.len())
        .filter_map(|at| {
            let found = of_target(samples, at);
            (!found.is_empty()).then(|| format!("{}: {}", samples.name(at), found.join(", ")))
        })
        .collect()
}

/// What is suspect about the machine, when a comparison begins.
pub fn of_load(load_average: f64) -> Option<String> {
    (load_average > LOAD_HIGH)
        .then(|| format!("preliminary: other work was running (load average {load_average:.1} at the start)"))
}

fn of_target(samples: &Samples, at: usize) -> Vec<String> {
    let networks: Vec<&Network> = samples.of(at).filter_map(|sample| sample.network.as_ref()).collect();
    let sum = |of: fn(&Network) -> u64| networks.iter().map(|network| of(network)).sum::<u64>();
    let (resent, dropped, failed) = (sum(|n| n.resent), sum(|n| n.dropped), sum(|n| n.failed));
    let idle = networks.iter().map(|network| network.generator_idle).fold(1.0, f64::min);
    let (least, middle, most) = samples.iops(at);
    let all = [
        (failed > 0, format!("{failed} requests failed")),
        (resent > 0, format!("{resent} requests were sent again")),
        (dropped > 0, format!("{dropped} frames were dropped")),
        (
            idle < IDLE_LOW,
            format!("the generator was idle for {:.0} % only, it may be the limit", 100.0 * idle),
        ),
        (
            most > middle * (1.0 + SPREAD) || least < middle * (1.0 - SPREAD),
            format!("rounds differ by more than ±{:.0} %", 100.0 * SPREAD),
        ),
    ];
    all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::super::case::{Case, Durability};
    use super::super::sample::Sample;
    use super::super::target::Target;
    use super::*;
    use crate::args::Op;

    fn found(rates: &[f64], network: Option<Network>) -> Vec<String> {
        let durability = Durability::Volatile;
        let case = Case { mtu: 9000, op: Op::Read, sectors: 8, window: 64, durability };
        let round = |&iops: &f64| vec![Sample { iops, network: network.clone(), ..Sample::default() }];
        let rounds = rates.iter().map(round).collect();
        of_samples(&Samples { case, targets: vec![Target::Echo], rounds })
    }

    fn good() -> Network {
        Network { generator_idle: 0.5, ..Network::default() }
    }

    #[test]
    fn a_quiet_run_is_not_suspect() {
        assert_eq!(found(&[100.0, 119.0, 100.0, 81.0], Some(good())), [""; 0]);
        assert_eq!(found(&[100.0], None), [""; 0], "no network, nothing to suspect");
        assert_eq!(of_load(0.4), None);
    }

    #[test]
    fn each_suspicion_is_told_with_the_target() {
        let network = |change: fn(&mut Network)| {
            let mut network = good();
            change(&mut network);
            found(&[100.0, 100.0], Some(network)).join("; ")
        };
        assert_eq!(network(|n| n.resent = 2), "echo: 4 requests were sent again");
        assert_eq!(network(|n| n.dropped = 1), "echo: 2 frames were dropped");
        assert_eq!(network(|n| n.failed = 1), "echo: 2 requests failed");
        let idle = network(|n| n.generator_idle = 0.02);
        assert_eq!(idle, "echo: the generator was idle for 2 % only, it may be the limit");
        for rates in [[100.0, 121.0, 100.0], [100.0, 79.0, 100.0]] {
            assert_eq!(found(&rates, Some(good())), ["echo: rounds differ by more than ±20 %"]);
        }
        let both = found(&[100.0], Some(Network { resent: 1, dropped: 1, ..good() }));
        assert_eq!(both, ["echo: 1 requests were sent again, 1 frames were dropped"]);
        assert!(of_load(0.6).is_some_and(|text| text.contains("0.6")));
    }
}
