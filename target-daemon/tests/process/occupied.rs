//! An interface with a foreign XDP program.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use xblade::link::{Facts, PacketSocket};
use xblade::ring::{self, SocketConfig, ZeroCopy};

use crate::command_line::assert_refused;
use crate::daemon::{Record, serving, xblade};
use crate::foreign;
use crate::image::{Dir, sector};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, Space, apply, at, needs_root};

#[apply(needs_root!)]
fn a_second_instance_is_refused_and_the_first_goes_on() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let (a, b) = (dir.image("a", 8), dir.image("b", 8));
    let first = serving(&pair.ours, &format!("0.1={a} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let named = format!("`{OURS}` is served by another xblade");
    let holder = format!("process {}", first.pid());
    for mode in ["auto", "native", "generic"] {
        let command = xblade(&format!("serve 0.2={b} -i {OURS} --xdp-mode {mode}"));
        let second = Daemon::spawn(&pair.ours, command).ended();
        let parts =
            [&named, &holder, "has no control socket to add yours by: give both to one", "stop process"];
        assert_refused(mode, &second, 3, &parts);
        assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
    }
    // `check` reports that nothing is in the way.
    let command = xblade(&format!("check --interface {OURS}"));
    let looked = pair.ours.run(move || {
        let mut command = command;
        command.output().unwrap()
    });
    let said = String::from_utf8(looked.stdout).unwrap();
    let line = format!("OK    {OURS}: an xblade serves on it already, {holder} (");
    assert!(said.contains(&line) && said.contains("one xblade serves all exports of an interface"), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("FIX") && line.contains("XDP program")), "{said}");
    // The same file, even on an interface of its own.
    let second = Daemon::spawn(&pair.peer, xblade(&format!("serve 0.2={a} -i {PEER}"))).ended();
    assert_refused("same file", &second, 3, &["/a: is locked by", &holder, "end that use"]);
    assert_eq!(host.read(at(0, 1), 4, 1), sector(4));
    first.stop().report().assert_sound();
}

/// The command in the message works verbatim: it adds the export to the first instance.
#[apply(needs_root!)]
fn a_second_instance_is_told_how_to_ask_the_first() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let (a, b) = (dir.image("a", 8), dir.image("b", 8));
    let _records = ["9.1", "9.2", "9.3"].map(Record::new);
    let usual = format!("serve 9.1={a} -i {OURS} --control {}/a.sock", dir.path().display());
    for (slot, first) in [(2, usual), (3, format!("vblade 9 1 {OURS} {a}"))] {
        let first = Daemon::spawn(&pair.ours, xblade(&first));
        let socket = first.wait_for("control socket /").rsplit_once(' ').unwrap().1.to_owned();
        first.wait_for("ready:");
        let second = Daemon::spawn(&pair.ours, xblade(&format!("vblade 9 {slot} {OURS} {b}"))).ended();
        let command = format!("xblade export add SHELF.SLOT=PATH --control {socket}");
        assert_refused(&socket, &second, 3, &[&format!("(`{command}`), or stop process {}", first.pid())]);
        let command = command.replace("SHELF.SLOT=PATH", &format!("9.{slot}={b}"));
        let output = xblade(command.strip_prefix("xblade ").unwrap()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        assert_eq!(host.read(at(9, slot), 3, 1), sector(3));
        first.stop();
        pair.ours.until_detached(OURS);
    }
}

/// Like a forgotten vblade: silent while xblade serves, and answering again when xblade
/// exits.
#[apply(needs_root!)]
fn who_listens_for_aoe_on_the_same_interface_is_named() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let a = dir.image("a", 8);
    let serve = || {
        let daemon = Daemon::spawn(&pair.ours, xblade(&format!("serve 0.1={a} -i {OURS}")));
        daemon.wait_for("ready:");
        daemon.stop().text
    };
    assert!(!serve().contains("also receives AoE there"), "only its own socket was there");
    let other = pair.ours.run(|| PacketSocket::open(Facts::read(OURS).unwrap().index).unwrap());
    let said = serve();
    let line = format!("WARN ] {OURS}: process {} (", std::process::id());
    assert!(said.contains(&line) && said.contains("also receives AoE there"), "{said}");
    drop(other);
}

