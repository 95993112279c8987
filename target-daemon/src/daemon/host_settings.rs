//! Logs what hosts change over the wire, and try to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{info, warn};

use super::worker_pool::WorkerPool;
use crate::config;
use crate::shelf::{HostSetting, HostSettings};
use crate::wire::aoe::Address;
use crate::worker::{ChangeOutcome, HostChange};

/// Maximum number of reports of workers that wait to be logged.
const WAITING_MAX: usize = 256;

/// Maximum number of lines in [`WINDOW`], for all exports.
const LINES_MAX: u32 = 60;

/// What has no line of its own is logged as a number after this time.
const WINDOW: Duration = Duration::from_mins(1);

/// Maximum number of exports that the line with the numbers names.
const NAMED_MAX: usize = 8;

/// The log of what hosts change.
#[derive(Debug)]
pub struct HostLog {
    reports: (Sender<HostChange>, Receiver<HostChange>),
    /// The requests to each export that have a line, or are included in a number.
    logged: BTreeMap<Address, u64>,
    /// When the first of at most [`LINES_MAX`] lines was logged, and their number.
    window: Option<Instant>,
    lines: u32,
    /// Since when others wait for a number.
    since: Option<Instant>,
}

impl HostLog {
    /// An empty log.
    pub fn new() -> Self {
        Self { reports: bounded(WAITING_MAX), logged: BTreeMap::new(), window: None, lines: 0, since: None }
    }

    /// Where workers send their reports.
    pub fn sender(&self) -> Sender<HostChange> {
        self.reports.0.clone()
    }

    /// Logs what workers have reported. `counts` are the numbers of all requests; `ends`:
    /// there is no later time to log them.
    pub fn follow(&mut self, counts: impl Iterator<Item = (Address, u64)>, now: Instant, ends: bool) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if self.window.is_some_and(is_over) {
            (self.window, self.lines) = (None, 0);
        }
        for change in self.reports.1.try_iter().take(WAITING_MAX) {
            if self.lines < LINES_MAX {
                self.window.get_or_insert(now);
                self.lines += 1;
                *self.logged.entry(change.address).or_default() += 1;
                log_one(&change);
            }
        }
        let before = std::mem::take(&mut self.logged);
        let mut more = Vec::new();
        for (address, count) in counts {
            // An export that was opened again counts from 0.
            let logged = before.get(&address).map_or(0, |logged| *logged.min(&count));
            self.logged.insert(address, logged);
            if count > logged {
                more.push((address, count));
            }
        }
        if more.is_empty() {
            self.since = None;
        } else if is_over(*self.since.get_or_insert(now)) || ends {
            warn!("{}", self.summary(&more));
            self.logged.extend(more);
            self.since = None;
        }
    }

    /// The line for the requests that have none. `counts`: of all requests to their exports.
    fn summary(&self, counts: &[(Address, u64)]) -> String {
        let one = |(address, count): &(Address, u64)| {
            format!("{} to {address}", count - self.logged.get(address).unwrap_or(&0))
        };
        let mut named: Vec<String> = counts.iter().take(NAMED_MAX).map(one).collect();
        if let Some(others) = counts.len().checked_sub(NAMED_MAX).filter(|others| *others > 0) {
            named.push(format!("and to {others} other export(s)"));
        }
        format!(
            "more requests of hosts to change config string, mask list or reservation: {}: `xblade status` shows the \
             last of each",
            named.join(", ")
        )
    }
}

fn log_one(change: &HostChange) {
    let HostChange { address, source, setting, outcome, rule, old, new } = change;
    let name = config::host_name(*source).map_or_else(String::new, |name| format!(" ({name})"));
    let setting = setting.noun();
    match outcome {
        ChangeOutcome::Changed => info!("{address}: {source}{name} changed the {setting}: {old} -> {new}"),
        ChangeOutcome::Refused => {
            let why = match rule {
                HostSettings::Refuse => ": with host-settings = \"refuse\", hosts set nothing",
                HostSettings::Allow | HostSettings::Volatile => "",
            };
            warn!(
                "{address}: {source}{name} was refused a change of the {setting}: {new}; in force: {old}{why}"
            );
        }
    }
}

/// Logs what is in force on an export that hosts cannot undo, or only until it is opened
/// again. `lengths`: of the config string, and of the lists.
pub fn warn_of_old(address: Address, settings: HostSettings, lengths: [usize; HostSetting::ALL.len()]) {
    let word = match settings {
        HostSettings::Allow => return,
        HostSettings::Volatile => "volatile",
        HostSettings::Refuse => "refuse",
    };
    for (setting, length) in HostSetting::ALL.into_iter().zip(lengths).filter(|(_, length)| *length > 0) {
        let (noun, command) = (setting.noun(), setting.command());
        let mut text = format!("{address}: the {noun} that hosts have set stays in force");
        if setting != HostSetting::Config {
            let _ = write!(text, ", for {length} host(s) only");
        }
        warn!("{text}, with host-settings = \"{word}\": `xblade {command} --clear {address}` removes it");
    }
}

impl WorkerPool {
    /// As [`warn_of_old`], for an export whose rules have changed.
    pub fn warn_of_old(&self, address: Address) {
        let entry = self.registry.get(address);
        let snapshot = entry.and_then(|entry| Some((entry, self.snapshot_of(entry.owner)?)));
        if let Some((entry, now)) = snapshot {
            let lengths = [now.config.len(), now.mask.len(), now.reservation.len()];
            warn_of_old(address, entry.settings.host_settings, lengths);
        }
    }

    /// Logs what hosts have changed since the last call.
    pub fn log_host_changes(&mut self, ends: bool) {
        self.host_log.follow(self.directory.host_changes(), Instant::now(), ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_line_is_logged_as_a_number_once_a_minute() {
        let (mut log, at, now) = (HostLog::new(), Address { shelf: 0, slot: 1 }, Instant::now());
        let mut follow = |count, later| {
            log.follow(std::iter::once((at, count)), now + later, false);
            (log.since.is_some(), log.logged.get(&at).copied().unwrap())
        };
        assert_eq!(follow(0, Duration::ZERO), (false, 0));
        assert_eq!(follow(7, Duration::ZERO), (true, 0));
        assert_eq!(follow(9, WINDOW / 2), (true, 0));
        assert_eq!(follow(9, WINDOW), (false, 9));
        assert_eq!(follow(10, WINDOW), (true, 9));
        // Its export was opened again.
        assert_eq!(follow(1, WINDOW * 2), (false, 1));
    }

    /// A broadcast to thousands of exports, again and again.
    #[test]
    fn thousands_of_exports_do_not_flood_the_log() {
        let (mut log, now) = (HostLog::new(), Instant::now());
        let all = (0..5000).map(|n| Address { shelf: n / 250, slot: (n % 250) as u8 });
        let exports: Vec<_> = all.map(|address| (address, 6)).collect();
        let summary = log.summary(&exports);
        assert!(summary.len() < 300 && summary.contains("and to 4992 other export(s)"), "{summary}");
        log.follow(exports.iter().copied(), now, false);
        log.follow(exports.iter().copied(), now + WINDOW, false);
        assert!(log.since.is_none() && log.logged.values().all(|logged| *logged == 6));
        assert_eq!(log.logged.len(), 5000);
        log.follow(std::iter::empty(), now + WINDOW, false);
        assert!(log.logged.is_empty(), "of exports that are gone");
    }
}
