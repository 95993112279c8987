//! Takes back what was done, and nothing else.

use super::driver::{Driver, refuses};
use super::error::SteerError;
use super::journal::{Journal, Noted};
use crate::link::FlowRule;

/// Takes the noted rules away; returns the lines to print.
pub fn revert(
    driver: &mut impl Driver,
    journal: &mut Journal,
    interface: &str,
) -> Result<Vec<String>, SteerError> {
    let nothing = || Ok(vec![format!("{interface}: no rules of xblade: nothing to take back")]);
    if journal.load()? == Default::default() {
        return nothing();
    }
    let lock = journal.lock()?;
    let mut record = journal.load()?;
    let mut lines = Vec::new();
    record.wished = None;
    while let Some(noted) = record.rules.last().copied() {
        lines.push(take_away(driver, interface, noted)?);
        record.rules.pop();
        journal.store(&record)?;
    }
    if record.switched_on {
        lines.push(switch_off(driver, interface)?);
        record.switched_on = false;
        journal.store(&record)?;
    }
    drop(lock);
    if lines.is_empty() { nothing() } else { Ok(lines) }
}

fn take_away(driver: &mut impl Driver, interface: &str, noted: Noted) -> Result<String, SteerError> {
    let told = format!("{} to queue {}", noted.matches, noted.queue);
    let there = rules(driver, interface)?;
    let Some(rule) = there.iter().find(|rule| noted.is(rule)) else {
        let another = there.iter().any(|rule| Some(rule.location) == noted.location);
        let why = if another { "; what is in its place now is not xblade's, and stays" } else { "" };
        return Ok(format!("is gone already: {told}{why}"));
    };
    let removed = driver.remove(rule.location);
    removed.map_err(|e| SteerError::kernel(interface, format!("take rule {} away", rule.location), e))?;
    Ok(format!("taken away: rule {}, {told}", rule.location))
}

/// A driver may forget all rules when they are switched off, so not while
/// somebody has some.
fn switch_off(driver: &mut impl Driver, interface: &str) -> Result<String, SteerError> {
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

/// An interface that was removed has none.
fn rules(driver: &impl Driver, interface: &str) -> Result<Vec<FlowRule>, SteerError> {
    match driver.rules() {
        Err(error) if refuses(&error) || error.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
        other => other.map_err(|e| SteerError::kernel(interface, "read the rules", e)),
    }
}
