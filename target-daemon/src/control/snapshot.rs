//! The state and counters of a running xblade at one moment, as one document. JSON,
//! tables, metrics and `xblade top` are views of it.
//!
//! A client reads a view of it ([`super::json`]): fields that the view leaves out have
//! their defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config;
use crate::link::{Counter, Facts};
use crate::observe::family::{DROPPED, XDP_FRAMES};
use crate::observe::{Count, Distribution, ExportCounters, Latency, Operation, Outcome, Tally};
use crate::shelf::{HostSetting, Rate, Rates};
use crate::store::SECTOR_BYTES;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::worker::{self, ExportSnapshot, LastChange};

/// Stands for the operator among hosts.
const OPERATOR: &str = "operator";

/// Values by operation; operations that never occurred may be left out.
pub type ByOperation<T> = BTreeMap<String, T>;

/// The document.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// The version of xblade.
    #[serde(default)]
    pub version: String,
    /// The process ID.
    #[serde(default)]
    pub pid: u32,
    /// Seconds since xblade became ready.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// The same in nanoseconds, for computing rates.
    #[serde(default)]
    pub uptime_ns: u64,
    /// In the order of the configuration.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Sorted by worker.
    #[serde(default)]
    pub lanes: Vec<Lane>,
    /// Sorted by number.
    #[serde(default)]
    pub workers: Vec<Worker>,
    /// Sorted by address. Part of every view.
    pub exports: Vec<Export>,
    /// Exports that are configured but not served.
    #[serde(default)]
    pub refused: Vec<Refused>,
    /// Limits of certain hosts over several exports, in the order of the configuration.
    #[serde(default)]
    pub host_limits: Vec<HostLimit>,
    /// Frames without a reply, by the place where they were dropped.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
}

/// Counters of one object, in the order of the report. Sorted by name in JSON.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Eq, Debug, Default)]
#[serde(into = "BTreeMap<String, u64>", from = "BTreeMap<String, u64>")]
pub struct Counters(pub Vec<Count>);

/// An interface.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// Maximum number of bytes after the Ethernet header.
    pub mtu: u32,
    /// Receive queues in use.
    pub queues: u32,
    /// Its driver.
    pub driver: String,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier.
    pub carrier: bool,
    /// Whether it still exists.
    pub present: bool,
    /// Where the XDP program runs: `native` or `generic`.
    pub mode: String,
    /// Whether the NIC accesses the UMEM directly.
    pub zero_copy: bool,
    /// What only a restart can change; null if nothing.
    pub warning: Option<String>,
    /// Counters of the XDP program.
    pub counters: Counters,
}

/// A lane.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// The worker that owns it.
    pub worker: u16,
    /// Its counters.
    pub counters: Counters,
    /// Its index among all lanes.
    pub id: u16,
    /// The name of its interface.
    pub interface: String,
    /// Chunks in its UMEM.
    pub chunks: u32,
    /// Free chunks, excluding those that the kernel has.
    pub free: u32,
}

/// A worker.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Worker {
    /// Its number.
    pub worker: u16,
    /// Names of its lanes.
    pub lanes: Vec<String>,
    /// Addresses of its exports.
    pub exports: Vec<String>,
    /// Its counters.
    pub counters: Counters,
    /// Frames dropped without a reply, by reason.
    pub drops: Counters,
    /// Time with work.
    pub busy_ns: u64,
    /// Time without work.
    pub idle_ns: u64,
}

