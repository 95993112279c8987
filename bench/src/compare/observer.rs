//! Observes the machine during a measurement.

use std::time::Instant;

use anyhow::Result;

use crate::outcome::Machine;
use crate::watch::CoreTime;

use super::plan::Plan;

/// Counters at one moment; only differences are meaningful.
#[derive(Debug)]
pub struct Reading {
    /// When.
    pub at: Instant,
    target_core: CoreTime,
    generator_core: Option<CoreTime>,
}

impl Reading {
    /// Reads the counters.
    pub fn take(plan: &Plan) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            target_core: CoreTime::read(plan.target_core)?,
            generator_core: plan.generator_here.map(CoreTime::read).transpose()?,
        })
    }

    /// What happened since an earlier reading, with a load of this many seconds in between. Its
    /// program takes a moment before and after, in which the target's core is idle.
    pub fn since(&self, before: &Self, load_s: f64) -> Machine {
        let stretch = (self.at - before.at).as_secs_f64() / load_s.max(1e-9);
        let [busy, _, target_steal] = self.target_core.shares_since(&before.target_core);
        let generator =
            self.generator_core.zip(before.generator_core).map(|(now, before)| now.shares_since(&before));
        Machine {
            target_core_busy: (busy * stretch).min(1.0),
            generator_core_busy: generator.map(|[busy, ..]| busy),
            generator_core_kernel: generator.map(|[_, kernel, _]| kernel),
            steal: generator.map_or(target_steal, |[.., steal]| f64::midpoint(target_steal, steal)),
            ..Machine::default()
        }
    }
}
