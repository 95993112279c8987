//! A case as a table: one row per target.

use crate::outcome::Sample;
use crate::report::Table;

use super::against::Earlier;
use super::samples::{Samples, Spread};

/// Shown where there is no value.
const NONE: &str = "–";

/// One row per target, with the values of an earlier comparison if there is one.
pub fn table(samples: &Samples, earlier: Option<&Earlier>) -> Table {
    let references = samples.references();
    let mut head: Vec<String> = ["target", "IOPS", "min–max k", "MB/s"].map(str::to_owned).to_vec();
    head.extend(references.iter().map(|reference| format!("of {}", reference.name)));
    if earlier.is_some() {
        head.extend(["of earlier", "machine of earlier"].map(str::to_owned));
    }
    let costs = ["CPU s/M IO", "usr+sys", "core busy", "gen kernel", "gen idle"];
    head.extend(costs.iter().chain(&["p50 us", "p99 us", "drops", "resent"]).map(|word| (*word).to_owned()));
    let mut table = Table::new(head);
    for at in 0..samples.targets.len() {
        let ratios = references.iter().map(|to| shown(samples.ratio(at, to.at), spread));
        let drift = earlier.map(|earlier| {
            [earlier.ratio(samples, at), earlier.machine(samples)]
                .map(|ratio| shown(ratio, |x| format!("{x:.2}")))
        });
        let cells = rate(samples, at).into_iter().chain(ratios).chain(drift.into_iter().flatten());
        table.row(cells.chain(cost(samples, at)));
    }
    table
}

fn rate(samples: &Samples, at: usize) -> Vec<String> {
    let iops = samples.iops(at);
    vec![
        samples.name(at),
        shown(iops, |iops| format!("{:.1} k", iops.median / 1e3)),
        shown(iops, |iops| format!("{:.1}–{:.1}", iops.least / 1e3, iops.most / 1e3)),
        shown(samples.mid(at, |s| Some(s.outcome.mb_per_s())), |x| format!("{x:.0}")),
    ]
}

/// CPU seconds per million requests are microseconds per request.
fn cost(samples: &Samples, at: usize) -> Vec<String> {
    let whole = |x: f64| format!("{x:.0}");
    let percent = |x: f64| format!("{:.0} %", 100.0 * x);
    let cpu = |of: fn((f64, f64)) -> f64| {
        samples.mid(at, |s| s.outcome.cost_per_request().map(|cost| of(cost) / 1e3))
    };
    let (all, user, system) = (cpu(|cost| cost.0 + cost.1), cpu(|cost| cost.0), cpu(|cost| cost.1));
    let network = |of: fn(&Sample) -> f64| samples.mid(at, |s| s.has_network().then(|| of(s)));
    let count = |of: fn(&Sample) -> u64| {
        let counts: Vec<u64> = samples.of(at).filter(|sample| sample.has_network()).map(of).collect();
        if counts.is_empty() { NONE.to_owned() } else { counts.iter().sum::<u64>().to_string() }
    };
    vec![
        shown(all, |us| format!("{us:.3}")),
        shown(user.zip(system), |(user, system)| format!("{user:.3}+{system:.3}")),
        shown(samples.mid(at, |s| s.outcome.cost.and_then(|cost| cost.core_busy)), percent),
        shown(network(|s| s.machine.generator_core_kernel), percent),
        shown(network(|s| s.outcome.idle), percent),
        shown(samples.mid(at, |s| Some(s.outcome.response().us(0.5))), whole),
        shown(samples.mid(at, |s| Some(s.outcome.response().us(0.99))), whole),
        count(Sample::dropped),
        count(Sample::resent),
    ]
}

fn spread(ratio: Spread) -> String {
    let Spread { least, median, most } = ratio;
    format!("{median:.2} ({least:.2}–{most:.2})")
}

fn shown<T>(value: Option<T>, how: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), how)
}

#[cfg(test)]
mod tests {
    use super::super::target::Target;
    use super::super::tests as fake;
    use super::*;
    use crate::outcome::{Cost, Machine};

    fn lines(samples: &Samples, earlier: Option<&Earlier>) -> Vec<Vec<String>> {
        let text = table(samples, earlier).markdown();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        text.lines().map(cells).collect()
    }

    #[test]
    fn ratios_are_shown_with_their_spread() {
        let targets = [Target::Echo, Target::Xblade(None), Target::Vblade(None)];
        let all = lines(&fake::samples(&targets, &[400.0, 300.0, 100.0]), None);
        assert_eq!(all[0][5..7], ["of echo", "of vblade"]);
        assert_eq!(all[3][5..7], ["0.75 (0.75–0.75)", "3.00 (3.00–3.00)"]);
        assert_eq!(all[4][1..4], ["vblade -b 64", "0.1 k", "0.0–0.1"]);
    }

    #[test]
    fn cpu_time_is_in_one_unit_and_what_has_no_network_has_no_drops() {
        let mut samples = fake::samples(&[Target::Fio { busy: false }], &[400.0]);
        let cost = Some(Cost { user_ns: 120_000, system_ns: 345_600, core_busy: Some(0.5) });
        for sample in samples.rounds.iter_mut().flatten() {
            sample.outcome.cost = cost;
            sample.outcome.setup.exports.clear();
        }
        let all = lines(&samples, None);
        assert_eq!(all[0][6..11], ["CPU s/M IO", "usr+sys", "core busy", "gen kernel", "gen idle"]);
        assert_eq!(all[2][6..15], ["4.656", "1.200+3.456", "50 %", "–", "–", "1", "1", "–", "–"]);
    }

    #[test]
    fn the_kernel_s_part_of_the_generator_s_core_is_shown_for_a_target_of_the_network() {
        let mut samples = fake::samples(&[Target::Echo], &[400.0]);
        for sample in samples.rounds.iter_mut().flatten() {
            sample.machine = Machine { generator_core_kernel: 0.625, dropped: 2, ..Machine::default() };
        }
        let all = lines(&samples, None);
        assert_eq!(all[2][8..], ["–", "62 %", "50 %", "1", "1", "6", "0", ""]);
    }
}
