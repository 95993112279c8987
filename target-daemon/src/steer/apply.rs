//! Inserts the rules into the NIC.
//!
//! For each rule set, best first: record a rule, then insert it, and read it back. If the
//! driver refuses a rule, or inserts another one than requested, the whole rule set is
//! removed again and the next one is tried. Rules of earlier runs are removed last, with
//! one exception: a rule for the same frames is removed right before its successor is
//! inserted, and restored if that fails. Some NICs refuse a rule only because of the rules
//! that are already there, so a refused rule set is tried once more without those of
//! earlier runs.

use super::driver::{Driver, is_full, refuses};
use super::error::SteerError;
use super::journal::{Journal, Noted, Record};
use super::plan::{Before, does, look, one_queue, settled};
use super::rule_set::{RuleSet, SteerRequest, Wanted, ways};
use crate::link::{FlowRoom, FlowRule};

/// Applies the request. Returns the lines to print.
pub fn apply(
    driver: &mut impl Driver,
    journal: &mut Journal,
    request: &SteerRequest,
) -> Result<Vec<String>, SteerError> {
    if request.queue_count < 2 {
        return Ok(one_queue(request));
    }
    let lock = journal.lock()?;
    let Some(before) = look(driver, journal, request)? else { return Ok(one_queue(request)) };
    if let Some(way) = settled(&before, request) {
        return Ok(vec![
            "nothing to do: all rules are in place".to_owned(),
            format!("way: {}", way.describe()),
        ]);
    }
    let mut run = Run { driver, journal, request, record: before.record.clone(), lines: Vec::new() };
    run.forget_what_is_gone(&before)?;
    run.switch_on(&before)?;
    let outcome = run.first_way();
    if outcome.is_err() {
        run.switch_off_again(&before);
    }
    let lines = outcome.map(|()| run.lines);
    drop(lock);
    lines
}

struct Run<'a, D> {
    driver: &'a mut D,
    journal: &'a Journal,
    request: &'a SteerRequest,
    record: Record,
    lines: Vec<String>,
}

/// Why a rule set was not applied.
enum Stop {
    /// The driver refuses it: the next rule set may work.
    Refused,
    /// No rule set can work.
    Fault(SteerError),
}

impl From<SteerError> for Stop {
    fn from(fault: SteerError) -> Self {
        Self::Fault(fault)
    }
}

/// The changes of one rule set, to be undone if it cannot be completed.
#[derive(Default)]
struct Changes {
    added: Vec<Noted>,
    removed: Vec<Noted>,
}

