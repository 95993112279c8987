//! Changes that hosts make over the wire, and attempts at them: counted for each export,
//! and reported to the control thread, which logs them.
//!
//! A flood of them costs the worker nothing but the counting: it reports only the first
//! [`REPORTS_MAX`] of a minute, as plain values, and never waits for a reader.

use std::fmt::{self, Display, Formatter};

use crate::shelf::{HostSetting, HostSettings, State};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::wire::mask::{self, DIRECTIVE_LEN, Directive};
use crate::wire::{Body, query, reserve};

/// Maximum number of reports of an export in [`WINDOW_NS`].
const REPORTS_MAX: u8 = 5;

/// The time in which this many are reported.
const WINDOW_NS: u64 = 60_000_000_000;

/// Bytes of a config string in a report.
const TEXT_MAX: usize = 48;

/// Entries of a list in a report.
const LIST_MAX: usize = 4;

/// What became of a request to change something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChangeOutcome {
    /// It has changed the value.
    Changed,
    /// It was answered with an error, and has changed nothing.
    Refused,
}

impl ChangeOutcome {
    /// Both, in the order of their values.
    pub const ALL: [Self; 2] = [Self::Changed, Self::Refused];

    /// The name in documents and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Refused => "refused",
        }
    }
}

/// A change, or an attempt at one.
#[derive(Clone, Copy, Debug)]
pub struct HostChange {
    /// The export.
    pub address: Address,
    /// The host that sent the request.
    pub source: Mac,
    /// What it is about.
    pub setting: HostSetting,
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Whether hosts may change anything on this export.
    pub rule: HostSettings,
    /// The value before.
    pub old: Excerpt,
    /// The value after it; of a refused request, what it asked for.
    pub new: Excerpt,
}

/// The beginning of a value, with its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excerpt {
    /// A config string.
    Text([u8; TEXT_MAX], u16),
    /// A list of hosts.
    Hosts([Mac; LIST_MAX], u16),
    /// Directives for a list.
    Edits([[u8; DIRECTIVE_LEN]; LIST_MAX], u16),
}

impl Excerpt {
    /// The current value.
    pub(super) fn of(setting: HostSetting, state: &State) -> Self {
        match setting {
            HostSetting::Config => Self::text(state.config()),
            HostSetting::Mask => Self::hosts(state.mask().iter().copied()),
            HostSetting::Reservation => Self::hosts(state.reservation().iter().copied()),
        }
    }

    /// What a request asks for, if it asks for a change.
    pub(super) fn asked(body: &Body<'_>) -> Option<(HostSetting, Self)> {
        match body {
            Body::Query(query::Request::Set(string) | query::Request::ForceSet(string)) => {
                Some((HostSetting::Config, Self::text(string)))
            }
            Body::Mask(mask::Request::Edit(directives)) => {
                let (first, count) = beginning(directives.iter().copied(), [0; DIRECTIVE_LEN]);
                Some((HostSetting::Mask, Self::Edits(first, count)))
            }
            Body::Reserve(reserve::Request::Set(macs) | reserve::Request::ForceSet(macs)) => {
                Some((HostSetting::Reservation, Self::hosts(macs.iter())))
            }
            _ => None,
        }
    }

    fn text(string: &[u8]) -> Self {
        let (first, count) = beginning(string.iter().copied(), 0);
        Self::Text(first, count)
    }

    fn hosts(macs: impl Iterator<Item = Mac>) -> Self {
        let (first, count) = beginning(macs, Mac::default());
        Self::Hosts(first, count)
    }
}

/// The first values, and the number of all.
fn beginning<T: Copy, const N: usize>(values: impl Iterator<Item = T>, none: T) -> ([T; N], u16) {
    let (mut first, mut count) = ([none; N], 0);
    for value in values {
        if let Some(to) = first.get_mut(usize::from(count)) {
            *to = value;
        }
        count += 1;
    }
    (first, count)
}

impl Display for Excerpt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mac = |mac: &Mac| mac.to_string();
        match self {
            Self::Text(bytes, len) => {
                let shown = bytes.get(..usize::from(*len).min(TEXT_MAX)).unwrap_or(bytes);
                write!(f, "\"{}\"", shown.escape_ascii())?;
                if usize::from(*len) > TEXT_MAX { write!(f, "... ({len} bytes)") } else { Ok(()) }
            }
            Self::Hosts(_, 0) => f.write_str("none"),
            Self::Hosts(macs, count) => list(f, macs, *count, mac),
            Self::Edits(_, 0) => f.write_str("nothing"),
            Self::Edits(edits, count) => list(f, edits, *count, |edit| match Directive::parse(*edit) {
                Directive::Add(mac) => format!("+{mac}"),
                Directive::Delete(mac) => format!("-{mac}"),
                Directive::None => "nothing".to_owned(),
                Directive::Unknown(code) => format!("directive {code}"),
            }),
        }
    }
}

