//! `xblade check`: checks the requirements of xblade and the tuning of this machine. Prints
//! one line each, with a remedy if something is missing.

mod cores;
mod interface;
mod machine;
mod nic;
mod service;
#[cfg(test)]
mod tests;
mod tree;
mod tuning;

use std::fmt;
use std::path::Path;

use crate::config::{Check, Idle, Serve};
use crate::control::replaced_in;
use crate::link::{self, Facts};
use tree::Tree;

use super::{interface::names, plan};

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
        match self {
            Self::Ok(text) => write!(f, "OK    {text}"),
            Self::Hint(text) => write!(f, "HINT  {text}"),
            Self::Warn(text) => write!(f, "WARN  {text}"),
            Self::Fix(text) => write!(f, "FIX   {text}"),
        }
    }
}

/// The demands that the settings of a machine are compared with.
struct Wanted {
    /// The workers' cores; empty if unknown.
    cores: Vec<usize>,
    /// The workers spin and never sleep.
    spins: bool,
    /// They busy-poll the NIC.
    polls: bool,
    /// The most requests in flight at once.
    requests: u64,
    /// UMEM on huge pages, in bytes.
    huge_bytes: u64,
}

impl Wanted {
    /// The demands of a configuration.
    fn by<'a, I: Iterator<Item = &'a Facts>>(serve: &Serve, interfaces: impl Fn() -> I) -> Self {
        let workers = plan::workers(serve, interfaces().map(|facts| facts.queues));
        let huge_bytes = interfaces().filter_map(|facts| plan::umem_bytes(serve, facts, workers).ok()).sum();
        Self {
            cores: serve.cores.clone(),
            spins: serve.idle == Idle::Spin,
            polls: serve.rings.busy_poll.is_some(),
            requests: u64::from(serve.initiators) * u64::from(serve.buffer_count),
            huge_bytes: if serve.rings.huge_pages { huge_bytes } else { 0 },
        }
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
    lines.extend(tuning(&names, serve));
    print(&lines)
}

/// Exports of the xblade that runs with this configuration whose paths lead to other files
/// now.
fn replaced(serve: &Serve) -> Vec<Line> {
    let Some(control) = &serve.service.control.0 else { return Vec::new() };
    let tell = |(address, path): (String, String)| {
        Line::Warn(format!(
            "{address}: the xblade that runs serves another file than what is at {path} now, and a restart would take \
             that: its log says what to do"
        ))
    };
    replaced_in(control).into_iter().map(tell).collect()
}

/// The tuning of the machine and of these interfaces.
fn tuning(names: &[String], serve: &Serve) -> Vec<Line> {
    let interfaces: Vec<_> = names.iter().map(|name| Facts::read(name)).collect();
    let known = || interfaces.iter().filter_map(|facts| facts.as_ref().ok());
    let (tree, wanted) = (Tree::of_this_machine(), Wanted::by(serve, known));
    let mut lines = tuning::lines(&tree, &wanted);
    for facts in &interfaces {
        lines.extend(interface::lines(facts));
        if let Some(facts) = facts.as_ref().ok().filter(|facts| !facts.loopback) {
            lines.extend(nic::lines(&tree, &wanted, facts, &link::Nic::read(&facts.name)));
        }
    }
    lines
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
