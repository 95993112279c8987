//! Rate limits on real rings, for one host and for four: each is kept, no request is sent
//! again, and latency is what the limit explains.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use rig::BENCH;
use serde_json::Value;
use xblade_kit::{Daemon, PEER, Scratch, Space, apply, join, needs_root, skipped};

/// The interfaces of the target. At the other end of each is a host.
const TARGETS: [&str; 4] = ["xba0", "xba1", "xba2", "xba3"];

const SECONDS: f64 = 10.0;

/// So large that hosts do not write to the same sectors at the same time: of two such writes, the
/// one that waits longer is dropped if it arrived first.
const EXPORT: &str = "[[export]]\nstore = \"null\"\nlength = \"64TiB\"\n";

/// A limit, what hosts send, and what one host and four get in a second.
struct Case {
    name: &'static str,
    /// The configuration of the exports; `HOSTS` stands for a list of the hosts.
    exports: String,
    load: &'static str,
    gets: [f64; 2],
}

fn cases() -> Vec<Case> {
    let one = |limit: &str| format!("{EXPORT}address = \"7.3\"\n{limit}\n");
    let both = "[[host-limit]]\nhosts = [HOSTS]\niops = 500\nburst = 200\n";
    let case = |name, exports, load, gets| Case { name, exports, load, gets };
    vec![
        case("iops", one("iops = 2000\nburst = 200"), "--export 7.3 --op read", [2000.0; 2]),
        case(
            "bytes",
            one("bytes-per-second = \"8192000B\"\nburst = 200"),
            "--export 7.3 --op write --sectors 8 --destroy-data",
            [2000.0; 2],
        ),
        case(
            "host",
            one("host-iops = 500\nburst = 200"),
            "--export 7.3 --op mixed --destroy-data",
            [500.0, 2000.0],
        ),
        case(
            "host on two exports",
            [one(""), format!("{EXPORT}address = \"7.4\"\n"), both.to_owned()].concat(),
            "--export 7.3,7.4 --op read",
            [500.0, 2000.0],
        ),
    ]
}

/// Loads exports with a limit from this many hosts at once.
fn check(case: &Case, hosts: usize, gets: f64, xblade: &str) {
    let name = case.name;
    let (ours, files) = (Space::new(), Scratch::new());
    let peers: Vec<Space> = TARGETS[..hosts]
        .iter()
        .map(|target| {
            let peer = Space::new();
            join((&ours, target), (&peer, PEER), "mtu 9000");
            peer
        })
        .collect();
    let macs: Vec<String> = peers.iter().map(|peer| format!("\"{}\"", peer.mac(PEER))).collect();
    let text = format!(
        "interfaces = [\"xba*\"]\n{}[service]\ncontrol = \"none\"\nstate = \"none\"\n",
        case.exports.replace("HOSTS", &macs.join(", "))
    );
    let file = files.file("xblade.toml", text.as_bytes());
    let mut serve = Command::new(xblade);
    serve.args(["serve", "--config", file.to_str().unwrap()]);
    let daemon = Daemon::ready(&ours, serve);
    // Each host is a process of its own.
    let loads: Vec<_> = (0..)
        .zip(&peers)
        .map(|(index, peer)| {
            let json = files.path().join(format!("{index}.json"));
            let line = format!(
                "{BENCH} load --interface {PEER} --port af-packet {} --seconds {SECONDS} --timeout-ms 1000 --seed {index} --json {}",
                case.load,
                json.display()
            );
            let started = peer.start(move || {
                let words: Vec<&str> = line.split_whitespace().collect();
                Command::new(words[0]).args(&words[1..]).output().unwrap()
            });
            (started, json)
        })
        .collect();
    let (mut rate, mut p99_us, mut in_flight, mut resent) = (0.0, 0.0_f64, 0.0, 0);
    for (started, json) in loads {
        let output = started.recv().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{name}: {text}");
        let all: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
        let outcome = &all["document"]["sections"][0]["outcomes"][0];
        let number = |of: &Value| of.as_f64().unwrap();
        resent += outcome["trouble"]["retransmits"].as_u64().unwrap();
        // Of reads, of writes, or of both.
        let results = all["results"].as_array().unwrap();
        rate += results.iter().map(|one| number(&one["iops"])).sum::<f64>();
        p99_us = results.iter().map(|one| number(&one["p99_us"])).fold(p99_us, f64::max);
        let exports = outcome["setup"]["exports"].as_array().unwrap().len();
        in_flight += number(&outcome["setup"]["window"]) * exports as f64;
    }
    println!("{name}, {hosts} hosts: {rate:.1} of {gets} IOPS, {in_flight} in flight, p99 {p99_us:.0} us");
    assert!((rate / gets - 1.0).abs() < 0.05, "{name}, {hosts} hosts: {rate:.1} IOPS, not {gets}");
    // What is in flight waits for as long as the limit takes for it. The rest is for a machine
    // that does other things as well.
    let explained_us = 1e6 * in_flight / gets;
    assert!(
        p99_us < 1.5 * explained_us + 30_000.0,
        "{name}, {hosts} hosts: p99 {p99_us:.0} us for {in_flight} in flight"
    );
    let report = daemon.stop().report();
    assert_eq!(resent, 0, "{name}, {hosts} hosts: {report:?}");
}

#[apply(needs_root!)]
fn each_limit_is_kept_without_a_resend() {
    let xblade = PathBuf::from(BENCH).with_file_name("xblade");
    if !xblade.exists() {
        skipped("each_limit_is_kept_without_a_resend", &format!("{} is not built", xblade.display()));
        return;
    }
    let xblade = xblade.to_str().unwrap().to_owned();
    thread::scope(|scope| {
        for case in cases() {
            let xblade = &xblade;
            scope.spawn(move || {
                check(&case, 1, case.gets[0], xblade);
                check(&case, 4, case.gets[1], xblade);
            });
        }
    });
}
