//! Tests the display on an in-memory terminal.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::control::snapshot::{Export, Interface, Worker};
use crate::control::{CallError, Client};
use crate::observe::{Distribution, ExportCounters, Operation};
use crate::top::batch;

/// One daemon, sampled every second.
struct Fake {
    seconds: u64,
    exports: u8,
}

impl Fake {
    fn sample(&mut self) -> Result<Snapshot, CallError> {
        self.seconds += 1;
        let exports = (1..=self.exports).map(|slot| export(slot, self.seconds));
        Ok(Snapshot {
            uptime_ns: (90_000 + self.seconds) * 1_000_000_000,
            workers: vec![Worker {
                worker: 0,
                busy_ns: self.seconds * 930_000_000,
                idle_ns: self.seconds * 70_000_000,
                ..Worker::default()
            }],
            interfaces: vec![
                interface("eth1", true, 9000, "native"),
                interface("eth2", false, 1500, "generic"),
            ],
            drops: [("ring".to_owned(), self.seconds * 4), ("xdp".to_owned(), 9)].into(),
            exports: exports.collect(),
            ..Snapshot::default()
        })
    }
}

fn interface(name: &str, up: bool, mtu: u32, mode: &str) -> Interface {
    let (name, mode) = (name.to_owned(), mode.to_owned());
    Interface { name, up, carrier: true, present: true, mtu, mode, ..Interface::default() }
}

/// Higher slots have more reads, fewer requests in flight and higher latency.
fn export(slot: u8, seconds: u64) -> Export {
    let n = u64::from(slot);
    let (reads, writes) = (seconds * n * 100, seconds * 50);
    let ended = |operation: Operation, ok| (operation.name().to_owned(), [("ok".to_owned(), ok)].into());
    Export {
        address: format!("0.{slot}"),
        requests: [ended(Operation::Read, reads), ended(Operation::Write, writes)].into(),
        counters: ExportCounters {
            bytes_read: reads * 4096,
            bytes_written: writes * 4096,
            waited: seconds,
            ..ExportCounters::default()
        },
        in_flight: 40 - usize::from(slot),
        waiting: if slot == 2 { 12 } else { 0 },
        degraded: slot == 2,
        read_only: slot == 3,
        reservation: if slot == 3 { vec!["02:00:00:00:00:01".to_owned()] } else { Vec::new() },
        times: Distribution(vec![(n * 10_000, seconds * 98), (n * 2_000_000, seconds * 2)]),
        ..Export::default()
    }
}

/// A view with the rates of one second.
fn view(exports: u8) -> View {
    let mut fake = Fake { seconds: 0, exports };
    let before = fake.sample().unwrap();
    View::new(between(Some(&before), &fake.sample().unwrap()))
}

fn drawn(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned())
        .collect()
}

fn press(view: &mut View, code: KeyCode) -> bool {
    obey(view, KeyEvent::new(code, KeyModifiers::NONE))
}

/// The first word of each row.
fn addresses(view: &mut View) -> Vec<String> {
    let lines = drawn(view, 110, 9);
    lines[4..8].iter().map(|line| line.split(' ').next().unwrap_or("").to_owned()).collect()
}

