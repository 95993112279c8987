//! Computes what `apply` would do.

use super::error::{STILL, SteerError, refuses};
use super::record::{Fulfilled, Record};
use super::rule_set::{Rule, RuleSet, SteerRequest, catches, known, ways};
use crate::link::{FlowMatch, FlowRule, FlowRules, mac_text};
use crate::tune::Journal;

/// The state before any change.
pub struct Before {
    /// The rules in the NIC.
    pub rules: Vec<FlowRule>,
    /// The record of earlier runs.
    pub record: Record,
    /// Whether rules are enabled; `None` if the driver does not report it.
    pub is_on: Option<bool>,
}

/// Reads everything on which the decision depends.
pub fn look(
    driver: &impl FlowRules,
    journal: &Journal,
    request: &SteerRequest,
) -> Result<Before, SteerError> {
    let (interface, record) = (&request.interface, journal.load::<Record>()?);
    let rules = driver.rules().map_err(|error| {
        if refuses(&error) {
            SteerError::Machine(format!(
                "{interface}: driver `{}` has no rules for receive queues (ntuple filters), so nothing was changed. {STILL}",
                request.driver
            ))
        } else {
            SteerError::kernel(interface, "read the rules", error)
        }
    })?;
    let welcome =
        |rule| ways(request).into_iter().any(|way| way.rules(request).iter().any(|one| one.is(rule)));
    for rule in rules.iter().filter(|rule| !record.rules.iter().any(|noted| noted.is(rule))) {
        if let Some(matches) = rule.matches.filter(|matches| catches(*matches, request) && !welcome(rule)) {
            return Err(in_the_way(interface, rule, matches));
        }
    }
    Ok(Before { rules, record, is_on: driver.is_on().ok() })
}

/// A foreign rule catches the same frames.
fn in_the_way(interface: &str, rule: &FlowRule, matches: FlowMatch) -> SteerError {
    let goes = rule.queue.map_or("not to a queue".to_owned(), |queue| format!("to queue {queue}"));
    let location = rule.location;
    SteerError::Machine(format!(
        "{interface}: rule {location} ({matches}, {goes}) is not xblade's and catches frames of AoE; it was left alone, and nothing was changed: take it away with `ethtool -N {interface} delete {location}`, then run this again"
    ))
}

impl Before {
    /// The rule set that an earlier run applied for the same request, if it is still
    /// complete.
    pub fn settled(&self, request: &SteerRequest) -> Option<RuleSet> {
        let same = |done: &Fulfilled| done.queues == request.queues && done.hosts == request.hosts;
        let is_whole = |way: &RuleSet| {
            let wanted = way.rules(request);
            wanted.iter().all(|one| self.find(one).is_some())
                && self.record.rules.iter().all(|noted| wanted.contains(&noted.rule))
        };
        self.record.wished.as_ref().filter(|done| same(done))?;
        ways(request).into_iter().find(is_whole)
    }

    /// The rule of the NIC that fulfils this one.
    fn find(&self, one: &Rule) -> Option<&FlowRule> {
        self.rules.iter().find(|rule| one.is(rule))
    }
}

/// Describes what `apply` would do, and why, in lines. Changes nothing.
pub fn plan(
    driver: &impl FlowRules,
    journal: &Journal,
    request: &SteerRequest,
) -> Result<Vec<String>, SteerError> {
    let before = look(driver, journal, request)?;
    let ways = ways(request);
    let mut lines = Vec::new();
    let done = before.settled(request);
    let way = match (done, known(request)) {
        (Some(way), _) | (None, Some(Some(way))) => way,
        (None, Some(None)) => {
            let name = &request.driver;
            lines.push(format!(
                "driver {name} is known for rules by IP flow only, so --apply will most likely be refused. {STILL}"
            ));
            RuleSet::Type
        }
        (None, None) => ways.first().copied().unwrap_or(RuleSet::Type),
    };
    lines.push(format!("way: {}", way.describe()));
    lines.extend(steps(way, request, &before));
    let rest: Vec<&str> =
        ways.iter().skip_while(|one| **one != way).skip(1).map(|way| way.describe()).collect();
    if done.is_none() && !rest.is_empty() {
        lines.push(format!("if the driver refuses that: {}", rest.join("; or else: ")));
    }
    Ok(lines)
}

fn steps(way: RuleSet, request: &SteerRequest, before: &Before) -> Vec<String> {
    let name = &request.interface;
    let wanted = way.rules(request);
    let mut lines = Vec::new();
    if before.is_on == Some(false) {
        lines.push(format!("would switch rules on: ethtool -K {name} ntuple on"));
    }
    for noted in before.record.rules.iter().filter(|noted| !wanted.contains(&noted.rule)) {
        let there = before.rules.iter().find(|rule| noted.is(rule));
        lines.extend(there.map(|there| {
            format!("would take away rule {} of an earlier run: {}", there.location, noted.rule.matches)
        }));
    }
    lines.extend(wanted.iter().map(|one| match before.find(one) {
        Some(there) => format!("is there: rule {}, {one}", there.location),
        None => format!("would add: {one} ({})", as_ethtool(name, one)),
    }));
    lines
}

/// The same rule as an `ethtool` command.
fn as_ethtool(interface: &str, rule: &Rule) -> String {
    let fields = [
        rule.matches.source.map(|mac| format!(" src {}", mac_text(mac))),
        rule.matches.destination.map(|mac| format!(" dst {}", mac_text(mac))),
        rule.matches.ether_type.map(|kind| format!(" proto {kind:#06x}")),
    ];
    let fields: String = fields.into_iter().flatten().collect();
    format!("ethtool -N {interface} flow-type ether{fields} action {}", rule.queue)
}
