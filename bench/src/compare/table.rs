//! A case as a table: one row per target.

use crate::outcome::{Row, Sample, Spread};
use crate::report::Table;

use super::samples::{before, iops, names, of, ratio, references, within};

/// The figures of each target.
pub fn rows(samples: &[Sample]) -> Vec<Row> {
    names(samples).into_iter().map(|name| row(samples, name)).collect()
}

fn row(samples: &[Sample], name: &str) -> Row {
    let all = |figure: &dyn Fn(&Sample) -> Option<f64>| Spread::of(of(samples, name).filter_map(figure));
    let median = |figure: &dyn Fn(&Sample) -> Option<f64>| all(figure).map(|spread| spread.median);
    let network = |figure: &dyn Fn(&Sample) -> Option<f64>| {
        median(&|sample| figure(sample).filter(|_| sample.has_network()))
    };
    let sum = |count: fn(&Sample) -> u64| {
        of(samples, name).filter(|sample| sample.has_network()).map(count).reduce(|sum, more| sum + more)
    };
    let over_echo = |sample: &Sample, echo: &Sample| {
        (sample.has_network() && sample.target != echo.target).then_some(sample.cpu_us()? - echo.cpu_us()?)
    };
    let user_of = |sample: &Sample, before: &Sample| Some(sample.user_ns()? / before.user_ns()?);
    Row {
        target: name.to_owned(),
        iops: iops(samples, name).unwrap_or_default(),
        cpu_us: median(&Sample::cpu_us),
        cpu_us_over_echo: within(samples, name, "echo", over_echo).map(|spread| spread.median),
        user_ns: all(&Sample::user_ns),
        user_of_before: before(name).and_then(|before| within(samples, name, &before, user_of)),
        calls: median(&|sample| Some(sample.traced?.calls)),
        core_busy: median(&|sample| Some(sample.machine.target_core_busy)),
        generator_kernel: network(&|sample| sample.machine.generator_core_kernel),
        generator_idle: network(&|sample| Some(sample.outcome.idle)),
        p50_us: median(&|sample| Some(sample.outcome.response().us(0.5))),
        p99_us: median(&|sample| Some(sample.outcome.response().us(0.99))),
        inside_p50_us: median(&|sample| Some(sample.inside?.p50_us)),
        inside_p99_us: median(&|sample| Some(sample.inside?.p99_us)),
        drops: sum(Sample::dropped),
        resent: sum(Sample::resent),
    }
}

/// The rows as a table, with ratios to the references.
pub fn table(samples: &[Sample], rows: &[Row]) -> Table {
    let mut table = Table::new(["target"]);
    rows.iter().for_each(|row| table.row([row.target.clone()]));
    let mut add = |head: &str, cell: &dyn Fn(&Row) -> Option<String>| {
        table.column(head, rows.iter().map(|row| cell(row).unwrap_or_else(|| "–".to_owned())));
    };
    let ranged = |Spread { least, median, most }| format!("{median:.2} ({least:.2}–{most:.2})");
    let whole = |x: f64| format!("{x:.0}");
    let tenths = |x: f64| format!("{x:.1}");
    let hundredths = |x: f64| format!("{x:.2}");
    let percent = |x: f64| format!("{:.0} %", 100.0 * x);
    add("k IOPS", &|row| {
        let [least, median, most] = [row.iops.least, row.iops.median, row.iops.most].map(|iops| iops / 1e3);
        Some(format!("{median:.1} ({least:.1}–{most:.1})"))
    });
    for to in references(samples) {
        add(&format!("of {to}"), &|row| ratio(samples, &row.target, to).map(ranged));
    }
    let has_before = rows.iter().any(|row| row.user_of_before.is_some());
    if has_before {
        add("of before", &|row| ratio(samples, &row.target, &before(&row.target)?).map(ranged));
    }
    add("CPU us", &|row| row.cpu_us.map(hundredths));
    add("over echo us", &|row| row.cpu_us_over_echo.map(hundredths));
    add("user ns", &|row| row.user_ns.map(|ns| whole(ns.median)));
    if has_before {
        add("user of before", &|row| row.user_of_before.map(ranged));
    }
    add("calls", &|row| row.calls.map(hundredths));
    add("core busy", &|row| row.core_busy.map(percent));
    add("gen kernel", &|row| row.generator_kernel.map(percent));
    add("gen idle", &|row| row.generator_idle.map(percent));
    add("p50 us", &|row| row.p50_us.map(whole));
    add("p99 us", &|row| row.p99_us.map(whole));
    add("inside p50 us", &|row| row.inside_p50_us.map(tenths));
    add("inside p99 us", &|row| row.inside_p99_us.map(tenths));
    add("drops", &|row| row.drops.map(|count| count.to_string()));
    add("resent", &|row| row.resent.map(|count| count.to_string()));
    table
}

#[cfg(test)]
mod tests {
    use super::super::tests as fake;
    use super::*;
    use crate::outcome::{Cost, Inside, Machine, Traced};