#[apply(needs_root!)]
fn a_foreign_program_is_named_and_left_in_place() {
    let dir = Dir::new();
    let image = dir.image("a", 8);
    for (flags, off) in [(foreign::NATIVE, "xdpdrv off"), (foreign::GENERIC, "xdpgeneric off")] {
        let pair = Pair::new();
        let before = put_program(&pair.ours, flags, false);
        let refused = Daemon::spawn(&pair.ours, xblade(&format!("serve 0.1={image} -i {OURS}"))).ended();
        let remedy = format!("`ip link set dev {OURS} {off}`");
        assert_refused(off, &refused, 3, &["already runs the XDP program `xbp_foreign`", &remedy]);
        assert_eq!(pair.ours.facts(OURS).attached, before.1);
        // The remedy works verbatim.
        pair.ours.sh(remedy.trim_matches('`'));
        serving(&pair.ours, &format!("0.1={image} -i {OURS}")).stop();
    }
    let pair = Pair::new();
    let (link, before) = put_program(&pair.ours, foreign::NATIVE, true);
    let refused = Daemon::spawn(&pair.ours, xblade(&format!("serve 0.1={image} -i {OURS}"))).ended();
    let holder = format!("process {}", std::process::id());
    assert_refused("bpf_link", &refused, 3, &["`xbp_foreign`", &holder, "`bpftool link detach id"]);
    assert_eq!(pair.ours.facts(OURS).attached, before);
    drop(link);
}

#[apply(needs_root!)]
fn a_queue_held_by_another_process_is_waited_for_and_then_named() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let serve = format!("serve --no-probe 0.1={image} -i {OURS}");
    // As after a crash, while the kernel still tears down the old socket.
    let holder = hold(&pair.ours);
    let daemon = Daemon::spawn(&pair.ours, xblade(&serve));
    daemon.wait_for("durable");
    thread::sleep(Duration::from_millis(200));
    holder.end_by(libc::SIGKILL);
    daemon.wait_for("ready:");
    assert_eq!(Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS)).read(at(0, 1), 1, 1), sector(1));
    daemon.stop();
    // As with another program that uses AF_XDP.
    let _holder = hold(&pair.ours);
    let refused = Daemon::spawn(&pair.ours, xblade(&serve)).ended();
    let line = format!("cannot bind an AF_XDP socket to {OURS} queue 0");
    assert_refused("held", &refused, 3, &[&line, "another process has a socket on this queue"]);
    pair.ours.until_detached(OURS);
}

/// Holds the queue in a separate process: a socket of this process would leak into the
/// children of other tests.
fn hold(space: &Space) -> Daemon {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "occupied::hold_a_queue", "--nocapture"]).env(HOLD, "1");
    let holder = Daemon::spawn(space, command);
    holder.wait_for("held");
    holder
}

const HOLD: &str = "XBLADE_TESTS_HOLD_A_QUEUE";

/// The other process of the test above; not a test by itself.
#[test]
fn hold_a_queue() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let held = ring::open(&SocketConfig {
        interface: OURS.to_owned(),
        queue: 0,
        chunks: 64,
        chunk_bytes: 4096,
        rx_ring: 64,
        tx_ring: 64,
        huge_pages: false,
        zero_copy: ZeroCopy::Off,
        multi_fragment: false,
        long_frames: false,
        busy_poll: None,
    });
    let _held = held.unwrap();
    eprintln!("held");
    loop {
        thread::park();
    }
}

type Attached = Vec<(xblade::link::XdpMode, u32)>;

/// Attaches a program to our interface, with a link or permanently.
fn put_program(space: &Space, flags: u32, by_link: bool) -> (Option<OwnedFd>, Attached) {
    let index = space.facts(OURS).index;
    let link = space.run(move || {
        let program = foreign::load("xbp_foreign");
        if by_link {
            return Some(foreign::link(&program, index, flags));
        }
        foreign::attach(&program, index, flags);
        None
    });
    let attached = space.facts(OURS).attached;
    assert_eq!(attached.len(), 1);
    (link, attached)
}