/// An export.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Export {
    /// Its AoE address.
    pub address: String,
    /// Its file or device; null if it has none.
    pub path: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// How the store accesses it and makes writes durable.
    pub way: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// `durable` or `volatile`.
    pub durability: String,
    /// Whether it refuses writes after an I/O error.
    pub degraded: bool,
    /// Whether the store does not answer.
    pub stuck: bool,
    /// Whether the path no longer leads to the file that is served.
    pub replaced: bool,
    /// Requests in flight, including those waiting for others.
    pub in_flight: usize,
    /// Requests that wait for a limit.
    pub waiting: usize,
    /// How much hosts may use of it.
    pub limits: Limits,
    /// The worker that owns it.
    pub worker: u16,
    /// The physical block size of the device.
    pub physical_bytes: u32,
    /// The I/O unit of the store.
    pub block_bytes: u32,
    /// Whether hosts can trim it.
    pub trim: bool,
    /// The config string as text; bytes that are not UTF-8 are replaced.
    pub config_text: String,
    /// The config string in hex.
    pub config_hex: String,
    /// The mask list.
    pub mask: Vec<String>,
    /// The holders of its reservation.
    pub reservation: Vec<String>,
    /// Whether hosts may set these three: `allow`, `volatile` or `refuse`.
    pub host_settings: String,
    /// Requests of hosts to change them, by what they would change.
    pub changes: BTreeMap<String, Changes>,
    /// Requests by operation and by outcome.
    pub requests: ByOperation<BTreeMap<String, u64>>,
    /// Its other counters.
    #[serde(flatten)]
    pub counters: ExportCounters,
    /// From the poll of the network driver to the reply.
    pub response: ByOperation<Times>,
    /// From the rx ring to the reply.
    pub service: ByOperation<Times>,
    /// Time spent in the store.
    pub store: ByOperation<Times>,
    /// Service times of reads and writes together.
    pub times: Distribution,
}

/// The limits of an export. Null where there is none.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Limits {
    /// Requests per second, of all hosts together.
    pub iops: Option<u32>,
    /// Data per second, of all hosts together.
    pub bytes_per_second: Option<u64>,
    /// Requests per second of each host.
    pub host_iops: Option<u32>,
    /// Data per second of each host.
    pub host_bytes_per_second: Option<u64>,
    /// The time whose worth of the rates may be used at once.
    pub burst_ms: Option<u32>,
    /// The number of [`HostLimit`] that count requests to it.
    pub host_limits: usize,
}

/// A limit for each of some hosts, over several exports.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct HostLimit {
    /// The hosts.
    pub hosts: Vec<String>,
    /// The exports; empty for all.
    pub exports: Vec<String>,
    /// Requests per second of each host; null if not limited.
    pub iops: Option<u32>,
    /// Data per second of each host; null if not limited.
    pub bytes_per_second: Option<u64>,
    /// The time whose worth of the rates may be used at once.
    pub burst_ms: u32,
}

impl From<&Rates> for Limits {
    fn from(Rates { export, each_host, hosts }: &Rates) -> Self {
        let limit = |rate: &Rate| {
            let bytes_per_second = Some(rate.bytes_per_second).filter(|bytes| *bytes > 0);
            (Some(rate.iops).filter(|iops| *iops > 0), bytes_per_second)
        };
        let ((iops, bytes_per_second), (host_iops, host_bytes_per_second)) =
            (limit(export), limit(each_host));
        let limited = [export, each_host].into_iter().find(|rate| !rate.is_unlimited());
        let burst_ms = limited.map(|rate| rate.burst_ms);
        let host_limits = hosts.len();
        Self { iops, bytes_per_second, host_iops, host_bytes_per_second, burst_ms, host_limits }
    }
}

impl From<&config::HostLimit> for HostLimit {
    fn from(config::HostLimit { hosts, exports, limit, burst_ms }: &config::HostLimit) -> Self {
        Self {
            hosts: hosts.iter().map(Mac::to_string).collect(),
            exports: exports.iter().map(Address::to_string).collect(),
            iops: limit.iops,
            bytes_per_second: limit.bytes_per_second,
            burst_ms: *burst_ms,
        }
    }
}

/// Requests of hosts to change a config string, mask list or reservation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct Changes {
    /// The number of changes.
    pub changed: u64,
    /// The host that made the last change, or `operator`; null if there was none.
    pub changed_by: Option<String>,
    /// When, in UTC.
    pub changed_at: Option<String>,
    /// The number of refused requests.
    pub refused: u64,
    /// The host that sent the last of these.
    pub refused_by: Option<String>,
    /// When, in UTC.
    pub refused_at: Option<String>,
}

