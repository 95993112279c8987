//! What `apply` would do.

use super::driver::{Driver, refuses};
use super::error::{STILL, SteerError};
use super::journal::{Journal, Noted, Record};
use super::rule_set::{RuleSet, SteerRequest, Wanted, catches, known, ways};
use crate::link::{FlowMatch, FlowRule, mac_text};

/// What there is before anything is done.
pub struct Before {
    /// The rules in the NIC.
    pub rules: Vec<FlowRule>,
    /// What was done by earlier runs.
    pub record: Record,
    /// Rules are on; `None` where the driver does not tell.
    pub is_on: Option<bool>,
}

/// Looks at all that decides what can be done; `None` where nothing has to be,
/// for there is one queue.
pub fn look(
    driver: &impl Driver,
    journal: &Journal,
    request: &SteerRequest,
) -> Result<Option<Before>, SteerError> {
    if request.queue_count < 2 {
        return Ok(None);
    }
    let record = journal.load()?;
    let rules = driver.rules().map_err(|error| {
        if refuses(&error) {
            SteerError::NoFilters { interface: request.interface.clone(), driver: request.driver.clone() }
        } else {
            SteerError::kernel(&request.interface, "read the rules", error)
        }
    })?;
    let foreign = rules.iter().filter(|rule| !record.rules.iter().any(|noted| noted.is(rule)));
    let welcome = |rule: &FlowRule| ways(request).into_iter().any(|way| is_among(rule, &way.rules(request)));
    if let Some(rule) = foreign.copied().find(|rule| catches(rule.matches, request) && !welcome(rule)) {
        return Err(SteerError::InTheWay { interface: request.interface.clone(), rule });
    }
    Ok(Some(Before { rules, record, is_on: driver.is_on().ok() }))
}

/// The rule set that an earlier run found for the same request, if all of it is still
/// there.
pub fn settled(before: &Before, request: &SteerRequest) -> Option<RuleSet> {
    let same =
        |(queues, hosts): &(Vec<u32>, Vec<[u8; 6]>)| *queues == request.queues && *hosts == request.hosts;
    if !before.record.wished.as_ref().is_some_and(same) {
        return None;
    }
    let is_whole = |way: &RuleSet| {
        let wanted = way.rules(request);
        let noted =
            |one: &Noted| wanted.iter().any(|rule| rule.matches == one.matches && rule.queue == one.queue);
        wanted.iter().all(|one| before.rules.iter().any(|rule| does(rule, one)))
            && before.record.rules.iter().all(noted)
    };
    ways(request).into_iter().find(is_whole)
}

/// Whether a rule of the NIC does what one of these is wanted for.
pub fn is_among(rule: &FlowRule, wanted: &[Wanted]) -> bool {
    wanted.iter().any(|one| does(rule, one))
}

/// Whether a rule of the NIC does what this one is wanted for.
pub fn does(rule: &FlowRule, wanted: &Wanted) -> bool {
    rule.matches == wanted.matches && rule.queue == Some(wanted.queue)
}

/// Where there is one queue.
pub fn one_queue(request: &SteerRequest) -> Vec<String> {
    vec![format!(
        "{} has one receive queue, where all frames come in: nothing to steer. {STILL}",
        request.interface
    )]
}

/// What `apply` would do, and why, in lines; changes nothing.
pub fn plan(
    driver: &impl Driver,
    journal: &Journal,
    request: &SteerRequest,
) -> Result<Vec<String>, SteerError> {
    let Some(before) = look(driver, journal, request)? else { return Ok(one_queue(request)) };
    let ways = ways(request);
    let mut lines = Vec::new();
    let done = settled(&before, request);
    let way = match (known(request), done) {
        (_, Some(way)) => way,
        (Some(Some(way)), None) => way,
        (Some(None), None) => {
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
    if done.is_none() {
        let rest: Vec<&str> =
            ways.iter().skip_while(|one| **one != way).skip(1).map(|way| way.describe()).collect();
        if !rest.is_empty() {
            lines.push(format!("if the driver refuses that: {}", rest.join("; or else: ")));
        }
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
    for noted in &before.record.rules {
        let there = before.rules.iter().find(|rule| noted.is(rule));
        if let Some(rule) = there.filter(|rule| !is_among(rule, &wanted)) {
            lines.push(format!("would take away rule {} of an earlier run: {}", rule.location, rule.matches));
        }
    }
    for one in &wanted {
        lines.push(match before.rules.iter().find(|rule| does(rule, one)) {
            Some(rule) => format!("is there: rule {}, {} to queue {}", rule.location, one.matches, one.queue),
            None => format!("would add: {} to queue {} ({})", one.matches, one.queue, as_ethtool(name, one)),
        });
    }
    lines
}

/// The same rule as a command.
fn as_ethtool(interface: &str, rule: &Wanted) -> String {
    let mut line = format!("ethtool -N {interface} flow-type ether");
    if let FlowMatch::Ether { destination, source, ether_type } = rule.matches {
        if let Some(mac) = source {
            line += &format!(" src {}", mac_text(mac));
        }
        if let Some(mac) = destination {
            line += &format!(" dst {}", mac_text(mac));
        }
        if let Some(kind) = ether_type {
            line += &format!(" proto {kind:#06x}");
        }
    }
    format!("{line} action {}", rule.queue)
}
