//! Runs `xblade-bench compare` between two hosts: two namespaces, of which the other one is
//! reached with `nsenter`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use xblade_kit::{Daemon, OURS, PEER, Pair, Scratch, Space, apply, needs_root, until};

const BENCH: &str = env!("CARGO_BIN_EXE_xblade-bench");

/// The words that run a command in a namespace.
fn reach(space: &Space) -> String {
    format!("nsenter --net=/proc/{}/ns/net", space.tid())
}

/// The command line of a short comparison.
fn compare(folder: &Scratch, remote: &str, more: &[&str]) -> Command {
    let core = std::thread::available_parallelism().map_or(0, |cores| cores.get().min(2) - 1);
    let core = core.to_string();
    let folder = folder.path().to_str().unwrap();
    let mut command = Command::new(BENCH);
    command.args(["compare", "--profile", "quick", "--rounds", "1", "--mib", "4", "--warm-up", "0.1"]);
    command.args(["--target-core", &core, "--backing", folder]);
    command.args(["--interface", OURS, "--remote", remote, "--remote-interface", PEER]);
    // The other host finds this program in its PATH.
    let path = Path::new(BENCH).parent().unwrap().display();
    command.env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()));
    command.args(more).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code(), text)
}

fn run(space: &Space, mut command: Command) -> (Option<i32>, String) {
    text(space.run(move || command.output().unwrap()))
}

/// The processes in a namespace.
fn processes(space: &Space) -> Vec<PathBuf> {
    let of = |path: &Path| fs::read_link(path.join("ns/net")).ok();
    let wanted = of(&Path::new("/proc").join(space.tid().to_string()));
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| of(path).is_some() && of(path) == wanted).collect()
}

/// The settings of an interface, and the names of all.
fn settings(space: &Space, name: &str) -> String {
    space.sh(&format!("ip -d link show {name}; ip -br link"))
}

#[apply(needs_root!)]
fn a_table_is_made_and_both_hosts_stay_as_they_are() {
    let (folder, pair) = (Scratch::new(), Pair::with("mtu 9000 numrxqueues 1 numtxqueues 1"));
    let xblade = PathBuf::from(BENCH).with_file_name("xblade");
    let targets = if xblade.exists() { "echo,xblade" } else { "echo" };
    if targets == "echo" {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED xblade between two hosts: {} is not built",
            xblade.display()
        );
    }
    let named = fs::read_dir("/run/netns").map_or(0, Iterator::count);
    let before = [settings(&pair.ours, OURS), settings(&pair.peer, PEER)];
    let more = ["--targets", targets, "--seconds", "1", "--case", "read:4096", "--case", "read:512"];
    let more = [&more[..], &["--report", "report"]].concat();
    let (code, text) = run(&pair.ours, compare(&folder, &reach(&pair.peer), &more));
    assert_eq!(code, Some(0), "{text}");
    for wanted in [
        "MTU 9000, random reads of 4 KiB",
        "MTU 9000, random reads of 0.5 KiB",
        "network: xbp0 here, xbp1 on the generator's host (nsenter ",
        "* kernel: ",
        "* driver: veth",
        "* generator's kernel: ",
        "* generator's driver: veth",
        "* generator's MTU: 9000",
        "* generator's receive queues: 1",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("target and generator share"), "{text}");
    let json = fs::read(folder.path().join("report/result.json")).unwrap();
    let all: Value = serde_json::from_slice(&json).unwrap();
    for sample in all["document"]["sections"][0]["samples"].as_array().unwrap() {
        let number = |path: &str| sample.pointer(path).and_then(Value::as_f64).unwrap();
        let cpu_s = (number("/outcome/cost/user_ns") + number("/outcome/cost/system_ns")) / 1e9;
        let busy = number("/machine/target_core_busy");
        assert!(cpu_s > 0.0 && cpu_s < 1.1 * number("/outcome/seconds"), "{sample}");
        assert!(busy > 0.0 && busy <= 1.0, "{sample}");
        assert!(sample["machine"]["generator_core_kernel"].is_null(), "not measured: {sample}");
        let names = sample["outcome"]["conditions"].to_string();
        assert!(names.contains("\"XDP at the target\",\"value\":\"native mode\""), "{names}");
    }
    let rows = text.lines().filter(|line| line.starts_with("| echo "));
    assert!(rows.clone().count() == 2 && rows.clone().all(|row| row.contains(" – |")), "gen kernel: {text}");

    assert_eq!(
        [processes(&pair.ours), processes(&pair.peer)],
        [[""; 0]; 2].map(|none| none.map(PathBuf::from).to_vec())
    );
    pair.ours.until_detached(OURS);
    pair.peer.until_detached(PEER);
    assert_eq!([settings(&pair.ours, OURS), settings(&pair.peer, PEER)], before);
    assert_eq!(fs::read_dir("/run/netns").map_or(0, Iterator::count), named, "no namespace was made");
}

