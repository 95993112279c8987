//! An initiator that keeps a window of writes in flight.
//!
//! It behaves like the Linux driver: a request that is not answered within a second is
//! resent with a new tag, replies arrive in any order, and a reply to an old tag is
//! ignored.

use std::time::{Duration, Instant};

use xblade::wire::aoe::Address;
use xblade_kit::{Answer, at};

use super::random::Random;
use super::stamp::SECTOR;
use super::write_history::{Checked, Extent, WriteHistory};

/// The export.
pub const ADDRESS: Address = at(7, 3);

/// The most sectors of one request that fit into a frame at [`MTU`].
const SECTORS_MAX: u64 = 16;

/// The MTU of the link.
pub const MTU: u32 = 9000;

/// When a request is resent.
const RESEND: Duration = Duration::from_secs(1);

/// The longest wait for a reply that must arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A quarter of the writes go to these first sectors, where they follow and overlap each
/// other.
const HOT_SECTORS: u64 = 512;

/// Counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes answered with an error.
    pub errors: u64,
    /// Resent requests.
    pub resends: u64,
    /// Writes that were in flight when the power was cut, and acknowledged afterwards: see
    /// [`Initiator::power_is_cut`].
    pub late: u64,
}

impl Counts {
    fn answers(&self) -> u64 {
        self.acknowledged + self.errors
    }
}

/// A write in flight.
struct Write {
    tag: u32,
    extent: Extent,
    sent: Instant,
}

/// A read of [`SECTORS_MAX`] sectors in flight.
struct Read {
    tag: u32,
    lba: u64,
    sent: Instant,
}

/// An initiator. It outlives the daemons with which it communicates.
pub struct Initiator {
    host: xblade_kit::Initiator,
    random: Random,
    window: usize,
    writes: Vec<Write>,
    /// Generations before this one were in flight at the cut.
    cut_before: u64,
    /// Since it was created.
    pub counts: Counts,
}

impl Initiator {
    /// An initiator with this number of writes in flight.
    pub fn new(host: xblade_kit::Initiator, random: Random, window: usize) -> Self {
        Self { host, random, window, writes: Vec::new(), cut_before: 0, counts: Counts::default() }
    }

    /// Queries until the export answers.
    pub fn until_served(&mut self) {
        self.host.until_served(ADDRESS);
    }

    /// Loads the export for a time, which starts with the first reply.
    pub fn load(&mut self, history: &mut WriteHistory, time: Duration) {
        let before = self.counts.answers();
        let patience = Instant::now() + PATIENCE;
        while self.counts.answers() == before {
            assert!(Instant::now() < patience, "no write is answered");
            self.turn(history);
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(history);
        }
    }

    /// Keeps the window full, takes replies, resends late requests.
    pub fn turn(&mut self, history: &mut WriteHistory) {
        while self.writes.len() < self.window {
            let (lba, count) = self.place(history.len());
            let extent = history.begin(lba, count);
            let tag = self.send_write(history, extent);
            self.writes.push(Write { tag, extent, sent: Instant::now() });
        }
        self.take(history, Duration::from_millis(1));
        for at in 0..self.writes.len() {
            if self.writes[at].sent.elapsed() > RESEND {
                self.writes[at].tag = self.send_write(history, self.writes[at].extent);
                self.writes[at].sent = Instant::now();
                self.counts.resends += 1;
            }
        }
    }

    /// Cuts the power with `cut`. Acknowledgements from before count, and so does
    /// everything that is sent and acknowledged afterwards. A write in flight at that
    /// instant counts as not acknowledged, even if it is answered: a real power failure
    /// would have ended its daemon before it could send the reply.
    pub fn power_is_cut(&mut self, history: &mut WriteHistory, cut: impl FnOnce()) {
        self.take(history, Duration::ZERO);
        cut();
        self.cut_before = history.next_generation();
    }

    /// The daemon is dead: takes the replies that it has sent, and drops the rest, which
    /// will never be answered.
    pub fn abandon(&mut self, history: &mut WriteHistory) {
        self.take(history, Duration::ZERO);
        self.writes.clear();
        self.cut_before = 0;
    }

    /// Reads every sector that was ever written, and checks it. The export is a multiple of
    /// the longest request.
    pub fn read_back(&mut self, history: &mut WriteHistory, checked: &mut Checked) {
        let is_written = |lba: &u64| (*lba..lba + SECTORS_MAX).any(|lba| history.is_written(lba));
        let starts = (0..history.len()).step_by(SECTORS_MAX as usize);
        let mut wanted: Vec<u64> = starts.filter(is_written).collect();
        let mut reads: Vec<Read> = Vec::new();
        let mut answered = Instant::now();
        while !(wanted.is_empty() && reads.is_empty()) {
            let room = self.window - reads.len();
            let next = wanted.split_off(wanted.len().saturating_sub(room));
            reads.extend(next.into_iter().map(|lba| self.read(lba)));
            if let Some((tag, reply)) = self.receive(Duration::from_millis(100))
                && let Some(at) = reads.iter().position(|read| read.tag == tag)
            {
                let lba = reads.swap_remove(at).lba;
                assert!(reply.is_success(), "sector {lba} cannot be read: {reply:?}");
                history.check(lba, &reply.data[..SECTORS_MAX as usize * SECTOR], checked);
                answered = Instant::now();
            }
            assert!(answered.elapsed() < PATIENCE, "no read is answered");
            for read in reads.iter_mut().filter(|read| read.sent.elapsed() > RESEND) {
                *read = self.read(read.lba);
                self.counts.resends += 1;
            }
        }
    }

    /// The position and length of the next write.
    fn place(&mut self, sectors: u64) -> (u64, u64) {
        let count = self.random.within(1..SECTORS_MAX + 1);
        let hot = self.random.within(0..4) == 0;
        let below = if hot { HOT_SECTORS.min(sectors) } else { sectors };
        (self.random.within(0..below - count + 1), count)
    }

    fn take(&mut self, history: &mut WriteHistory, window: Duration) {
        let mut window = window;
        while let Some((tag, reply)) = self.receive(window) {
            window = Duration::ZERO;
            let Some(at) = self.writes.iter().position(|write| write.tag == tag) else { continue };
            let write = self.writes.swap_remove(at);
            if reply.is_success() && write.extent.generation < self.cut_before {
                self.counts.late += 1;
            } else if reply.is_success() {
                history.acknowledge(write.extent);
                self.counts.acknowledged += 1;
            } else {
                self.counts.errors += 1;
            }
        }
    }

    fn send_write(&mut self, history: &WriteHistory, extent: Extent) -> u32 {
        self.host.send_write(ADDRESS, extent.lba, &history.data(extent))
    }

    fn read(&mut self, lba: u64) -> Read {
        let tag = self.host.send_read(ADDRESS, lba, SECTORS_MAX as u8);
        Read { tag, lba, sent: Instant::now() }
    }

    fn receive(&mut self, window: Duration) -> Option<(u32, Answer)> {
        self.host.next_answer(window, |_| true)
    }
}
