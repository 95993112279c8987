//! An interface with several queues: several workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{serving, xblade};
use crate::image::{Dir, Image, patterns};
use xblade_kit::{Initiator, OURS, PEER, Pair, at, may_run, skipped};

const ROUNDS: u64 = 300;
const EXPORTS: u8 = 3;

/// Frames from CPU 0 leave by queue 0, those from CPU 1 by queue 1; a veth receives on the
/// queue on which its peer sent. `/sys` shows the interfaces of the namespace that mounted
/// it, so it is mounted again.
const STEER: &str = "unshare -m sh -ec 'mount -t sysfs xbp /sys; cd /sys/class/net/xbp1/queues;
    echo 1 > tx-0/xps_cpus; echo 2 > tx-1/xps_cpus'";

struct Row {
    queues: usize,
    mtu: u32,
    options: &'static str,
    /// The number of lanes that receive frames.
    busy: usize,
    /// The number of workers that hand frames over.
    handing: usize,
}

const ROWS: [Row; 9] = [
    // Frames of the first queue go straight to the owner.
    Row { queues: 2, mtu: 1500, options: "--xdp-mode native", busy: 3, handing: 1 },
    Row { queues: 2, mtu: 9000, options: "--xdp-mode native", busy: 3, handing: 1 },
    Row { queues: 2, mtu: 9000, options: "--xdp-mode native --spread all", busy: 4, handing: 0 },
    Row { queues: 2, mtu: 1500, options: "--xdp-mode native --spread off", busy: 2, handing: 2 },
    // In generic mode a veth loses the queue: it is always 0.
    Row { queues: 2, mtu: 9000, options: "--xdp-mode generic --idle spin", busy: 2, handing: 0 },
    Row { queues: 2, mtu: 9000, options: "--xdp-mode generic --spread off", busy: 1, handing: 1 },
    // One worker for both queues.
    Row { queues: 2, mtu: 1500, options: "--cores 0", busy: 2, handing: 0 },
    // A worker without a queue still owns exports.
    Row { queues: 1, mtu: 9000, options: "--cores 0,1", busy: 2, handing: 0 },
    Row { queues: 1, mtu: 1500, options: "--cores 0,1 --spread off", busy: 1, handing: 1 },
];

