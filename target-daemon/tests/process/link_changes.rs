//! Interfaces that change while they are served.

use std::time::Duration;

use xblade::wire::ether::Mac;

use crate::daemon::serving;
use crate::image::{Dir, pattern, sector};
use xblade_kit::{Announcement, Initiator, OURS, PATIENCE, PEER, Pair, apply, at, join, needs_root, until};

#[apply(needs_root!)]
fn a_link_that_was_down_is_served_and_announced_again() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    for (round, (space, name)) in (1..).zip([(&pair.ours, OURS), (&pair.peer, PEER), (&pair.ours, OURS)]) {
        host.write(at(0, 1), 5, &pattern(5, round));
        let mark = daemon.mark();
        space.sh(&format!("ip link set {name} down"));
        daemon.wait_for_after(mark, &format!("{OURS}: link is down"));
        host.send_read(at(0, 1), 5, 1);
        host.clear();
        let mark = daemon.mark();
        space.sh(&format!("ip link set {name} up"));
        daemon.wait_for_after(mark, &format!("{OURS}: link is up"));
        assert_eq!(next_announcement(&mut host).address, at(0, 1));
        host.until_served(at(0, 1));
        assert_eq!(host.read(at(0, 1), 5, 1), pattern(5, round));
    }
    daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn replies_that_wait_for_a_link_do_not_hold_up_the_end() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    daemon.signal(libc::SIGSTOP);
    for lba in 0..32 {
        host.send_read(at(0, 1), lba, 1);
    }
    pair.ours.sh(&format!("ip link set {OURS} down"));
    daemon.signal(libc::SIGCONT);
    daemon.wait_for(&format!("{OURS}: link is down"));
    until("the requests were executed", || daemon.report().sum("reads") == 32);
    let started = std::time::Instant::now();
    let ended = daemon.stop();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}: {}", started.elapsed(), ended.text);
}

#[apply(needs_root!)]
fn an_interface_that_is_down_at_the_start_is_served_when_it_is_up() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    pair.ours.sh(&format!("ip link set {OURS} down"));
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    daemon.wait_for(&format!("{OURS} is down: bring it up with `ip link set {OURS} up`"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    pair.ours.sh(&format!("ip link set {OURS} up"));
    assert_eq!(next_announcement(&mut host).address, at(0, 1));
    host.until_served(at(0, 1));
    assert_eq!(host.read(at(0, 1), 2, 1), sector(2));
    daemon.stop().report().assert_sound();
}

#[apply(needs_root!)]
fn another_mtu_is_announced_and_used() {
    for mode in ["native", "generic"] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let image = dir.image("a", 256);
        let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS} --xdp-mode {mode}"));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        host.clear();
        for (mtu, sectors) in [(9000, 16), (1500, 2), (4200, 8), (1500, 2)] {
            pair.mtu(mtu);
            let told = until_announced(&mut host, |told| told.advert.sectors_per_frame == sectors);
            assert_eq!((told.from, told.to), (host.target, Mac::BROADCAST));
            let count = sectors;
            let version = u64::from(mtu);
            let data: Vec<u8> = (64..64 + u64::from(count)).flat_map(|lba| pattern(lba, version)).collect();
            host.write(at(0, 1), 64, &data);
            assert_eq!(host.read(at(0, 1), 64, count), data, "{mode}, MTU {mtu}");
            assert_eq!(image.sectors(64, count.into()), data);
            let (_, advert) = host.query(at(0, 1), PATIENCE).unwrap();
            assert_eq!(advert.sectors_per_frame, sectors);
        }
        daemon.stop().report().assert_sound();
    }
}

