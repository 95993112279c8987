//! Which interfaces and VLANs an export is served on.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use xblade::wire::Response;
use xblade::wire::aoe::{Address, Command};
use xblade::wire::ether::Tags;
use xblade::wire::{Body, query};

use crate::command_line::assert_refused;
use crate::daemon::{serving, serving_file, xblade};
use crate::image::{Dir, pattern};
use crate::load::Load;
use xblade_kit::{
    Daemon, Initiator, OURS, PATIENCE, PEER, Pair, Space, apply, at, join, needs_root, push_vlan, until,
};

/// How long a reply that must not come is waited for.
const MOMENT: Duration = Duration::from_millis(50);

/// `ethtool -K` for frames that keep their tags, on the target's end and on the other one.
const KEEP: &str = "rxvlan off rx-vlan-stag-hw-parse off";
const PUT_IN: &str = "txvlan off tx-vlan-stag-hw-insert off";

static NEXT_TAG: AtomicU32 = AtomicU32::new(1 << 20);

fn tags(all: &[(u16, u16)]) -> Tags {
    all.iter().fold(Tags::NONE, |tags, (tpid, tci)| tags.with(*tpid, *tci).unwrap())
}

fn vlan(id: u16) -> Tags {
    tags(&[(0x8100, id)])
}

/// A pair on which tags arrive.
fn tagged_pair() -> Pair {
    let pair = Pair::new();
    pair.ours.sh(&format!("ethtool -K {OURS} {KEEP}"));
    pair.peer.sh(&format!("ethtool -K {PEER} {PUT_IN}"));
    pair
}

fn host(pair: &Pair, tags: Tags) -> Initiator {
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.tags = tags;
    // Each receives what the others on its interface do.
    host.set_next_tag(NEXT_TAG.fetch_add(1 << 20, Ordering::Relaxed));
    host
}

/// The tags of the reply to a query, if one comes.
fn reply_tags(host: &mut Initiator, to: Address, limit: Duration) -> Option<Tags> {
    let tag = host.send(to, Command::Query, Body::Query(query::Request::Read), &[]);
    let frame = host.wait(limit, |response| response.header.tag == tag)?;
    Some(Response::parse(&frame).unwrap().header.ether.tags)
}

/// Whether a host in this VLAN gets a reply, and then with its own tags.
#[track_caller]
fn is_served(host: &mut Initiator, to: Address) -> bool {
    let tags = reply_tags(host, to, MOMENT);
    assert!(tags.is_none_or(|tags| tags == host.tags), "{tags:?} for {:?}", host.tags);
    tags.is_some()
}

#[apply(needs_root!)]
fn a_vlan_reaches_its_exports_and_no_others() {
    for mode in ["native", "generic"] {
        let (pair, dir) = (tagged_pair(), Dir::new());
        let image = |name| dir.image(name, 64);
        let exports = format!(
            "0.1={} 0.2={},vlan=20 0.3={},vlan=untagged,vlan=20,vlan=30 0.4={},vlan=any",
            image("a"),
            image("b"),
            image("c"),
            image("d")
        );
        let daemon = serving(&pair.ours, &format!("{exports} -i {OURS} --xdp-mode {mode}"));
        assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
        host(&pair, Tags::NONE).until_served(at(0, 1));
        let rows: [(Tags, &[u8]); 11] = [
            (Tags::NONE, &[1, 3, 4]),
            (vlan(0xE000), &[1, 3, 4]),
            (vlan(20), &[2, 3, 4]),
            (vlan(0xB014), &[2, 3, 4]),
            (vlan(30), &[3, 4]),
            (vlan(40), &[4]),
            (vlan(4095), &[4]),
            // The outer tag decides, and it is an 802.1Q tag.
            (tags(&[(0x8100, 20), (0x8100, 40)]), &[2, 3, 4]),
            (tags(&[(0x8100, 40), (0x8100, 20)]), &[4]),
            (tags(&[(0x88A8, 20)]), &[4]),
            (tags(&[(0x88A8, 7), (0x8100, 20)]), &[4]),
        ];
        let mut foreign = 0;
        for (tags, served) in rows {
            let mut host = host(&pair, tags);
            for slot in 1..=4 {
                assert_eq!(
                    is_served(&mut host, at(0, slot)),
                    served.contains(&slot),
                    "0.{slot} for {tags:?}"
                );
                // Whatever is asked.
                let read = host.send_read(at(0, slot), 0, 1);
                let write = host.send_write(at(0, slot), 3, &pattern(3, 1));
                for tag in [read, write] {
                    let answer =
                        host.answer_within(tag, if served.contains(&slot) { PATIENCE } else { MOMENT });
                    assert_eq!(answer.is_some(), served.contains(&slot), "0.{slot} for {tags:?}");
                }
            }
            let tag = host.send_query_to_all();
            assert_eq!(host.count(tag, served.len()), served.len(), "broadcast of {tags:?}");
            foreign += 4 * (4 - served.len() as u64);
        }
        let report = daemon.stop().report();
        report.assert_sound();
        assert_eq!(report.sum("vlan"), foreign, "each is counted, broadcasts for each export");
    }
}

