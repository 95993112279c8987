//! Reverts what was done, and nothing else.

use super::error::{SteerError, refuses};
use super::record::{Noted, Record};
use crate::link::{FlowRule, FlowRules};
use crate::tune::Journal;

/// Removes the recorded rules. Returns the lines to print.
pub fn revert(
    driver: &mut impl FlowRules,
    journal: &Journal,
    interface: &str,
) -> Result<Vec<String>, SteerError> {
    let nothing = || Ok(vec![format!("{interface}: no rules of xblade: nothing to take back")]);
    if journal.load::<Record>()? == Record::default() {
        return nothing();
    }
    let _lock = journal.lock()?;
    let mut record: Record = journal.load()?;
    let mut lines = Vec::new();
    record.wished = None;
    while let Some(noted) = record.rules.last() {
        lines.push(take_away(driver, interface, noted)?);
        record.rules.pop();
        journal.store(&record)?;
    }
    if record.switched_on {
        lines.push(switch_off(driver, interface)?);
        journal.store(&Record::default())?;
    }
    if lines.is_empty() { nothing() } else { Ok(lines) }
}

fn take_away(driver: &mut impl FlowRules, interface: &str, noted: &Noted) -> Result<String, SteerError> {
    let there = rules(driver, interface)?;
    let Some(rule) = there.iter().find(|rule| noted.is(rule)) else {
        let another = there.iter().any(|rule| Some(rule.location) == noted.location);
        let why = if another { "; what is in its place now is not xblade's, and stays" } else { "" };
        return Ok(format!("is gone already: {}{why}", noted.rule));
    };
    remove(driver, interface, rule.location)?;
    Ok(format!("taken away: rule {}, {}", rule.location, noted.rule))
}

/// Removes the rule at `location`.
pub fn remove(driver: &mut impl FlowRules, interface: &str, location: u32) -> Result<(), SteerError> {
    let failed = |error| SteerError::kernel(interface, format!("take rule {location} away"), error);
    driver.remove(location).map_err(failed)
}

/// Disables rules, unless there are foreign ones: a driver may lose all rules when they are
/// disabled.
fn switch_off(driver: &mut impl FlowRules, interface: &str) -> Result<String, SteerError> {
    let others = rules(driver, interface)?.len();
    if others > 0 {
        return Ok(format!("rules stay switched on: {interface} has {others} that are not xblade's"));
    }
    match driver.switch(false) {
        Ok(()) => Ok(format!("rules switched off (ntuple) on {interface}, as they were")),
        Err(error) if refuses(&error) => {
            Ok(format!("rules stay switched on: the driver of {interface} refuses"))
        }
        Err(error) => Err(SteerError::kernel(interface, "switch rules off", error)),
    }
}

/// An interface that was removed has no rules.
fn rules(driver: &impl FlowRules, interface: &str) -> Result<Vec<FlowRule>, SteerError> {
    match driver.rules() {
        Err(error) if refuses(&error) || error.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
        other => other.map_err(|e| SteerError::kernel(interface, "read the rules", e)),
    }
}
