//! `xblade check`: what this machine has of what xblade needs, and how it is
//! tuned, one line each, with the remedy where something is missing.

mod cores;
mod interface;
mod machine;
mod nic;
mod service;
#[cfg(test)]
mod tests;
mod tree;
mod tuning;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::config::{Check, Idle, Serve};
use crate::link::{self, Facts};
use tree::Tree;

use super::{interface::fitting, plan};

/// One line of the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    /// As it should be.
    Ok(String),
    /// It works, and could be better.
    Hint(String),
    /// It may be wrong: that depends on what is meant.
    Warn(String),
    /// It has to change before xblade can serve.
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

/// What the settings of a machine are held against.
struct Wanted {
    /// The workers' cores; empty: not known.
    cores: Vec<usize>,
    /// The workers never sleep.
    spins: bool,
    /// They poll the NIC.
    polls: bool,
    /// Requests that may be on the way at once.
    requests: u64,
    /// Bytes of UMEM on huge pages.
    huge_bytes: u64,
}

impl Wanted {
    /// What a configuration wants.
    fn by(serve: &Serve, interfaces: &[Facts]) -> Self {
        let workers = plan::workers(serve, interfaces.iter().map(|facts| facts.queues));
        let umem = |facts: &Facts| plan::umem_bytes(serve, facts, workers).ok();
        let huge_bytes = interfaces.iter().filter_map(umem).sum();
        Self {
            cores: serve.cores.clone(),
            spins: serve.idle == Idle::Spin,
            polls: serve.rings.busy_poll.is_some(),
            requests: u64::from(serve.initiators) * u64::from(serve.buffer_count),
            huge_bytes: if serve.rings.huge_pages { huge_bytes } else { 0 },
        }
    }
}

/// Looks at this machine and prints what it finds; returns whether xblade can
/// serve here.
pub fn check(options: &Check) -> bool {
    let mut lines = machine::lines();
    let names = if options.interfaces.is_empty() { candidates() } else { options.interfaces.clone() };
    if names.is_empty() {
        lines.push(Line::Fix("no Ethernet interface is up: bring one up with `ip link set NAME up`".into()));
    }
    lines.extend(tuning(&names, &Serve::default(), &[]));
    print(&lines)
}

/// The same for the configuration in a file, which has no faults: held against
/// what it wants, and with what the user of the service may not open.
pub fn check_for(serve: &Serve, file: &Path) -> bool {
    let there = link::names().unwrap_or_default();
    let names = serve.interfaces.iter().filter_map(|wanted| fitting(wanted, &there).ok()).flatten();
    // Several patterns may fit one.
    let names: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().collect();
    let interfaces: Vec<Facts> = names.iter().filter_map(|name| Facts::read(name).ok()).collect();
    let mut lines = machine::lines();
    lines.extend(service::lines(serve, file));
    lines.extend(tuning(&names, serve, &interfaces));
    print(&lines)
}

/// How the machine and these interfaces are tuned for what is to be served on
/// `known` ones; none: on any.
fn tuning(names: &[String], serve: &Serve, known: &[Facts]) -> Vec<Line> {
    let (tree, wanted) = (Tree::of_this_machine(), Wanted::by(serve, known));
    let mut lines = tuning::lines(&tree, &wanted);
    for name in names {
        let facts = Facts::read(name);
        lines.extend(interface::lines(name, &facts));
        if let Some(facts) = facts.ok().filter(|facts| !facts.loopback) {
            lines.extend(nic::lines(&tree, &wanted, &facts, &link::Nic::read(name)));
        }
    }
    lines
}

/// Prints them; returns whether none of them has to change.
fn print(lines: &[Line]) -> bool {
    for line in lines {
        println!("{line}");
    }
    !lines.iter().any(|line| matches!(line, Line::Fix(_)))
}

/// Ethernet interfaces that are up.
fn candidates() -> Vec<String> {
    let names = link::names().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| Facts::read(name).is_ok_and(|facts| !facts.loopback && facts.up))
        .collect()
}
