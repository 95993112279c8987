//! Hosts share a running target: a flood beside a host that waits for replies. Judged by
//! what is answered first, not by how long that takes, so that other load on the machine
//! changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use xblade::wire::ether::Mac;
use xblade_kit::{Daemon, Initiator, OURS, PATIENCE, PEER, PacketSocket, Pair, Space, apply, at, needs_root};
use xblade_tests::flood::{Flood, Kind};
use xblade_tests::frame::{ATA, Ask, QUERY, ata, query};
use xblade_tests::pause::{self, Stopped};
use xblade_tests::{HOST, TARGET_MAC, pair, serve};

/// Frames of a burst: more than the rx ring has room for.
const BURST: usize = 3_000;

/// Bursts of which the number of replies is known.
const SAMPLES: usize = 6;

/// Slots of shelf 1.
const EXPORTS: u8 = 200;

/// Requests that the host has under way beside a flood.
const WINDOW: u32 = 16;

/// The same with several exports, after a burst.
const WINDOWS: u32 = 8 * WINDOW;

/// Most frames of one host that wait in the rx ring: three quarters of its 2,048 entries.
const WAITING_MAX: u32 = 1_536;

/// The host takes its replies this soon: if it got the processor later, others may have been
/// answered meanwhile, and nothing can be concluded.
const SOON: Duration = Duration::from_micros(200);

/// A target, a host that waits for replies, and one that floods.
struct Segment {
    daemon: Daemon,
    /// The daemon continues when the next requests of the host have been sent.
    stopped: Option<Stopped<'static>>,
    /// Receives what is sent to the host.
    host: PacketSocket,
    tag: u32,
    /// Counts what is sent to all others.
    others: Arc<PacketSocket>,
    others_in_all: u64,
    // Last, so that the daemon is gone before its namespace.
    _pair: Pair,
}

/// What happened while requests of the host were answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Sample {
    /// Replies to others, from the first request to the last answer.
    others: u32,
    /// Whether this is exact.
    is_exact: bool,
    /// Time until the last answer.
    took: Duration,
}

impl Segment {
    fn new(options: &[&str]) -> Self {
        come_first();
        let pair = pair(Space::new(), 9000);
        let mut arguments: Vec<String> =
            (0..EXPORTS).map(|slot| format!("1.{slot}=zeros,store=null,length=65536")).collect();
        arguments.extend(["-i", OURS, "--no-probe", "--measure-every", "0"].map(str::to_owned));
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let daemon = serve(&pair.ours, &arguments, &[]);
        daemon.wait_for("ready:");
        Initiator::new(&pair.peer, PEER, Mac(TARGET_MAC)).until_served(at(1, 0));
        let [host, others] = [0; 2].map(|_| PacketSocket::within(&pair.peer, PEER).unwrap());
        host.receive_only(Mac(HOST)).unwrap();
        others.bypass_queueing().unwrap();
        others.count_others(Mac(HOST)).unwrap();
        let mut segment = Self {
            daemon,
            stopped: None,
            host,
            tag: 0,
            others: Arc::new(others),
            others_in_all: 0,
            _pair: pair,
        };
        // Until it is in the table.
        segment.read_for(Duration::from_millis(300));
        segment
    }

    /// Sends these requests of the host, and waits until each is answered. None is sent
    /// again: one that is lost fails the test.
    fn ask(&mut self, asks: impl IntoIterator<Item = Ask>) -> Sample {
        let (first, mut waiting) = (self.tag + 1, 0);
        self.count_others();
        let began = Instant::now();
        for ask in asks {
            self.tag += 1;
            waiting += 1;
            self.host.send(&Ask { tag: self.tag, ..ask }.bytes()).unwrap();
        }
        drop(self.stopped.take());
        let mut answered = vec![false; waiting];
        while waiting > 0 {
            let reply = self.host.receive(PATIENCE).unwrap().expect("an answer: a request is lost");
            let tag = u32::from_be_bytes(reply[20..24].try_into().unwrap());
            let was_answered = std::mem::replace(&mut answered[(tag - first) as usize], true);
            assert!(!was_answered && reply[14] == 0x18, "answered twice, or refused: {reply:02x?}");
            waiting -= 1;
        }
        let age = self.host.age().unwrap();
        let (took, others) = (began.elapsed().saturating_sub(age), self.count_others());
        Sample { others, is_exact: age < SOON, took }
    }