/// A latency distribution.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "kebab-case")]
pub struct Times {
    /// The number of measurements.
    pub count: u64,
    /// 50th percentile.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p99_9_ns: u64,
    /// Maximum.
    pub max_ns: u64,
    /// The whole distribution, for metrics.
    #[serde(skip)]
    pub all: Distribution,
}

/// An export that is not served, because hosts have used other data at its address.
#[derive(Serialize, Deserialize, JsonSchema, Clone, PartialEq, Debug)]
pub struct Refused {
    /// Its AoE address.
    pub address: String,
    /// Its file or device; null if it has none.
    pub path: Option<String>,
    /// Why, and what to do.
    pub reason: String,
}

impl Snapshot {
    /// The snapshot of this process. `workers` may be in any order.
    pub fn new(
        up: Duration,
        interfaces: Vec<Interface>,
        mut workers: Vec<worker::Snapshot>,
        exports: Vec<Export>,
    ) -> Self {
        workers.sort_by_key(|worker| worker.worker);
        let mut snapshot = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: up.as_secs(),
            uptime_ns: up.as_nanos() as u64,
            lanes: workers.iter_mut().flat_map(|worker| lanes(worker, &interfaces)).collect(),
            workers: workers.iter().map(Worker::from).collect(),
            interfaces,
            exports,
            ..Self::default()
        };
        for worker in &mut snapshot.workers {
            let lanes = snapshot.lanes.iter().filter(|lane| lane.worker == worker.worker);
            worker.lanes = lanes.map(|lane| lane.name.clone()).collect();
            let exports = snapshot.exports.iter().filter(|export| export.worker == worker.worker);
            worker.exports = exports.map(|export| export.address.clone()).collect();
        }
        let counted = snapshot.interfaces.iter().map(|one| &one.counters);
        let counted = counted.chain(snapshot.lanes.iter().map(|one| &one.counters));
        let counted = counted.chain(snapshot.workers.iter().flat_map(|one| [&one.counters, &one.drops]));
        for Count { value, metric, .. } in counted.flat_map(|counters| &counters.0) {
            if let Some(dropped) = metric.filter(|metric| *metric.family == DROPPED) {
                *snapshot.drops.entry(dropped.labels[0].to_owned()).or_default() += value;
            }
        }
        snapshot
    }
}

fn lanes(of: &mut worker::Snapshot, interfaces: &[Interface]) -> Vec<Lane> {
    let worker = of.worker;
    let lane = |lane: worker::LaneSnapshot| Lane {
        name: format!("lane {} (interface {}, worker {worker})", lane.id, lane.interface),
        worker,
        counters: Counters(lane.counters),
        id: lane.id,
        interface: interfaces.get(lane.interface).map(|one| one.name.clone()).unwrap_or_default(),
        chunks: lane.chunks,
        free: lane.free,
    };
    std::mem::take(&mut of.lanes).into_iter().map(lane).collect()
}

impl Interface {
    /// An interface with these facts and counters.
    pub fn new(facts: &Facts, present: bool, mode: &str, counters: [u64; Counter::COUNT]) -> Self {
        let count = |(counter, n): (&Counter, u64)| {
            let (name, count) = (counter.name(), Count::new(counter.name(), n));
            if counter.is_drop() {
                count.shown(&DROPPED, &["xdp", name])
            } else {
                count.shown(&XDP_FRAMES, &[name])
            }
        };
        Self {
            name: facts.name.clone(),
            mac: Mac(facts.mac).to_string(),
            mtu: facts.mtu,
            queues: facts.queues,
            driver: facts.driver.clone(),
            up: facts.up,
            carrier: facts.carrier,
            present,
            mode: mode.to_owned(),
            counters: Counters(Counter::ALL.iter().zip(counters).map(count).collect()),
            ..Self::default()
        }
    }

    /// Whether frames can pass: it exists, is up and has a carrier.
    pub fn is_live(&self) -> bool {
        self.present && self.up && self.carrier
    }
}

