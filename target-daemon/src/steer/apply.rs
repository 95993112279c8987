//! Inserts the rules into the NIC.
//!
//! For each rule set, best first: record a rule, then insert it, and read it back. If the
//! driver refuses a rule, or inserts another one than requested, the whole rule set is
//! removed again and the next one is tried. Rules of earlier runs are removed last, with
//! one exception: a rule for the same frames is removed right before its successor is
//! inserted, and restored if that fails. Some NICs refuse a rule only because of the rules
//! that are already there, so a refused rule set is tried once more without those of
//! earlier runs.

use std::io;

use super::error::{SteerError, is_full, refuses};
use super::plan::{Before, look};
use super::record::{Fulfilled, Noted, Record};
use super::revert::remove;
use super::rule_set::{Rule, RuleSet, SteerRequest, ways};
use crate::link::{FlowRule, FlowRules};
use crate::tune::{Journal, JournalError};

/// Applies the request. Returns the lines to print.
pub fn apply(
    driver: &mut impl FlowRules,
    journal: &Journal,
    request: &SteerRequest,
) -> Result<Vec<String>, SteerError> {
    let _lock = journal.lock()?;
    let before = look(driver, journal, request)?;
    if let Some(way) = before.settled(request) {
        return Ok(vec![
            "nothing to do: all rules are in place".to_owned(),
            format!("way: {}", way.describe()),
        ]);
    }
    let mut run = Run { driver, journal, request, record: before.record.clone(), lines: Vec::new() };
    run.forget_what_is_gone(&before)?;
    run.switch_on(&before)?;
    if let Err(fault) = run.first_way() {
        run.switch_off_again(&before);
        return Err(fault);
    }
    Ok(run.lines)
}

struct Run<'a, D> {
    driver: &'a mut D,
    journal: &'a Journal,
    request: &'a SteerRequest,
    record: Record,
    lines: Vec<String>,
}

/// The changes of one rule set, to be undone if it cannot be completed.
#[derive(Default)]
struct Changes {
    added: Vec<Noted>,
    removed: Vec<Noted>,
}

