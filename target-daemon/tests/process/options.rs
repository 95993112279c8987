//! Options: each is accepted and takes effect, and the data stays correct.

use std::fs;

use crate::command_line::assert_refused;
use crate::daemon::{serving, xblade};
use crate::image::{Dir, patterns};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, apply, at, may_run, needs_root, skipped};

/// Options, MTU, and the expected log messages.
const ROWS: &[(&str, u32, &[&str])] = &[
    ("--xdp-mode auto", 1500, &["driver veth", "XDP in native mode", "copy-mode rings", "2 sectors a frame"]),
    ("--xdp-mode native", 9000, &["XDP in native mode", "16 sectors a frame"]),
    ("--xdp-mode generic", 1500, &["XDP in generic mode"]),
    ("--xdp-mode generic", 9000, &["XDP in generic mode"]),
    ("--zero-copy off", 1500, &["copy-mode rings"]),
    ("--idle spin", 1500, &[]),
    ("--rx-ring 64", 1500, &["rx 64, tx 64, UMEM 256 chunks of 4096 bytes", "a burst may be lost"]),
    ("--rx-ring 64", 9000, &["rx 64, tx 64, UMEM 256 chunks of 4096 bytes", "a burst may be lost"]),
    ("--initiators 1 --buffer-count 16", 9000, &["rx 64, tx 64"]),
    ("--initiators 65535 --buffer-count 65535", 9000, &["rx 16384"]),
    ("--multi-fragment off", 1500, &["2 sectors a frame"]),
    ("--busy-poll 20", 1500, &[]),
    ("--busy-poll 20 --busy-poll-budget 16", 9000, &[]),
];

#[apply(needs_root!)]
fn every_option_is_taken_and_the_data_is_right() {
    for (options, mtu, said) in ROWS {
        let (pair, dir) = (Pair::new(), Dir::new());
        pair.mtu(*mtu);
        // Else it warns.
        pair.ours.sh(&format!("ethtool -K {OURS} rxvlan off rx-vlan-stag-hw-parse off"));
        let image = dir.image("a", 2048);
        // A worker that spins sleeps only while a disk writes.
        let spins = options.contains("--idle spin");
        let store = if spins { ",store=mmap" } else { "" };
        let daemon = serving(&pair.ours, &format!("0.1={image}{store} -i {OURS} {options}"));
        for part in *said {
            daemon.wait_for(part);
        }
        exercise(&pair, *mtu, 60);
        let ended = daemon.stop();
        let report = ended.report();
        report.assert_sound();
        assert_eq!(report.sum("sleeps") == 0, spins, "{options}: {report:?}");
        assert!(!ended.text.contains("WARN") || said.join(" ").contains("lost"), "{options}: {}", ended.text);
    }
}

/// Rounds of eight concurrent writes, read back one round later.
fn exercise(pair: &Pair, mtu: u32, rounds: u64) {
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let sectors = if mtu == 9000 { 16 } else { 2 };
    for round in 0..rounds {
        let lba = |n: u64| (round * 8 + n) % 64 * sectors;
        let writes: Vec<u32> =
            (0..8).map(|n| host.send_write(at(0, 1), lba(n), &patterns(lba(n), sectors, round))).collect();
        for tag in writes {
            assert_eq!(host.answer(tag).status, 0x40);
        }
        let reads: Vec<u32> = (0..8).map(|n| host.send_read(at(0, 1), lba(n), sectors as u8)).collect();
        for (n, tag) in (0..).zip(reads) {
            assert!(host.answer(tag).data == patterns(lba(n), sectors, round), "round {round}");
        }
    }
}

#[test]
fn workers_are_pinned_to_the_cores_that_were_named() {
    let name = "workers_are_pinned_to_the_cores_that_were_named";
    if !may_run(name) {
        return;
    }
    let there = std::thread::available_parallelism().unwrap().get();
    for (cores, queues) in [("0", 1), ("1", 1), ("1", 2), ("0,1", 2), ("1,0", 1)] {
        if there < 2 && cores.contains('1') {
            skipped(name, "needs two CPUs");
            continue;
        }
        let pair = Pair::with(&format!("numrxqueues {queues} numtxqueues {queues}"));
        let options = format!("--cores {cores}");
        let daemon = serving(&pair.ours, &format!("0.1=x,store=null,length=8 -i {OURS} {options}"));
        let cores: Vec<&str> = cores.split(',').collect();
        for (worker, core) in cores.iter().enumerate() {
            daemon.wait_for(&format!("worker {worker} runs on core {core}"));
        }
        assert_eq!(allowed_cores(daemon.pid()), cores);
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        daemon.stop();
    }
}

/// The cores that each worker may use, in order.
fn allowed_cores(pid: u32) -> Vec<String> {
    let mut workers: Vec<(String, String)> = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .map(|status| {
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().to_owned()
            };
            (field("Name:"), field("Cpus_allowed_list:"))
        })
        .filter(|(name, _)| name.starts_with("worker-"))
        .collect();
    workers.sort();
    workers.into_iter().map(|(_, cores)| cores).collect()
}

#[test]
fn huge_pages_are_used_or_asked_for() {
    let name = "huge_pages_are_used_or_asked_for";
    if !may_run(name) {
        return;
    }
    let reserved = Reservation::of(0);
    let pair = Pair::new();
    let arguments = format!("0.1=x,store=null,length=64 -i {OURS} --huge-pages --no-probe");
    if reserved.now() == 0 {
        let refused = Daemon::spawn(&pair.ours, xblade(&format!("serve {arguments}"))).ended();
        let parts = ["UMEM of 8 MiB on huge pages", "reserve", "vm.nr_hugepages"];
        assert_refused("none reserved", &refused, 3, &parts);
        pair.ours.until_detached(OURS);
    }
    drop(reserved);
    let reserved = Reservation::of(32);
    if reserved.now() < 32 {
        skipped(name, "the machine gives no huge pages");
        return;
    }
    for options in ["", "--rx-ring 128"] {
        let dir = Dir::new();
        let image = dir.image("a", 2048);
        let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS} --huge-pages {options}"));
        let maps = fs::read_to_string(format!("/proc/{}/smaps", daemon.pid())).unwrap();
        assert!(maps.contains("/anon_hugepage"), "{options}");
        exercise(&pair, 1500, 20);
        let ended = daemon.stop();
        assert!(!ended.text.contains("ERROR ]"), "{}", ended.text);
    }
}

/// Huge pages of the machine, restored on drop.
struct Reservation(u64);

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";

impl Reservation {
    fn of(pages: u64) -> Self {
        let before = Self(read_reserved());
        // If it is not writable, the existing pages have to do.
        let _ = fs::write(RESERVED, (before.0 + pages).to_string());
        before
    }

    fn now(&self) -> u64 {
        read_reserved()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let _ = fs::write(RESERVED, self.0.to_string());
    }
}

fn read_reserved() -> u64 {
    fs::read_to_string(RESERVED).map_or(0, |text| text.trim().parse().unwrap())
}
