//! `xblade check`: checks the requirements of xblade and the tuning of this machine. Prints
//! one line each, with a remedy if something is missing.

mod interface;
mod machine;
mod service;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use crate::config::{Check, CoreList, Demands, Export, Idle, Serve};
use crate::control::replaced_in;
use crate::link::{self, Facts, NicSetting};
use crate::text::printable;
use crate::tune::{self, HUGE_PAGES, Machine, Mark, Scope};

use super::{interface::names, plan, rates, segments};
use crate::wire::vlan::Vlans;

/// One line of the output.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    /// As it should be.
    Ok(String),
    /// It works, but could be better.
    Hint(String),
    /// It may be wrong, depending on the intention.
    Warn(String),
    /// It must change before xblade can serve.
    Fix(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match self {
            Self::Ok(text) => ("OK", text),
            Self::Hint(text) => ("HINT", text),
            Self::Warn(text) => ("WARN", text),
            Self::Fix(text) => ("FIX", text),
        };
        write!(f, "{word:<5} {}", printable(text))
    }
}

/// Checks this machine and prints the lines. Returns whether xblade can serve here.
pub fn check(options: &Check) -> bool {
    let mut lines = machine::lines(0);
    let names = if options.interfaces.is_empty() { candidates() } else { options.interfaces.clone() };
    if names.is_empty() {
        lines.push(Line::Fix("no Ethernet interface is up: bring one up with `ip link set NAME up`".into()));
    }
    lines.extend(tuning(&names, &Serve::default()));
    print(&lines)
}

/// The same for the configuration in a valid file: compares the machine with its demands,
/// and lists what the service's user may not open.
pub fn check_for(serve: &Serve, file: &Path) -> bool {
    // Errors in the names were reported with the diagnostics of the file.
    let names = names(&serve.interfaces).unwrap_or_default();
    let mut lines = machine::lines(serve.exports.len());
    lines.extend(service::lines(serve, file));
    lines.extend(replaced(serve));
    lines.extend(rates::remarks(serve).into_iter().map(Line::Warn));
    lines.extend(tuning(&names, serve));
    print(&lines)
}

/// Exports of the xblade that runs with this configuration whose paths lead to other files
/// now.
fn replaced(serve: &Serve) -> Vec<Line> {
    let Some(control) = &serve.service.control else { return Vec::new() };
    let tell = |(address, path): (String, String)| {
        Line::Warn(format!(
            "{address}: the xblade that runs serves another file than what is at {path} now, and a restart would take \
             that: its log says what to do"
        ))
    };
    replaced_in(control).into_iter().map(tell).collect()
}

/// The settings of the machine and of these interfaces.
fn tuning(names: &[String], serve: &Serve) -> Vec<Line> {
    let interfaces: Vec<_> = names.iter().map(|name| Facts::read(name)).collect();
    let known: Vec<&Facts> = interfaces.iter().flatten().filter(|facts| !facts.loopback).collect();
    let of = |facts: &Facts| Machine::of(&facts.name, facts.index);
    let machine = known.first().map_or_else(|| Machine::of("", 0), |facts| of(facts));
    let demands = demands(serve, &known, &machine);
    let tuned = |machine: &Machine, scope| tune::plan(&demands, machine, scope);
    let mut found = tuned(&machine, Scope::Machine);
    let mut lines: Vec<Line> = found.iter().filter_map(of_setting).collect();
    for facts in &interfaces {
        lines.extend(interface::lines(serve, facts));
        if let Some(facts) = facts.as_ref().ok().filter(|facts| !facts.loopback) {
            let settings = tuned(&of(facts), Scope::Interface);
            lines.extend(settings.iter().filter_map(of_setting));
            lines.extend(small_ring(&facts.name, demands.ring));
            lines.extend(vlans(serve, facts));
            found.extend(settings);
        }
    }
    if found.iter().any(|line| line.mark == Mark::Want) {
        lines.push(Line::Hint(format!("what is wanted here is set by: {}", remedy(&demands, &known))));
    }
    lines
}

