//! Signals, and sudden exits.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xblade::wire::ether::Mac;

use crate::daemon::{serving, xblade};
use crate::image::{Dir, pattern, patterns, sector};
use xblade_kit::{Daemon, Initiator, OURS, PATIENCE, PEER, Pair, apply, at, needs_root, until};

#[apply(needs_root!)]
fn a_signal_drains_and_detaches() {
    // With two workers, half of the requests are with the other one.
    let cores = if thread::available_parallelism().unwrap().get() < 2 { "0" } else { "0,1" };
    let (pair, dir) = (Pair::new(), Dir::new());
    for (signal, cores) in [(libc::SIGTERM, "0"), (libc::SIGINT, cores), (libc::SIGTERM, cores)] {
        let images = ["a", "b"].map(|name| dir.image(name, 512));
        let [a, b] = &images;
        let daemon = serving(&pair.ours, &format!("0.0={a} 0.1={b} -i {OURS} --cores {cores}"));
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        let writes: Vec<(u32, usize, u64)> = (0..512)
            .map(|n| (n as usize % 2, n / 2 * 2))
            .map(|(slot, lba)| (host.send_write(at(0, slot as u8), lba, &patterns(lba, 2, 9)), slot, lba))
            .collect();
        let ended = daemon.end_by(signal);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.text);
        pair.ours.until_detached(OURS);
        let mut acknowledged = 0;
        for (tag, slot, lba) in writes {
            let Some(answer) = host.answer_within(tag, Duration::from_millis(1)) else { continue };
            assert_eq!(answer.status, 0x40);
            assert_eq!(
                images[slot].sectors(lba, 2),
                patterns(lba, 2, 9),
                "acknowledged, but not in the file"
            );
            acknowledged += 1;
        }
        let report = ended.report();
        report.assert_sound();
        assert_eq!(report.sum("writes"), acknowledged, "each write that was done was answered");
        assert!(ended.text.contains("UNANSWERED"), "{}", ended.text);
        host.assert_silence(at(0, 1));
    }
}

#[apply(needs_root!)]
fn a_signal_before_ready_ends_it_well() {
    let pair = Pair::new();
    let command = xblade(&format!("serve 0.1=x,store=null,length=8 -i {OURS}"));
    let daemon = Daemon::spawn(&pair.ours, command);
    daemon.wait_for("probing for other targets");
    daemon.stop();
    pair.ours.until_detached(OURS);
}

#[apply(needs_root!)]
fn a_signal_right_after_ready_is_heard() {
    let pair = Pair::new();
    for _ in 0..5 {
        let daemon = serving(&pair.ours, &format!("0.1=x,store=null,length=8 -i {OURS}"));
        daemon.signal(libc::SIGUSR1);
        daemon.wait_for("UNANSWERED");
        daemon.stop();
    }
}

#[apply(needs_root!)]
fn usr1_prints_counters_and_service_times() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    for lba in 0..10 {
        host.write(at(0, 1), lba, &pattern(lba, 1));
        host.read(at(0, 1), lba, 1);
    }
    host.assert_silence(at(0, 2));
    let report = daemon.report();
    assert_eq!((report.sum("reads"), report.sum("writes"), report.sum("address")), (10, 10, 1), "{report:?}");
    // The announcement has no request.
    assert_eq!(report.sum("replies"), 21, "{report:?}");
    assert_eq!(report.sum("redirected"), 21, "{report:?}");
    report.assert_sound();
    for operation in ["read", "write", "query"] {
        daemon.wait_for(&format!("  {operation} "));
    }
    // The counters continue.
    host.read(at(0, 1), 0, 1);
    assert_eq!(daemon.report().sum("reads"), 11);
    daemon.stop();
}

/// Detected periodically and on request; reported to the operator and the hosts.
#[apply(needs_root!)]
fn a_new_size_is_noticed_said_and_announced() {
    // 3600 s do not pass within a test, 0 measures only on request; 1 needs no signal.
    for (every, by_signal) in [(3600, true), (0, true), (1, false)] {
        let (pair, dir) = (Pair::new(), Dir::new());
        let (image, other) = (dir.image("a", 64), dir.image("b", 8));
        let arguments = format!("0.1={image} 0.2={other} -i {OURS} --measure-every {every}");
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        let daemon = serving(&pair.ours, &arguments);
        // From the start: they may arrive later than the first replies.
        for _ in 0..2 {
            host.announcement(PATIENCE).expect("an announcement");
        }
        for (sectors, said) in
            [(4096, "0.1: 2.0 MiB now, was 32.0 KiB"), (32, "0.1: 16.0 KiB now, was 2.0 MiB")]
        {
            let mark = daemon.mark();
            image.resize(sectors);
            if by_signal {
                daemon.signal(libc::SIGHUP);
            }
            let line = daemon.wait_for_after(mark, "now, was");
            assert!(line.contains(said) && line.contains("aoe-revalidate e0.1"), "{line}");
            for slot in [1, 2] {
                let announced = host.announcement(PATIENCE).expect("an announcement");
                assert_eq!((announced.address, announced.to), (at(0, slot), Mac::BROADCAST));
            }
            // The size was known before this request.
            let last = sectors - 1;
            let tag = host.send_read(at(0, 1), last, 1);
            assert_eq!(host.answer(tag).status, 0x40, "sector {last}");
            let tag = host.send_read(at(0, 1), sectors, 1);
            assert_eq!((host.answer(tag).error, host.identify(at(0, 1)).sectors), (0x10, sectors));
        }
        let again = host.announcement(Duration::from_millis(10));
        let ended = daemon.stop();
        assert_eq!(again, None, "told once: {}", ended.text);
        assert_eq!(ended.text.matches("now, was").count(), 2, "{}", ended.text);
        ended.report().assert_sound();
    }
}

