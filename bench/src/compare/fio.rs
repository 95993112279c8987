//! fio on the bare file: no network, one thread, io_uring with O_DIRECT. A durable write
//! uses RWF_DSYNC and is acknowledged when the cache of the device has been flushed.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::args::Op;
use crate::outcome::{Cost, Latencies, Outcome, Setup, Side};

use super::case::Case;
use super::files::Served;
use super::plan::Plan;

/// Prefix of the names of threads that io_uring starts for fio. fio's own figures leave
/// them out.
pub const WORKERS: &str = "iou-";

/// The command that runs it.
pub fn command(case: &Case, served: &Served, plan: &Plan) -> Command {
    let rw = match case.op {
        Op::Read => "randread",
        Op::Write => "randwrite",
        Op::Mixed => "randrw",
    };
    let ms = |seconds: f64| (seconds * 1e3) as u64;
    let files = served.exports.iter().take(case.busy.into());
    let files: Vec<_> = files.map(|(_, file)| file.to_string_lossy()).collect();
    let options = format!(
        "-c {} fio --name=bare --thread --ioengine=io_uring --direct=1 --time_based --norandommap --randrepeat=0 \
         --allow_file_create=0 --fallocate=none --output-format=json+ --rw={rw} --rwmixread={} --sync={} --bs={} \
         --iodepth={} --ramp_time={}ms --runtime={}ms",
        plan.target_core,
        case.read_percent,
        if case.durable { "dsync" } else { "none" },
        case.bytes(),
        usize::from(case.window) * files.len(),
        ms(plan.warm_up),
        ms(plan.seconds)
    );
    let mut command = Command::new("taskset");
    command.args(options.split_whitespace());
    command.arg(format!("--filename={}", files.join(":")));
    command.args(case.rate.map(|rate| format!("--rate_iops={rate:.0}")));
    command
}

/// The output of fio.
#[derive(Deserialize, Debug)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Deserialize, Debug)]
struct Job {
    error: i64,
    read: Direction,
    write: Direction,
    /// Milliseconds.
    job_runtime: f64,
    /// Percent of the runtime.
    usr_cpu: f64,
    sys_cpu: f64,
}

#[derive(Deserialize, Debug)]
struct Direction {
    /// Milliseconds in which `clat_ns` was counted.
    runtime: f64,
    clat_ns: Clat,
}

#[derive(Deserialize, Debug)]
struct Clat {
    /// Its histogram: counts by latency.
    #[serde(default)]
    bins: BTreeMap<String, u64>,
}

impl Direction {
    /// Rebuilds the histogram. A bin is named by the middle of its range, so each latency
    /// is off by at most half a range, one part in 128.
    fn latencies(&self) -> Result<Latencies> {
        let mut all = Latencies::default();
        for (ns, count) in &self.clat_ns.bins {
            let ns = ns.parse().with_context(|| format!("fio has a bin called '{ns}'"))?;
            all.record_many(ns, *count);
        }
        Ok(all)
    }
}

