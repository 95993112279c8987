//! One measurement.

use serde::Serialize;

use crate::load::{Latency, Summary};

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
    pub fn new(summary: Summary, dropped: u64) -> Self {
        let trouble = &summary.trouble;
        let network = Network {
            generator_idle: summary.idle,
            dropped: dropped + trouble.dropped,
            resent: trouble.retransmits,
            failed: trouble.errors + trouble.refused + trouble.lost,
            port: summary.setup.port,
        };
        let cpu = summary.target_ns_per_request.zip(summary.target_user_ns_per_request);
        Self {
            iops: summary.iops,
            mb_per_s: summary.mb_per_s,
            latency: summary.latency,
            cpu: cpu.map(|(all, user)| CpuTime { user_ns: user, system_ns: all - user }),
            core_busy: summary.target_core_busy,
            network: Some(network),
        }
    }
}