/// A host keeps the sector count that it learned: from vblade, which advertises 17 at MTU
/// 9000, or before the MTU was lowered. An error would be final for it. While there is no
/// reply it resends, and the operator can raise the MTU again.
#[apply(needs_root!)]
fn reads_that_do_not_fit_any_more_wait_for_the_mtu() {
    for store in ["direct", "file", "mmap"] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let image = dir.image("a", 256);
        pair.mtu(9000);
        let daemon = serving(&pair.ours, &format!("0.1={image},store={store} -i {OURS}"));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        assert_eq!(host.query(at(0, 1), PATIENCE).unwrap().1.sectors_per_frame, 16, "as ever");
        let data: Vec<u8> = (61..61 + 17).flat_map(|lba| pattern(lba, 5)).collect();
        host.write(at(0, 1), 61, &data);
        assert_eq!(image.sectors(61, 17), data, "{store}");
        assert_eq!(host.read(at(0, 1), 61, 17), data, "{store}");
        pair.mtu(1500);
        until_announced(&mut host, |told| told.advert.sectors_per_frame == 2);
        let tag = host.send_read(at(0, 1), 61, 17);
        let warning = daemon.wait_for("a host asks for 17 sector(s) of 0.1 at once");
        assert!(warning.contains(OURS) && warning.contains("MTU 1500 has room for 2"), "{warning}");
        assert!(warning.contains("raise the MTU to 8726 or more"), "{warning}");
        assert!(host.answer_within(tag, Duration::from_millis(50)).is_none(), "{store}: silence");
        assert_eq!(host.read(at(0, 1), 61, 2), data[..1024], "what fits");
        let tag = host.send_read(at(0, 1), 0, 255);
        assert_eq!(host.answer(tag).error, 0x04, "no MTU would help");
        pair.mtu(9000);
        until_announced(&mut host, |told| told.advert.sectors_per_frame == 16);
        assert_eq!(host.read(at(0, 1), 61, 17), data, "{store}: the MTU is back");
        let report = daemon.stop().report();
        report.assert_sound();
        assert_eq!(report.sum("reply_too_long"), 1);
    }
}

#[apply(needs_root!)]
fn another_mac_address_is_announced_and_served() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let before = pair.ours.mac(OURS);
    let mut host = Initiator::new(&pair.peer, PEER, before);
    host.until_served(at(0, 1));
    let now = Mac([2, 0x58, 0x42, 0, 0, 0x99]);
    pair.ours.sh(&format!("ip link set {OURS} address {now}"));
    until_announced(&mut host, |told| told.from == now);
    host.target = now;
    assert_eq!(host.read(at(0, 1), 1, 1), sector(1));
    let tag = host.send_read(at(0, 1), 1, 1);
    assert_eq!(host.answer(tag).from, now);
    host.target = before;
    host.assert_silence(at(0, 1));
    let report = daemon.stop().report();
    report.assert_sound();
    assert!(report.sum("destination") >= 1, "{report:?}");
}

#[apply(needs_root!)]
fn an_interface_that_is_gone_is_named_and_the_others_go_on() {
    let (pair, dir) = (Pair::new(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let image = dir.image("a", 8);
    let mut daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS} -i xbp2"));
    let mut host = Initiator::new(&pair.peer, "xbp3", pair.ours.mac("xbp2"));
    host.until_served(at(0, 1));
    pair.ours.sh(&format!("ip link del {OURS}"));
    daemon.wait_for(&format!("{OURS} is gone"));
    assert_eq!(host.read(at(0, 1), 2, 1), sector(2));
    // A new interface with that name is not the one that was served, and xblade logs that.
    let mark = daemon.mark();
    join((&pair.ours, OURS), (&pair.peer, PEER), "");
    let line = daemon.wait_for_after(mark, &format!("{OURS} is back"));
    assert!(line.contains("restart xblade"), "{line}");
    Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS)).assert_silence(at(0, 1));
    assert_eq!(host.read(at(0, 1), 3, 1), sector(3));
    assert!(daemon.is_running());
    // A worker whose lane is gone still sleeps.
    let before = cpu_ticks(daemon.pid());
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu_ticks(daemon.pid()) - before;
    assert!(used < 10, "{used} ticks of CPU in half a second of nothing to do");
    daemon.stop();
}

/// An interface is identified by its index: under a new name it is still served and
/// followed.
#[apply(needs_root!)]
fn a_renamed_interface_is_served_and_followed() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    pair.ours.sh(&format!("ip link set {OURS} down && ip link set {OURS} name xbp9 && ip link set xbp9 up"));
    daemon.wait_for(&format!("{OURS} is called xbp9 now"));
    host.until_served(at(0, 1));
    let mark = daemon.mark();
    pair.ours.sh("ip link set xbp9 mtu 9000");
    daemon.wait_for_after(mark, "xbp9: MTU 9000");
    daemon.stop();
}

