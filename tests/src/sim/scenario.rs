//! The parameters of a run, all drawn from the seed.

use xblade::shelf::Rate;
use xblade::store::disk::Persist;
use xblade::worker::Sharing;
use xblade_sim::disk::SimConfig;

use super::initiator::Tags;
use super::rng::Rng;

/// The parameters of one run.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) workers: u16,
    /// The worker of each lane.
    pub(super) lanes: Vec<u16>,
    /// Whether the lanes share a queue, and with it their chunks.
    pub(super) one_queue: bool,
    pub(super) mtu: u32,
    pub(super) chunks: u32,
    pub(super) chunk_bytes: u32,
    pub(super) ring: u32,
    pub(super) in_flight: u16,
    pub(super) sharing: Sharing,
    pub(super) exports: Vec<ExportScene>,
    /// The limit of half of the hosts, over all exports.
    pub(super) host_rate: Rate,
    pub(super) initiators: Vec<InitiatorScene>,
    /// Number of operations of all initiators together.
    pub(super) ops: u32,
    pub(super) network: NetworkScene,
    /// The lanes whose frames carry the XDP program's stamp.
    pub(super) stamped: Vec<bool>,
    /// Average interval between two pauses of a worker.
    pub(super) pause_every_ns: Option<u64>,
    /// Whether an idle worker sleeps, and may wake late, instead of spinning.
    pub(super) sleeps: bool,
    /// How often time passes at a point inside a turn, in 10,000.
    pub(super) inside: u32,
    /// Average interval between two changes of an export.
    pub(super) change_every_ns: Option<u64>,
    pub(super) crash: Option<Crash>,
    /// Whether the power fails when everything is at rest.
    pub(super) crash_at_end: bool,
}

#[derive(Debug)]
pub(super) struct ExportScene {
    pub(super) owner: u16,
    pub(super) sectors: u64,
    pub(super) stable: Persist,
    pub(super) habits: SimConfig,
    /// Whether sectors can be discarded.
    pub(super) discards: bool,
    /// Whether calls that hang do so until the run comes to rest.
    pub(super) stuck_for_ever: bool,
    /// Its rate limits: of all its hosts, and of each.
    pub(super) rates: [Rate; 2],
    /// Whether it has ever had any.
    pub(super) was_limited: bool,
}

