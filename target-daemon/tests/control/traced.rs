//! `xblade trace` against the real program on a veth pair, including the sandbox.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use xblade::wire::Body;
use xblade::wire::aoe::{Command as Aoe, Header};
use xblade::wire::ether::Tags;
use xblade::wire::query;

use crate::daemon::Rig;
use crate::http::get;
use crate::image::patterns;
use crate::process::xblade;
use crate::trace::Watcher;
use xblade_kit::{OURS, PATIENCE, apply, at, may_run, needs_root, skipped};

/// Waits until the workers trace.
fn until_begun(rig: &Rig, mark: usize) {
    rig.daemon.wait_for_after(mark, "a trace has begun");
    // Requests are handled in order, so the trace has begun when this is answered.
    rig.good("stats");
}

/// A running `xblade trace`.
struct Trace {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Trace {
    /// Starts it, and waits until the workers trace.
    fn start(rig: &Rig, words: &str) -> Self {
        let mark = rig.daemon.mark();
        let mut command = xblade(&format!("trace {words}"));
        command.arg("--control").arg(&rig.socket).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        until_begun(rig, mark);
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "it has ended");
        line
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    #[track_caller]
    fn ends_well(mut self) {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[apply(needs_root!)]
fn requests_are_told_as_the_host_has_sent_them() {
    let mut rig = Rig::new();
    for tags in [Tags::NONE, Tags::NONE.with(0x8100, 0xE000).unwrap()] {
        rig.host.tags = tags;
        let mut trace = Trace::start(&rig, "--json --every 1 --export 0.1 --count 5");
        let write = rig.host.send_write(at(0, 1), 5, &patterns(5, 2, 1));
        rig.host.answer(write);
        let read = rig.host.send_read(at(0, 1), 6, 1);
        rig.host.answer(read);
        let beyond = rig.host.send_read(at(0, 1), 64, 2);
        rig.host.answer(beyond);
        let flush = rig.host.send_flush(at(0, 1));
        rig.host.answer(flush);
        let unknown = rig.host.send(at(0, 1), Aoe::Unknown(7), Body::Unknown(7), &[]);
        for (tag, command, lba, sectors, outcome, code) in [
            (write, "write", Some(5), Some(2), "ok", None),
            (read, "read", Some(6), Some(1), "ok", None),
            (beyond, "read", Some(64), Some(2), "error", Some("ata-0x10")),
            (flush, "flush", None, None, "ok", None),
            (unknown, "aoe-7", None, None, "error", Some("aoe-1")),
        ] {
            let told = trace.json();
            assert_eq!(told["tag"], tag, "{told}");
            assert_eq!((&told["command"], &told["outcome"]), (&command.into(), &outcome.into()), "{told}");
            assert_eq!((told["lba"].as_u64(), told["sectors"].as_u64()), (lba, sectors), "{told}");
            assert_eq!(told["code"].as_str(), code, "{told}");
            assert_eq!((&told["address"], &told["interface"]), (&"0.1".into(), &OURS.into()), "{told}");
            assert_eq!(told["host"], rig.host.mac.to_string());
            let (service, store) = (told["service-ns"].as_u64(), told["store-ns"].as_u64());
            assert!(service > Some(0) && store <= service, "{told}");
            assert_eq!(store.is_some(), outcome == "ok", "{told}");
            assert!(is_now(&told["time"]), "{told}");
        }
        trace.ends_well();
    }
    rig.end();
}

/// Whether a time is within the last moments.
fn is_now(time: &Value) -> bool {
    let then: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    let ago = jiff::Timestamp::now().duration_since(then);
    (0..60).contains(&ago.as_secs()) && !ago.is_negative()
}

#[apply(needs_root!)]
fn dropped_frames_are_there_for_tcpdump() {
    let mut rig = Rig::new();
    let file = rig.path("dropped.pcap");
    let trace = Trace::start(&rig, &format!("--count 3 --pcap {file}"));
    // Frames for no export, with and without a VLAN tag, and longer than the captured
    // part. Answered requests do not appear in the file.
    rig.host.query(at(0, 1), PATIENCE).unwrap();
    let mut tags = vec![rig.host.send(at(9, 9), Aoe::Unknown(7), Body::Unknown(7), &[])];
    rig.host.tags = Tags::NONE.with(0x8100, 5).unwrap();
    tags.push(rig.host.send(at(9, 9), Aoe::Query, Body::Query(query::Request::Read), &[]));
    rig.host.tags = Tags::NONE;
    tags.push(rig.host.send_write(at(9, 9), 1, &patterns(1, 2, 1)));
    trace.ends_well();
    let bytes = std::fs::read(&file).unwrap();
    let (mut rest, mut found) = (&bytes[24..], Vec::new());
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (captured, len) = (word(8) as usize, word(12));
        let frame = &rest[16..16 + captured];
        let header = Header::parse(frame).unwrap();
        assert_eq!((header.shelf, header.slot, header.ether.src), (9, 9, rig.host.mac));
        found.push((header.tag, captured, len));
        rest = &rest[16 + captured..];
    }
    assert_eq!(found, [(tags[0], 60, 60), (tags[1], 60, 60), (tags[2], 256, 1060)]);
    let drops = rig.good("stats");
    assert!(drops.contains("address"), "{drops}");
    read_by_tcpdump(&file, 3);
    rig.end();
}

/// Reads the file with tcpdump and requires this number of AoE frames.
fn read_by_tcpdump(file: &str, frames: usize) {
    let Ok(output) = Command::new("tcpdump").args(["-n", "-e", "-xx", "-r", file]).output() else {
        skipped("dropped_frames_are_there_for_tcpdump", "needs tcpdump");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // The hex dump has no parentheses.
    let told = text.lines().filter(|line| line.contains("(0x88a2)")).count();
    assert_eq!(told, frames, "{text}");
}

#[apply(needs_root!)]
fn a_client_that_is_killed_ends_the_trace() {
    let mut rig = Rig::new();
    let mut mark = rig.daemon.mark();
    let trace = Trace::start(&rig, "--every 1");
    let refused = get(&rig.socket, "/v1/trace");
    let who = format!("process {}", trace.child.id());
    assert!(refused.status == 409 && refused.error().contains(&who), "{refused:?}");
    // Dropping it kills the process while it runs.
    drop(trace);
    rig.daemon.wait_for_after(mark, "the trace has ended");
    // No client traces this read; the next client sees only its own.
    rig.host.read(at(0, 1), 1, 1);
    mark = rig.daemon.mark();
    let mut next = Watcher::new(&rig.socket, "?every=1");
    until_begun(&rig, mark);
    rig.host.read(at(0, 1), 2, 1);
    assert_eq!(next.line()["lba"], 2);
    drop(next);
    rig.daemon.wait_for_after(mark, "the trace has ended");
    rig.end();
}

/// A client that does not read delays no host, and what it misses is counted.
#[test]
fn a_slow_reader_holds_up_no_request() {
    const REQUESTS: u64 = 10_000;
    if !may_run("a_slow_reader_holds_up_no_request") {
        return;
    }
    let mut rig = Rig::new();
    let mark = rig.daemon.mark();
    let mut watcher = Watcher::new(&rig.socket, "?every=1");
    until_begun(&rig, mark);
    for lba in 0..REQUESTS {
        rig.host.read(at(0, 1), lba % 64, 1);
    }
    let (mut told, mut missed) = (0, 0);
    while told + missed < REQUESTS {
        match watcher.line()["missed"].as_u64() {
            Some(n) => missed += n,
            None => told += 1,
        }
    }
    assert_eq!(told + missed, REQUESTS);
    assert!(missed > 0, "nothing was missed: this tests nothing");
    drop(watcher);
    rig.end();
}