/// It comes back with its index, but without what the kernel had attached to it.
#[apply(needs_root!)]
fn an_interface_that_was_in_another_namespace_is_not_taken_for_served() {
    let (pair, dir) = (Pair::new(), Dir::new());
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let image = dir.image("a", 8);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS} -i xbp2"));
    let index = pair.ours.facts(OURS).index;
    // Away and back before the daemon looks, and then with time for a look in between.
    for stopped in [true, false] {
        let mark = daemon.mark();
        if stopped {
            daemon.signal(libc::SIGSTOP);
        }
        pair.ours.give(OURS, &pair.peer);
        if !stopped {
            daemon.wait_for_after(mark, &format!("{OURS} is gone"));
        }
        pair.peer.give(OURS, &pair.ours);
        pair.ours.sh(&format!("ip link set {OURS} up"));
        daemon.signal(libc::SIGCONT);
        let line = daemon.wait_for_after(mark, &format!("{OURS} is back"));
        assert!(line.contains("systemctl restart xblade"), "{line}");
        assert_eq!(pair.ours.facts(OURS).index, index);
    }
    Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS)).assert_silence(at(0, 1));
    Initiator::new(&pair.peer, "xbp3", pair.ours.mac("xbp2")).until_served(at(0, 1));
    daemon.stop();
}

#[apply(needs_root!)]
fn an_interface_that_comes_later_is_logged_once_and_served_after_a_restart() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let arguments = format!("0.1={image} -i xbp[0-9]");
    let daemon = serving(&pair.ours, &arguments);
    pair.ours.sh("ip link add xbq2 type veth peer name xbq4");
    join((&pair.ours, "xbp2"), (&pair.peer, "xbp3"), "");
    let line = daemon.wait_for("xbp2 fits xbp[0-9], but came after the start");
    assert!(line.contains("WARN") && line.contains("systemctl restart xblade"), "{line}");
    // Later changes of the late interface are ignored.
    pair.ours.sh("ip link set xbp2 mtu 2000");
    pair.ours.sh(&format!("ip link set {OURS} mtu 2000"));
    daemon.wait_for(&format!("{OURS}: MTU 2000"));
    let mut late = Initiator::new(&pair.peer, "xbp3", pair.ours.mac("xbp2"));
    late.assert_silence(at(0, 1));
    Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS)).until_served(at(0, 1));
    let mark = daemon.mark();
    // One that would make a restart fail.
    pair.ours.sh("ip link add xbp5 mtu 200 type veth peer name xbq5");
    let line = daemon.wait_for_after(mark, "xbp5 fits xbp[0-9]");
    assert!(line.contains("a restart would be refused: xbp5: "), "{line}");
    let mark = daemon.mark();
    pair.ours.sh("ip link del xbp5");
    daemon.wait_for_after(mark, "xbp5, which was not served, is gone");
    let text = daemon.stop().text;
    assert_eq!(text.matches("xbp2 fits").count(), 1, "{text}");
    assert!(!text.contains("xbq"), "these are not wanted: {text}");
    let daemon = serving(&pair.ours, &arguments);
    late.until_served(at(0, 1));
    daemon.stop();
}

/// An interface is identified by its index, the configuration by name.
#[apply(needs_root!)]
fn another_interface_under_the_name_of_a_renamed_one_is_logged() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    pair.ours.sh(&format!("ip link set {OURS} down && ip link set {OURS} name xbp9 && ip link set xbp9 up"));
    daemon.wait_for(&format!("{OURS} is called xbp9 now"));
    pair.ours.sh(&format!("ip link add {OURS} type veth peer name xbp4"));
    daemon.wait_for(&format!("{OURS} is to be served, but came after the start"));
    Initiator::new(&pair.peer, PEER, pair.ours.mac("xbp9")).until_served(at(0, 1));
    daemon.stop();
}

#[apply(needs_root!)]
fn the_only_interface_may_go_and_the_process_lives() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let mut daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    pair.peer.sh(&format!("ip link del {PEER}"));
    daemon.wait_for(&format!("{OURS} is gone"));
    daemon.report();
    assert!(daemon.is_running());
    daemon.stop();
}

/// CPU time of a process in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn next_announcement(host: &mut Initiator) -> Announcement {
    host.announcement(PATIENCE).expect("an announcement")
}

fn until_announced(host: &mut Initiator, wanted: impl Fn(&Announcement) -> bool) -> Announcement {
    loop {
        let told = next_announcement(host);
        if wanted(&told) {
            return told;
        }
    }
}