/// By default a pair passes tags beside the frame, as most NICs take them out of it.
#[apply(needs_root!)]
fn where_tags_do_not_arrive_no_vlan_is_promised() {
    for mode in ["native", "generic"] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let (a, b) = (dir.image("a", 64), dir.image("b", 64));
        let serve = |what: &str| xblade(&format!("serve --no-probe {what} -i {OURS} --xdp-mode {mode}"));
        let ethtool = format!("`ethtool -K {OURS} {}`", KEEP);
        for named in ["vlan=20", "vlan=untagged,vlan=20"] {
            let refused = Daemon::spawn(&pair.ours, serve(&format!("0.1={a},{named}"))).ended();
            let said = format!(" is not possible on {OURS}, where frames arrive without their VLAN tags: ");
            assert_refused(named, &refused, 3, &["0.1: vlan ", &said, &ethtool]);
        }
        let file = dir.path().join("xblade.toml");
        let text =
            format!("interfaces = ['{OURS}']\n[[export]]\naddress = '0.1'\npath = '{a}'\nvlan = [20, 30]\n");
        fs::write(&file, text).unwrap();
        let checked = xblade(&format!("check --config {}", file.display()));
        let checked = pair.ours.run(move || { checked }.output().unwrap());
        let err = String::from_utf8(checked.stderr).unwrap();
        assert!(!checked.status.success() && err.contains("0.1: vlan 20, 30 is not possible on"), "{err}");
        assert!(err.contains("5 | vlan = [20, 30]") && err.contains(&ethtool), "{err}");

        // Without a vlan it is served, with a warning.
        let daemon = Daemon::ready(&pair.ours, serve(&format!("0.1={a}")));
        let line = daemon.wait_for("hosts of every VLAN that reaches it may use its exports");
        assert!(line.contains("WARN") && line.contains(&ethtool), "{line}");
        let checked = pair.ours.run(|| xblade(&format!("check -i {OURS}")).output().unwrap());
        let text = String::from_utf8(checked.stdout).unwrap();
        assert!(text.contains(&format!("WARN  {OURS}: frames arrive without their VLAN tags")), "{text}");
        let mut untagged = host(&pair, Tags::NONE);
        untagged.until_served(at(0, 1));
        {
            let _pushed = push_vlan(&pair.peer, PEER, 20);
            assert!(is_served(&mut untagged, at(0, 1)), "the tag is beside the frame");
        }
        daemon.stop();

        // As the remedy says.
        pair.ours.sh(&format!("ethtool -K {OURS} {KEEP}"));
        pair.peer.sh(&format!("ethtool -K {PEER} {PUT_IN}"));
        let daemon = Daemon::ready(&pair.ours, serve(&format!("0.1={a} 0.2={b},vlan=20")));
        assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
        untagged.until_served(at(0, 1));
        assert!(!is_served(&mut untagged, at(0, 2)));
        let _pushed = push_vlan(&pair.peer, PEER, 20);
        assert!(!is_served(&mut untagged, at(0, 1)));
        assert_eq!(reply_tags(&mut untagged, at(0, 2), PATIENCE), Some(vlan(20)));
        daemon.stop().report().assert_sound();
    }
}

