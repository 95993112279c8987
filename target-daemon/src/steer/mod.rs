//! `xblade steer`: selects the receive queues of a NIC for AoE frames.
//!
//! ```text
//! SteerRequest (queues, hosts) ──► RuleSet: sets of rules, best first
//!                            │ plan: what would be done
//!                            │ apply: the first rule set that the driver accepts
//!                            ▼
//!                       Journal (/run/xblade-machine/steer-IF.json) ──► revert
//! ```
//!
//! Three invariants hold, whatever the driver does and wherever a run is interrupted: a
//! rule is in the journal before it is in the NIC, so `revert` finds it; a rule that is not
//! in the journal is never touched; and an `apply` that fails leaves the previous rules in
//! place, or reports that it could not.

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

/// The directory of the journals, also those of `deploy/tune.sh`. It is root's, not the one
/// of the service's user: who may write there decides what `revert` changes.
pub const DIRECTORY: &str = "/run/xblade-machine";

/// The action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Print what would be done, and change nothing.
    Plan,
    /// Apply the rules.
    Apply,
    /// Revert what was done.
    Revert,
}

/// The arguments of `xblade steer`.
#[derive(Clone, Debug)]
pub struct SteerOptions {
    /// The interface.
    pub interface: String,
    /// The action.
    pub mode: Mode,
    /// The queues to use; empty for queue 0, or for all queues if hosts are given.
    pub queues: Vec<u32>,
    /// The hosts to distribute over the queues.
    pub hosts: Vec<[u8; 6]>,
}

/// Executes `xblade steer` on this machine. Returns the lines to print.
///
/// # Errors
///
/// A [`SteerError`]; unless it is [`SteerError::HalfWay`], the previous rules are still in
/// place.
pub fn steer(options: &SteerOptions) -> Result<Vec<String>, SteerError> {
    let facts = Facts::read(&options.interface);
    // The argument may be an alternative name.
    let name = facts.as_ref().map_or(&options.interface, |facts| &facts.name).clone();
    let mut driver = NicDriver::of(&name);
    let mut journal = Journal::of(Path::new(DIRECTORY), &name);
    if options.mode == Mode::Revert {
        // Even if the interface has changed since.
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

/// The request, with defaults for what was not given.
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