impl ExportScene {
    pub(super) fn draw_rates(&mut self, rng: &mut Rng) {
        self.rates = draw_rates(rng);
        self.was_limited |= self.rates != [Rate::default(); 2];
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InitiatorScene {
    pub(super) export: usize,
    pub(super) window: usize,
    /// Maximum number of operations in flight.
    pub(super) depth: usize,
    pub(super) rtt_us: Option<u64>,
    /// Longest pause between two operations.
    pub(super) think_max_ns: u64,
    pub(super) tags: Tags,
    /// Whether it has a second address, used on every other lane.
    pub(super) two_addresses: bool,
    /// When it reboots.
    pub(super) reboot_ns: Option<u64>,
}

/// Rates are per 10,000 frames.
#[derive(Debug)]
pub(super) struct NetworkScene {
    pub(super) delay_max_ns: u64,
    pub(super) loss: u32,
    pub(super) reply_loss: u32,
    /// An initiator is cut off for some milliseconds.
    pub(super) burst: u32,
    pub(super) duplicates: u32,
    pub(super) reply_duplicates: u32,
    /// An old frame follows this one.
    pub(super) replays: u32,
    /// A first delivery arrives so late that the request is resent before.
    pub(super) late_first: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    /// When this many operations have been sent.
    pub(super) after_ops: u32,
    /// The power fails; otherwise only the process is killed.
    pub(super) power: bool,
    pub(super) down_ns: u64,
}

impl Scenario {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let workers = rng.pick(&[1, 2]);
        let lanes: Vec<_> =
            (0..rng.between(u64::from(workers), 3)).map(|lane| lane as u16 % workers).collect();
        // All lanes, none, or some.
        let stamps = rng.pick(&[0, 0, 10_000, 10_000, 5_000]);
        let stamped = lanes.iter().map(|_| rng.hits(stamps)).collect();
        let exports: Vec<_> = (0..rng.pick(&[1, 1, 2])).map(|_| ExportScene::draw(rng, workers)).collect();
        let hosts = rng.pick(&[1, 1, 2, 2, 3, 3, 4, 6, 8]);
        let initiators = (0..hosts).map(|_| InitiatorScene::draw(rng, exports.len())).collect();
        let small = rng.hits(1_000);
        let ops = rng.between(100, 300) as u32;
        let crash = rng.hits(3_300).then(|| Crash {
            after_ops: rng.between(10, u64::from(ops)) as u32,
            power: rng.hits(7_500),
            down_ns: rng.pick(&[1_000_000, 50_000_000, 1_000_000_000]),
        });
        let mtu = rng.pick(&[1500, 9000, 9000]);
        Self {
            workers,
            lanes,
            mtu,
            chunks: if small { rng.between(24, 64) as u32 } else { 512 },
            chunk_bytes: if mtu == 1500 { rng.pick(&[2048, 4096]) } else { 4096 },
            // At least a batch, because a lane posts one as a whole.
            ring: if small { 64 } else { 256 },
            in_flight: if rng.hits(500) { rng.between(2, 8) as u16 } else { 256 },
            exports,
            host_rate: draw_rate(rng),
            initiators,
            ops,
            network: NetworkScene::draw(rng),
            stamped,
            sleeps: rng.hits(5_000),
            inside: rng.pick(&[0, 0, 20, 100]),
            change_every_ns: rng.hits(3_000).then(|| rng.between(100_000_000, 2_000_000_000)),
            pause_every_ns: rng.hits(6_000).then(|| rng.between(50_000_000, 600_000_000)),
            crash,
            crash_at_end: rng.hits(5_000),
            one_queue: rng.hits(4_000),
            // Usual, or so that requests of a few hosts are held, for several turns.
            sharing: match rng.below(3) {
                0 => Sharing { in_order_max: 0, turn_max: 1 },
                1 => Sharing { in_order_max: 2, turn_max: rng.between(1, 4) as usize },
                _ => Sharing::default(),
            },
        }
    }

    /// Whether a write to this export that reaches the disk more often than it was served
    /// must have been missed by coalescing. Not with several lanes: a worker harvests
    /// between two of them, so a copy that has arrived may still be next. Not if workers
    /// lose time either: a write may have ended long before its reply, with copies in the
    /// ring. Nor with limits: a resend waits as well.
    pub(super) fn is_plain(&self, export: usize) -> bool {
        let habits = &self.exports[export].habits;
        let loses_time = self.inside > 0 || self.sleeps || self.pause_every_ns.is_some();
        let faults = habits.short + habits.again + habits.write_errors + habits.sync_errors + habits.no_space;
        let is_limited = self.exports[export].was_limited || !self.host_rate.is_unlimited();
        let is_simple = self.lanes.len() == 1 && !is_limited;
        is_simple && !loses_time && habits.block_bytes == 512 && faults + habits.stuck == 0
    }
}

impl ExportScene {
    fn draw(rng: &mut Rng, workers: u16) -> Self {
        let mut habits = SimConfig {
            block_bytes: rng.pick(&[512, 512, 4096]),
            latency_ns: rng.pick(&[(2_000, 30_000), (20_000, 300_000), (500_000, 8_000_000)]),
            late: rng.pick(&[0, 300]),
            ..SimConfig::GOOD
        };
        if rng.hits(4_500) {
            for _ in 0..rng.between(1, 3) {
                let rate = rng.pick(&[20, 100, 300]);
                match rng.below(8) {
                    0 => habits.read_errors = rate,
                    1 => habits.write_errors = rate,
                    2 => habits.sync_errors = rate,
                    3 => habits.no_space = rate,
                    4 => habits.short = rate * 4,
                    5 => habits.again = rate,
                    6 => habits.slow = rate / 2,
                    _ => habits.stuck = rate / 10,
                }
            }
        }
        let rates = draw_rates(rng);
        Self {
            owner: rng.below(u64::from(workers)) as u16,
            sectors: 8 * rng.between(8, 32),
            stable: rng.pick(&[Persist::Group, Persist::Group, Persist::PerWrite]),
            habits,
            discards: rng.hits(3_000),
            stuck_for_ever: rng.hits(1_000),
            rates,
            was_limited: rates != [Rate::default(); 2],
        }
    }
}

/// Rate limits of an export and of each host, often none. With some of them requests wait for
/// longer than they may.
fn draw_rates(rng: &mut Rng) -> [Rate; 2] {
    [draw_rate(rng), draw_rate(rng)]
}

fn draw_rate(rng: &mut Rng) -> Rate {
    if !rng.hits(2_000) {
        return Rate::default();
    }
    Rate {
        iops: rng.pick(&[20, 200, 1_000, 5_000]),
        bytes_per_second: rng.pick(&[0, 0, 200_000]),
        burst_ms: rng.pick(&[1, 20]),
    }
}

impl InitiatorScene {
    fn draw(rng: &mut Rng, exports: usize) -> Self {
        let tags = rng.pick(&[Tags::Linux, Tags::Linux, Tags::Linux, Tags::Linux, Tags::Ipxe, Tags::WinAoe]);
        let window =
            if tags == Tags::Linux { rng.pick(&[1, 1, 2, 4, 8, 8, 16, 64]) } else { rng.pick(&[1, 2, 4]) };
        let two_addresses = tags == Tags::Linux && rng.hits(3_000);
        // The target can only tell that the addresses belong to one host if they take
        // turns.
        let window = if two_addresses && rng.hits(7_000) { 1 } else { window };
        let reboots = if tags == Tags::Linux { 1_000 } else { 7_000 };
        Self {
            tags,
            two_addresses,
            reboot_ns: rng.hits(reboots).then(|| rng.between(10_000_000, 800_000_000)),
            export: rng.below(exports as u64) as usize,
            window,
            depth: rng.between(1, 2 * window as u64).min(24) as usize,
            rtt_us: rng.hits(9_500).then(|| rng.between(50, 1_000)),
            think_max_ns: rng.pick(&[1_000_000, 50_000_000, 200_000_000]),
        }
    }
}

impl NetworkScene {
    fn draw(rng: &mut Rng) -> Self {
        let delay_max_ns = rng.between(5_000, 60_000);
        let mut rate = |rates: &[u32]| rng.pick(rates);
        Self {
            delay_max_ns,
            loss: rate(&[0, 0, 50, 300]),
            reply_loss: rate(&[0, 0, 50, 300]),
            burst: rate(&[0, 0, 0, 20]),
            duplicates: rate(&[0, 100, 1_000]),
            reply_duplicates: rate(&[0, 0, 300]),
            replays: rate(&[0, 300, 2_000]),
            late_first: rate(&[0, 200, 1_000, 2_000]),
        }
    }
}
