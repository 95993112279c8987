//! Renders responses as text for people.

mod stats;
mod status;
mod table;
mod trace;

pub use stats::stats;
pub use status::status;
pub use trace::{HEADING as TRACE_HEADING, line as trace_line};

use super::ChangeReport;
use super::snapshot::{Export, Snapshot};
use crate::config::in_largest_unit;
use crate::text::printable;
use table::Table;

/// The result of a change.
pub fn changed(changed: &ChangeReport) -> String {
    if changed.lines.is_empty() {
        return "nothing had to change".to_owned();
    }
    changed.lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

/// All config strings.
pub fn config_strings(exports: &Snapshot) -> String {
    listed(exports, "CONFIG STRING", "no export has a config string", |export| {
        printable(&export.config_text).into_owned()
    })
}

/// All reservations.
pub fn reservations(exports: &Snapshot) -> String {
    listed(exports, "RESERVED BY", "nothing is reserved", |export| export.reservation.join(", "))
}

/// All mask lists.
pub fn masks(exports: &Snapshot) -> String {
    listed(exports, "ONLY FOR", "no export is masked", |export| export.mask.join(", "))
}

fn listed(exports: &Snapshot, heading: &'static str, none: &str, value: fn(&Export) -> String) -> String {
    let mut table = Table::new(["EXPORT", heading]);
    for export in exports.exports.iter().filter(|export| !value(export).is_empty()) {
        table.row([&export.address, &value(export)]);
    }
    if table.is_empty() { none.to_owned() } else { table.to_string() }
}

/// A size in the largest unit in which it is at least 1.
fn size(bytes: u64) -> String {
    in_largest_unit(bytes).unwrap_or_else(|| format!("{bytes} B"))
}

/// A duration in its two largest units.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Nanoseconds as microseconds.
fn micros(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_have_units() {
        let sizes = [(0, "0 B"), (512, "512 B"), (1 << 20, "1.0 MiB"), (3 << 39, "1.5 TiB")];
        for (bytes, words) in sizes {
            assert_eq!(size(bytes), words);
        }
        let durations = [
            (0, "0 s"),
            (61, "1 min 1 s"),
            (3_600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
            (86_400 * 400, "400 d 0 h"),
        ];
        for (seconds, words) in durations {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_act_on() {
        let line = ChangeReport::of("0.1 added: /srv/\u{1b}[2Jx".to_owned());
        assert_eq!(changed(&line), "0.1 added: /srv/\\u{1b}[2Jx");
        assert_eq!(changed(&ChangeReport::default()), "nothing had to change");
    }
}
