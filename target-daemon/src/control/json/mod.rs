//! What programs are told, as JSON. docs/CONTROL.md tells of every field: a
//! test compares.

mod of;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use of::macs;

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
    /// Those that are configured and not served.
    #[serde(default)]
    pub refused: Vec<Refused>,
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
    /// Its path does not lead to its file any more.
    #[serde(default)]
    pub replaced: bool,
    /// Requests under way, and those that wait for these.
    pub in_flight: usize,
}

/// An export that is configured and not served.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Refused {
    /// Where it would answer.
    pub address: String,
    /// Its file or device; null for none.
    pub path: Option<String>,
    /// Why, with what to do.
    pub reason: String,
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
    /// From the poll of the network driver to the reply.
    #[serde(default)]
    pub response: TimesByOperation,
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
pub struct ChangeReport {
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

/// `POST /v1/exports/0.1/recover`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// Why writes may be taken again: for the log.
    pub reason: String,
}

/// `POST /v1/exports`, as on the command line.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The export.
    pub export: String,
}
