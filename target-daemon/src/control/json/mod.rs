//! The JSON documents of the API. docs/CONTROL.md describes every field; a test compares
//! the two.

mod of;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use of::macs;

/// Counters by name. Names are those of the report, with `-` for `_`.
pub type Counters = BTreeMap<String, u64>;

/// Latencies by operation: `read`, `write`…; operations that never occurred are left out.
pub type TimesByOperation = BTreeMap<String, Times>;

/// `GET /v1/status`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The version of xblade.
    pub version: String,
    /// The process ID.
    pub pid: u32,
    /// Seconds since xblade became ready.
    pub uptime_seconds: u64,
    /// In the order of the configuration.
    pub interfaces: Vec<Interface>,
    /// Sorted by number.
    pub workers: Vec<Worker>,
    /// Sorted by address.
    pub exports: Vec<Brief>,
    /// Exports that are configured but not served.
    #[serde(default)]
    pub refused: Vec<Refused>,
}

/// An interface.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address.
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
    /// Whether it still exists.
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

/// The summary of an export.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Brief {
    /// Its AoE address.
    pub address: String,
    /// Its file or device; null if it has none.
    pub path: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// How the store accesses it.
    pub way: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// `durable` or `volatile`.
    pub durability: String,
    /// Refuses writes after an I/O error.
    pub degraded: bool,
    /// The store does not answer.
    pub stuck: bool,
    /// The path no longer leads to the file that is served.
    #[serde(default)]
    pub replaced: bool,
    /// Requests in flight, including those waiting for others.
    pub in_flight: usize,
}

/// An export that is configured but not served.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Refused {
    /// Its AoE address.
    pub address: String,
    /// Its file or device; null if it has none.
    pub path: Option<String>,
    /// Why, and what to do.
    pub reason: String,
}

/// `GET /v1/exports`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Exports {
    /// Sorted by address.
    pub exports: Vec<Export>,
}

/// An export: `GET /v1/exports/0.1`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Export {
    /// The summary.
    #[serde(flatten)]
    pub brief: Brief,
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
}

/// `GET /v1/exports/0.1/reservation`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Reservation {
    /// The export.
    pub address: String,
    /// The holders of the reservation; empty if it is not reserved.
    pub reservation: Vec<String>,
}

/// `GET /v1/exports/0.1/mask`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Mask {
    /// The export.
    pub address: String,
    /// The hosts that may use it; empty if all may.
    pub mask: Vec<String>,
}

/// `GET /v1/stats`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// Seconds since xblade became ready.
    pub uptime_seconds: u64,
    /// In the order of the configuration.
    pub interfaces: Vec<InterfaceStats>,
    /// Sorted by worker.
    pub lanes: Vec<LaneStats>,
    /// Sorted by number.
    pub workers: Vec<WorkerStats>,
    /// Sorted by address.
    pub exports: Vec<ExportStats>,
}

/// Counters of the XDP program on an interface.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct InterfaceStats {
    /// Its name.
    pub name: String,
    /// Its counters.
    pub counters: Counters,
}

/// Counters of a lane.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct LaneStats {
    /// Its name.
    pub name: String,
    /// The worker that owns it.
    pub worker: u16,
    /// Its counters.
    pub counters: Counters,
}

/// Counters of a worker.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct WorkerStats {
    /// Its number.
    pub worker: u16,
    /// Its counters.
    pub counters: Counters,
    /// Frames dropped without a reply, by reason.
    pub drops: Counters,
}

/// Counters of an export.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case")]
pub struct ExportStats {
    /// Its AoE address.
    pub address: String,
    /// Requests by operation and by outcome: `ok`, `error`, `unanswered`.
    pub requests: BTreeMap<String, Counters>,
    /// Bytes read and sent.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Requests that waited for an earlier one to the same sectors.
    pub waited: u64,
    /// Duplicates of writes that were in flight; not executed again.
    pub folded: u64,
    /// Duplicates of writes that had been answered.
    pub repeated: u64,
    /// From the poll of the network driver to the reply.
    #[serde(default)]
    pub response: TimesByOperation,
    /// From the rx ring to the reply.
    pub service: TimesByOperation,
    /// Time spent in the store.
    pub store: TimesByOperation,
}

/// A latency distribution.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
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
}

/// The result of a change.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct ChangeReport {
    /// One line per change; empty if nothing had to change.
    pub changed: Vec<String>,
}

/// Why a request failed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Error {
    /// A message with the remedy.
    pub error: String,
}

/// `POST /v1/exports/0.1/read-only`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReadOnly {
    /// Whether to refuse writes.
    pub read_only: bool,
}

/// `POST /v1/exports/0.1/recover`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// Why it is safe to accept writes again; for the log.
    pub reason: String,
}

/// `POST /v1/exports`, as on the command line.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The export.
    pub export: String,
}
