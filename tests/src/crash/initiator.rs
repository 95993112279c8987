//! An initiator that keeps a window of writes under way.
//!
//! It does what the Linux driver does: a request that is not answered within a
//! second goes out again with a new tag, answers come in any order, and an
//! answer to an old tag is nobody's.

use std::time::{Duration, Instant};

use super::random::Random;
use super::stamp::SECTOR;
use super::write_history::{Checked, Extent, WriteHistory};
use crate::frame::{ATA, Ask, QUERY, ata, query};
use crate::{Address, PacketSocket};

/// The export.
pub const ADDRESS: Address = (7, 3);

/// The most sectors of one request: what fits into a frame at [`MTU`].
const SECTORS_MAX: u64 = 16;

/// Of the link.
pub const MTU: u32 = 9000;

/// When a request is sent again.
const RESEND: Duration = Duration::from_secs(1);

/// Longest wait for an answer that has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first sectors, which a quarter of the writes goes to: there they follow
/// and overlap one another.
const HOT_SECTORS: u64 = 512;

const WRITE_EXT: u8 = 0x34;
const READ_EXT: u8 = 0x24;

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were answered with an error.
    pub errors: u64,
    /// Requests that were sent once more.
    pub resends: u64,
    /// Writes that were under way when the power was cut, and acknowledged
    /// afterwards: see [`Initiator::power_is_cut`].
    pub late: u64,
}

impl Counts {
    fn answers(&self) -> u64 {
        self.acknowledged + self.errors
    }
}

/// A write under way.
struct Write {
    tag: u32,
    extent: Extent,
    sent: Instant,
}

/// A read of [`SECTORS_MAX`] sectors under way.
struct Read {
    tag: u32,
    lba: u64,
    sent: Instant,
}

/// An initiator. It outlives the daemons that it talks to.
pub struct Initiator {
    socket: PacketSocket,
    random: Random,
    window: usize,
    next_tag: u32,
    writes: Vec<Write>,
    /// Generations before this one were under way at the cut.
    cut_before: u64,
    /// Since it began.
    pub counts: Counts,
}

impl Initiator {
    /// With so many writes under way.
    pub fn new(socket: PacketSocket, random: Random, window: usize) -> Self {
        Self {
            socket,
            random,
            window,
            next_tag: 1,
            writes: Vec::new(),
            cut_before: 0,
            counts: Counts::default(),
        }
    }

    /// Asks until the export answers.
    pub fn until_served(&mut self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let tag = self.send(QUERY, query(0, b""));
            while let Some(reply) = self.receive(Duration::from_millis(20)) {
                if reply.tag == tag {
                    return;
                }
            }
        }
        panic!("the export does not answer");
    }

    /// Loads the export for a time, which begins with the first answer.
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

    /// Keeps the window full, takes what has come, sends again what is late.
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

    /// Cuts the power, by `cut`. What has been acknowledged before counts, and
    /// so does what is sent afterwards and acknowledged all the same. A write
    /// that is under way in that instant counts as not acknowledged, whatever
    /// answer comes: a true power cut would have ended its daemon before it
    /// could send one.
    pub fn power_is_cut(&mut self, history: &mut WriteHistory, cut: impl FnOnce()) {
        self.take(history, Duration::ZERO);
        cut();
        self.cut_before = history.next_generation();
    }

    /// The daemon is dead: takes the answers that it has sent, and forgets what
    /// is still under way. Nobody will ever answer that.
    pub fn abandon(&mut self, history: &mut WriteHistory) {
        self.take(history, Duration::ZERO);
        self.writes.clear();
        self.cut_before = 0;
    }

    /// Reads every sector that was ever written, and checks it. The export is a
    /// multiple of the longest request.
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
            if let Some(reply) = self.receive(Duration::from_millis(100))
                && let Some(at) = reads.iter().position(|read| read.tag == reply.tag)
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

    /// Where the next write goes, and how long it is.
    fn place(&mut self, sectors: u64) -> (u64, u64) {
        let count = self.random.within(1..SECTORS_MAX + 1);
        let hot = self.random.within(0..4) == 0;
        let below = if hot { HOT_SECTORS.min(sectors) } else { sectors };
        (self.random.within(0..below - count + 1), count)
    }

    fn take(&mut self, history: &mut WriteHistory, window: Duration) {
        let mut window = window;
        while let Some(reply) = self.receive(window) {
            window = Duration::ZERO;
            let Some(at) = self.writes.iter().position(|write| write.tag == reply.tag) else { continue };
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
        let argument = ata(WRITE_EXT, extent.lba, extent.count as u8, &history.data(extent));
        self.send(ATA, argument)
    }

    fn read(&mut self, lba: u64) -> Read {
        let tag = self.send(ATA, ata(READ_EXT, lba, SECTORS_MAX as u8, &[]));
        Read { tag, lba, sent: Instant::now() }
    }

    fn send(&mut self, command: u8, argument: Vec<u8>) -> u32 {
        let tag = self.next_tag;
        self.next_tag += 1;
        // A frame that cannot be sent is as good as lost on the way.
        let _ = self.socket.send(&Ask { tag, ..Ask::new(ADDRESS, command, argument) }.bytes());
        tag
    }

    fn receive(&self, window: Duration) -> Option<Reply> {
        loop {
            let frame = self.socket.receive(window).ok()??;
            if let Some(reply) = Reply::parse(frame) {
                return Some(reply);
            }
        }
    }
}

/// What of a reply matters here.
#[derive(Debug)]
struct Reply {
    tag: u32,
    is_refusal: bool,
    status: u8,
    error: u8,
    data: Vec<u8>,
}

impl Reply {
    /// The parts of an untagged frame of the export.
    fn parse(mut frame: Vec<u8>) -> Option<Self> {
        let (shelf, slot) = ADDRESS;
        let is_its = frame.len() >= 36
            && frame[14] & 0x08 != 0
            && frame[16..18] == shelf.to_be_bytes()
            && frame[18] == slot;
        is_its.then(|| Self {
            tag: u32::from_be_bytes(frame[20..24].try_into().unwrap()),
            is_refusal: frame[14] & 0x04 != 0,
            status: frame[27],
            error: frame[25],
            data: frame.split_off(36),
        })
    }

    /// Whether the ATA command was done: DRDY, and neither ERR nor DF.
    fn is_success(&self) -> bool {
        !self.is_refusal && self.status & 0x61 == 0x40 && self.error == 0
    }
}
