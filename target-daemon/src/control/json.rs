//! What programs are told, as JSON. docs/CONTROL.md tells of every field: a
//! test compares.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{ExportView, InterfaceView, Overview};
use crate::link::Counter;
use crate::observe::{Latency, Operation, Outcome};
use crate::store::{Durability, SECTOR_BYTES};
use crate::wire::ether::Mac;
use crate::worker::Snapshot;

/// Names and values of counters: the names of the report, with `-` for `_`.
pub type Counters = BTreeMap<String, u64>;

/// Times by operation: `read`, `write`…; an operation that never was is left
/// out.
pub type TimesByOperation = BTreeMap<String, Times>;

/// `GET /v1/status`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Of xblade.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Since it is ready.
    pub uptime_seconds: u64,
    /// In the order of the configuration.
    pub interfaces: Vec<Interface>,
    /// By their number.
    pub workers: Vec<Worker>,
    /// By address.
    pub exports: Vec<Brief>,
}

/// An interface.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its address.
    pub mac: String,
    /// Bytes after the Ethernet header.
    pub mtu: u32,
    /// Receive queues in use.
    pub queues: u32,
    /// Its driver.
    pub driver: String,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier.
    pub carrier: bool,
    /// Is still there.
    pub present: bool,
    /// Where the XDP program runs: `native` or `generic`.
    pub mode: String,
}

/// A worker.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Worker {
    /// Its number.
    pub worker: u16,
    /// Names of its lanes.
    pub lanes: Vec<String>,
    /// Addresses of its exports.
    pub exports: Vec<String>,
}

/// An export, in brief.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Brief {
    /// Where it answers.
    pub address: String,
    /// Its file or device; null for none.
    pub path: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// How its bytes are reached.
    pub way: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// `durable` or `volatile`.
    pub durability: String,
    /// Takes no more writes after a fault.
    pub degraded: bool,
    /// Its store does not answer.
    pub stuck: bool,
    /// Requests under way, and those that wait for these.
    pub in_flight: usize,
}

/// `GET /v1/exports`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Exports {
    /// By address.
    pub exports: Vec<Export>,
}

/// An export: `GET /v1/exports/0.1`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Export {
    /// What a brief has, too.
    #[serde(flatten)]
    pub brief: Brief,
    /// The worker that owns it.
    pub worker: u16,
    /// The write unit of the device.
    pub physical_bytes: u32,
    /// What is read and written at once.
    pub block_bytes: u32,
    /// Whether hosts can give space back.
    pub trim: bool,
    /// The config string as text; what is no text is replaced.
    pub config_text: String,
    /// The config string, byte by byte.
    pub config_hex: String,
    /// The mask list.
    pub mask: Vec<String>,
    /// Who has reserved it.
    pub reservation: Vec<String>,
}

/// `GET /v1/exports/0.1/reservation`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Reservation {
    /// Which export.
    pub address: String,
    /// Who has reserved it; empty: nobody.
    pub reservation: Vec<String>,
}

/// `GET /v1/exports/0.1/mask`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Mask {
    /// Which export.
    pub address: String,
    /// Who may use it; empty: everybody.
    pub mask: Vec<String>,
}

/// `GET /v1/stats`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// Since it is ready.
    pub uptime_seconds: u64,
    /// In the order of the configuration.
    pub interfaces: Vec<InterfaceStats>,
    /// By worker.
    pub lanes: Vec<LaneStats>,
    /// By their number.
    pub workers: Vec<WorkerStats>,
    /// By address.
    pub exports: Vec<ExportStats>,
}

/// What the XDP program on an interface has counted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct InterfaceStats {
    /// Its name.
    pub name: String,
    /// Its counters.
    pub counters: Counters,
}

/// What a lane has counted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct LaneStats {
    /// Its name.
    pub name: String,
    /// The worker that has it.
    pub worker: u16,
    /// Its counters.
    pub counters: Counters,
}

/// What a worker has counted.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct WorkerStats {
    /// Its number.
    pub worker: u16,
    /// Its counters.
    pub counters: Counters,
    /// Frames without a reply, by reason.
    pub drops: Counters,
}

/// What was counted for an export.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct ExportStats {
    /// Which.
    pub address: String,
    /// By operation, and by how they ended: `ok`, `error`, `unanswered`.
    pub requests: BTreeMap<String, Counters>,
    /// Bytes that were read, and sent.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Requests that waited for an earlier one to the same sectors.
    pub waited: u64,
    /// Writes that were not executed because the same one was under way.
    pub folded: u64,
    /// Copies of writes that had been answered.
    pub repeated: u64,
    /// From the rx ring to the reply.
    pub service: TimesByOperation,
    /// What the store took.
    pub store: TimesByOperation,
}

/// How long something took.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Times {
    /// How often it was measured.
    pub count: u64,
    /// Half took no longer.
    pub p50_ns: u64,
    /// 90 % took no longer.
    pub p90_ns: u64,
    /// 99 % took no longer.
    pub p99_ns: u64,
    /// 99.9 % took no longer.
    pub p99_9_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// What a change has done.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Changed {
    /// One line each; empty: nothing had to change.
    pub changed: Vec<String>,
}