impl<D: FlowRules> Run<'_, D> {
    /// Drops recorded rules that are not in the NIC any more: the driver was reloaded, or
    /// another program removed them.
    fn forget_what_is_gone(&mut self, before: &Before) -> Result<(), JournalError> {
        self.record.rules.retain(|noted| before.rules.iter().any(|rule| noted.is(rule)));
        self.note()
    }

    fn switch_on(&mut self, before: &Before) -> Result<(), SteerError> {
        if before.is_on != Some(false) {
            return Ok(());
        }
        let was = std::mem::replace(&mut self.record.switched_on, true);
        self.note()?;
        match self.driver.switch(true) {
            Ok(()) => self.lines.push(format!("rules switched on (ntuple) on {}", self.request.interface)),
            // Some drivers accept rules without the switch; the first insertion shows it.
            Err(error) if refuses(&error) => {
                self.record.switched_on = was;
                self.note()?;
            }
            Err(error) => return Err(self.failed("switch rules on")(error)),
        }
        Ok(())
    }

    /// Only if this run has switched it on, and no rule is left.
    fn switch_off_again(&mut self, before: &Before) {
        let by_us = self.record.switched_on && !before.record.switched_on;
        if by_us
            && self.driver.rules().is_ok_and(|rules| rules.is_empty())
            && self.driver.switch(false).is_ok()
        {
            self.record.switched_on = false;
            // If this fails, the record contains too much, which `revert` handles.
            let _ = self.note();
        }
    }

    fn first_way(&mut self) -> Result<(), SteerError> {
        for way in ways(self.request) {
            let wanted = way.rules(self.request);
            let mut outcome = self.attempt(&wanted, false);
            if matches!(outcome, Err(SteerError::Refused { .. })) && !self.others(&wanted).is_empty() {
                outcome = self.attempt(&wanted, true);
            }
            if !matches!(outcome, Err(SteerError::Refused { .. })) {
                return outcome.and_then(|()| self.fulfilled(way));
            }
            self.lines.push(format!("the driver refuses: {}", way.describe()));
        }
        Err(self.refused())
    }

    fn fulfilled(&mut self, way: RuleSet) -> Result<(), SteerError> {
        self.lines.push(format!("way: {}", way.describe()));
        let SteerRequest { queues, hosts, .. } = self.request.clone();
        self.record.wished = (!self.record.rules.is_empty()).then_some(Fulfilled { queues, hosts });
        Ok(self.note()?)
    }

    /// Tries a rule set. If `cleared`, first removes the rules of earlier runs. After an
    /// error, the rules are as before.
    fn attempt(&mut self, wanted: &[Rule], cleared: bool) -> Result<(), SteerError> {
        let mut changes = Changes::default();
        let first = if cleared { self.take_away_others(wanted, &mut changes) } else { Ok(()) };
        first.and_then(|()| self.take(wanted, &mut changes)).or_else(|fault| {
            let interface = self.request.interface.clone();
            let half_way = |fault| SteerError::HalfWay { interface, fault: Box::new(fault) };
            self.undo(changes).map_err(half_way)?;
            Err(fault)
        })
    }

    fn take(&mut self, wanted: &[Rule], changes: &mut Changes) -> Result<(), SteerError> {
        let mut told = Vec::new();
        // The location of the least specific rule: the others must precede it.
        let mut below = None;
        for one in wanted {
            let found = self.rules()?.into_iter().find(|rule| one.is(rule));
            let (what, location) = match found {
                Some(rule) => ("is there", rule.location),
                None => ("added", self.add(*one, below, changes)?),
            };
            told.push(format!("{what}: rule {location}, {one}"));
            below.get_or_insert(location);
        }
        self.lines.extend(told);
        self.take_away_others(wanted, changes)
    }

    fn add(&mut self, one: Rule, below: Option<u32>, changes: &mut Changes) -> Result<u32, SteerError> {
        let same = self.record.rules.iter().copied().find(|noted| noted.rule.matches == one.matches);
        if let Some(old) = same {
            self.take_away(old, |rule| old.is(rule))?;
            changes.removed.push(old);
        }
        let locations = self.driver.locations().map_err(self.failed("read the room for rules"))?;
        let full = || {
            let interface = &self.request.interface;
            SteerError::Machine(format!(
                "{interface}: the NIC has no room for another rule; those of before are as they were: see `ethtool -n {interface}` for what may go, or name fewer hosts with --from"
            ))
        };
        let place = place(locations, &self.rules()?, below).ok_or_else(full)?;
        let location = self.insert(one, place)?.map_err(|error| match error {
            error if refuses(&error) => self.refused(),
            error if is_full(&error) => full(),
            error => self.failed(format!("add a rule for {}", one.matches))(error),
        })?;
        let noted = Noted { rule: one, location: Some(location) };
        changes.added.push(noted);
        // Not if the driver inserted another rule than requested.
        if self.rules()?.iter().any(|rule| noted.is(rule)) { Ok(location) } else { Err(self.refused()) }
    }

    /// Records a rule, inserts it, and records its location.
    fn insert(&mut self, rule: Rule, place: Option<u32>) -> Result<io::Result<u32>, JournalError> {
        self.record.rules.push(Noted { rule, location: place });
        self.note()?;
        let inserted = self.driver.insert(rule.matches, rule.queue, place);
        self.record.rules.pop();
        let location = inserted.as_ref().ok().copied();
        self.record.rules.extend(location.map(|location| Noted { rule, location: Some(location) }));
        self.note()?;
        Ok(inserted)
    }

    /// The rules of earlier runs that are not wanted any more.
    fn others(&self, wanted: &[Rule]) -> Vec<Noted> {
        self.record.rules.iter().copied().filter(|noted| !wanted.contains(&noted.rule)).collect()
    }

    /// Removes rules of earlier runs that are not wanted any more.
    fn take_away_others(&mut self, wanted: &[Rule], changes: &mut Changes) -> Result<(), SteerError> {
        for noted in self.others(wanted) {
            self.take_away(noted, |rule| noted.is(rule))?;
            changes.removed.push(noted);
            self.lines.push(format!("taken away, from an earlier run: {}", noted.rule));
        }
        Ok(())
    }

    /// Removes a rule from the NIC, if it is still there, then from the record.
    fn take_away(&mut self, noted: Noted, is_it: impl Fn(&FlowRule) -> bool) -> Result<(), SteerError> {
        if let Some(rule) = self.rules()?.into_iter().find(is_it) {
            remove(self.driver, &self.request.interface, rule.location)?;
        }
        self.record.rules.retain(|one| *one != noted);
        Ok(self.note()?)
    }

    fn undo(&mut self, changes: Changes) -> Result<(), SteerError> {
        for noted in changes.added {
            // The driver may have changed it. The location was free before, so the rule there is
            // from this run.
            self.take_away(noted, |rule| Some(rule.location) == noted.location)?;
        }
        changes.removed.into_iter().try_for_each(|old| self.put_back(old))
    }

    /// Restores a rule of an earlier run at its old location, or where the driver chooses.
    fn put_back(&mut self, old: Noted) -> Result<(), SteerError> {
        let what = "put a rule of an earlier run back";
        let locations = self.driver.locations().map_err(self.failed(what))?;
        let place = old.location.filter(|_| locations.is_some());
        self.insert(old.rule, place)?.map(|_| ()).map_err(self.failed(what))
    }

    fn rules(&self) -> Result<Vec<FlowRule>, SteerError> {
        self.driver.rules().map_err(self.failed("read the rules"))
    }

    fn refused(&self) -> SteerError {
        let SteerRequest { interface, driver, .. } = self.request;
        SteerError::Refused { interface: interface.clone(), driver: driver.clone() }
    }

    fn failed(&self, what: impl Into<String>) -> impl FnOnce(io::Error) -> SteerError {
        let (interface, what) = (&self.request.interface, what.into());
        move |error| SteerError::kernel(interface, what, error)
    }

    fn note(&self) -> Result<(), JournalError> {
        self.journal.store(&self.record)
    }
}

/// The location of the next rule: the last free one, before `below` if given. The inner
/// option is `None` if the driver chooses, the outer one if there is no room.
fn place(locations: Option<u32>, there: &[FlowRule], below: Option<u32>) -> Option<Option<u32>> {
    // A driver that does not report the number has at least some.
    let end = match locations {
        None => return Some(None),
        Some(0) => 16,
        Some(count) => count,
    };
    let is_free = |place: &u32| there.iter().all(|rule| rule.location != *place);
    (0..below.map_or(end, |below| below.min(end))).rev().find(is_free).map(Some)
}
