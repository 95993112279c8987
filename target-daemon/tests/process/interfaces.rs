//! Several exports on several interfaces.

use std::time::Duration;

use crate::command_line::assert_refused;
use crate::daemon::{serving, xblade};
use crate::image::{Dir, pattern, sector};
use xblade_kit::{Daemon, Initiator, OURS, PATIENCE, PEER, Pair, apply, at, join, needs_root};

#[apply(needs_root!)]
fn each_interface_serves_every_export_and_answers_for_itself() {
    let (pair, dir) = (Pair::new(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let (a, b) = (dir.image("a", 64), dir.image("b", 32));
    let exports =
        format!("0.1={a} 0.2={b},offset=8,length=16 3.0=x,store=null,length=1GiB 3.1={b},offset=24,ro");
    let mut hosts = [(OURS, PEER), ("xbp2", "xbp3")]
        .map(|(ours, peer)| Initiator::new(&pair.peer, peer, pair.ours.mac(ours)));
    let daemon = serving(&pair.ours, &format!("{exports} -i {OURS} -i xbp2"));
    daemon.wait_for("ready: 4 exports on xbp0, xbp2");
    for host in &mut hosts {
        let mut told: Vec<_> = (0..4).map(|_| host.announcement(PATIENCE).unwrap()).collect();
        told.sort_by_key(|told| told.address);
        let addresses: Vec<_> = told.iter().map(|told| told.address).collect();
        assert_eq!(addresses, [at(0, 1), at(0, 2), at(3, 0), at(3, 1)]);
        assert!(told.iter().all(|told| told.from == host.target));
        let sizes: Vec<u64> = addresses.iter().map(|at| host.identify(*at).sectors).collect();
        assert_eq!(sizes, [64, 16, 2 << 20, 8]);
        assert_eq!(host.read(at(0, 2), 0, 1), sector(8));
        assert_eq!(host.read(at(3, 1), 0, 1), sector(24));
        assert_eq!(host.read(at(3, 0), 2_097_151, 1), [0; 512]);
    }
    let [one, two] = &mut hosts;
    // One reads what the other wrote, and each receives only its own replies.
    for (round, lba) in (1..=20).zip(0..) {
        one.write(at(0, 1), lba, &pattern(lba, round));
        assert_eq!(two.read(at(0, 1), lba, 1), pattern(lba, round));
        let tag = two.send_read(at(0, 1), lba, 1);
        assert_eq!(two.answer(tag).from, two.target);
    }
    for host in &mut hosts {
        host.clear();
    }
    let [one, two] = &mut hosts;
    let tags: Vec<u32> = (0..16).map(|lba| one.send_read(at(0, 1), lba, 1)).collect();
    for tag in tags {
        assert_eq!(one.answer(tag).from, one.target);
    }
    assert_eq!(two.frames(Duration::from_millis(50)), 0, "answers belong to the interface of the request");
    // A broadcast query is answered for each export.
    let tag = two.send_query_to_all();
    assert_eq!(two.count(tag, 4), 4);
    daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn an_alternative_name_is_as_good_as_the_name() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let long = "enp5s0f0np0-a-rather-long-name";
    pair.ours.sh(&format!("ip link property add dev {OURS} altname {long} altname enp5s0"));
    for name in ["enp5s0", long, "enp5*"] {
        let daemon = serving(&pair.ours, &format!("0.1={image} -i {name}"));
        let line = daemon.wait_for("ready:");
        assert!(line.ends_with(&format!("1 export on {OURS}")), "{name}: {line}");
        assert_eq!(Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS)).read(at(0, 1), 1, 1), sector(1));
        // It is not mistaken for a late interface.
        pair.ours.sh("ip link add xbp9 type veth peer name xbp8 && ip link del xbp9");
        std::thread::sleep(Duration::from_secs(3));
        let ended = daemon.stop();
        assert!(!ended.text.contains("came after the start"), "{}", ended.text);
    }
    let checked = pair.ours.run(|| xblade("check -i enp5s0").output().unwrap());
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains(&format!("{OURS}: driver veth")), "{text}");
}

/// The kernel refuses an XDP program on an interface below another one that has one.
#[apply(needs_root!)]
fn interfaces_that_lie_on_each_other_are_served_in_any_order() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    pair.ours.sh(&format!("ip link add xbp2 link {OURS} type macvlan mode bridge && ip link set xbp2 up"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    for interfaces in [format!("-i {OURS} -i xbp2"), format!("-i xbp2 -i {OURS}"), "-i xbp*".to_owned()] {
        let daemon = serving(&pair.ours, &format!("0.1={image} {interfaces}"));
        let line = daemon.wait_for(&format!("xbp2 lies on {OURS}, "));
        assert!(line.contains("WARN") && line.contains("leave one of them out"), "{line}");
        assert_eq!(host.read(at(0, 1), 1, 1), sector(1), "{interfaces}");
        daemon.stop();
    }
    // If another process serves the upper one, both are named.
    let _daemon = serving(&pair.ours, &format!("0.1={image},ro -i xbp2"));
    let refused =
        Daemon::spawn(&pair.ours, xblade(&format!("serve --no-probe 0.2={image},ro -i {OURS}"))).ended();
    let below =
        format!("interface `{OURS}` lies below `xbp2`, and the kernel takes no XDP program below another: ");
    assert_refused("below", &refused, 3, &[&below, "`xbp2` is served by another xblade", "stop process"]);
    let checked = pair.ours.run(|| xblade(&format!("check -i {OURS}")).output().unwrap());
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains(&format!("FIX   {below}")), "{text}");
}
