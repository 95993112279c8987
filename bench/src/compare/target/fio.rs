//! fio on the bare file: no network, one thread, io_uring past the page cache.
//! A durable write is one with RWF_DSYNC, acknowledged by the device's cache
//! being flushed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::args::Op;
use crate::compare::case::Case;
use crate::compare::sample::{CpuTime, Latency, Sample};

/// Names of the threads that io_uring starts for fio begin so. fio's own
/// figures leave them out.
pub const WORKERS: &str = "iou-";

/// The words that run it, on its own.
pub fn words(case: &Case, file: &Path, mib: u64, seconds: f64, result: &Path) -> Vec<String> {
    let (rw, sync) = match (case.op, case.is_durable()) {
        (Op::Read, _) => ("randread", "none"),
        (_, false) => ("randwrite", "none"),
        (_, true) => ("randwrite", "dsync"),
    };
    let fixed = "fio --name=bare --thread --ioengine=io_uring --direct=1 --time_based --norandommap --randrepeat=0 \
                 --allow_file_create=0 --fallocate=none --clat_percentiles=1 --percentile_list=50:90:99:99.9 \
                 --output-format=json";
    let varying = [
        format!("--rw={rw}"),
        format!("--sync={sync}"),
        format!("--bs={}", case.bytes()),
        format!("--iodepth={}", case.window),
        format!("--runtime={}ms", (seconds * 1e3) as u64),
        format!("--size={mib}MiB"),
        format!("--filename={}", file.display()),
        format!("--output={}", result.display()),
    ];
    fixed.split_whitespace().map(str::to_owned).chain(varying).collect()
}

/// What fio wrote.
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
    iops: f64,
    bw_bytes: f64,
    total_ios: u64,
    clat_ns: Clat,
}

#[derive(Deserialize, Debug)]
struct Clat {
    max: f64,
    percentile: Option<Percentiles>,
}

#[derive(Deserialize, Debug)]
struct Percentiles {
    #[serde(rename = "50.000000")]
    p50: f64,
    #[serde(rename = "90.000000")]
    p90: f64,
    #[serde(rename = "99.000000")]
    p99: f64,
    #[serde(rename = "99.900000")]
    p999: f64,
}

/// How long a job ran, in seconds, and what it found. `workers_ns` is the CPU
/// time of the threads that io_uring started for it.
pub fn read(text: &str, op: Op, workers_ns: u64) -> Result<(f64, Sample)> {
    // What is not of the result (notes, warnings) comes before it.
    let from = text.find('{').context("fio wrote no result")?;
    let output: Output =
        serde_json::from_str(text.get(from..).unwrap_or_default()).context("cannot read fio's result")?;
    let job = output.jobs.first().context("fio ran no job")?;
    if job.error != 0 {
        bail!("fio failed: {}", std::io::Error::from_raw_os_error(job.error as i32));
    }
    let direction = if op == Op::Read { &job.read } else { &job.write };
    let percentiles = direction.clat_ns.percentile.as_ref().context("fio completed nothing")?;
    let ios = direction.total_ios.max(1) as f64;
    // Milliseconds and percent: 10⁴ nanoseconds.
    let per_io = |percent: f64| percent * job.job_runtime * 1e4 / ios;
    let sample = Sample {
        iops: direction.iops,
        mb_per_s: direction.bw_bytes / 1e6,
        latency: percentiles.latency(direction),
        cpu: Some(CpuTime {
            user_ns: per_io(job.usr_cpu),
            system_ns: per_io(job.sys_cpu) + workers_ns as f64 / ios,
        }),
        core_busy: None,
        network: None,
    };
    Ok((job.job_runtime / 1e3, sample))
}

impl Percentiles {
    fn latency(&self, direction: &Direction) -> Latency {
        let us = |ns: f64| ns / 1e3;
        Latency {
            count: direction.total_ios,
            p50_us: us(self.p50),
            p90_us: us(self.p90),
            p99_us: us(self.p99),
            p999_us: us(self.p999),
            max_us: us(direction.clat_ns.max),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compare::case::Durability;

    const REAL: &str = include_str!("fio-3.33-randwrite.json");

    #[test]
    fn a_real_result_is_read() {
        let (seconds, sample) = read(REAL, Op::Write, 0).unwrap();
        let cpu = sample.cpu.unwrap();
        assert_eq!(seconds, 1.0);
        assert_eq!(sample.iops, 25853.146853);
        assert_eq!(sample.mb_per_s, 105.894489);
        assert_eq!(sample.latency.count, 25879);
        assert_eq!((sample.latency.p50_us, sample.latency.p99_us), (1892.352, 22413.312));
        assert!((cpu.user_ns - 0.024e9 / 25879.0).abs() < 1e-6);
        assert!((cpu.system_ns - 0.231e9 / 25879.0).abs() < 1e-6);
        assert!(sample.network.is_none());
    }

    #[test]
    fn time_of_workers_is_added_to_that_of_the_kernel() {
        let (_, alone) = read(REAL, Op::Write, 0).unwrap();
        let (_, helped) = read(REAL, Op::Write, alone.latency.count * 5000).unwrap();
        let (alone, helped) = (alone.cpu.unwrap(), helped.cpu.unwrap());
        assert_eq!(helped.user_ns, alone.user_ns);
        assert!((helped.system_ns - alone.system_ns - 5000.0).abs() < 1e-3);
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
            let said = format!("{:#}", read(text, Op::Write, 0).unwrap_err());
            assert!(said.contains(why), "{said}");
        }
        let said = read(REAL, Op::Read, 0).unwrap_err().to_string();
        assert!(said.contains("completed nothing"), "it wrote: {said}");
        let noted = format!("note: something\n{REAL}");
        assert!(read(&noted, Op::Write, 0).is_ok());
    }

    #[test]
    fn only_durable_writes_are_synced() {
        let case = |op, durability| Case { mtu: 9000, op, sectors: 8, window: 3, durability };
        let of = |op, durability| {
            words(&case(op, durability), Path::new("/d/f"), 7, 1.5, Path::new("/d/r")).join(" ")
        };
        let durable = of(Op::Write, Durability::Durable);
        assert!(
            durable.contains("--rw=randwrite --sync=dsync --bs=4096 --iodepth=3 --runtime=1500ms"),
            "{durable}"
        );
        assert!(of(Op::Write, Durability::Volatile).contains("--rw=randwrite --sync=none"));
        assert!(of(Op::Read, Durability::Volatile).contains("--rw=randread --sync=none"));
    }
}
