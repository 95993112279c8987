//! Rate limits of exports and of hosts.

use crate::store::{Options, Problem, Value};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// The keys of the rates of an export: of all hosts, and of each.
const RATES: [[&str; 2]; 2] = [["iops", "bytes-per-second"], ["host-iops", "host-bytes-per-second"]];

const BURST: &str = "burst";

/// The options that a `[[host-limit]]` has, too.
pub(super) const OF_HOSTS: [&str; 3] = ["iops", "bytes-per-second", BURST];

/// The burst if none is given.
pub(super) const BURST_MS: u32 = 100;

/// The most requests and bytes per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// Requests that reach the store; `None` for no limit.
    pub iops: Option<u32>,
    /// Data that they read and write; `None` for no limit.
    pub bytes_per_second: Option<u64>,
}

/// The limits of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExportLimits {
    /// Of all hosts together.
    pub all_hosts: Limit,
    /// Of each host.
    pub each_host: Limit,
    /// What may be used at once after a pause, as the time in which the rates allow as much.
    /// The default if there is no limit.
    pub burst_ms: u32,
}

/// A limit for each of some hosts, over several exports: a `[[host-limit]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostLimit {
    /// The hosts.
    pub hosts: Vec<Mac>,
    /// The exports, sorted, which may not all be configured; empty for all.
    pub exports: Vec<Address>,
    /// What each host may use of them.
    pub limit: Limit,
    /// As [`ExportLimits::burst_ms`].
    pub burst_ms: u32,
}

impl Default for ExportLimits {
    fn default() -> Self {
        Self { all_hosts: Limit::default(), each_host: Limit::default(), burst_ms: BURST_MS }
    }
}

impl Limit {
    /// Takes the limit from options with these keys.
    fn take(options: &mut Options, [iops, bytes_per_second]: [&str; 2]) -> Self {
        let iops = match options.take(iops) {
            Some(Value::Number(iops)) => Some(iops),
            _ => None,
        };
        let bytes_per_second = match options.take(bytes_per_second) {
            Some(Value::Rate(bytes)) => Some(bytes),
            _ => None,
        };
        Self { iops, bytes_per_second }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl ExportLimits {
    /// Takes the limits from the options of an export, or of a `[[host-limit]]`, which has only
    /// some of them.
    ///
    /// # Errors
    ///
    /// A burst without a rate.
    pub(super) fn take(options: &mut Options) -> Result<Self, Problem> {
        let [all_hosts, each_host] = RATES.map(|keys| Limit::take(options, keys));
        let limits = Self { all_hosts, each_host, ..Self::default() };
        match options.take(BURST) {
            Some(Value::Number(_)) if limits.is_none() => {
                let remedy = format!("leave it out, or give {}", RATES.as_flattened().join(" or "));
                Err(Problem::new("burst has no meaning without a limit", remedy))
            }
            Some(Value::Number(burst_ms)) => Ok(Self { burst_ms, ..limits }),
            _ => Ok(limits),
        }
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.all_hosts.is_none() && self.each_host.is_none()
    }
}

impl HostLimit {
    /// Whether it counts requests to this export.
    pub fn is_for(&self, export: Address) -> bool {
        self.exports.is_empty() || self.exports.binary_search(&export).is_ok()
    }
}