    /// Replies to others since the last call.
    fn count_others(&mut self) -> u32 {
        let others = self.others.count().unwrap();
        self.others_in_all += u64::from(others);
        others
    }

    /// Reads of 8 sectors, this many at once.
    fn read(&mut self, count: u32) -> Sample {
        self.ask((0..count).map(|n| read(u64::from(8 * n), 8)))
    }

    /// Windows of such reads. Returns the number of windows.
    fn read_for(&mut self, time: Duration) -> usize {
        let end = Instant::now() + time;
        let windows = std::iter::from_fn(|| (Instant::now() < end).then(|| self.read(WINDOW)));
        windows.count()
    }

    /// Parts of 0.3 s, each with its number of windows, sorted.
    fn read_in_parts(&mut self) -> Vec<usize> {
        let mut parts: Vec<_> = (0..5).map(|_| self.read_for(Duration::from_millis(60))).collect();
        parts.sort_unstable();
        parts
    }

    fn flood(&self, kind: Kind) -> Flood {
        let mut flood = Flood::new(kind);
        flood.target = Mac(TARGET_MAC);
        (flood.export.shelf, flood.export.slot) = (1, EXPORTS - 1);
        flood
    }

    /// Sends bursts, each with such a request behind it, until several samples are exact. The
    /// daemon may be stopped meanwhile, so that all of that waits when it continues. Returns
    /// the median number of others that were answered before.
    fn bursts(&mut self, kind: Kind, stops: bool, ask: impl Fn(&mut Self) -> Sample) -> u32 {
        let (mut flood, mut samples, mut exact) = (self.flood(kind), Vec::new(), Vec::new());
        while exact.len() < SAMPLES {
            assert!(samples.len() < 20 * SAMPLES, "the replies are taken too late: {samples:?}");
            let burst: Vec<_> = (0..BURST).map(|_| flood.frame()).collect();
            let stopped = stops.then(|| Stopped::new(pause::Target::Process(self.daemon.pid())).unwrap());
            for frame in &burst {
                // A full queue loses the frame, as a wire would.
                let _ = self.others.send(frame);
            }
            self.stopped = stopped;
            let sample = ask(self);
            samples.push(sample.took);
            exact.extend(sample.is_exact.then_some(sample.others));
            self.settle();
        }
        samples.sort_unstable();
        exact.sort_unstable();
        let stopped = if stops { ", all at once" } else { "" };
        println!(
            "{kind:?}{stopped}: {exact:?} others are answered before; median {:?}, worst {:?}",
            samples[samples.len() / 2],
            samples[samples.len() - 1]
        );
        exact[exact.len() / 2]
    }

    /// Sends frames until it is dropped.
    fn start(&self, kind: Kind, rate: f64) -> Running {
        let (mut flood, socket) = (self.flood(kind), Arc::clone(&self.others));
        let goes_on = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&goes_on);
        let thread = thread::spawn(move || flood.send(&socket, rate, || flag.load(Ordering::Relaxed)));
        Running { goes_on, thread: Some(thread) }
    }

    /// Frames that were dropped.
    fn drops(&self) -> [u64; 5] {
        let report = self.daemon.report();
        ["over_share", "kernel_rx_ring_full", "kernel_rx_dropped", "no_chunks", "tx_full"]
            .map(|name| report.sum(name))
    }

    /// Waits until no one else is answered.
    fn settle(&mut self) {
        let (end, mut silent) = (Instant::now() + PATIENCE, 0);
        while silent < 2 {
            assert!(Instant::now() < end, "the flood is answered after its end");
            thread::sleep(Duration::from_millis(10));
            silent = if self.count_others() == 0 { silent + 1 } else { 0 };
        }
    }
}

