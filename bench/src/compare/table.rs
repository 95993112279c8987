//! A case as a table: one row per target.

use crate::outcome::{Sample, Spread};
use crate::report::Table;

use super::samples::{iops, names, of, ratio, references};

/// One row per target.
pub fn table(samples: &[Sample]) -> Table {
    let names = names(samples);
    let mut table = Table::new(["target"]);
    names.iter().for_each(|name| table.row([(*name).to_owned()]));
    let mut add = |head: &str, cell: &dyn Fn(&str) -> Option<String>| {
        table.column(head, names.iter().map(|name| cell(name).unwrap_or_else(|| "–".to_owned())));
    };
    let mid = |name: &str, of_one: &dyn Fn(&Sample) -> Option<f64>| {
        Spread::of(of(samples, name).filter_map(of_one)).map(|spread| spread.median)
    };
    let whole = |x: f64| format!("{x:.0}");
    let percent = |x: f64| format!("{:.0} %", 100.0 * x);
    add("IOPS", &|name| Some(format!("{:.1} k", iops(samples, name)?.median / 1e3)));
    add("min–max k", &|name| {
        let Spread { least, most, .. } = iops(samples, name)?;
        Some(format!("{:.1}–{:.1}", least / 1e3, most / 1e3))
    });
    add("MB/s", &|name| mid(name, &|s| Some(s.outcome.mb_per_s(s.outcome.iops()))).map(whole));
    for to in references(samples) {
        add(&format!("of {to}"), &|name| {
            let Spread { least, median, most } = ratio(samples, name, to)?;
            Some(format!("{median:.2} ({least:.2}–{most:.2})"))
        });
    }
    // CPU seconds per million requests are microseconds per request.
    let cpu = |name: &str, share: fn((f64, f64)) -> f64| {
        mid(name, &|s| s.outcome.cost_per_request().map(|cost| share(cost) / 1e3))
    };
    add("CPU s/M IO", &|name| Some(format!("{:.3}", cpu(name, |(user, system)| user + system)?)));
    add("usr+sys", &|name| {
        Some(format!("{:.3}+{:.3}", cpu(name, |cost| cost.0)?, cpu(name, |cost| cost.1)?))
    });
    add("core busy", &|name| mid(name, &|s| Some(s.machine.target_core_busy)).map(percent));
    let network = |share: fn(&Sample) -> Option<f64>| {
        move |name: &str| mid(name, &|s| share(s).filter(|_| s.has_network())).map(percent)
    };
    add("gen kernel", &network(|s| s.machine.generator_core_kernel));
    add("gen idle", &network(|s| Some(s.outcome.idle)));
    for (head, quantile) in [("p50 us", 0.5), ("p99 us", 0.99)] {
        add(head, &|name| mid(name, &|s| Some(s.outcome.response().us(quantile))).map(whole));
    }
    for (head, count) in [("drops", Sample::dropped as fn(&Sample) -> u64), ("resent", Sample::resent)] {
        add(head, &|name| {
            let all = of(samples, name).filter(|sample| sample.has_network()).map(count);
            all.reduce(|sum, more| sum + more).map(|sum| sum.to_string())
        });
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::tests as fake;
    use super::*;
    use crate::outcome::{Cost, Machine};

    fn lines(samples: &[Sample]) -> Vec<Vec<String>> {
        let text = table(samples).markdown();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        text.lines().map(cells).collect()
    }

    #[test]
    fn ratios_are_shown_with_their_spread() {
        let all = lines(&fake::samples(&["echo", "xblade", "vblade -b 64"], &[400.0, 300.0, 100.0]));
        assert_eq!(all[0][5..7], ["of echo", "of vblade -b 64"]);
        assert_eq!(all[3][5..7], ["0.75 (0.75–0.75)", "3.00 (3.00–3.00)"]);
        assert_eq!(all[4][1..4], ["vblade -b 64", "0.1 k", "0.0–0.1"]);
    }

    #[test]
    fn cpu_time_is_in_one_unit_and_what_has_no_network_has_no_drops() {
        let mut samples = fake::samples(&["fio"], &[400.0]);
        let cost = Some(Cost { user_ns: 120_000, system_ns: 345_600 });
        for sample in &mut samples {
            sample.outcome.cost = cost;
            sample.machine.target_core_busy = 0.5;
            sample.outcome.setup.exports.clear();
        }
        let all = lines(&samples);
        assert_eq!(all[0][6..11], ["CPU s/M IO", "usr+sys", "core busy", "gen kernel", "gen idle"]);
        assert_eq!(all[2][6..15], ["4.656", "1.200+3.456", "50 %", "–", "–", "1", "1", "–", "–"]);
    }

    #[test]
    fn the_kernel_s_part_of_the_generator_s_core_is_shown_for_a_target_of_the_network() {
        let mut samples = fake::samples(&["echo"], &[400.0]);
        for sample in &mut samples {
            sample.machine = Machine { generator_core_kernel: Some(0.625), dropped: 2, ..Machine::default() };
        }
        let all = lines(&samples);
        assert_eq!(all[2][8..], ["0 %", "62 %", "50 %", "1", "1", "6", "0", ""]);
    }
}