#[test]
fn it_shows_what_happened() {
    let lines = drawn(&mut view(3), 120, 9);
    let expected = [
        "xblade   up 1 d 01:00:02   3 exports, sorted by address   of the last 1.0 s",
        "eth1 up native MTU 9000   eth2 DOWN generic MTU 1500",
        "dropped/s: ring 4.0, xdp 0   busy: 0: 93 %",
        "export      read/s  write/s    rMB/s    wMB/s      p50      p99    p99.9 inflight   wait/s  limited flags",
        "0.1            100       50      0.4      0.2   10.0us   2.00ms   2.00ms       39      1.0        0 -",
        "0.2            200       50      0.8      0.2   20.0us   4.00ms   4.00ms       38      1.0       12 degraded",
        "0.3            300       50      1.2      0.2   30.0us   6.00ms   6.00ms       37      1.0        0 ro,reserved",
        "",
        "q quit   s sort   up/down, PgUp/PgDn scroll   p pause",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn s_sorts_by_one_column_after_the_other() {
    let mut view = view(3);
    for (order, first) in [
        ("address", ["0.1", "0.2", "0.3"]),
        ("requests", ["0.3", "0.2", "0.1"]),
        ("MB/s", ["0.3", "0.2", "0.1"]),
        ("p99", ["0.3", "0.2", "0.1"]),
        ("in flight", ["0.1", "0.2", "0.3"]),
        ("address", ["0.1", "0.2", "0.3"]),
    ] {
        assert_eq!(addresses(&mut view)[..3], first, "{order}");
        assert!(drawn(&mut view, 110, 9)[0].contains(&format!("sorted by {order} ")), "{order}");
        assert!(press(&mut view, KeyCode::Char('s')));
    }
}

#[test]
fn arrows_scroll_and_stop_at_both_ends() {
    let mut view = view(10);
    assert_eq!(addresses(&mut view), ["0.1", "0.2", "0.3", "0.4"]);
    press(&mut view, KeyCode::Up);
    assert_eq!(addresses(&mut view)[0], "0.1");
    press(&mut view, KeyCode::Down);
    assert_eq!(addresses(&mut view), ["0.2", "0.3", "0.4", "0.5"]);
    press(&mut view, KeyCode::PageDown);
    assert_eq!(addresses(&mut view)[0], "0.6");
    for _ in 0..30 {
        press(&mut view, KeyCode::Down);
    }
    assert_eq!(addresses(&mut view), ["0.7", "0.8", "0.9", "0.10"]);
    press(&mut view, KeyCode::PageUp);
    assert_eq!(addresses(&mut view)[0], "0.3");
}

#[test]
fn keys_end_and_pause() {
    let mut view = view(1);
    assert!(!press(&mut view, KeyCode::Char('q')));
    assert!(!obey(&mut view, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert!(press(&mut view, KeyCode::Char('c')), "without control it means nothing");
    assert!(press(&mut view, KeyCode::Char('p')));
    assert!(view.paused && drawn(&mut view, 110, 9)[0].ends_with("PAUSED"));
    assert!(press(&mut view, KeyCode::Char('p')));
    assert!(!view.paused);
}

#[test]
fn a_daemon_that_went_away_is_told_above_the_last_rows() {
    let mut view = view(1);
    let mut before = Snapshot::default();
    refresh(&mut view, Client::new("/nonexistent/sock".as_ref()).get("/v1/samples"), &mut before);
    let lines = drawn(&mut view, 110, 9);
    assert!(lines[1].starts_with("/nonexistent/sock: there is no such socket"), "{lines:?}");
    assert!(lines[4].starts_with("0.1 "), "{lines:?}");
    refresh(&mut view, Fake { seconds: 5, exports: 1 }.sample(), &mut before);
    assert!(drawn(&mut view, 110, 9)[1].starts_with("eth1 up"), "and it is back");
}

#[test]
fn no_terminal_is_too_small() {
    let mut view = view(10);
    for width in [0, 1, 7, 40, 300] {
        for height in [0, 1, 2, 3, 4, 5, 50] {
            if width > 0 && height > 0 {
                drawn(&mut view, width, height);
                press(&mut view, KeyCode::PageDown);
            }
        }
    }
}

#[test]
fn lines_for_scripts_have_the_same_words() {
    let mut text = Vec::new();
    let mut fake = Fake { seconds: 0, exports: 2 };
    batch(|| fake.sample(), Duration::from_millis(1), 2, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words.len(), 7, "two intervals, an empty line between them: {text}");
    assert!(
        words.iter().enumerate().all(|(at, words)| words.len() == if at == 3 { 0 } else { 12 }),
        "{text}"
    );
    assert_eq!(words[0], words[4]);
    assert_eq!(
        words[5],
        ["0.1", "100", "50", "0.4", "0.2", "10.0us", "2.00ms", "2.00ms", "39", "1.0", "0", "-"]
    );
}
