//! Interfaces that match the configuration but appeared after the start. Serving them needs
//! privileges that were dropped at the start, so they are only logged: a restart disturbs
//! hosts, and possibly no host needs the new interface.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::interface::{self, Interface, Presence};
use crate::link::{self, Facts};

/// A new interface is logged after it has kept its name for this long: hotplug renames
/// interfaces, and some programs create interfaces only to move them to another namespace.
const SETTLED: Duration = Duration::from_secs(2);

/// The late interfaces of this network namespace.
#[derive(Debug, Default)]
pub struct LateInterfaces {
    /// All that match and are not served: at most one for each existing interface.
    late: Vec<Late>,
}

#[derive(Debug)]
struct Late {
    index: u32,
    name: String,
    /// What it matches: a pattern, or its name.
    wanted: String,
    since: Instant,
    told: bool,
}

impl LateInterfaces {
    /// Looks for changes among the existing interfaces.
    pub fn look(&mut self, wanted: &[String], served: &[Interface]) {
        let Ok(there) = link::all() else { return };
        // A served interface that was replaced under its name is logged by the control
        // thread.
        let is_ours = |index: u32, name: &str| {
            served.iter().any(|one| match one.presence {
                Presence::Here => one.facts.index == index,
                Presence::Gone | Presence::Replaced => one.facts.name == name,
            })
        };
        let late = there.into_iter().filter(|one| !is_ours(one.index, &one.name));
        let late = late.filter_map(|one| {
            let wanted = one.names().find_map(|name| fits(wanted, name))?.to_owned();
            // What is not Ethernet was never meant.
            let is_ethernet = Facts::read(&one.name).is_ok_and(|facts| !facts.loopback);
            let late = Late { index: one.index, wanted, name: one.name, since: Instant::now(), told: false };
            is_ethernet.then_some(late)
        });
        self.update(late.collect());
    }

    /// `there`: the interfaces that match and are not served now.
    fn update(&mut self, there: Vec<Late>) {
        let is = |late: &Late, one: &Late| late.index == one.index && late.name == one.name;
        self.late.retain(|late| {
            let stays = there.iter().any(|one| is(late, one));
            if !stays && late.told {
                info!("{}, which was not served, is gone", late.name);
            }
            stays
        });
        let new: Vec<Late> =
            there.into_iter().filter(|one| !self.late.iter().any(|late| is(late, one))).collect();
        self.late.extend(new);
    }

    /// Logs those that have stayed.
    pub fn tell(&mut self) {
        for late in self.late.iter_mut().filter(|late| late.is_due(Instant::now())) {
            late.told = true;
            late.warn();
        }
    }

    /// Those that were logged and still exist.
    pub fn names(&self) -> Vec<&str> {
        self.late.iter().filter(|late| late.told).map(|late| late.name.as_str()).collect()
    }
}

impl Late {
    fn is_due(&self, now: Instant) -> bool {
        !self.told && now.saturating_duration_since(self.since) >= SETTLED
    }

    fn warn(&self) {
        let Self { name, wanted, .. } = self;
        let fits = if name == wanted { "is to be served".to_owned() } else { format!("fits {wanted}") };
        match interface::usable(name) {
            Ok(_) => warn!(
                "{name} {fits}, but came after the start, so it is not served: to serve it, restart xblade (systemctl \
                 restart xblade); hosts wait for up to 180 s, and a restart takes a second or two"
            ),
            Err(why) => warn!(
                "{name} {fits}, but came after the start, so it is not served, and a restart would be refused: {why}. \
                 Correct that, or leave it out of the interfaces, then restart xblade (systemctl restart xblade)"
            ),
        }
    }
}

/// The name or pattern that an interface of this name matches.
fn fits<'a>(wanted: &'a [String], name: &str) -> Option<&'a str> {
    let fits = |one: &&String| {
        one.as_str() == name || glob::Pattern::new(one).is_ok_and(|pattern| pattern.matches(name))
    };
    wanted.iter().find(fits).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(rows: &[(u32, &str)], since: Instant) -> Vec<Late> {
        let late = |(index, name): &(u32, &str)| {
            let (name, wanted) = ((*name).to_owned(), "xbl*".to_owned());
            Late { index: *index, name, wanted, since, told: false }
        };
        rows.iter().map(late).collect()
    }

    fn due(late: &LateInterfaces, now: Instant) -> Vec<&str> {
        late.late.iter().filter(|one| one.is_due(now)).map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn names_and_patterns_are_told_apart() {
        let wanted = ["eth1".to_owned(), "stor*".to_owned(), "en[01]".to_owned()];
        for (name, pattern) in [("eth1", "eth1"), ("storage", "stor*"), ("en0", "en[01]")] {
            assert_eq!(fits(&wanted, name), Some(pattern));
        }
        for name in ["eth10", "eth", "xstor", "en2", ""] {
            assert_eq!(fits(&wanted, name), None, "{name}");
        }
    }

    #[test]
    fn one_that_changes_its_name_starts_over() {
        let (mut late, start) = (LateInterfaces::default(), Instant::now());
        late.update(there(&[(3, "xbl3"), (4, "xbl4")], start));
        assert!(due(&late, start + SETTLED / 2).is_empty());
        late.update(there(&[(3, "xbl9"), (4, "xbl4")], start + SETTLED / 2));
        assert_eq!(due(&late, start + SETTLED), ["xbl4"]);
        assert_eq!(due(&late, start + SETTLED * 2), ["xbl4", "xbl9"]);
    }

    #[test]
    fn each_is_logged_once_as_long_as_it_is_there() {
        let (mut late, start) = (LateInterfaces::default(), Instant::now());
        let later = start + SETTLED;
        late.update(there(&[(3, "xbl3")], start));
        late.late[0].told = true;
        late.update(there(&[(3, "xbl3")], later));
        assert!(due(&late, later + SETTLED).is_empty());
        assert_eq!(late.names(), ["xbl3"]);
        late.update(Vec::new());
        assert!(late.names().is_empty());
        late.update(there(&[(7, "xbl3")], later));
        assert_eq!(due(&late, later + SETTLED), ["xbl3"]);
    }

    #[test]
    fn what_is_not_ethernet_is_never_logged() {
        let mut late = LateInterfaces::default();
        late.look(&["lo".to_owned()], &[]);
        assert!(late.late.is_empty());
    }
}