impl<D: Driver> Run<'_, D> {
    /// Drops recorded rules that are not in the NIC any more: the driver was reloaded, or
    /// another program removed them.
    fn forget_what_is_gone(&mut self, before: &Before) -> Result<(), SteerError> {
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
            Err(error) => return Err(SteerError::kernel(&self.request.interface, "switch rules on", error)),
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
        let request = (self.request.queues.clone(), self.request.hosts.clone());
        for way in ways(self.request) {
            if self.attempt(way, false)? || (self.has_others(way) && self.attempt(way, true)?) {
                self.lines.push(format!("way: {}", way.describe()));
                self.record.wished = Some(request).filter(|_| !self.record.rules.is_empty());
                return self.note();
            }
            self.lines.push(format!("the driver refuses: {}", way.describe()));
        }
        let (interface, driver) = (self.request.interface.clone(), self.request.driver.clone());
        Err(SteerError::Refused { interface, driver })
    }

    /// Whether there are rules of earlier runs that this rule set does not include.
    fn has_others(&self, way: RuleSet) -> bool {
        let wanted = way.rules(self.request);
        self.record.rules.iter().any(|noted| !is_wanted(noted, &wanted))
    }

    /// Tries a rule set and returns whether the driver accepts it. If `cleared`, first
    /// removes the rules of earlier runs.
    fn attempt(&mut self, way: RuleSet, cleared: bool) -> Result<bool, SteerError> {
        let mut changes = Changes::default();
        let wanted = way.rules(self.request);
        let first = if cleared { self.take_away_others(&wanted, &mut changes) } else { Ok(()) };
        match first.map_err(Stop::Fault).and_then(|()| self.take(&wanted, &mut changes)) {
            Ok(()) => Ok(true),
            Err(stop) => {
                let interface = self.request.interface.clone();
                self.undo(changes)
                    .map_err(|fault| SteerError::HalfWay { interface, fault: Box::new(fault) })?;
                match stop {
                    Stop::Refused => Ok(false),
                    Stop::Fault(fault) => Err(fault),
                }
            }
        }
    }

    fn take(&mut self, wanted: &[Wanted], changes: &mut Changes) -> Result<(), Stop> {
        let mut told = Vec::new();
        // The location of the least specific rule: the others must precede it.
        let mut below = None;
        for one in wanted {
            let there = self.rules()?;
            let found = there.iter().find(|rule| does(rule, one)).copied();
            let location = match found {
                Some(rule) => {
                    told.push(format!(
                        "is there: rule {}, {} to queue {}",
                        rule.location, one.matches, one.queue
                    ));
                    rule.location
                }
                None => {
                    let location = self.add(one, below, changes)?;
                    told.push(format!("added: rule {location}, {} to queue {}", one.matches, one.queue));
                    location
                }
            };
            below = below.or(Some(location)).filter(|_| wanted.len() > 1);
        }
        self.lines.extend(told);
        self.take_away_others(wanted, changes)?;
        Ok(())
    }

    fn add(&mut self, one: &Wanted, below: Option<u32>, changes: &mut Changes) -> Result<u32, Stop> {
        let same = self.record.rules.iter().copied().find(|noted| noted.matches == one.matches);
        if let Some(old) = same {
            self.take_away(old)?;
            changes.removed.push(old);
        }
        let noted = self.insert(one, below)?;
        changes.added.push(noted);
        let there = self.rules()?;
        // The driver inserted another rule than requested.
        if !there.iter().any(|rule| noted.is(rule)) {
            return Err(Stop::Refused);
        }
        Ok(noted.location.unwrap_or_default())
    }

    /// Records a rule, inserts it, and records its location.
    fn insert(&mut self, one: &Wanted, below: Option<u32>) -> Result<Noted, Stop> {
        let name = &self.request.interface;
        let room = self.driver.room().map_err(|e| SteerError::kernel(name, "read the room for rules", e))?;
        let place = place(room, &self.rules()?, below);
        let location = place.map_err(|()| SteerError::Full { interface: name.clone() })?;
        let mut noted = Noted { matches: one.matches, queue: one.queue, location };
        self.record.rules.push(noted);
        self.note()?;
        match self.driver.insert(one.matches, one.queue, location) {
            Ok(location) => {
                noted.location = Some(location);
                self.record.rules.pop();
                self.record.rules.push(noted);
                self.note()?;
                Ok(noted)
            }
            Err(error) => {
                self.record.rules.pop();
                self.note()?;
                let interface = self.request.interface.clone();
                Err(match error {
                    error if refuses(&error) => Stop::Refused,
                    error if is_full(&error) => SteerError::Full { interface }.into(),
                    error => SteerError::kernel(&interface, format!("add a rule for {}", one.matches), error)
                        .into(),
                })
            }
        }
    }

    /// Removes rules of earlier runs that are not wanted any more.
    fn take_away_others(&mut self, wanted: &[Wanted], changes: &mut Changes) -> Result<(), SteerError> {
        let others: Vec<Noted> =
            self.record.rules.iter().copied().filter(|noted| !is_wanted(noted, wanted)).collect();
        for noted in others {
            self.take_away(noted)?;
            changes.removed.push(noted);
            self.lines
                .push(format!("taken away, from an earlier run: {} to queue {}", noted.matches, noted.queue));
        }
        Ok(())
    }

    /// Removes a rule from the NIC, then from the record; only if it is still the recorded
    /// one.
    fn take_away(&mut self, noted: Noted) -> Result<(), SteerError> {
        if let Some(rule) = self.rules()?.iter().find(|rule| noted.is(rule)) {
            let what = || format!("take rule {} away", rule.location);
            self.driver
                .remove(rule.location)
                .map_err(|e| SteerError::kernel(&self.request.interface, what(), e))?;
        }
        self.record.rules.retain(|one| *one != noted);
        self.note()
    }

    fn undo(&mut self, changes: Changes) -> Result<(), SteerError> {
        for noted in changes.added {
            self.take_away_at(noted)?;
        }
        changes.removed.into_iter().try_for_each(|old| self.put_back(old))
    }

    /// Restores a rule of an earlier run at its old location, or where the driver chooses.
    fn put_back(&mut self, old: Noted) -> Result<(), SteerError> {
        let name = &self.request.interface;
        let what = "put a rule of an earlier run back";
        let room = self.driver.room().map_err(|e| SteerError::kernel(name, what, e))?;
        let place = if room.driver_chooses { None } else { old.location };
        self.record.rules.push(Noted { location: place, ..old });
        self.note()?;
        let back = self.driver.insert(old.matches, old.queue, place);
        let location = back.map_err(|e| SteerError::kernel(&self.request.interface, what, e))?;
        self.record.rules.pop();
        self.record.rules.push(Noted { location: Some(location), ..old });
        self.note()
    }

    /// As [`Self::take_away`], for a rule of this run, which the driver may have changed.
    /// The location was free before, so the rule there is from this run.
    fn take_away_at(&mut self, noted: Noted) -> Result<(), SteerError> {
        let there = self.rules()?;
        if let Some(rule) = there.iter().find(|rule| Some(rule.location) == noted.location) {
            let name = &self.request.interface;
            self.driver.remove(rule.location).map_err(|e| SteerError::kernel(name, "take a rule away", e))?;
        }
        self.record.rules.retain(|one| *one != noted);
        self.note()
    }

    fn rules(&self) -> Result<Vec<FlowRule>, SteerError> {
        self.driver.rules().map_err(|e| SteerError::kernel(&self.request.interface, "read the rules", e))
    }

    fn note(&self) -> Result<(), SteerError> {
        self.journal.store(&self.record)
    }
}

fn is_wanted(noted: &Noted, wanted: &[Wanted]) -> bool {
    wanted.iter().any(|one| one.matches == noted.matches && one.queue == noted.queue)
}

/// The location of the next rule: the last free one, before `below` if given; `None` if the
/// driver chooses. An error if there is none.
fn place(room: FlowRoom, there: &[FlowRule], below: Option<u32>) -> Result<Option<u32>, ()> {
    if room.driver_chooses {
        return Ok(None);
    }
    // A driver that does not report the number has at least some.
    let places = if room.places == 0 { 16 } else { room.places };
    let end = below.map_or(places, |below| below.min(places));
    let is_free = |place: &u32| there.iter().all(|rule| rule.location != *place);
    (0..end).rev().find(is_free).map(Some).ok_or(())
}