/// The kernel takes tags off before it passes frames to a bridge.
#[apply(needs_root!)]
fn interfaces_above_others_keep_no_tags() {
    let (pair, dir) = (tagged_pair(), Dir::new());
    let image = dir.image("a", 64);
    pair.ours.sh(&format!(
        "ip link add xbpbr type bridge && ip link set xbpbr up && ip link set {OURS} master xbpbr && ethtool -K xbpbr \
         txvlan off"
    ));
    let mut tagged = Initiator::new(&pair.peer, PEER, pair.ours.mac("xbpbr"));
    tagged.tags = vlan(20);
    let refused =
        Daemon::spawn(&pair.ours, xblade(&format!("serve --no-probe 0.1={image},vlan=20 -i xbpbr")));
    assert_refused(
        "bridge",
        &refused.ended(),
        3,
        &["not possible on xbpbr", "the kernel removes them before: serve the interface below"],
    );
    let daemon = serving(&pair.ours, &format!("0.1={image} -i xbpbr"));
    daemon.wait_for("WARN");
    let deadline = std::time::Instant::now() + PATIENCE;
    while reply_tags(&mut tagged, at(0, 1), MOMENT).is_none() {
        assert!(std::time::Instant::now() < deadline, "a request of VLAN 20 looks untagged there");
    }
    daemon.stop();
}

