//! One measurement.

use serde::Serialize;

use crate::outcome::{Latencies, Outcome};

/// What a target did in the time.
#[derive(Clone, Serialize, Debug, Default)]
pub struct Sample {
    /// Requests completed a second.
    pub iops: f64,
    /// Data a second, in 10⁶ bytes.
    pub mb_per_s: f64,
    /// From the first copy of a request to its reply.
    pub latency: Latency,
    /// What the target's process took for each request.
    pub cpu: Option<CpuTime>,
    /// Share of the time that its core was busy.
    pub core_busy: Option<f64>,
    /// How the network did; none for a target without one.
    pub network: Option<Network>,
}

/// Latencies in microseconds.
#[derive(Clone, PartialEq, Serialize, Debug, Default)]
#[allow(missing_docs)]
pub struct Latency {
    pub count: u64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// CPU time for each request, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Serialize, Debug, Default)]
pub struct CpuTime {
    /// In the program.
    pub user_ns: f64,
    /// In the kernel.
    pub system_ns: f64,
}

/// The path to a target, and whoever sits at its other end.
#[derive(Clone, PartialEq, Serialize, Debug, Default)]
pub struct Network {
    /// How the generator's frames left and arrived.
    pub port: String,
    /// Share of the time that the generator had nothing to do.
    pub generator_idle: f64,
    /// Frames that the pair or the generator dropped.
    pub dropped: u64,
    /// Requests that were sent again.
    pub resent: u64,
    /// Requests that failed, or were never answered.
    pub failed: u64,
}

impl Sample {
    /// What the generator found, and the frames that the pair dropped meanwhile.
    pub fn new(outcome: Outcome, dropped: u64) -> Self {
        let trouble = &outcome.trouble;
        let network = Network {
            generator_idle: outcome.idle,
            dropped: dropped + trouble.dropped,
            resent: trouble.retransmits,
            failed: trouble.errors + trouble.refused + trouble.lost,
            port: outcome.setup.port.clone(),
        };
        Self {
            iops: outcome.iops(),
            mb_per_s: outcome.mb_per_s(),
            latency: (&outcome.response()).into(),
            cpu: outcome.cost_per_request().map(|(user_ns, system_ns)| CpuTime { user_ns, system_ns }),
            core_busy: outcome.cost.and_then(|cost| cost.core_busy),
            network: Some(network),
        }
    }
}

impl From<&Latencies> for Latency {
    fn from(all: &Latencies) -> Self {
        Self {
            count: all.len(),
            p50_us: all.us(0.5),
            p90_us: all.us(0.9),
            p99_us: all.us(0.99),
            p999_us: all.us(0.999),
            max_us: all.max_us(),
        }
    }
}
