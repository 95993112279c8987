//! A case as a table: one row per target, also beside an earlier comparison.

use std::path::Path;

use anyhow::{Result, bail};

use crate::outcome::{Sample, Spread};
use crate::report::{Document, Table, result};

use super::samples::{iops, names, of, ratio, references};

/// One row per target, with the values of an earlier comparison of the case if there is one.
pub fn table(samples: &[Sample], earlier: Option<&[Sample]>) -> Table {
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
    add("MB/s", &|name| mid(name, &|s| Some(s.outcome.mb_per_s())).map(whole));
    for to in references(samples) {
        add(&format!("of {to}"), &|name| {
            let Spread { least, median, most } = ratio(samples, name, to)?;
            Some(format!("{median:.2} ({least:.2}–{most:.2})"))
        });
    }
    if let Some(earlier) = earlier {
        let changed =
            |name: &str| Some(format!("{:.2}", iops(samples, name)?.median / iops(earlier, name)?.median));
        add("of earlier", &changed);
        add("machine of earlier", &|_| changed("echo"));
    }
    // CPU seconds per million requests are microseconds per request.
    let cpu = |name: &str, share: fn((f64, f64)) -> f64| {
        mid(name, &|s| s.outcome.cost_per_request().map(|cost| share(cost) / 1e3))
    };
    add("CPU s/M IO", &|name| Some(format!("{:.3}", cpu(name, |(user, system)| user + system)?)));
    add("usr+sys", &|name| {
        Some(format!("{:.3}+{:.3}", cpu(name, |cost| cost.0)?, cpu(name, |cost| cost.1)?))
    });
    add("core busy", &|name| mid(name, &|s| s.outcome.cost?.core_busy).map(percent));
    let network = |share: fn(&Sample) -> f64| {
        move |name: &str| mid(name, &|s| s.has_network().then(|| share(s))).map(percent)
    };
    add("gen kernel", &network(|s| s.machine.generator_core_kernel));
    add("gen idle", &network(|s| s.outcome.idle));
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

/// Shown wherever ratios to an earlier comparison are shown.
pub const NOTE: &str = "\"of earlier\" compares with another run, on another day or another machine: it compares \
     the machines as well. \"machine of earlier\" is the echo now to the echo then, what the machine itself changed \
     by: judge a row by its ratio to that, and rather trust ratios within one run";

/// Reads an earlier comparison.
pub fn earlier(path: &Path) -> Result<Document> {
    let document = result::read(path)?;
    if document.sections.iter().all(|section| section.samples.is_empty()) {
        bail!("that is no result of a comparison");
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::super::tests as fake;
    use super::*;
    use crate::outcome::{Cost, Machine};
    use crate::report::Section;

    fn lines(samples: &[Sample], earlier: Option<&[Sample]>) -> Vec<Vec<String>> {
        let text = table(samples, earlier).markdown();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
        text.lines().map(cells).collect()
    }

    #[test]
    fn ratios_are_shown_with_their_spread() {
        let all = lines(&fake::samples(&["echo", "xblade", "vblade -b 64"], &[400.0, 300.0, 100.0]), None);
        assert_eq!(all[0][5..7], ["of echo", "of vblade -b 64"]);
        assert_eq!(all[3][5..7], ["0.75 (0.75–0.75)", "3.00 (3.00–3.00)"]);
        assert_eq!(all[4][1..4], ["vblade -b 64", "0.1 k", "0.0–0.1"]);
    }

    #[test]
    fn cpu_time_is_in_one_unit_and_what_has_no_network_has_no_drops() {
        let mut samples = fake::samples(&["fio"], &[400.0]);
        let cost = Some(Cost { user_ns: 120_000, system_ns: 345_600, core_busy: Some(0.5) });
        for sample in &mut samples {
            sample.outcome.cost = cost;
            sample.outcome.setup.exports.clear();
        }
        let all = lines(&samples, None);
        assert_eq!(all[0][6..11], ["CPU s/M IO", "usr+sys", "core busy", "gen kernel", "gen idle"]);
        assert_eq!(all[2][6..15], ["4.656", "1.200+3.456", "50 %", "–", "–", "1", "1", "–", "–"]);
    }

    #[test]
    fn the_kernel_s_part_of_the_generator_s_core_is_shown_for_a_target_of_the_network() {
        let mut samples = fake::samples(&["echo"], &[400.0]);
        for sample in &mut samples {
            sample.machine = Machine { generator_core_kernel: 0.625, dropped: 2, ..Machine::default() };
        }
        let all = lines(&samples, None);
        assert_eq!(all[2][8..], ["–", "62 %", "50 %", "1", "1", "6", "0", ""]);
    }

    #[test]
    fn rows_of_the_same_name_are_compared_and_the_machine_is_told() {
        let then = fake::samples(&["echo", "xblade"], &[400.0, 100.0]);
        let now = fake::samples(&["echo", "xblade", "xblade store=file"], &[200.0, 150.0, 1.0]);
        let all = lines(&now, Some(&then));
        assert_eq!(all[0][6..8], ["of earlier", "machine of earlier"]);
        assert_eq!(all[3][6..8], ["1.50", "0.50"]);
        assert_eq!(all[4][6..8], ["–", "0.50"], "it was not there");
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        let path = std::env::temp_dir().join(format!("xbb-against-{}.json", std::process::id()));
        let read = |document: &Document| {
            std::fs::write(&path, result::of_document(document).to_string()).unwrap();
            let read = earlier(&path);
            std::fs::remove_file(&path).unwrap();
            read
        };
        let said = read(&Document::default()).unwrap_err().to_string();
        assert!(said.contains("no result of a comparison"), "{said}");
        let samples = fake::samples(&["echo"], &[400.0]);
        let document =
            Document { sections: vec![Section { samples, ..Section::default() }], ..Document::default() };
        assert_eq!(read(&document).unwrap(), document);
    }
}
