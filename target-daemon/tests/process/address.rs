//! An address that another target on the network already serves.

use std::process::Command;

use crate::command_line::assert_refused;
use crate::daemon::{serving, xblade};
use crate::image::Dir;
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, Space, apply, at, has, join, needs_root, until};

/// Two targets and a host on one segment.
struct Segment {
    ours: Space,
    other: Space,
    host: Space,
}

impl Segment {
    fn new() -> Self {
        let segment = Self { ours: Space::new(), other: Space::new(), host: Space::new() };
        segment.host.sh("ip link add xbpbr type bridge && ip link set xbpbr up");
        for (space, port) in [(&segment.ours, "xbpp0"), (&segment.other, "xbpp1")] {
            join((space, OURS), (&segment.host, port), "");
            segment.host.sh(&format!("ip link set {port} master xbpbr"));
        }
        let forwards = "test $(bridge link show | grep -c 'state forwarding') = 2 && echo yes || echo no";
        until("both ports forward", || segment.host.sh(forwards).trim() == "yes");
        segment
    }
}

#[apply(needs_root!)]
fn an_address_that_another_xblade_serves_is_refused() {
    let (segment, dir) = (Segment::new(), Dir::new());
    let (a, b) = (dir.image("a", 8), dir.image("b", 8));
    let first = serving(&segment.other, &format!("7.3={a} 7.4=x,store=null,length=8 -i {OURS}"));
    let by = segment.other.mac(OURS).to_string();
    let serve =
        |arguments: &str| Daemon::spawn(&segment.ours, xblade(&format!("serve {arguments} -i {OURS}")));
    for taken in ["7.3", "7.4"] {
        let second = serve(&format!("7.1=x,store=null,length=8 {taken}={b}")).ended();
        let said = format!("{by} on {OURS} serves {taken} already");
        assert_refused(taken, &second, 4, &[&said, "Stop it", "another address", "--no-probe"]);
    }
    segment.ours.until_detached(OURS);
    let mut host = Initiator::new(&segment.host, "xbpbr", segment.other.mac(OURS));
    host.until_served(at(7, 3));
    // Another address is free, and the same one is allowed if the operator insists.
    for free in [format!("7.2={b}"), format!("7.3={b} --no-probe")] {
        let second = serve(&free);
        second.wait_for("ready:");
        second.stop();
    }
    let report = first.stop().report();
    report.assert_sound();
    assert!(report.sum("redirected") > 0);
}

#[apply(needs_root!)]
fn an_address_that_vblade_serves_is_refused() {
    if !has("an_address_that_vblade_serves_is_refused", "vblade") {
        return;
    }
    let (pair, dir) = (Pair::new(), Dir::new());
    let (a, b) = (dir.image("a", 8), dir.image("b", 8));
    let mut vblade = Command::new("vblade");
    vblade.args(["7", "3", PEER]).arg(a.path());
    let vblade = Daemon::spawn(&pair.peer, vblade);
    let mut host = Initiator::new(&pair.ours, OURS, pair.peer.mac(PEER));
    host.until_served(at(7, 3));
    let by = pair.peer.mac(PEER).to_string();
    let refused = Daemon::spawn(&pair.ours, xblade(&format!("serve 7.3={b} -i {OURS}"))).ended();
    assert_refused("vblade", &refused, 4, &[&by, "serves 7.3 already"]);
    drop(vblade);
    let daemon = Daemon::spawn(&pair.ours, xblade(&format!("serve 7.3={b} -i {OURS}")));
    daemon.wait_for("ready:");
    daemon.stop();
}
