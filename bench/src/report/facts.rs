//! The facts about an outcome besides its times.

use crate::conditions::condition;
use crate::outcome::{Condition, Outcome};

use super::table::{bytes, grouped};

/// Names and values, the most important first. Conditions that the report has shown
/// already are left out.
pub fn facts(outcome: &Outcome, told: &[Condition]) -> Vec<Condition> {
    let s = &outcome.setup;
    let mut facts = vec![
        ("load", load(outcome)),
        ("exports", s.exports.join(", ")),
        ("port", format!("{}, {} thread{}", s.port, s.threads, if s.threads == 1 { "" } else { "s" })),
        ("started", started(outcome)),
        ("sent for", format!("{} s{}", grouped(outcome.seconds, 2), warm_up(outcome))),
        ("generator idle", format!("{:.0} %", outcome.idle * 100.0)),
        ("trouble", trouble(outcome)),
    ];
    if let Some(error) = &outcome.trouble.last_error {
        facts.push(("last error", error.clone()));
    }
    if let Some((user, system)) = outcome.cost_per_request() {
        let mut cost = format!(
            "{} ns of CPU a request ({} in its program, {} in the kernel)",
            grouped(user + system, 0),
            grouped(user, 0),
            grouped(system, 0)
        );
        let busy = outcome.cost.and_then(|cost| cost.core_busy);
        cost += &busy.map_or(String::new(), |busy| format!("; its core {:.0} % busy", busy * 100.0));
        facts.push(("target", cost));
    }
    if let Some(v) = &outcome.verify {
        facts.push(("checked", format!("{} sectors, {} not known; {}", v.checked, v.unchecked, v.found())));
        facts.extend(v.examples.iter().map(|example| ("fault", example.clone())));
    }
    facts.push(("made by", format!("xblade-bench {}, seed {}", outcome.version, s.seed)));
    facts.retain(|(_, value)| !value.is_empty());
    let more = outcome.conditions.iter().filter(|condition| !told.contains(condition));
    facts.into_iter().map(|(name, value)| condition(name, value)).chain(more.cloned()).collect()
}

fn load(outcome: &Outcome) -> String {
    let s = &outcome.setup;
    let size = bytes(u64::from(s.sectors) * 512);
    let loops = match s.rate {
        Some(rate) => {
            let arrivals = s.arrivals.as_ref().map_or(String::new(), |how| format!(" ({how})"));
            format!("open loop, {} a second{arrivals}, at most {} in flight", grouped(rate, 0), s.window)
        }
        None => format!("closed loop, {} in flight", s.window),
    };
    format!("{} {} of {size}, {loops}", s.pattern, s.op)
}

fn warm_up(outcome: &Outcome) -> String {
    match outcome.setup.warm_up_s {
        seconds if seconds > 0.0 => format!(", after {} s that did not count", grouped(seconds, 2)),
        _ => String::new(),
    }
}

/// When it began, if known.
pub fn started(outcome: &Outcome) -> String {
    let at = i64::try_from(outcome.started_unix_ms).ok().filter(|ms| *ms > 0);
    let at = at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or(String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The counts that are not zero.
fn trouble(outcome: &Outcome) -> String {
    let t = &outcome.trouble;
    let all = [
        (t.retransmits, "requests sent again"),
        (t.late, "late replies"),
        (t.duplicates, "second replies"),
        (t.unexpected, "replies to nothing"),
        (t.dropped, "frames dropped on this side"),
        (t.errors, "ATA errors"),
        (t.refused, "AoE errors"),
        (t.lost, "requests never answered"),
        (t.unsent, "requests due and never sent"),
    ];
    let some = all.iter().filter(|(n, _)| *n > 0);
    let some: Vec<String> = some.map(|(n, what)| format!("{} {what}", grouped(*n as f64, 0))).collect();
    if some.is_empty() { "none".to_owned() } else { some.join(", ") }
}