fn list<T>(f: &mut Formatter<'_>, first: &[T], count: u16, one: impl Fn(&T) -> String) -> fmt::Result {
    let shown: Vec<String> = first.iter().take(count.into()).map(one).collect();
    f.write_str(&shown.join(", "))?;
    if usize::from(count) > first.len() { write!(f, ", ... ({count} in all)") } else { Ok(()) }
}

/// Who made the last request of a kind, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastChange {
    /// The host; `None` for the operator.
    pub by: Option<Mac>,
    /// The worker's clock.
    pub at_ns: u64,
}

/// What is counted of one setting.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Changes {
    /// Requests of hosts, by [`ChangeOutcome`].
    pub counts: [u64; ChangeOutcome::ALL.len()],
    /// The last request, by [`ChangeOutcome`].
    pub last: [Option<LastChange>; ChangeOutcome::ALL.len()],
}

/// The changes of one export.
#[derive(Clone, Default, Debug)]
pub struct HostChanges {
    settings: [Changes; HostSetting::ALL.len()],
    window_ns: u64,
    reported: u8,
}

impl HostChanges {
    /// What is counted of this setting.
    pub fn of(&self, setting: HostSetting) -> Changes {
        self.settings.get(setting as usize).copied().unwrap_or_default()
    }

    /// Counts a request. Returns whether it is to be reported.
    pub(super) fn count(&mut self, change: &HostChange, now_ns: u64) -> bool {
        if let Some(of) = self.settings.get_mut(change.setting as usize) {
            let at = change.outcome as usize;
            of.counts.get_mut(at).into_iter().for_each(|count| *count += 1);
            of.last.get_mut(at).into_iter().for_each(|last| {
                *last = Some(LastChange { by: Some(change.source), at_ns: now_ns });
            });
        }
        if self.reported == 0 || now_ns.saturating_sub(self.window_ns) >= WINDOW_NS {
            (self.window_ns, self.reported) = (now_ns, 0);
        }
        self.reported += 1;
        let reports = self.reported <= REPORTS_MAX;
        self.reported = self.reported.min(REPORTS_MAX);
        reports
    }

    /// Records that the operator has cleared it.
    pub(super) fn cleared(&mut self, setting: HostSetting, now_ns: u64) {
        if let Some(Changes { last: [changed, _], .. }) = self.settings.get_mut(setting as usize) {
            *changed = Some(LastChange { by: None, at_ns: now_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn long_and_hostile_values_are_cut_and_escaped() {
        let hosts = |count: u8| Excerpt::hosts((1..=count).map(mac)).to_string();
        assert_eq!((hosts(0), hosts(2)), ("none".into(), "02:00:00:00:00:01, 02:00:00:00:00:02".into()));
        assert!(hosts(240).ends_with("02:00:00:00:00:04, ... (240 in all)"), "{}", hosts(240));
        assert_eq!(Excerpt::text(b"a\n[x] \x1b\"").to_string(), r#""a\n[x] \x1b\"""#);
        let long = Excerpt::text(&[b'\n'; 1024]).to_string();
        assert!(long.len() < 128 && long.ends_with("... (1024 bytes)"), "{long}");
        let edits = [[0, 1, 2, 0, 0, 0, 0, 1], [0, 2, 2, 0, 0, 0, 0, 2], [0, 9, 0, 0, 0, 0, 0, 0]];
        let (_, asked) = Excerpt::asked(&Body::Mask(mask::Request::Edit(&edits))).unwrap();
        assert_eq!(asked.to_string(), "+02:00:00:00:00:01, -02:00:00:00:00:02, directive 9");
    }

    #[test]
    fn a_flood_is_counted_whole_and_reported_in_part() {
        let change = HostChange {
            address: Address { shelf: 0, slot: 1 },
            source: mac(9),
            setting: HostSetting::Mask,
            outcome: ChangeOutcome::Refused,
            rule: HostSettings::Refuse,
            old: Excerpt::hosts(std::iter::empty()),
            new: Excerpt::hosts(std::iter::empty()),
        };
        let mut changes = HostChanges::default();
        let mut reported = |from: u64| (0..1000).filter(|n| changes.count(&change, from + n)).count();
        assert_eq!(reported(5), 5);
        assert_eq!(reported(WINDOW_NS / 2), 0);
        assert_eq!(reported(WINDOW_NS + 5), 5);
        let of = changes.of(HostSetting::Mask);
        assert_eq!(of.counts, [0, 3000]);
        assert_eq!(of.last, [None, Some(LastChange { by: Some(mac(9)), at_ns: WINDOW_NS + 1004 })]);
        assert_eq!(changes.of(HostSetting::Config), Changes::default());
    }
}