/// Makes the scheduler prefer this thread, so that it is not late for its replies. Without
/// that, more bursts are needed.
fn come_first() {
    let thread = fs::read_link("/proc/thread-self").unwrap();
    let words = ["--reset-on-fork", "--fifo", "--pid", "1"];
    let _ = Command::new("chrt").args(words).arg(thread.file_name().unwrap()).status();
}

struct Running {
    goes_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Running {
    /// Ends the flood. Returns the number of its frames.
    fn stop(&mut self) -> u64 {
        self.goes_on.store(false, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn read(lba: u64, sectors: u8) -> Ask {
    Ask::new((1, 0), ATA, ata(0x24, lba, sectors, &[]))
}

#[apply(needs_root!)]
fn a_burst_to_all_exports_does_not_hold_up_a_host() {
    let mut segment = Segment::new(&["--host-settings", "allow"]);
    for kind in [Kind::Broadcasts, Kind::IdentifyAll, Kind::SetAll] {
        let before = segment.others_in_all;
        for stops in [false, true] {
            let query = || Ask::new((1, 7), QUERY, query(0, b""));
            let others = segment.bursts(kind, stops, |segment| segment.ask([query(), read(0, 1)]));
            // Some exports a turn. In order of arrival it would be all of them for each frame
            // that waits.
            assert!(others < 2 * u32::from(EXPORTS), "{kind:?}: {others} others are answered before");
        }
        assert!(segment.others_in_all - before > 4 * u64::from(EXPORTS), "{kind:?}: no one answers it");
    }
    segment.daemon.report().assert_sound();
}

/// Whatever of a burst waits, requests behind it need not wait for all of that, and are not
/// lost.
#[apply(needs_root!)]
fn a_host_takes_turns_with_a_flood() {
    let mut segment = Segment::new(&[]);
    for kind in [Kind::Reads, Kind::Random, Kind::Writes, Kind::Queries] {
        let before = segment.others_in_all;
        let others = segment.bursts(kind, true, |segment| segment.read(WINDOWS));
        assert!(others < WAITING_MAX / 2, "{kind:?}: {others} others are answered before");
        let replies = segment.others_in_all - before;
        assert!(replies > u64::from(WAITING_MAX), "{kind:?}: {replies} of it are answered");
    }
    segment.daemon.report().assert_sound();
}

/// Beside any flood no request of a host is lost, and nothing of it remains when it ends.
#[apply(needs_root!)]
fn a_flood_leaves_nothing_behind() {
    let mut segment = Segment::new(&["--host-settings", "refuse"]);
    let full = f64::INFINITY;
    for (kind, rate) in
        [(Kind::Reads, full), (Kind::Random, full), (Kind::Broadcasts, 5e3), (Kind::Sets, full)]
    {
        segment.settle();
        let before = segment.read_in_parts();
        let (answered, mut flood) = (segment.others_in_all, segment.start(kind, rate));
        let beside = segment.read_for(Duration::from_secs(2));
        let sent = flood.stop();
        let after = segment.read_in_parts();
        let (answered, drops) = (segment.others_in_all - answered, segment.drops());
        let (replies, later) = (segment.others_in_all, segment.read_in_parts());
        println!(
            "{kind:?}: {sent} frames, {answered} replies; windows {before:?}, {beside}, {after:?}, {later:?}"
        );
        assert!(answered > 0, "{kind:?}: no one answers it");
        assert_eq!(segment.drops(), drops, "{kind:?}: after its end");
        // The kernel sends something for IPv6 now and then.
        let replies = segment.others_in_all - replies;
        assert!(replies < 10, "{kind:?}: {replies} replies after its end");
        // Other load comes and goes: the best part counts.
        assert!(later[4] > before[2] / 2, "{kind:?}: the host is slower after its end");
    }
    segment.daemon.report().assert_sound();
}