#[apply(needs_root!)]
fn what_does_not_fit_is_refused_before_anything_is_started() {
    let (folder, pair) = (Scratch::new(), Pair::with("mtu 1500 numrxqueues 1 numtxqueues 1"));
    let refused = |remote: &str, more: &[&str], wanted: &[&str]| {
        let more = [&["--targets", "echo", "--seconds", "0.2"], more].concat();
        let (code, text) = run(&pair.ours, compare(&folder, remote, &more));
        assert_eq!(code, Some(if text.contains("Usage") { 2 } else { 1 }), "{text}");
        assert!(wanted.iter().all(|part| text.contains(part)), "{wanted:?}: {text}");
        text
    };
    let remote = reach(&pair.peer);
    let size = ["--case", "read:4096"];
    refused(
        &remote,
        &size,
        &["4096 bytes", "xbp0 here has 1500", "xbp1 there 1500", "ip link set IF mtu 9000"],
    );
    pair.ours.sh(&format!("ip link set {OURS} mtu 9000"));
    for size in [&size, &["--case", "read:512"]] {
        refused(&remote, size, &["one MTU on both hosts", "xbp0 here has 9000", "xbp1 there 1500"]);
    }
    refused(&remote, &["--mtu", "9000"], &["'--remote <COMMAND>' cannot be used with '--mtu <N>'"]);
    let text = refused("false", &[], &["--remote 'false': `false xblade-bench --version` failed"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    refused("echo no", &[], &["there it is no xblade-bench --version: install the same"]);
    refused("ssh 'x", &[], &["--remote 'ssh 'x': a quotation mark is open"]);
    refused(
        &remote,
        &["--interface", "no0"],
        &["the argument '--interface <IF>' cannot be used multiple times"],
    );

    // A target that would be overwritten.
    pair.ours.sh(&format!("ip link set {OURS} mtu 1500"));
    let mut echo = Command::new(BENCH);
    echo.args(["echo", "--interface", OURS, "--export", "0.1"]);
    let echo = Daemon::spawn(&pair.ours, echo);
    echo.wait_for("echo at 0.1");
    refused(&remote, &["--case", "read:512"], &["a target answers at 0.1 on xbp1 already"]);
}

#[apply(needs_root!)]
fn a_lost_connection_and_a_killed_comparison_end_the_target() {
    let (folder, pair) = (Scratch::new(), Pair::with("mtu 1500 numrxqueues 1 numtxqueues 1"));
    let more = ["--targets", "echo", "--seconds", "60", "--case", "read:512"];
    let lossy = format!("timeout --signal KILL 4 {}", reach(&pair.peer));
    let (code, text) = run(&pair.ours, compare(&folder, &lossy, &more));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("xblade-bench: ") && text.contains("timeout"), "{text}");
    until("the target ends", || processes(&pair.ours).is_empty());

    for signal in ["-INT", "-KILL"] {
        let mut command = compare(&folder, &reach(&pair.peer), &more);
        let child = pair.ours.run(move || command.spawn().unwrap());
        until("the target runs", || processes(&pair.ours).len() == 2);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let (code, said) = self::text(child.wait_with_output().unwrap());
        assert!(code.is_none() || (code == Some(1) && said.contains("interrupted")), "{said}");
        until("the target ends", || processes(&pair.ours).is_empty());
        // What a killed comparison left there ends by itself.
        for generator in processes(&pair.peer) {
            let pid = generator.file_name().unwrap().to_owned();
            assert!(Command::new("kill").arg("-KILL").arg(pid).status().unwrap().success());
        }
    }
}

#[test]
fn the_three_options_need_each_other() {
    for (words, missing) in [
        ("--interface eth1", "--remote <COMMAND>"),
        ("--remote ssh", "--interface <IF>"),
        ("--interface eth1 --remote ssh", "--remote-interface <IF>"),
        ("--remote-interface eth1", "--remote <COMMAND>"),
    ] {
        let output = Command::new(BENCH).arg("compare").args(words.split(' ')).output().unwrap();
        let (code, text) = text(output);
        assert_eq!(code, Some(2), "{words}: {text}");
        assert!(
            text.contains("required arguments were not provided") && text.contains(missing),
            "{words}: {text}"
        );
    }
}