/// Why nothing was done.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Error {
    /// In words, with what to do.
    pub error: String,
}

/// `POST /v1/exports/0.1/read-only`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadOnly {
    /// Whether to refuse writes.
    pub read_only: bool,
}

/// `POST /v1/exports`, as on the command line.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The export.
    pub export: String,
}

impl Status {
    /// Of this process.
    pub fn of(overview: &Overview) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: overview.up.as_secs(),
            interfaces: overview.interfaces.iter().map(Interface::of).collect(),
            workers: overview.workers.iter().map(|worker| Worker::of(worker, overview)).collect(),
            exports: overview.exports.iter().map(Brief::of).collect(),
        }
    }
}

impl Interface {
    fn of(view: &InterfaceView) -> Self {
        let facts = &view.facts;
        Self {
            name: facts.name.clone(),
            mac: Mac(facts.mac).to_string(),
            mtu: facts.mtu,
            queues: facts.queues,
            driver: facts.driver.clone(),
            up: facts.up,
            carrier: facts.carrier,
            present: view.present,
            mode: view.mode.to_owned(),
        }
    }
}

impl Worker {
    fn of(snapshot: &Snapshot, overview: &Overview) -> Self {
        let own = overview.exports.iter().filter(|export| export.worker == snapshot.worker);
        Self {
            worker: snapshot.worker,
            lanes: snapshot.lanes.iter().map(|lane| lane.name.clone()).collect(),
            exports: own.map(|export| export.address.to_string()).collect(),
        }
    }
}

impl Brief {
    fn of(view: &ExportView) -> Self {
        let durability = match view.durability {
            Durability::Durable => "durable",
            Durability::Volatile => "volatile",
        };
        Self {
            address: view.address.to_string(),
            path: view.path.as_ref().map(|path| path.to_string_lossy().into_owned()),
            size_bytes: view.geometry.sectors.saturating_mul(SECTOR_BYTES),
            way: view.way.clone(),
            read_only: view.read_only,
            durability: durability.to_owned(),
            degraded: view.degraded,
            stuck: view.stuck,
            in_flight: view.in_flight,
        }
    }
}

impl Export {
    /// All of it.
    pub fn of(view: &ExportView) -> Self {
        Self {
            brief: Brief::of(view),
            worker: view.worker,
            physical_bytes: view.geometry.physical_bytes,
            block_bytes: view.geometry.block_bytes,
            trim: view.geometry.discards,
            config_text: String::from_utf8_lossy(&view.config).into_owned(),
            config_hex: view.config.iter().map(|byte| format!("{byte:02x}")).collect(),
            mask: macs(&view.mask),
            reservation: macs(&view.reservation),
        }
    }
}

impl Stats {
    /// All that was counted.
    pub fn of(overview: &Overview) -> Self {
        let lanes = overview.workers.iter().flat_map(|snapshot| {
            let worker = snapshot.worker;
            snapshot.lanes.iter().map(move |lane| LaneStats {
                name: lane.name.clone(),
                worker,
                counters: counters(lane.counters.iter().copied()),
            })
        });
        Self {
            uptime_seconds: overview.up.as_secs(),
            interfaces: overview.interfaces.iter().map(InterfaceStats::of).collect(),
            lanes: lanes.collect(),
            workers: overview.workers.iter().map(WorkerStats::of).collect(),
            exports: overview.exports.iter().map(ExportStats::of).collect(),
        }
    }
}

impl InterfaceStats {
    fn of(view: &InterfaceView) -> Self {
        let rows = Counter::ALL.iter().map(|counter| counter.name()).zip(view.counters);
        Self { name: view.facts.name.clone(), counters: counters(rows) }
    }
}

impl WorkerStats {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            worker: snapshot.worker,
            counters: counters(snapshot.stats.counters.rows()),
            drops: counters(snapshot.stats.drop_rows()),
        }
    }
}

impl ExportStats {
    fn of(view: &ExportView) -> Self {
        let tally = &view.tally;
        let ended = |operation| {
            counters(Outcome::ALL.map(|outcome| (outcome.name(), tally.requests(operation, outcome))))
        };
        Self {
            address: view.address.to_string(),
            requests: Operation::ALL.map(|operation| (operation.name().to_owned(), ended(operation))).into(),
            bytes_read: tally.bytes_read,
            bytes_written: tally.bytes_written,
            waited: tally.waited,
            folded: tally.folded,
            repeated: tally.repeated,
            service: times(&tally.service),
            store: times(&tally.store),
        }
    }
}

impl Times {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            p99_9_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
        }
    }
}

/// Addresses as text.
pub fn macs(macs: &[Mac]) -> Vec<String> {
    macs.iter().map(Mac::to_string).collect()
}

fn counters(rows: impl IntoIterator<Item = (&'static str, u64)>) -> Counters {
    rows.into_iter().map(|(name, value)| (name.replace('_', "-"), value)).collect()
}

fn times(latency: &Latency) -> TimesByOperation {
    let measured = |operation| {
        let histogram = latency.of(operation).filter(|histogram| !histogram.is_empty())?;
        Some((operation.name().to_owned(), Times::of(histogram)))
    };
    Operation::ALL.into_iter().filter_map(measured).collect()
}
