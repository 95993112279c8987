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
use xblade_kit::{Daemon, Scratch, Space, apply, join, needs_root, skipped};

/// Pairs of interfaces. Each of the far ends is a host of its own.
const TARGETS: [&str; 4] = ["xba0", "xba1", "xba2", "xba3"];
const HOSTS: [&str; 4] = ["xbb0", "xbb1", "xbb2", "xbb3"];

const SECONDS: f64 = 10.0;

const EXPORT: &str = "[[export]]\nstore = \"null\"\nlength = \"1GiB\"\n";

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
    let both = "[[host-limit]]\nhosts = [HOSTS]\niops = 500\n";
    let case = |name, exports, load, gets| Case { name, exports, load, gets };
    vec![
        case("iops", one("iops = 2000"), "--export 7.3 --op read", [2000.0; 2]),
        case(
            "bytes",
            one("bytes-per-second = 8192000"),
            "--export 7.3 --op write --sectors 8 --destroy-data",
            [2000.0; 2],
        ),
        case("host", one("host-iops = 500"), "--export 7.3 --op mixed --destroy-data", [500.0, 2000.0]),
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
    let (ours, peer, files) = (Space::new(), Space::new(), Scratch::new());
    let pairs: Vec<_> = TARGETS.into_iter().zip(HOSTS).take(hosts).collect();
    for (target, host) in &pairs {
        join((&ours, target), (&peer, host), "mtu 9000");
    }
    let macs: Vec<String> = pairs.iter().map(|(_, host)| format!("\"{}\"", peer.mac(host))).collect();
    let text = format!(
        "interfaces = [\"xba*\"]\n{}[service]\ncontrol = \"none\"\nstate = \"none\"\n",
        case.exports.replace("HOSTS", &macs.join(", "))
    );
    let file = files.file("xblade.toml", text.as_bytes());
    let mut serve = Command::new(xblade);
    serve.args(["serve", "--config", file.to_str().unwrap()]);
    let daemon = Daemon::ready(&ours, serve);
    // Each host is a process of its own.
    let loads: Vec<_> = pairs
        .iter()
        .map(|(_, host)| {
            let json = files.path().join(format!("{host}.json"));
            let line = format!(
                "{BENCH} load --interface {host} --port af-packet {} --seconds {SECONDS} --json {}",
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
    let (mut rate, mut p99_us, mut in_flight) = (0.0, 0.0_f64, 0.0);
    for (started, json) in loads {
        let output = started.recv().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{name}: {text}");
        let all: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
        let outcome = &all["document"]["sections"][0]["outcomes"][0];
        let number = |of: &Value| of.as_f64().unwrap();
        assert_eq!(outcome["trouble"]["retransmits"], 0, "{name}: {text}");
        // Of reads, of writes, or of both.
        let results = all["results"].as_array().unwrap();
        rate += results.iter().map(|one| number(&one["iops"])).sum::<f64>();
        p99_us = results.iter().map(|one| number(&one["p99_us"])).fold(p99_us, f64::max);
        let exports = outcome["setup"]["exports"].as_array().unwrap().len();
        in_flight += number(&outcome["setup"]["window"]) * exports as f64;
    }
    println!("{name}, {hosts} hosts: {rate:.1} of {gets} IOPS, {in_flight} in flight, p99 {p99_us:.0} us");
    assert!((rate / gets - 1.0).abs() < 0.05, "{name}, {hosts} hosts: {rate:.1} IOPS, not {gets}");
    // What is in flight waits for as long as the limit takes for it; the rest is the machine's.
    let explained_us = 1e6 * in_flight / gets;
    assert!(
        p99_us < 1.25 * explained_us + 10_000.0,
        "{name}, {hosts} hosts: p99 {p99_us:.0} us for {in_flight} in flight"
    );
    let report = daemon.stop().report();
    assert_eq!((report.sum("limited_too_long"), report.sum("over_share")), (0, 0), "{name}, {hosts} hosts");
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
