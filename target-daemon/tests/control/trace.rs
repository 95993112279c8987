//! The trace stream and `xblade trace`, against a fake control thread.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::http::{connect, get, read};
use crate::sample::HOST;

/// A tracing client with its own connection.
pub struct Watcher {
    lines: BufReader<UnixStream>,
}

impl Watcher {
    /// Sends this query, and requires success.
    pub fn new(path: &Path, query: &str) -> Self {
        let mut lines = BufReader::new(ask(path, query));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("application/x-ndjson"), "{head}");
        Self { lines }
    }

    /// The next line, without HTTP chunk lengths.
    pub fn line(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the stream has ended");
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }
}

/// Sends this query; the response remains to be read.
fn ask(path: &Path, query: &str) -> UnixStream {
    let mut stream = connect(path);
    stream.write_all(format!("GET /v1/trace{query} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// The line for the request in [`crate::sample::traced`].
fn request() -> Value {
    json!({
        "time": "2026-01-02T03:04:05.000000678Z", "interface": "eth1", "lane": 1, "host": HOST.to_string(),
        "address": "0.1", "command": "read", "lba": 8, "sectors": 2, "tag": 42,
        "outcome": "error", "code": "ata-0x40", "service-ns": 9000, "store-ns": 7000
    })
}

/// The line for the dropped frame.
fn dropped() -> Value {
    let bytes = format!("020000000100{}88a2100000000907{}", "020000000001", "0000002a");
    json!({
        "time": "2026-01-02T03:04:05.000000678Z", "interface": "eth0", "lane": 0, "host": HOST.to_string(),
        "address": "0.9", "command": "aoe-7", "tag": 42,
        "dropped": "address", "length": 60, "bytes": format!("{bytes:0<120}")
    })
}

#[test]
fn what_workers_tell_is_a_line_each() {
    let fake = Fake::new();
    for (query, asked, lines) in [
        ("", "traces: one of 100, dropped: true", vec![request(), dropped()]),
        ("?every=1", "traces: one of 1, dropped: false", vec![request()]),
        ("?every=5&dropped=true", "traces: one of 5, dropped: true", vec![request(), dropped()]),
        ("?export=0.1", "traces: one of 100, dropped: true", vec![request()]),
        ("?dropped=true&export=0.9", "traces: one of 0, dropped: true", vec![dropped()]),
    ] {
        let before = fake.times("traces no more");
        let mut watcher = Watcher::new(&fake.path, query);
        assert_eq!(fake.last(), asked, "{query}");
        for line in lines {
            assert_eq!(watcher.line(), line, "{query}");
        }
        drop(watcher);
        xblade_kit::until("the trace has ended", || fake.times("traces no more") > before);
    }
}

#[test]
fn a_wrong_query_is_refused_and_nobody_is_told() {
    let fake = Fake::new();
    for (query, part) in [("every=0", "give every=1"), ("often=1", "give every, dropped or export")] {
        let answer = get(&fake.path, &format!("/v1/trace?{query}"));
        assert!(answer.status == 400 && answer.error().contains(part), "{answer:?}");
    }
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[test]
fn one_can_look_at_a_time() {
    let fake = Fake::new();
    let first = Watcher::new(&fake.path, "");
    let answer = get(&fake.path, "/v1/trace");
    let who = format!("process {} traces already", std::process::id());
    assert!(answer.status == 409 && answer.error().contains(&who), "{answer:?}");
    let said = trace(&fake, "").output().unwrap();
    assert!(said.status.code() == Some(3) && text(&said.stderr).contains(&who), "{said:?}");
    assert_eq!(fake.times("traces no more"), 0, "the first one goes on");
    // Other requests are not affected.
    assert_eq!(get(&fake.path, "/v1/status").status, 200);
    drop(first);
    fake.until("traces no more");
    Watcher::new(&fake.path, "").line();
}

/// With and without pending events. The second client only shuts down its sending side,
/// which the server treats the same way.
#[test]
fn who_goes_away_ends_the_trace() {
    let fake = Fake::new();
    for round in 1..=3 {
        let mut stream = ask(&fake.path, "");
        let _ = stream.read(&mut [0; 64]).unwrap();
        if round == 2 {
            stream.shutdown(Shutdown::Write).unwrap();
            read(&mut stream);
        }
        drop(stream);
        xblade_kit::until("the trace has ended", || fake.times("traces no more") == round);
    }
}

/// A client that reads nothing while events are pending is eventually cut off.
#[test]
fn who_stalls_is_cut_off_and_the_place_is_free() {
    let fake = Fake::telling(100_000);
    let mut stalled = ask(&fake.path, "?every=1");
    fake.until("told 100000");
    assert_eq!(get(&fake.path, "/v1/trace").status, 409);
    // 30 s plus tolerance. It is less than the limit of other connections.
    let end = std::time::Instant::now() + Duration::from_secs(50);
    while fake.times("traces no more") == 0 {
        assert!(std::time::Instant::now() < end, "it still has the place");
        std::thread::sleep(Duration::from_millis(100));
    }
    Watcher::new(&fake.path, "").line();
    assert!(read(&mut stalled).contains("HTTP/1.1 200"), "and nothing more comes");
}

/// A slow reader does not delay requests, and missed events are counted.
#[test]
fn what_a_slow_reader_misses_is_counted() {
    const TOLD: u32 = 100_000;
    let fake = Fake::telling(TOLD);
    let mut watcher = Watcher::new(&fake.path, "?every=1");
    // Nothing was read until now, but all events were sent.
    fake.until(&format!("told {TOLD}"));
    let (mut read, mut missed) = (0, 0);
    while read + missed < u64::from(TOLD) {
        let line = watcher.line();
        match line["missed"].as_u64() {
            Some(n) => missed += n,
            None => {
                assert_eq!(line, request());
                read += 1;
            }
        }
    }
    assert_eq!(read + missed, u64::from(TOLD));
    assert!(missed > 0, "all was kept, however much it is");
    assert!(read >= 2048, "only {read} were kept");
}

fn trace(fake: &Fake, words: &str) -> Command {
    let mut command = crate::process::xblade(&format!("trace {words}"));
    command.arg("--control").arg(&fake.path);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn good(fake: &Fake, words: &str) -> Output {
    let output = trace(fake, words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
    output
}

#[test]
fn the_command_prints_a_line_each_and_ends_when_it_is_to() {
    let fake = Fake::new();
    for (words, asked) in [
        ("--count 2", "traces: one of 100, dropped: true"),
        ("--every 7 --dropped --count 2", "traces: one of 7, dropped: true"),
        ("--every 7 --dropped --seconds 1", "traces: one of 7, dropped: true"),
    ] {
        let out = text(&good(&fake, words).stdout);
        let lines: Vec<&str> = out.lines().collect();
        assert!(fake.times(asked) > 0, "{words}");
        assert!(lines.len() == 3 && lines[0].starts_with("TIME "), "{words}: {out}");
        assert!(lines[1].contains("eth1") && lines[1].ends_with("error ata-0x40"), "{out}");
        assert!(lines[2].contains("aoe-7") && lines[2].ends_with("dropped: address, 60 bytes"), "{out}");
    }
    let out = text(&good(&fake, "--json --every 1 --dropped --count 2").stdout);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [request(), dropped()]);
    let out = text(&good(&fake, "--json --dropped --export 0.9 --count 1").stdout);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), dropped());
}

/// Checks the frame of [`dropped`] in a pcap file.
#[track_caller]
fn assert_pcap(file: &[u8]) {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(16), word(20)), (0xa1b2_3c4d, 256, 1));
    assert_eq!([24, 28, 32, 36].map(word), [1_767_323_045, 678, 60, 60]);
    let hex: String = file[40..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, dropped()["bytes"].as_str().unwrap());
}

#[test]
fn dropped_frames_and_no_others_are_written_as_pcap() {
    let fake = Fake::new();
    let path = fake.dir().join("dropped.pcap");
    let output = good(&fake, &format!("--every 1 --count 2 --pcap {}", path.display()));
    assert_eq!(fake.times("traces: one of 1, dropped: true"), 1);
    assert_eq!(text(&output.stdout).lines().count(), 3, "the lines are there all the same: {output:?}");
    assert_eq!(text(&output.stderr), format!("1 frame in {}\n", path.display()));
    assert_pcap(&std::fs::read(&path).unwrap());
    let output = good(&fake, "--count 1 --pcap -");
    assert_eq!(fake.times("traces: one of 0, dropped: true"), 1);
    assert_pcap(&output.stdout);
}

#[test]
fn what_cannot_be_is_said() {
    let fake = Fake::new();
    let missing = fake.dir().join("no/such/folder").display().to_string();
    for (words, code, part) in [
        ("--pcap - --json", 2, "nothing can go beside them"),
        ("--pcap - --every 1", 2, "nothing can go beside them"),
        ("--every 0", 2, "--every"),
        ("--count 0", 2, "--count"),
        ("--export 0", 2, "SHELF.SLOT"),
        (&format!("--pcap {missing}"), 3, "cannot be written"),
    ] {
        let said = trace(&fake, words).output().unwrap();
        assert!(said.status.code() == Some(code) && text(&said.stderr).contains(part), "{words}: {said:?}");
    }
}

/// `xblade trace | head -1`.
#[test]
fn it_ends_when_nobody_reads() {
    let fake = Fake::telling(10_000);
    let mut child = trace(&fake, "--every 1").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    xblade_kit::until("the command has ended", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    fake.until("traces no more");
}

#[test]
fn the_end_of_the_daemon_is_told() {
    let mut fake = Fake::new();
    let mut command = trace(&fake, "--json");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    fake.end_server();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.code() == Some(1), "{said:?}");
    assert!(text(&said.stderr).contains("look whether xblade still runs"), "{said:?}");
}

#[test]
fn nobody_waits_for_a_control_thread_that_ends() {
    let mut fake = Fake::silent();
    fake.end_control_thread();
    // Each time the right to trace is free, and the failure is the missing answer.
    for _ in 0..3 {
        let answer = get(&fake.path, "/v1/trace");
        assert!(answer.status == 503 && answer.error().contains("ends"), "{answer:?}");
    }
}