    /// The cells of a target, by their headings.
    fn cells<const N: usize>(samples: &[Sample], target: &str, heads: [&str; N]) -> [String; N] {
        let Table { head, rows } = table(samples, &rows(samples));
        let row = rows.iter().find(|row| row[0] == target).unwrap();
        heads.map(|wanted| row[head.iter().position(|head| head == wanted).unwrap()].clone())
    }

    /// A sample whose target used this CPU time per request, in nanoseconds.
    fn costly(target: &str, round: usize, user_ns: u64, system_ns: u64) -> Sample {
        let mut sample = fake::sample(target, round, 100.0);
        sample.outcome.cost = Some(Cost { user_ns: 100 * user_ns, system_ns: 100 * system_ns });
        sample
    }

    #[test]
    fn ratios_are_shown_with_their_spread() {
        let all = fake::samples(&["echo", "xblade", "vblade"], &[400.0, 300.0, 100.0]);
        assert_eq!(cells(&all, "xblade", ["of echo", "of vblade"]), ["0.75 (0.75–0.75)", "3.00 (3.00–3.00)"]);
        assert_eq!(cells(&all, "vblade", ["k IOPS", "over echo us"]), ["0.1 (0.0–0.1)", "–"]);
        assert!(!table(&all, &rows(&all)).head.iter().any(|head| head.contains("before")));
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
        let heads = ["CPU us", "user ns", "core busy", "gen kernel", "gen idle", "p50 us", "drops", "resent"];
        assert_eq!(cells(&samples, "fio", heads), ["4.66", "1200", "50 %", "–", "–", "1", "–", "–"]);
    }

    #[test]
    fn cpu_time_above_the_echo_s_is_taken_within_rounds() {
        // Above it by 4, 1 and 2 us; between the medians by 3.
        let mut samples = vec![
            costly("echo", 1, 500, 500),
            costly("xblade", 1, 2000, 3000),
            costly("echo", 2, 1000, 3000),
            costly("xblade", 2, 2000, 3000),
            costly("echo", 3, 1000, 1000),
            costly("xblade", 3, 1000, 3000),
        ];
        let heads = ["CPU us", "over echo us"];
        assert_eq!(cells(&samples, "xblade", heads), ["5.00", "2.00"]);
        assert_eq!(cells(&samples, "echo", heads), ["2.00", "–"], "not above itself");
        samples.retain(|sample| sample.target != "echo");
        assert_eq!(cells(&samples, "xblade", heads), ["5.00", "–"], "there is no echo");
        let mut bare = vec![costly("echo", 1, 500, 500), costly("fio", 1, 2000, 3000)];
        bare[1].outcome.setup.exports.clear();
        assert_eq!(cells(&bare, "fio", heads), ["5.00", "–"], "fio has no network");
    }

    #[test]
    fn time_in_user_mode_is_the_traced_one_and_compared_with_the_build_before() {
        let mut samples: Vec<Sample> =
            [1, 2, 3].map(|round| costly("xblade store=mmap", round, 800, 1)).to_vec();
        samples.extend([1, 2, 3].map(|round| costly("before store=mmap", round, 1000, 1)));
        let heads = ["user ns", "user of before", "of before", "calls"];
        let found = cells(&samples, "xblade store=mmap", heads);
        assert_eq!(found, ["800", "0.80 (0.80–0.80)", "1.00 (1.00–1.00)", "–"]);
        assert_eq!(cells(&samples, "before store=mmap", heads), ["1000", "–", "–", "–"]);
        for (sample, user_ns) in samples.iter_mut().zip([500.0, 450.0, 600.0]) {
            sample.traced = Some(Traced { calls: 0.25, user_ns });
        }
        let found = cells(&samples, "xblade store=mmap", heads);
        assert_eq!(found, ["500", "0.50 (0.45–0.60)", "1.00 (1.00–1.00)", "0.25"]);
    }

    #[test]
    fn what_a_target_measures_itself_is_shown_beside_what_the_generator_does() {
        let mut samples = fake::samples(&["echo", "xblade"], &[400.0, 300.0]);
        for sample in samples.iter_mut().filter(|sample| sample.target == "xblade") {
            let more = sample.round as f64;
            sample.inside = Some(Inside { count: 100, p50_us: 5.0 + more, p99_us: 20.0 + more });
        }
        let heads = ["inside p50 us", "inside p99 us"];
        assert_eq!(cells(&samples, "xblade", heads), ["7.0", "22.0"]);
        assert_eq!(cells(&samples, "echo", heads), ["–", "–"]);
    }

    #[test]
    fn the_kernel_s_part_of_the_generator_s_core_is_shown_for_a_target_of_the_network() {
        let mut samples = fake::samples(&["echo"], &[400.0]);
        for sample in &mut samples {
            sample.machine = Machine { generator_core_kernel: Some(0.625), dropped: 2, ..Machine::default() };
        }
        let heads = ["core busy", "gen kernel", "gen idle", "drops", "resent"];
        assert_eq!(cells(&samples, "echo", heads), ["0 %", "62 %", "50 %", "6", "0"]);
    }
}