#[apply(needs_root!)]
fn a_nic_that_begins_to_take_tags_out_ends_what_relies_on_them() {
    let (pair, dir) = (tagged_pair(), Dir::new());
    let (a, b) = (dir.image("a", 64), dir.image("b", 64));
    let socket = dir.path().join("xblade.sock");
    let control = format!("--control {}", socket.display());
    let daemon = serving(&pair.ours, &format!("0.1={a} 0.2={b},vlan=20 -i {OURS} {control}"));
    let (mut untagged, mut tagged) = (host(&pair, Tags::NONE), host(&pair, vlan(20)));
    tagged.until_served(at(0, 2));
    let status = || {
        let status = xblade(&format!("status {control}"));
        String::from_utf8(pair.ours.run(move || { status }.output().unwrap().stdout)).unwrap()
    };
    for feature in ["rxvlan", "rx-vlan-stag-hw-parse"] {
        let mark = daemon.mark();
        pair.ours.sh(&format!("ethtool -K {OURS} {feature} on"));
        let line = daemon.wait_for_after(mark, "exports with a vlan are not served there (0.2)");
        assert!(line.contains("ERROR") && line.contains(&format!("-K {OURS} {feature} off`")), "{line}");
        assert!(!is_served(&mut tagged, at(0, 2)) && !is_served(&mut untagged, at(0, 2)));
        assert!(is_served(&mut untagged, at(0, 1)));
        until("status says so", || status().contains("VLAN tags do not arrive, so 0.2 is not served"));
        untagged.clear();
        let mark = daemon.mark();
        pair.ours.sh(&format!("ethtool -K {OURS} {feature} off"));
        daemon.wait_for_after(mark, "frames arrive with their VLAN tags now");
        while untagged.announcement(PATIENCE).expect("of 0.2").address != at(0, 2) {}
        assert!(is_served(&mut tagged, at(0, 2)));
        until("status is good again", || !status().contains("not served"));
    }
    daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn announcements_go_where_an_export_is_served() {
    let (pair, dir) = (tagged_pair(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    pair.ours.sh(&format!("ethtool -K xbp2 {KEEP}"));
    let image = |name| dir.image(name, 64);
    let exports = format!(
        "0.1={},interface={OURS} 0.2={},interface=xbp2,vlan=20,vlan=30 0.3={},interface=xbp*,vlan=untagged,vlan=20 \
         0.4={},vlan=any",
        image("a"),
        image("b"),
        image("c"),
        image("d")
    );
    let mut hosts = [(OURS, PEER), ("xbp2", "xbp3")]
        .map(|(ours, peer)| Initiator::new(&pair.peer, peer, pair.ours.mac(ours)));
    let daemon = serving(&pair.ours, &format!("{exports} -i {OURS} -i xbp2"));
    let expected = [
        vec![(1, Tags::NONE), (3, Tags::NONE), (3, vlan(20)), (4, Tags::NONE)],
        vec![(2, vlan(20)), (2, vlan(30)), (3, Tags::NONE), (3, vlan(20)), (4, Tags::NONE)],
    ];
    for (host, expected) in hosts.iter_mut().zip(expected) {
        let mut told = Vec::new();
        while told.len() < expected.len() {
            let one = host.announcement(PATIENCE).expect("an announcement");
            told.push((one.address.slot, one.tags));
        }
        told.sort_by_key(|(slot, tags)| (*slot, tags.vlan()));
        assert_eq!(told, expected);
        assert!(host.announcement(MOMENT).is_none(), "no more than these");
    }
    let [first, second] = &mut hosts;
    assert!(is_served(first, at(0, 1)) && !is_served(second, at(0, 1)));
    second.tags = vlan(20);
    first.tags = vlan(20);
    assert!(!is_served(first, at(0, 2)) && is_served(second, at(0, 2)));
    let report = daemon.stop().report();
    report.assert_sound();
    assert_eq!((report.sum("interface"), report.sum("vlan")), (2, 0));
}

#[apply(needs_root!)]
fn interfaces_of_an_export_are_among_those_served() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    pair.ours.sh("ip link add xbp9 type veth peer name xbp8");
    pair.ours.sh(&format!("ip link property add dev {OURS} altname storage0"));
    for wanted in ["xbp9", "nothing", "stor[1-9]*"] {
        let refused = Daemon::spawn(
            &pair.ours,
            xblade(&format!("serve --no-probe 0.1={image},interface={wanted} -i {OURS}")),
        );
        let said =
            format!("0.1: {wanted} is none of the interfaces that are served: name one of those ({OURS})");
        assert_refused(wanted, &refused.ended(), 2, &[&said]);
    }
    let file = dir.path().join("xblade.toml");
    let text = format!(
        "interfaces = ['{OURS}']\n[[export]]\naddress = '0.1'\npath = '{image}'\ninterfaces = ['xbp9']\n"
    );
    fs::write(&file, text).unwrap();
    let checked = xblade(&format!("check --config {}", file.display()));
    let checked = pair.ours.run(move || { checked }.output().unwrap());
    let err = String::from_utf8(checked.stderr).unwrap();
    assert!(err.contains("5 | interfaces = ['xbp9']") && err.contains("none of the interfaces"), "{err}");
    // By another name, and by a pattern.
    for wanted in ["storage0", "stor*", "xbp?"] {
        let daemon = serving(&pair.ours, &format!("0.1={image},interface={wanted} -i {OURS}"));
        host(&pair, Tags::NONE).until_served(at(0, 1));
        daemon.stop();
    }
    // One address, one export, whatever the interfaces.
    let twice = format!("serve --no-probe 0.1={image},ro,interface={OURS} 0.1={image},ro,interface=xbp9");
    let refused = Daemon::spawn(&pair.ours, xblade(&format!("{twice} -i {OURS} -i xbp9"))).ended();
    assert_refused("twice", &refused, 2, &["0.1 is given twice"]);
}

/// A daemon with a configuration file, on two pairs.
struct Rig {
    pair: Pair,
    dir: Dir,
    daemon: Daemon,
    file: PathBuf,
}

impl Rig {
    fn new(text: &str) -> Self {
        let (pair, dir) = (tagged_pair(), Dir::new());
        join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
        pair.ours.sh(&format!("ethtool -K xbp2 {KEEP}"));
        dir.image("a", 512);
        dir.image("b", 512);
        let file = dir.path().join("xblade.toml");
        write(&file, &dir, text);
        let daemon = serving_file(&pair.ours, &file.display().to_string());
        Self { pair, dir, daemon, file }
    }

    /// Reloads the file. Returns the log line with the result.
    fn reload(&self, text: &str) -> String {
        write(&self.file, &self.dir, text);
        let mark = self.daemon.mark();
        self.daemon.signal(libc::SIGHUP);
        self.daemon.wait_for_after(mark, "reload")
    }
}

fn write(file: &std::path::Path, dir: &Dir, text: &str) {
    let head = format!(
        "interfaces = ['{OURS}', 'xbp2']\nprobe = false\nmeasure-every = 0\n[service]\ncontrol = 'none'\nstate = 'none'\n"
    );
    let next = file.with_extension("next");
    fs::write(&next, head + &text.replace('%', &dir.path().display().to_string())).unwrap();
    fs::rename(&next, file).unwrap();
}

fn export(slot: usize, name: &str, more: &str) -> String {
    format!("[[export]]\naddress = '0.{slot}'\npath = '%/{name}'\n{more}\n")
}

#[apply(needs_root!)]
fn a_reload_changes_vlans_and_interfaces_under_load() {
    let b = |more: &str| export(2, "b", more);
    let versions = [
        "",
        "vlan = ['untagged', 20]",
        "vlan = 'any'\ninterfaces = ['xbp*']",
        "interfaces = ['xbp0']",
        // Only the interfaces are others.
        "interfaces = ['xbp0', 'xbp2']",
        "vlan = ['untagged', 7]\ninterfaces = ['xbp0', 'xbp2']",
    ];
    let rig = Rig::new(&(export(1, "a", versions[0]) + &b("vlan = 20")));
    let (done, mut load) =
        (Arc::new(AtomicBool::new(false)), Load::new(host(&rig.pair, Tags::NONE), at(0, 1), 16));
    let loader = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                load.run(Duration::from_millis(100));
            }
            // No request is lost: each is answered without being sent again.
            load.finish();
        })
    };
    let [mut untagged, mut tagged] = [Tags::NONE, vlan(20)].map(|tags| host(&rig.pair, tags));
    let mut other = Initiator::new(&rig.pair.peer, "xbp3", rig.pair.ours.mac("xbp2"));
    let mut last = versions[0];
    for round in 0..12 {
        let own = versions[round % versions.len()];
        let said = rig.reload(&(export(1, "a", own) + &b("vlan = 20")));
        assert!(own == last || said.contains("1 change"), "{said}");
        last = own;
        assert!(is_served(&mut tagged, at(0, 2)) && !is_served(&mut untagged, at(0, 2)));
        assert_eq!(is_served(&mut tagged, at(0, 1)), own.contains("20") || own.contains("any"), "{own}");
        assert_eq!(is_served(&mut other, at(0, 1)), !own.contains("['xbp0']"), "{own}");
        other.clear();
        let said = rig.reload(&(export(1, "a", own) + &b("vlan = 30\ninterfaces = ['xbp2']")));
        assert!(said.contains("1 change"), "{said}");
        let mut moved = Initiator::new(&rig.pair.peer, "xbp3", rig.pair.ours.mac("xbp2"));
        moved.tags = vlan(30);
        assert!(is_served(&mut moved, at(0, 2)) && !is_served(&mut tagged, at(0, 2)), "{own}");
        let announced = other.announcement(PATIENCE).expect("of what has changed");
        assert_eq!((announced.address, announced.tags), (at(0, 2), vlan(30)));
        rig.reload(&(export(1, "a", own) + &b("vlan = 20")));
    }
    // What cannot be done changes nothing.
    let said = rig.reload(&(export(1, "a", last) + &b("vlan = 20\ninterfaces = ['xbp7']")));
    assert!(said.contains("nothing was changed: 0.2: xbp7 is none of the interfaces"), "{said}");
    let mark = rig.daemon.mark();
    rig.pair.ours.sh("ethtool -K xbp2 rxvlan on");
    rig.daemon.wait_for_after(mark, "exports with a vlan are not served there (0.1, 0.2)");
    let said = rig.reload(&(export(1, "a", last) + &b("vlan = 30")));
    assert!(said.contains("nothing was changed: 0.2: vlan 30 is not possible on xbp2"), "{said}");
    assert!(is_served(&mut tagged, at(0, 2)));
    done.store(true, Ordering::Relaxed);
    loader.join().unwrap();
    rig.daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn the_probe_asks_in_the_vlans_and_on_the_interfaces_of_an_export() {
    let (ours, other, bridge, dir) = (Space::new(), Space::new(), Space::new(), Dir::new());
    bridge.sh("ip link add xbpbr type bridge && ip link set xbpbr up");
    for (space, port) in [(&ours, "xbpp0"), (&other, "xbpp1")] {
        join((space, OURS), (&bridge, port), "");
        bridge.sh(&format!("ip link set {port} master xbpbr && ethtool -K {port} {PUT_IN}"));
        space.sh(&format!("ethtool -K {OURS} {KEEP} {PUT_IN}"));
    }
    let forwards = "test $(bridge link show | grep -c 'state forwarding') = 2 && echo yes || echo no";
    until("both ports forward", || bridge.sh(forwards).trim() == "yes");
    ours.sh(&format!("ip link add xbp9 type veth peer name xbp8 && ip link set xbp8 up && ip link set xbp9 up && ethtool -K xbp9 {KEEP}"));
    let (a, b) = (dir.image("a", 8), dir.image("b", 8));
    let _first = serving(&other, &format!("7.3={a},vlan=20 -i {OURS}"));
    let serve =
        |export: &str| Daemon::spawn(&ours, xblade(&format!("serve 7.3={b},{export} -i {OURS} -i xbp9")));
    for taken in ["vlan=20", "vlan=untagged,vlan=20,vlan=30", "vlan=20,interface=xbp0"] {
        let refused = serve(taken).ended();
        assert_refused(taken, &refused, 4, &[&format!("on {OURS} serves 7.3 already")]);
    }
    ours.until_detached(OURS);
    for free in ["vlan=untagged", "vlan=30", "vlan=20,interface=xbp9"] {
        let second = serve(free);
        second.wait_for("ready:");
        second.stop();
        ours.until_detached(OURS);
    }
}
