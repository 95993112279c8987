//! `xblade trace`: one line per request. Column widths are fixed at the usual width of
//! their contents, because later lines are not known yet.

use super::micros;
use crate::control::trace::{Line, TraceEvent};
use crate::text::printable;

/// The heading above the columns of [`line`].
pub const HEADING: &str = "TIME              INTERFACE  LANE  HOST               EXPORT  COMMAND          LBA  SECTORS  \
                           TAG       SERVICE-US  STORE-US  OUTCOME";

/// Formats one line.
pub fn line(line: &Line) -> String {
    let event = match line {
        Line::Told(event) => event,
        Line::Missed { missed } => {
            return format!(
                "{missed} more were not told, for they came faster than they are read: give a greater --every"
            );
        }
    };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let line = format!(
        "{:<16}  {:<9}  {:>4}  {:<17}  {:<6}  {:<8}  {:>10}  {:>7}  {:<8}  {:>10}  {:>8}  {}",
        time_of_day(&event.time),
        event.interface,
        event.lane,
        or_none(event.host.clone()),
        or_none(event.address.clone()),
        or_none(event.command.clone()),
        or_none(event.lba.map(|lba| lba.to_string())),
        or_none(event.sectors.map(|sectors| sectors.to_string())),
        or_none(event.tag.map(|tag| format!("{tag:08x}"))),
        or_none(event.service_ns.map(micros)),
        or_none(event.store_ns.map(micros)),
        outcome(event),
    );
    printable(&line).into_owned()
}

/// The time of day in microseconds, from a timestamp in nanoseconds.
fn time_of_day(time: &str) -> String {
    let of_day = time.split_once('T').map_or(time, |(_, of_day)| of_day);
    of_day.get(..15).map_or_else(|| of_day.to_owned(), |of_day| format!("{of_day}Z"))
}

fn outcome(event: &TraceEvent) -> String {
    match (&event.frame, &event.outcome, &event.code) {
        (Some(frame), ..) => format!("dropped: {}, {} bytes", frame.dropped, frame.length),
        (None, Some(outcome), Some(code)) => format!("{outcome} {code}"),
        (None, outcome, _) => outcome.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::trace::DroppedFrame;

    #[test]
    fn a_line_stands_under_its_heading() {
        let read = TraceEvent {
            time: "2026-01-02T03:04:05.000678901Z".to_owned(),
            interface: "eth1".to_owned(),
            lane: 1,
            host: Some("52:54:00:00:00:01".to_owned()),
            address: Some("0.1".to_owned()),
            command: Some("read".to_owned()),
            lba: Some(2048),
            sectors: Some(16),
            tag: Some(0x2a),
            outcome: Some("ok".to_owned()),
            service_ns: Some(81_250),
            store_ns: Some(70_000),
            ..TraceEvent::default()
        };
        let dropped = TraceEvent {
            time: read.time.clone(),
            interface: "eth\u{1b}".to_owned(),
            frame: Some(DroppedFrame { dropped: "too-short".to_owned(), length: 17, bytes: String::new() }),
            ..TraceEvent::default()
        };
        let failed = TraceEvent {
            outcome: Some("error".to_owned()),
            code: Some("ata-0x10".to_owned()),
            ..read.clone()
        };
        let of = |event| line(&Line::Told(Box::new(event)));
        assert_eq!(
            [HEADING.to_owned(), of(read), of(failed), of(dropped)].join("\n"),
            "\
TIME              INTERFACE  LANE  HOST               EXPORT  COMMAND          LBA  SECTORS  TAG       SERVICE-US  STORE-US  OUTCOME
03:04:05.000678Z  eth1          1  52:54:00:00:00:01  0.1     read            2048       16  0000002a        81.2      70.0  ok
03:04:05.000678Z  eth1          1  52:54:00:00:00:01  0.1     read            2048       16  0000002a        81.2      70.0  error ata-0x10
03:04:05.000678Z  eth\\u{1b}          0  -                  -       -                  -        -  -                  -         -  dropped: too-short, 17 bytes"
        );
        let missed = serde_json::from_str(r#"{"missed": 3}"#).map(|missed| line(&missed));
        assert!(missed.as_ref().is_ok_and(|text| text.starts_with("3 more were not told")), "{missed:?}");
    }
}
