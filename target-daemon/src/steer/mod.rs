//! `xblade steer`: which receive queue of a NIC the frames of AoE go to.
//!
//! ```text
//! SteerRequest (queues, hosts) ──► RuleSet: sets of rules, the best first
//!                            │ plan: what would be done
//!                            │ apply: the first way that the driver takes
//!                            ▼
//!                       Journal (/run/xblade/steer-IF.json) ──► revert
//! ```
//!
//! Three things hold, whatever the driver does and wherever a run is cut off:
//! a rule is in the journal before it is in the NIC, so `revert` finds it; a
//! rule that is not in the journal is never touched; and an `apply` that fails
//! leaves the rules that were there before, or says that it could not.

mod apply;
mod driver;
mod error;
mod journal;
mod plan;
mod revert;
#[cfg(test)]
mod tests;
mod rule_set;

use std::path::Path;

pub use driver::{Driver, NicDriver};
pub use error::SteerError;
pub use rule_set::SteerRequest;

use crate::link::{Facts, mac_text};

use journal::Journal;

/// Where it is recorded what was done.
pub const DIRECTORY: &str = "/run/xblade";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Tell what would be done, and change nothing.
    Plan,
    /// Do it.
    Apply,
    /// Take back what was done.
    Revert,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SteerOptions {
    /// The interface.
    pub interface: String,
    /// What to do.
    pub mode: Mode,
    /// The queues to use; empty: queue 0, or all if hosts are named.
    pub queues: Vec<u32>,
    /// The hosts to spread over the queues.
    pub hosts: Vec<[u8; 6]>,
}

/// Does what is asked for on this machine; returns the lines to print.
///
/// # Errors
///
/// A [`Fault`], after which the rules are those from before.
pub fn steer(options: &SteerOptions) -> Result<Vec<String>, SteerError> {
    let facts = Facts::read(&options.interface);
    // It may have been asked for by another one.
    let name = facts.as_ref().map_or(&options.interface, |facts| &facts.name).clone();
    let mut driver = NicDriver::of(&name);
    let mut journal = Journal::of(Path::new(DIRECTORY), &name);
    if options.mode == Mode::Revert {
        // Also when the interface has changed since.
        return revert::revert(&mut driver, &mut journal, &name);
    }
    let facts = facts?;
    let request = request(options, &facts)?;
    let about = about(&facts);
    let rest = match options.mode {
        Mode::Plan => plan::plan(&driver, &journal, &request)?,
        _ => apply::apply(&mut driver, &mut journal, &request)?,
    };
    Ok(std::iter::once(about).chain(rest).collect())
}

fn about(facts: &Facts) -> String {
    let driver = if facts.driver.is_empty() { "unknown" } else { &facts.driver };
    format!("{}: driver {driver}, {} receive queue(s), {}", facts.name, facts.queues, mac_text(facts.mac))
}

/// What is asked for, with what was left open.
fn request(options: &SteerOptions, facts: &Facts) -> Result<SteerRequest, SteerError> {
    let queues = match (options.queues.as_slice(), options.hosts.is_empty()) {
        ([], true) => vec![0],
        ([], false) => (0..facts.queues).collect(),
        (queues, _) => queues.to_vec(),
    };
    if let Some(queue) = queues.iter().find(|queue| **queue >= facts.queues) {
        return Err(SteerError::NoQueue {
            interface: facts.name.clone(),
            queue: *queue,
            last: facts.queues.saturating_sub(1),
        });
    }
    if queues.len() > 1 && options.hosts.is_empty() {
        return Err(SteerError::NoHosts);
    }
    Ok(SteerRequest {
        interface: facts.name.clone(),
        driver: facts.driver.clone(),
        mac: facts.mac,
        queue_count: facts.queues,
        queues,
        hosts: options.hosts.clone(),
    })
}