impl From<&worker::Snapshot> for Worker {
    fn from(worker: &worker::Snapshot) -> Self {
        Self {
            worker: worker.worker,
            counters: Counters(worker.stats.counters.rows()),
            drops: Counters(worker.stats.drop_rows()),
            busy_ns: worker.elapsed.saturating_sub(worker.stats.idle).as_nanos() as u64,
            idle_ns: worker.stats.idle.as_nanos() as u64,
            ..Self::default()
        }
    }
}

impl From<&ExportSnapshot> for Export {
    /// The part that its worker knows; the caller adds the rest.
    fn from(export: &ExportSnapshot) -> Self {
        let Tally { counters, response, service, store, .. } = &export.tally;
        let ended = |operation: Operation| {
            let count =
                |outcome: Outcome| (outcome.name().to_owned(), export.tally.requests(operation, outcome));
            (operation.name().to_owned(), Outcome::ALL.map(count).into())
        };
        Self {
            address: export.address.to_string(),
            size_bytes: export.geometry.sectors.saturating_mul(SECTOR_BYTES),
            read_only: export.read_only,
            in_flight: export.in_flight,
            waiting: export.waiting,
            physical_bytes: export.geometry.physical_bytes,
            block_bytes: export.geometry.block_bytes,
            trim: export.geometry.discards,
            config_text: String::from_utf8_lossy(&export.config).into_owned(),
            config_hex: hex::encode(&export.config),
            mask: export.mask.iter().map(Mac::to_string).collect(),
            reservation: export.reservation.iter().map(Mac::to_string).collect(),
            changes: HostSetting::ALL
                .map(|setting| (setting.name().to_owned(), Changes::from(export.changes.of(setting))))
                .into(),
            requests: Operation::ALL.map(ended).into(),
            counters: *counters,
            response: times(response),
            service: times(service),
            store: times(store),
            times: service.of(Operation::Read).and(&service.of(Operation::Write)),
            ..Self::default()
        }
    }
}

impl From<worker::Changes> for Changes {
    fn from(worker::Changes { counts: [changed, refused], last }: worker::Changes) -> Self {
        let by = |last: LastChange| last.by.map_or_else(|| OPERATOR.to_owned(), |mac| mac.to_string());
        let [(changed_by, changed_at), (refused_by, refused_at)] =
            last.map(|last| (last.map(by), last.and_then(|last| at(last.at_ns))));
        Self { changed, changed_by, changed_at, refused, refused_by, refused_at }
    }
}

/// The time of day at this time of the workers' clock, to the second.
fn at(worker_ns: u64) -> Option<String> {
    let ago = worker::now_ns().saturating_sub(worker_ns);
    let then = Timestamp::now().checked_sub(SignedDuration::from_nanos(i64::try_from(ago).ok()?)).ok()?;
    Some(then.round(Unit::Second).ok()?.to_string())
}

impl Export {
    /// The number of requests for this operation, with any outcome.
    pub fn requests_of(&self, operation: Operation) -> u64 {
        self.requests.get(operation.name()).map_or(0, |ended| ended.values().sum())
    }
}

impl From<Distribution> for Times {
    fn from(all: Distribution) -> Self {
        let [p50_ns, p90_ns, p99_ns, p99_9_ns] = [0.5, 0.9, 0.99, 0.999].map(|share| all.quantile(share));
        Self { count: all.count(), p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns: all.max(), all }
    }
}

/// The times of all operations that occurred.
fn times(latency: &Latency) -> ByOperation<Times> {
    let times = Operation::ALL.map(|one| (one.name().to_owned(), Times::from(latency.of(one))));
    times.into_iter().filter(|(_, times)| times.count > 0).collect()
}

impl From<Counters> for BTreeMap<String, u64> {
    fn from(counters: Counters) -> Self {
        counters.0.into_iter().map(|count| (count.name.replace('_', "-"), count.value)).collect()
    }
}

impl From<BTreeMap<String, u64>> for Counters {
    fn from(counters: BTreeMap<String, u64>) -> Self {
        let count = |(name, value): (String, u64)| Count { name: name.into(), value, metric: None };
        Self(counters.into_iter().map(count).collect())
    }
}
