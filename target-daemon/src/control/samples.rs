//! What `xblade top` reads, as JSON: counters and whole histograms, from which it
//! computes rates and percentiles over its own intervals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ExportView, Overview, metrics};
use crate::observe::{Operation, Outcome};

/// The path of the route.
pub const PATH: &str = "/v1/samples";

/// All counters at one moment. They only grow, until a restart.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Time since the daemon became ready; the clock for rates.
    pub up_ns: u64,
    /// Sorted by index.
    pub workers: Vec<WorkerSample>,
    /// In the order of the configuration.
    pub interfaces: Vec<InterfaceSample>,
    /// Frames without a reply, by the place where they were dropped.
    pub drops: BTreeMap<String, u64>,
    /// Sorted by address.
    pub exports: Vec<ExportSample>,
}

/// A worker.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkerSample {
    /// Its index.
    pub worker: u16,
    /// Time with work.
    pub busy_ns: u64,
    /// Time without work.
    pub idle_ns: u64,
}

/// An interface.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct InterfaceSample {
    /// Its name.
    pub name: String,
    /// Whether it exists, is up and has a carrier.
    pub up: bool,
    /// Its MTU.
    pub mtu: u32,
    /// Where the XDP program runs.
    pub mode: String,
}

/// An export.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct ExportSample {
    /// Its AoE address: "0.1".
    pub export: String,
    /// Its file or device.
    pub path: Option<String>,
    /// Reads, with any outcome.
    pub reads: u64,
    /// Writes, with any outcome.
    pub writes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Requests that waited for others.
    pub waited: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Refuses writes by configuration or request.
    pub read_only: bool,
    /// Refuses writes after an I/O error.
    pub degraded: bool,
    /// Its store does not answer.
    pub stuck: bool,
    /// Its path no longer leads to the file that is served.
    pub replaced: bool,
    /// A host has reserved it.
    pub reserved: bool,
    /// Service times of reads and writes: for each non-empty cell of the histogram, its
    /// highest value in nanoseconds and its count.
    pub times: Vec<(u64, u64)>,
}

impl From<&Overview> for Sample {
    fn from(overview: &Overview) -> Self {
        let mut drops = BTreeMap::new();
        metrics::drops(overview, |[place, ..], n| {
            *drops.entry((*place).to_owned()).or_default() += n;
        });
        let workers = overview.workers.iter().map(|snapshot| WorkerSample {
            worker: snapshot.worker,
            busy_ns: snapshot.elapsed.saturating_sub(snapshot.stats.idle).as_nanos() as u64,
            idle_ns: snapshot.stats.idle.as_nanos() as u64,
        });
        let interfaces = overview.interfaces.iter().map(|interface| InterfaceSample {
            name: interface.facts.name.clone(),
            up: interface.present && interface.facts.up && interface.facts.carrier,
            mtu: interface.facts.mtu,
            mode: interface.mode.to_owned(),
        });
        Self {
            up_ns: overview.up.as_nanos() as u64,
            workers: workers.collect(),
            interfaces: interfaces.collect(),
            drops,
            exports: overview.exports.iter().map(ExportSample::from).collect(),
        }
    }
}

impl From<&ExportView> for ExportSample {
    fn from(export: &ExportView) -> Self {
        let tally = &export.tally;
        let all =
            |operation| Outcome::ALL.iter().map(|outcome| tally.requests(operation, *outcome)).sum::<u64>();
        let mut times = BTreeMap::new();
        for histogram in [Operation::Read, Operation::Write].iter().filter_map(|o| tally.service.of(*o)) {
            for cell in histogram.iter_recorded() {
                *times.entry(cell.value_iterated_to()).or_default() += cell.count_since_last_iteration();
            }
        }
        Self {
            export: export.address.to_string(),
            path: export.path.as_ref().map(|path| path.to_string_lossy().into_owned()),
            reads: all(Operation::Read),
            writes: all(Operation::Write),
            bytes_read: tally.bytes_read,
            bytes_written: tally.bytes_written,
            waited: tally.waited,
            in_flight: export.in_flight as u64,
            read_only: export.read_only,
            degraded: export.degraded,
            stuck: export.stuck,
            replaced: export.replaced,
            reserved: !export.reservation.is_empty(),
            times: times.into_iter().collect(),
        }
    }
}