#[test]
fn requests_on_the_wrong_queue_reach_their_export() {
    let name = "requests_on_the_wrong_queue_reach_their_export";
    if !may_run_on_two(name) {
        return;
    }
    for Row { queues, mtu, options, busy, handing } in ROWS {
        let (pair, dir) = (Pair::with(&format!("numrxqueues {queues} numtxqueues {queues}")), Dir::new());
        pair.mtu(mtu);
        if queues > 1 {
            pair.peer.sh(STEER);
        }
        let images = Arc::new(["a", "b", "c"].map(|name| dir.image(name, 1024)));
        let exports: Vec<String> =
            (0..EXPORTS).zip(images.iter()).map(|(n, i)| format!("1.{n}={i}")).collect();
        let exports = exports.join(" ");
        let daemon = serving(&pair.ours, &format!("{exports} -i {OURS} {options}"));
        let sectors = if mtu == 9000 { 16 } else { 2 };
        let running = AtomicU32::new(2);
        let hosts: Vec<Initiator> =
            (0..2).map(|_| Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS))).collect();
        thread::scope(|scope| {
            for (cpu, host) in hosts.into_iter().enumerate() {
                let running = &running;
                scope.spawn(move || {
                    load(host, cpu, sectors);
                    running.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(running.load(Ordering::Relaxed), 0, "a load has failed");
        for image in images.iter() {
            (0..2).for_each(|cpu| check(image, cpu, sectors));
        }
        let report = daemon.stop().report();
        report.assert_sound();
        let received = report.each("lane", "received");
        assert_eq!(received.len(), busy, "{options}: {report:?}");
        assert!(received.iter().all(|frames| *frames > ROUNDS), "{options}: {received:?}");
        // One worker announces all exports.
        let announced = u64::from(EXPORTS);
        let handed = report.each("worker", "handed_over").into_iter().filter(|frames| *frames > announced);
        assert_eq!(handed.count(), handing, "{options}: {report:?}");
        let wanted = 2 * ROUNDS * u64::from(EXPORTS);
        assert_eq!((report.sum("reads"), report.sum("writes")), (wanted, wanted), "{report:?}");
    }
}

#[test]
fn a_worker_that_sleeps_is_woken_for_a_request_handed_to_it() {
    let name = "a_worker_that_sleeps_is_woken_for_a_request_handed_to_it";
    if !may_run_on_two(name) {
        return;
    }
    let pair = Pair::new();
    let exports = "1.0=x,store=null,length=8 1.1=x,store=null,length=8";
    let daemon = serving(&pair.ours, &format!("{exports} -i {OURS} --cores 0,1 --spread off"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            // Longer than a worker spins, so both sleep.
            thread::sleep(Duration::from_millis(2));
            let asked = Instant::now();
            host.read(at(1, 1), 0, 1);
            asked.elapsed()
        })
        .collect();
    times.sort();
    // Without a wake-up, each would wait for the end of a sleep of 100 ms.
    assert!(times[10] < Duration::from_millis(20), "{times:?}");
    let report = daemon.stop().report();
    assert_eq!(report.sum("handed_over"), 22, "{report:?}");
    assert!(report.sum("sleeps") > 20, "{report:?}");
}

#[test]
fn an_export_goes_to_the_worker_that_it_names_and_its_frames_too() {
    let name = "an_export_goes_to_the_worker_that_it_names_and_its_frames_too";
    if !may_run_on_two(name) {
        return;
    }
    let pair = Pair::new();
    let dir = Dir::new();
    let socket = dir.path().join("control.sock");
    let null = |slot, worker| format!("1.{slot}=x,store=null,length=8,worker={worker}");
    let exports = format!("{} {} {}", null(0, 1), null(1, 1), null(2, 0));
    let control = format!("--control {}", socket.display());
    let daemon = serving(&pair.ours, &format!("{exports} -i {OURS} --cores 0,1 {control}"));
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    for slot in [0, 1, 1, 2] {
        host.read(at(1, slot), 0, 1);
    }
    let add = xblade(&format!("export add {} {control}", null(3, 1))).output().unwrap();
    assert!(add.status.success(), "{add:?}");
    let refused = xblade(&format!("export add {} {control}", null(4, 2))).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("there are workers 0 to 1"), "{said}");
    for _ in 0..8 {
        host.read(at(1, 3), 0, 1);
    }
    let report = daemon.stop().report();
    report.assert_sound();
    let mut received = report.each("lane", "received");
    received.sort_unstable();
    assert_eq!(received, [1, 11], "{report:?}");
}

/// Whether this test may run: as root, on two CPUs.
fn may_run_on_two(test: &str) -> bool {
    may_run(test) && (thread::available_parallelism().unwrap().get() >= 2 || skipped(test, "needs two CPUs"))
}

/// Where a CPU's load writes in each round.
fn place(cpu: usize, round: u64, sectors: u64) -> u64 {
    512 * cpu as u64 + round * 7 % (512 / sectors) * sectors
}

/// Writes to every export at once and reads back, round by round, with its own tags.
fn load(mut host: Initiator, cpu: usize, sectors: u64) {
    pin(cpu);
    host.set_next_tag(1 + (cpu as u32) * 1_000_000);
    for round in 0..ROUNDS {
        let lba = place(cpu, round, sectors);
        let data = |slot: u8| patterns(lba, sectors, round << 8 | u64::from(slot));
        let writes: Vec<u32> =
            (0..EXPORTS).map(|slot| host.send_write(at(1, slot), lba, &data(slot))).collect();
        for tag in writes {
            assert_eq!(host.answer(tag).status, 0x40, "writing {lba}");
        }
        let reads: Vec<u32> =
            (0..EXPORTS).map(|slot| host.send_read(at(1, slot), lba, sectors as u8)).collect();
        for (slot, tag) in (0..).zip(reads) {
            assert_eq!(host.answer(tag).data, data(slot), "reading {lba} of 1.{slot}");
        }
        host.clear();
    }
}

/// Checks for the data of the last round at each place.
fn check(image: &Image, cpu: usize, sectors: u64) {
    let slot = u64::from(image.path().file_name().unwrap().as_encoded_bytes()[0] - b'a');
    let mut last = std::collections::BTreeMap::new();
    last.extend((0..ROUNDS).map(|round| (place(cpu, round, sectors), round)));
    for (lba, round) in last {
        assert_eq!(image.sectors(lba, sectors), patterns(lba, sectors, round << 8 | slot), "{image} {lba}");
    }
}

fn pin(cpu: usize) {
    // SAFETY: an all-zero set is empty; `cpu` is far below its size, and the
    // calls get whole sets.
    let code = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    assert_eq!(code, 0, "CPU {cpu}");
}