/// The outcome of a job after a warm-up. `workers_ns` is the CPU time of the threads that
/// io_uring started for it.
pub fn read(text: &str, case: &Case, warm_up_s: f64, workers_ns: u64) -> Result<Outcome> {
    // Notes and warnings come before the JSON.
    let from = text.find('{').context("fio wrote no result")?;
    let output: Output =
        serde_json::from_str(text.get(from..).unwrap_or_default()).context("cannot read fio's result")?;
    let job = output.jobs.first().context("fio ran no job")?;
    ensure!(job.error == 0, "fio failed: {}", std::io::Error::from_raw_os_error(job.error as i32));
    let side = |direction: &Direction, other: Op| {
        let response = if case.op == other { Latencies::default() } else { direction.latencies()? };
        anyhow::Ok(Side { response, ..Side::default() })
    };
    // Milliseconds times percent: units of 10⁴ nanoseconds.
    let ns = |percent: f64| (percent * job.job_runtime * 1e4) as u64;
    let outcome = Outcome {
        setup: Setup {
            port: "none".to_owned(),
            op: if case.op == Op::Read { "read" } else { "write" }.to_owned(),
            pattern: "random".to_owned(),
            sectors: case.sectors,
            window: case.window,
            threads: 1,
            buffer_count: case.window,
            warm_up_s,
            ..Setup::default()
        },
        seconds: job.read.runtime.max(job.write.runtime) / 1e3,
        reads: side(&job.read, Op::Write)?,
        writes: side(&job.write, Op::Read)?,
        cost: Some(Cost { user_ns: ns(job.usr_cpu), system_ns: ns(job.sys_cpu) + workers_ns }),
        // There is no generator that could be the bottleneck.
        idle: 1.0,
        ..Outcome::default()
    };
    ensure!(outcome.completions() > 0, "fio completed nothing");
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("fio-3.33-randwrite.json");

    fn case(op: Op) -> Case {
        Case { op, .."write-durable:4096".parse().unwrap() }
    }

    #[test]
    fn a_real_result_is_read_with_its_whole_histogram() {
        let outcome = read(REAL, &case(Op::Write), 0.0, 0).unwrap();
        assert_eq!((outcome.completions(), outcome.seconds), (14004, 1.022));
        assert!((outcome.iops() / 13702.544 - 1.0).abs() < 1e-4, "fio's own figure: {}", outcome.iops());
        assert!((outcome.mb_per_s(outcome.iops()) / 56.125620 - 1.0).abs() < 1e-3);
        // fio's own percentiles, within the precision of its bins and our histogram.
        let all = outcome.response();
        for (quantile, ns) in [(0.5, 3457024.0), (0.9, 6979584.0), (0.99, 25034752.0), (0.999, 32112640.0)] {
            assert!((all.us(quantile) * 1e3 / ns - 1.0_f64).abs() < 0.01, "{quantile}: {}", all.us(quantile));
        }
        let cost = outcome.cost.unwrap();
        assert_eq!((cost.user_ns, cost.system_ns), (14_000_003, 82_000_001));
        assert!(outcome.setup.exports.is_empty(), "no network");
    }

    #[test]
    fn time_of_workers_is_added_to_that_of_the_kernel() {
        let cost = |workers_ns| read(REAL, &case(Op::Write), 0.0, workers_ns).unwrap().cost.unwrap();
        assert_eq!(cost(5000).user_ns, cost(0).user_ns);
        assert_eq!(cost(5000).system_ns, cost(0).system_ns + 5000);
    }

    #[test]
    fn a_result_without_one_is_an_error() {
        let failed = REAL.replace("\"error\" : 0", "\"error\" : 28");
        for (text, why) in [
            ("", "no result"),
            ("fio: bad option", "no result"),
            ("{\"jobs\": []}", "no job"),
            ("{\"jobs\": 3}", "cannot read"),
            (&failed, "No space left"),
        ] {
            let said = format!("{:#}", read(text, &case(Op::Write), 0.0, 0).unwrap_err());
            assert!(said.contains(why), "{said}");
        }
        let said = read(REAL, &case(Op::Read), 0.0, 0).unwrap_err().to_string();
        assert!(said.contains("completed nothing"), "it wrote: {said}");
        let noted = format!("note: something\n{REAL}");
        assert!(read(&noted, &case(Op::Write), 0.0, 0).is_ok());
    }

    #[test]
    fn only_durable_writes_are_synced_and_rates_are_kept() {
        let mut plan = Plan::find("quick").unwrap();
        (plan.warm_up, plan.seconds) = (0.5, 1.5);
        let of = |case: Case| {
            let exports = case.addresses().into_iter().map(|address| (address, "/d/f".into())).collect();
            let served = Served { exports, control: "/d/c".into() };
            format!("{:?}", command(&case, &served, &plan)).replace('"', "")
        };
        let durable = of(Case { window: 3, ..case(Op::Write) });
        let wanted = "--sync=dsync --bs=4096 --iodepth=3 --ramp_time=500ms --runtime=1500ms";
        assert!(durable.contains("--rw=randwrite") && durable.contains(wanted), "{durable}");
        let two = of(Case { window: 3, busy: 2, ..case(Op::Write) });
        assert!(two.contains("--iodepth=6") && two.contains("--filename=/d/f:/d/f"), "{two}");
        assert!(of(Case { durable: false, ..case(Op::Write) }).contains("--sync=none"));
        let mixed = of(Case { read_percent: 70, rate: Some(99.6), ..case(Op::Mixed) });
        assert!(
            mixed.contains("--rw=randrw --rwmixread=70") && mixed.ends_with("--rate_iops=100"),
            "{mixed}"
        );
    }
}
