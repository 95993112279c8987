//! `xblade tune`: the settings of this machine that delay or lose frames, in one table.
//!
//! ```text
//! table: where a setting is, what is wanted, why ──► plan: one line each, also for `xblade check`
//!                      │ apply: the old value is in the journal before the new one is set
//!                      ▼
//!       Journal (/run/xblade-machine/tune-IF.json) ──► revert
//! ```
//!
//! `--apply` may be repeated and interrupted: the journal keeps the values from before
//! the first run. `--revert` restores each of them if the setting still has the value
//! that `--apply` set, and leaves alone what has been changed since.

mod advice;
mod journal;
mod machine;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

pub use journal::{Journal, JournalError, Record};
pub use machine::{Machine, Nic};
pub use table::HUGE_PAGES;

use crate::config::{Demands, Mode, Tune};
use crate::link::Facts;
use table::{Place, Setting};

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As wanted.
    Ok,
    /// Not as wanted.
    Want,
    /// Changed.
    Set,
    /// Restored.
    Back,
    /// Not on this machine, or left alone.
    Skip,
    /// Advice that this command does not follow itself.
    Hint,
    /// Advice that needs a reboot.
    Boot,
    /// The kernel or the driver refuses.
    Fail,
}

/// A line of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its kind.
    pub mark: Mark,
    /// The setting.
    pub name: String,
    /// Its value, and what is wrong with it.
    pub text: String,
}

impl Line {
    fn new(mark: Mark, name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { mark, name: name.into(), text: text.into() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = format!("{:?}", self.mark).to_uppercase();
        write!(to, "{mark:<5} {:<24} {}", self.name, self.text)
    }
}

/// The settings that a call covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the whole machine.
    Machine,
    /// Those of an interface.
    Interface,
}

/// Executes `xblade tune` on this machine. Returns the lines to print.
///
/// # Errors
///
/// There is no such interface or core, or the journal cannot be used. Changes made before it are in the journal.
pub fn tune(options: &Tune) -> anyhow::Result<Vec<Line>> {
    let mode = options.mode.mode();
    let mut machines = Vec::new();
    for name in &options.interfaces {
        machines.push(match (Facts::read(name), mode) {
            // The argument may be an alternative name.
            (Ok(facts), _) => Machine::of(&facts.name, facts.index),
            // Reverting works even if the interface is gone.
            (Err(_), Mode::Revert) => Machine::of(name, 0),
            (Err(fault), _) => return Err(fault.into()),
        });
    }
    let demands = &options.demands;
    let mut lines = Vec::new();
    for (position, machine) in machines.iter().enumerate() {
        let journal = Journal::of("tune", &machine.interface);
        if mode == Mode::Revert {
            lines.extend(revert(machine, &journal)?);
            continue;
        }
        let (wanted, online) = (&demands.cores, machine.online());
        let missing = wanted.without(&online);
        ensure!(missing.0.is_empty(), "--cores {wanted}: there is no core {missing} (there are {online})");
        // Settings of the whole machine are in the journal of the first interface.
        for scope in [Scope::Machine, Scope::Interface].into_iter().skip(position.min(1)) {
            lines.extend(match mode {
                Mode::Apply => apply(demands, machine, scope, &journal)?,
                _ => plan(demands, machine, scope),
            });
        }
    }
    Ok(lines)
}

/// One line for each setting, and advice about others. Changes nothing.
pub fn plan(demands: &Demands, machine: &Machine, scope: Scope) -> Vec<Line> {
    let settings = table::settings(demands, machine, scope);
    settings.iter().map(Setting::line).chain(advice::advice(demands, machine, scope)).collect()
}

/// A change. It is written to the journal before it is made.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
struct Change {
    /// The path of the file, or the name of the NIC's setting.
    at: String,
    /// The value before the first run.
    old: String,
    /// The value that was set.
    new: String,
}

impl Record for Vec<Change> {}

/// Changes the settings that are not as wanted.
fn apply(
    demands: &Demands,
    machine: &Machine,
    scope: Scope,
    journal: &Journal,
) -> Result<Vec<Line>, JournalError> {
    let _lock = journal.lock()?;
    let mut changes = journal.load()?;
    let mut lines = Vec::new();
    for mut setting in table::settings(demands, machine, scope) {
        // The changes before this one may have reset it, as drivers do for new rings or a new MTU.
        setting.read_again(machine);
        let mut line = setting.line();
        if line.mark == Mark::Want {
            let (values, mut is_refused, mut now) = (setting.values(), false, String::new());
            for (place, old) in setting.found.iter().filter(|(_, now)| !setting.want.is_met_by(now)) {
                let wanted = setting.want.to_string();
                is_refused |= !change(machine, journal, &mut changes, place, old, &wanted)?;
                now = machine.get(place).unwrap_or(wanted);
            }
            (line.mark, line.text) = if is_refused {
                (
                    Mark::Fail,
                    format!("{values}, wanted {}: refused by the kernel or the driver", setting.want),
                )
            } else {
                (Mark::Set, format!("{values}, now {now}: {}", setting.why))
            };
        }
        lines.push(line);
    }
    lines.extend(advice::advice(demands, machine, scope));
    Ok(lines)
}

/// Notes the old value, then sets the wanted one. Returns whether it was accepted.
fn change(
    machine: &Machine,
    journal: &Journal,
    changes: &mut Vec<Change>,
    place: &Place,
    old: &str,
    wanted: &str,
) -> Result<bool, JournalError> {
    let at = changes.iter().position(|change| change.at == place.at).unwrap_or_else(|| {
        changes.push(Change { at: place.at.clone(), old: old.to_owned(), new: String::new() });
        changes.len() - 1
    });
    changes[at].new = wanted.to_owned();
    journal.store(changes)?;
    let is_accepted = machine.put(place, wanted).is_ok();
    // Drivers round values, and `--revert` must recognize the value that is set now.
    if let Some(now) = machine.get(place) {
        changes[at].new = now;
        changes.retain(|change| change.new != change.old);
        journal.store(changes)?;
    }
    Ok(is_accepted)
}

/// Restores the old values, the last change first.
fn revert(machine: &Machine, journal: &Journal) -> Result<Vec<Line>, JournalError> {
    let nothing = || vec![Line::new(Mark::Ok, &machine.interface, "nothing to take back")];
    if journal.load::<Vec<Change>>()?.is_empty() {
        return Ok(nothing());
    }
    let _lock = journal.lock()?;
    let (mut lines, mut left) = (Vec::new(), Vec::new());
    for change in journal.load::<Vec<Change>>()?.into_iter().rev() {
        let Change { at, old, new } = &change;
        let found = machine.place(at).and_then(|place| Some((machine.get(&place)?, place)));
        let (mark, text) = match found {
            None => (Mark::Skip, "is not a setting of this machine (any more)".to_owned()),
            Some((now, _)) if now == *old => continue,
            Some((now, _)) if now != *new => (
                Mark::Skip,
                format!("{now}, not {new} as set here: changed since by another program, left alone"),
            ),
            Some((_, place)) if machine.put(&place, old).is_ok() => (Mark::Back, old.clone()),
            Some((now, _)) => (Mark::Fail, format!("{now}, was {old}: refused by the kernel or the driver")),
        };
        lines.push(Line::new(mark, at, text));
        if mark == Mark::Fail {
            left.insert(0, change);
        }
    }
    journal.store(&left)?;
    Ok(if lines.is_empty() { nothing() } else { lines })
}
