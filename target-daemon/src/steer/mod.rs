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
mod error;
mod plan;
mod record;
mod revert;
mod rule_set;
#[cfg(test)]
mod tests;

pub use error::SteerError;

use crate::config::{Mode, Steer};
use crate::link::{Facts, FlowRules, FlowTable, mac_text};
use crate::tune::Journal;
use error::STILL;
use rule_set::SteerRequest;

/// Executes `xblade steer` on this machine. Returns the lines to print.
///
/// # Errors
///
/// A [`SteerError`]; unless it is [`SteerError::HalfWay`], the previous rules are still in
/// place.
pub fn steer(options: &Steer) -> Result<Vec<String>, SteerError> {
    let (mode, facts) = (options.mode.mode(), Facts::read(&options.interface));
    // The argument may be an alternative name.
    let name = facts.as_ref().map_or(&options.interface, |facts| &facts.name).clone();
    let (mut driver, journal) = (FlowTable(name.clone()), Journal::of("steer", &name));
    if mode == Mode::Revert {
        // Even if the interface has changed since.
        return revert::revert(&mut driver, &journal, &name);
    }
    let facts = facts?;
    let request = request(options, &facts)?;
    let told = if facts.driver.is_empty() { "unknown" } else { &facts.driver };
    let about = format!("{name}: driver {told}, {} receive queue(s), {}", facts.queues, mac_text(facts.mac));
    Ok([vec![about], fulfil(mode, &mut driver, &journal, &request)?].concat())
}

/// Plans or applies a request.
fn fulfil(
    mode: Mode,
    driver: &mut impl FlowRules,
    journal: &Journal,
    request: &SteerRequest,
) -> Result<Vec<String>, SteerError> {
    if request.queue_count < 2 {
        return Ok(vec![format!(
            "{} has one receive queue, where all frames come in: nothing to steer. {STILL}",
            request.interface
        )]);
    }
    match mode {
        Mode::Apply => apply::apply(driver, journal, request),
        _ => plan::plan(driver, journal, request),
    }
}

/// The request, with defaults for what was not given.
fn request(options: &Steer, facts: &Facts) -> Result<SteerRequest, SteerError> {
    let queues = match (options.queue, options.queues.as_slice(), options.from.is_empty()) {
        (Some(queue), ..) => vec![queue],
        (None, [], true) => vec![0],
        (None, [], false) => (0..facts.queues).collect(),
        (None, queues, _) => queues.to_vec(),
    };
    if let Some(queue) = queues.iter().find(|queue| **queue >= facts.queues) {
        let (interface, last) = (&facts.name, facts.queues.saturating_sub(1));
        return Err(SteerError::Machine(format!(
            "{interface} has no receive queue {queue}: give 0 to {last}, or make more with `ethtool -L {interface} combined N`"
        )));
    }
    if queues.len() > 1 && options.from.is_empty() {
        let what = "--queues names several queues, and nothing says which frames go to which: name the hosts with --from, or give one --queue";
        return Err(SteerError::Request(what));
    }
    Ok(SteerRequest {
        interface: facts.name.clone(),
        driver: facts.driver.clone(),
        mac: facts.mac,
        queue_count: facts.queues,
        queues,
        hosts: options.from.iter().map(|mac| mac.0).collect(),
    })
}