/// The demands of a configuration on a machine with these interfaces.
fn demands(serve: &Serve, interfaces: &[&Facts], machine: &Machine) -> Demands {
    let workers = plan::workers(serve, interfaces.iter().map(|facts| facts.queues));
    let umem =
        interfaces.iter().filter_map(|facts| plan::umem_bytes(serve, facts, workers).ok()).sum::<u64>();
    let page = machine.huge_page_bytes().filter(|_| serve.rings.huge_pages);
    Demands {
        cores: CoreList(serve.cores.clone()),
        spin: serve.idle == Idle::Spin,
        busy_poll: serve.rings.busy_poll.is_some(),
        ring: u32::from(serve.initiators).saturating_mul(serve.buffer_count.into()),
        huge_pages: page.map(|page| umem.div_ceil(page)),
        vlans: serve.exports.iter().any(|export| export.vlans != Vlans::Untagged),
        ..Demands::default()
    }
}

/// The command that sets what these interfaces are to have.
fn remedy(demands: &Demands, interfaces: &[&Facts]) -> String {
    let names = interfaces.iter().map(|facts| format!(" -i {}", facts.name));
    let names = if interfaces.is_empty() { " -i IF".to_owned() } else { names.collect() };
    let options = [
        (!demands.cores.0.is_empty()).then(|| format!(" --cores {}", demands.cores)),
        demands.spin.then(|| " --spin".to_owned()),
        demands.busy_poll.then(|| " --busy-poll".to_owned()),
        (demands.ring > Demands::default().ring).then(|| format!(" --ring {}", demands.ring)),
        demands.huge_pages.map(|pages| format!(" --huge-pages {pages}")),
        demands.vlans.then(|| " --vlans".to_owned()),
    ];
    format!("xblade tune --apply{names}{}", options.into_iter().flatten().collect::<String>())
}

/// The line for a setting; `None` if this machine does not have it.
fn of_setting(line: &tune::Line) -> Option<Line> {
    let text = format!("{} {}", line.name, line.text);
    match line.mark {
        Mark::Ok => Some(Line::Ok(text)),
        Mark::Want if line.name == HUGE_PAGES => Some(Line::Fix(text)),
        Mark::Want | Mark::Hint | Mark::Boot => Some(Line::Hint(text)),
        Mark::Skip | Mark::Set | Mark::Back | Mark::Fail => None,
    }
}

/// A NIC whose largest ring cannot hold the requests of all hosts.
fn small_ring(name: &str, requests: u32) -> Option<Line> {
    let most = NicSetting::RX_RING_MAX.read(name).ok().filter(|most| (1..requests).contains(most))?;
    Some(Line::Hint(format!(
        "{name}: receive ring of {most} entries is all that the NIC has, and {requests} requests may come at once: \
         lower --buffer-count or --initiators"
    )))
}

/// VLANs that the exports on an interface cannot tell apart, or whose frames may not arrive.
/// What is refused was reported with the diagnostics of the file.
fn vlans(serve: &Serve, facts: &Facts) -> Vec<Line> {
    let there = link::all().unwrap_or_default();
    let here = |export: &&Export| segments::is_on(export, facts, &there);
    let found: Vec<&Vlans> = serve.exports.iter().filter(here).map(|export| &export.vlans).collect();
    let vlans = if serve.exports.is_empty() { &[&Vlans::Untagged][..] } else { &found };
    segments::remarks(facts, vlans).into_iter().map(|problem| Line::Warn(problem.to_string())).collect()
}

/// Prints the lines. Returns whether none of them is a `Fix`.
fn print(lines: &[Line]) -> bool {
    for line in lines {
        println!("{line}");
    }
    !lines.iter().any(|line| matches!(line, Line::Fix(_)))
}

/// Ethernet interfaces that are up.
fn candidates() -> Vec<String> {
    let all = link::all().unwrap_or_default();
    all.into_iter()
        .map(|one| one.name)
        .filter(|name| Facts::read(name).is_ok_and(|facts| !facts.loopback && facts.up))
        .collect()
}
