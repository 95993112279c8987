//! A case as a table: one row per target, also beside an earlier comparison.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::outcome::{Sample, Spread};
use crate::report::{Document, Table, result};

use super::samples::Samples;
use super::target::Target;

/// One row per target, with the values of an earlier comparison if there is one.
pub fn table(samples: &Samples, earlier: Option<&Earlier>) -> Table {
    let each = 0..samples.targets.len();
    let mut table = Table::new(["target"]);
    each.clone().for_each(|at| table.row([samples.name(at)]));
    let mut add = |head: &str, of: &dyn Fn(usize) -> Option<String>| {
        table.column(head, each.clone().map(|at| of(at).unwrap_or_else(|| "–".to_owned())));
    };
    let whole = |x: f64| format!("{x:.0}");
    let percent = |x: f64| format!("{:.0} %", 100.0 * x);
    add("IOPS", &|at| Some(format!("{:.1} k", samples.iops(at)?.median / 1e3)));
    add("min–max k", &|at| {
        let Spread { least, most, .. } = samples.iops(at)?;
        Some(format!("{:.1}–{:.1}", least / 1e3, most / 1e3))
    });
    add("MB/s", &|at| samples.mid(at, |s| Some(s.outcome.mb_per_s())).map(whole));
    for to in samples.references() {
        add(&format!("of {}", to.name), &|at| {
            let Spread { least, median, most } = samples.ratio(at, to.at)?;
            Some(format!("{median:.2} ({least:.2}–{most:.2})"))
        });
    }
    if let Some(earlier) = earlier {
        add("of earlier", &|at| Some(format!("{:.2}", earlier.ratio(samples, at)?)));
        add("machine of earlier", &|_| Some(format!("{:.2}", earlier.machine(samples)?)));
    }
    // CPU seconds per million requests are microseconds per request.
    let cpu = |at: usize, of: fn((f64, f64)) -> f64| {
        samples.mid(at, |s| s.outcome.cost_per_request().map(|cost| of(cost) / 1e3))
    };
    add("CPU s/M IO", &|at| Some(format!("{:.3}", cpu(at, |(user, system)| user + system)?)));
    add("usr+sys", &|at| Some(format!("{:.3}+{:.3}", cpu(at, |cost| cost.0)?, cpu(at, |cost| cost.1)?)));
    add("core busy", &|at| samples.mid(at, |s| s.outcome.cost?.core_busy).map(percent));
    let network = |of: fn(&Sample) -> f64| {
        move |at: usize| samples.mid(at, |s| s.has_network().then(|| of(s))).map(percent)
    };
    add("gen kernel", &network(|s| s.machine.generator_core_kernel));
    add("gen idle", &network(|s| s.outcome.idle));
    for (head, quantile) in [("p50 us", 0.5), ("p99 us", 0.99)] {
        add(head, &|at| samples.mid(at, |s| Some(s.outcome.response().us(quantile))).map(whole));
    }
    for (head, of) in [("drops", Sample::dropped as fn(&Sample) -> u64), ("resent", Sample::resent)] {
        add(head, &|at| {
            let all = || samples.of(at).filter(|sample| sample.has_network());
            all().next().map(|_| all().map(of).sum::<u64>().to_string())
        });
    }
    table
}

/// Shown wherever ratios to an earlier comparison are shown.
pub const NOTE: &str = "\"of earlier\" compares with another run, on another day or another machine: it compares \
     the machines as well. \"machine of earlier\" is the echo now to the echo then, what the machine itself changed \
     by: judge a row by its ratio to that, and rather trust ratios within one run";

/// An earlier comparison.
#[derive(Debug)]
pub struct Earlier {
    document: Document,
}

impl Earlier {
    /// Reads its result file.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || format!("--against {}", path.display());
        let document = result::read(path).with_context(failed)?;
        if document.sections.iter().all(|section| section.samples.is_empty()) {
            bail!("--against {}: that is no result of a comparison", path.display());
        }
        Ok(Self { document })
    }

    /// The ratio of a target's rate now to its rate then, in the same case.
    pub fn ratio(&self, samples: &Samples, at: usize) -> Option<f64> {
        let then = self.iops(&samples.case.name(), &samples.name(at))?;
        Some(samples.iops(at)?.median / then)
    }

    /// The same ratio of the echo, which shows how the machine itself changed.
    pub fn machine(&self, samples: &Samples) -> Option<f64> {
        let echo = samples.targets.iter().position(|target| *target == Target::Echo)?;
        self.ratio(samples, echo)
    }

    fn iops(&self, case: &str, target: &str) -> Option<f64> {
        let section = self.document.sections.iter().find(|section| section.title == case)?;
        let all = section.samples.iter().filter(|sample| sample.target == target);
        Spread::of(all.map(|sample| sample.outcome.iops())).map(|spread| spread.median)
    }
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

#[cfg(test)]
mod against_tests {
    use super::super::case::Case;
    use super::super::section;
    use super::super::tests as fake;
    use super::*;

    fn earlier(text: &str) -> Result<Earlier> {
        let name = format!("xbb-against-{}-{}.json", std::process::id(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let read = Earlier::read(&path);
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn rows_of_the_same_case_and_name_are_compared_and_the_machine_is_told() {
        let then = fake::samples(&[Target::Echo, Target::Xblade(None)], &[400.0, 100.0]);
        let document = Document { sections: vec![section(&then, None)], ..Document::default() };
        let earlier = earlier(&result::of_document(&document).to_string()).unwrap();
        let targets = [Target::Echo, Target::Xblade(None), Target::Xblade(Some("file".to_owned()))];
        let now = fake::samples(&targets, &[200.0, 150.0, 1.0]);
        assert!((earlier.ratio(&now, 1).unwrap() - 1.5).abs() < 1e-9);
        assert!((earlier.machine(&now).unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(earlier.ratio(&now, 2), None, "it was not there");
        let other = Samples { case: Case { window: 1, ..Case::default() }, ..now.clone() };
        assert_eq!((earlier.ratio(&other, 1), earlier.machine(&other)), (None, None));
        let table = section(&now, Some(&earlier)).table.unwrap().markdown();
        let row = table.lines().nth(3).unwrap();
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(table.contains("machine of earlier") && cells[6..8] == ["1.50", "0.50"], "{table}");
    }

    #[test]
    fn what_is_no_comparison_is_refused_by_name() {
        let said = Earlier::read(Path::new("/no/such")).unwrap_err().to_string();
        assert!(said.contains("--against /no/such"), "{said}");
        assert!(format!("{:#}", earlier("no").unwrap_err()).contains("not JSON"));
        let said = earlier("{\"xblade-bench\": []}").unwrap_err().to_string();
        assert!(said.contains("no result of a comparison"), "{said}");
    }
}