#[apply(needs_root!)]
fn stderr_without_a_reader_does_no_harm() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let mut command = xblade(&format!("serve --no-probe 0.1={image} -i {OURS}"));
    let (read, write) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stderr(Stdio::from(OwnedFd::from(write)));
    drop(read);
    let mut child = pair.ours.run(move || command.spawn().unwrap());
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    let signal = |signal| {
        // SAFETY: no pointers; the child is ours and not reaped yet.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    };
    signal(libc::SIGUSR1);
    pair.ours.sh(&format!("ip link set {OURS} mtu 1400"));
    until("the new MTU is in use", || host.query(at(0, 1), Duration::from_millis(50)).is_some());
    assert_eq!(host.read(at(0, 1), 1, 1), sector(1));
    signal(libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Like a pipe to a program that hangs, or a hanging journal: log lines wait, are dropped
/// and counted, and the control thread goes on.
#[apply(needs_root!)]
fn a_log_without_a_reader_stops_nothing() {
    for reads_again in [false, true] {
        // Each has lines in a report.
        let (pair, dir) = (Pair::with("numrxqueues 8 numtxqueues 8"), Dir::new());
        let image = dir.image("a", 8);
        let mut command = xblade(&format!("serve --no-probe 0.1={image} -i {OURS}"));
        let (mut read, write) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stderr(Stdio::from(OwnedFd::from(write)));
        let mut child = pair.ours.run(move || {
            let child = command.spawn().unwrap();
            drop(command);
            child
        });
        let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
        host.until_served(at(0, 1));
        let pid = child.id() as i32;
        let signal = |signal| {
            // SAFETY: no pointers; the child is ours and not reaped yet.
            assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        };
        // A report for each: more than the pipe holds, and more than may wait.
        for _ in 0..1500 {
            signal(libc::SIGUSR1);
            thread::sleep(Duration::from_millis(2));
        }
        pair.ours.sh(&format!("ip link set {OURS} mtu 1400"));
        until("the new MTU is in use", || host.query(at(0, 1), Duration::from_millis(50)).is_some());
        assert_eq!(host.read(at(0, 1), 1, 1), sector(1));
        let mut ended = || {
            let end = Instant::now() + Duration::from_secs(8);
            loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status.code(),
                    None if Instant::now() > end => {
                        child.kill().unwrap();
                        break child.wait().unwrap().code();
                    }
                    None => thread::sleep(Duration::from_millis(5)),
                }
            }
        };
        let mut text = String::new();
        if reads_again {
            let reader = thread::spawn(move || read.read_to_string(&mut text).map(|_| text).unwrap());
            // The log catches up before the process exits.
            thread::sleep(Duration::from_millis(500));
            signal(libc::SIGTERM);
            assert_eq!(ended(), Some(0));
            text = reader.join().unwrap();
            let places =
                ["ready:", "UNANSWERED", " log lines were dropped: standard error was not read", "stopping:"]
                    .map(|part| {
                        text.find(part).unwrap_or_else(|| panic!("no {part:?} in {} bytes", text.len()))
                    });
            assert!(places.is_sorted(), "{places:?}");
            assert!(text[places[3]..].contains("UNANSWERED"), "the last report is whole");
        } else {
            signal(libc::SIGTERM);
            assert_eq!(ended(), Some(0));
        }
    }
}

#[apply(needs_root!)]
fn sudden_death_detaches_and_loses_nothing_acknowledged() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    for round in 1..=20 {
        let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
        let tags: Vec<u32> =
            (0..32).map(|lba| host.send_write(at(0, 1), lba, &pattern(lba, round))).collect();
        let first = host.answer(tags[0]);
        assert_eq!(first.status, 0x40);
        let ended = daemon.end_by(libc::SIGKILL);
        assert_eq!(ended.status.code(), None);
        for (tag, lba) in tags.into_iter().zip(0..).skip(1) {
            if host.answer_within(tag, Duration::ZERO).is_some() {
                assert_eq!(image.sectors(lba, 1), pattern(lba, round), "round {round}");
            }
        }
        host.clear();
        // No wait for the kernel to clean up: the next one starts at once.
    }
    pair.ours.until_detached(OURS);
    let left = Command::new("bpftool").args(["link", "show"]).output();
    if let Ok(left) = left {
        let index = pair.ours.facts(OURS).index;
        let text = String::from_utf8_lossy(&left.stdout);
        assert!(!text.contains(&format!("ifindex {OURS}({index})")), "{text}");
    }
}

#[apply(needs_root!)]
fn a_stopped_process_goes_on_where_it_was() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let daemon = serving(&pair.ours, &format!("0.1={image} -i {OURS}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    host.until_served(at(0, 1));
    daemon.signal(libc::SIGSTOP);
    until("stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    });
    let tags: Vec<u32> = (0..32).map(|lba| host.send_read(at(0, 1), lba, 1)).collect();
    assert_eq!(host.answer_within(tags[0], Duration::from_millis(50)), None);
    daemon.signal(libc::SIGCONT);
    for (tag, lba) in tags.into_iter().zip(0..) {
        assert_eq!(host.answer(tag).data, sector(lba));
    }
    daemon.stop().report().assert_sound();
}
