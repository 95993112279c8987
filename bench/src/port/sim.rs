//! In-memory targets with planted faults.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Port, Received};
use crate::aoe::{DATA_AT, SECTOR};

const READ_EXT: u8 = 0x24;
const WRITE_EXT: u8 = 0x34;
const FLAG_RESPONSE: u8 = 0x08;
const FLAG_ERROR: u8 = 0x04;
const FRAME_MIN: usize = 60;

/// A planted fault of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// A write is acknowledged and not stored.
    LoseWrite,
    /// A write is acknowledged at once, but stored after the next write there.
    DelayWrite,
    /// A write is stored one request further on.
    MisplaceWrite,
    /// A read returns the sectors after those requested.
    WrongLba,
    /// One byte of a read is changed.
    Corrupt,
    /// A read returns too little data.
    Short,
    /// The reply has another tag.
    WrongTag,
    /// The reply comes from another export.
    WrongAddress,
    /// The reply comes from another host.
    WrongSource,
    /// There is no reply.
    Silence,
    /// There are two replies.
    Twice,
    /// The ATA command fails.
    Error,
    /// The AoE error flag is set.
    Refuse,
}

/// A target that answers at once.
#[derive(Default)]
pub struct FakeTarget {
    sectors: HashMap<u64, [u8; SECTOR]>,
    delayed: HashMap<u64, [u8; SECTOR]>,
    /// Planted faults: the number of the request in its direction, from 1, and the fault.
    plants: Vec<(u64, Plant)>,
    reads: u64,
    writes: u64,
    replies: VecDeque<Vec<u8>>,
}

impl FakeTarget {
    /// A target with these faults, planted in the `n`th write (for faults of writes) or
    /// in the `n`th read (for all others), counted from 1.
    pub fn with(plants: &[(u64, Plant)]) -> Self {
        Self { plants: plants.to_vec(), ..Self::default() }
    }

    fn plant(&self, write: bool) -> Option<Plant> {
        let of_writes = |p| matches!(p, Plant::LoseWrite | Plant::DelayWrite | Plant::MisplaceWrite);
        let n = if write { self.writes } else { self.reads };
        self.plants.iter().find(|&&(at, plant)| at == n && of_writes(plant) == write).map(|&(_, plant)| plant)
    }

    fn serve(&mut self, frame: &[u8]) {
        let write = frame[27] == WRITE_EXT;
        assert!(write || frame[27] == READ_EXT);
        *(if write { &mut self.writes } else { &mut self.reads }) += 1;
        let plant = self.plant(write);
        let mut lba_bytes = [0; 8];
        lba_bytes[..6].copy_from_slice(&frame[28..34]);
        let (lba, count) = (u64::from_le_bytes(lba_bytes), u64::from(frame[26]));
        let mut reply = frame[..DATA_AT].to_vec();
        if write {
            assert_eq!(frame.len(), DATA_AT + count as usize * SECTOR);
            self.store(lba, &frame[DATA_AT..], plant);
        } else {
            let from = if plant == Some(Plant::WrongLba) { lba + count } else { lba };
            for lba in from..from + count {
                reply.extend(self.sectors.get(&lba).unwrap_or(&[0; SECTOR]));
            }
        }
        reply.resize(reply.len().max(FRAME_MIN), 0);
        finish(&mut reply, plant);
        match plant {
            Some(Plant::Silence) => return,
            Some(Plant::Twice) => self.replies.push_back(reply.clone()),
            _ => {}
        }
        self.replies.push_back(reply);
    }

    fn store(&mut self, lba: u64, data: &[u8], plant: Option<Plant>) {
        let count = (data.len() / SECTOR) as u64;
        for (at, data) in (lba..).zip(data.chunks(SECTOR)) {
            let data: [u8; SECTOR] = data.try_into().unwrap_or([0; SECTOR]);
            match plant {
                Some(Plant::LoseWrite) => continue,
                Some(Plant::DelayWrite) => self.delayed.insert(at, data),
                Some(Plant::MisplaceWrite) => self.sectors.insert(at + count, data),
                _ => {
                    let late = self.delayed.remove(&at);
                    self.sectors.insert(at, late.unwrap_or(data))
                }
            };
        }
    }
}

/// Turns a request into its reply.
fn finish(reply: &mut Vec<u8>, plant: Option<Plant>) {
    let (to, from) = reply[..12].split_at_mut(6);
    to.swap_with_slice(from);
    reply[14] |= FLAG_RESPONSE;
    reply[25] = 0;
    reply[27] = 0x40;
    match plant {
        Some(Plant::Corrupt) => reply[DATA_AT + 100] ^= 1,
        Some(Plant::Short) => reply.truncate(DATA_AT + SECTOR),
        Some(Plant::WrongTag) => reply[21] ^= 1,
        Some(Plant::WrongAddress) => reply[18] ^= 1,
        Some(Plant::WrongSource) => reply[11] ^= 1,
        Some(Plant::Error) => (reply[27], reply[25]) = (0x41, 0x10),
        Some(Plant::Refuse) => (reply[14], reply[15]) = (reply[14] | FLAG_ERROR, 6),
        _ => {}
    }
}

impl Port for FakeTarget {
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool> {
        self.serve(&[head, data].concat());
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize> {
        let n = self.replies.len();
        for reply in self.replies.drain(..) {
            each(Received::Flat(&reply));
        }
        Ok(n)
    }

    fn wait(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn dropped(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn name(&self) -> &'static str {
        "fake"
    }
}

/// A target with delays, on a clock that the test moves.
pub struct SlowTarget {
    inner: FakeTarget,
    clock: Arc<Clock>,
    /// When the nth request, from 0, that arrives at this time is answered; `None`:
    /// never.
    answers_at: Box<dyn FnMut(u64, u64) -> Option<u64> + Send>,
    count: u64,
    /// By time and number.
    waiting: BTreeMap<(u64, u64), Vec<u8>>,
}

/// The time, and the time of the next event.
#[derive(Debug)]
pub struct Clock {
    /// Now.
    pub now_ns: AtomicU64,
    /// When the next reply arrives.
    pub reply_ns: AtomicU64,
}

impl SlowTarget {
    /// A target that answers at the times that this function returns.
    pub fn new(answers_at: impl FnMut(u64, u64) -> Option<u64> + Send + 'static) -> (Self, Arc<Clock>) {
        let clock = Arc::new(Clock { now_ns: 0.into(), reply_ns: u64::MAX.into() });
        let target = Self {
            inner: FakeTarget::default(),
            clock: Arc::clone(&clock),
            answers_at: Box::new(answers_at),
            count: 0,
            waiting: BTreeMap::new(),
        };
        (target, clock)
    }

    fn tell_next(&self) {
        let next = self.waiting.keys().next().map_or(u64::MAX, |&(at, _)| at);
        self.clock.reply_ns.store(next, Ordering::Relaxed);
    }
}

impl Port for SlowTarget {
    fn send(&mut self, head: &[u8], data: &[u8]) -> io::Result<bool> {
        self.inner.send(head, data)?;
        let at = (self.answers_at)(self.clock.now_ns.load(Ordering::Relaxed), self.count);
        for reply in self.inner.replies.drain(..) {
            if let Some(at) = at {
                self.waiting.insert((at, self.count), reply);
            }
        }
        self.count += 1;
        self.tell_next();
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, each: &mut dyn FnMut(Received<'_>)) -> io::Result<usize> {
        let now_ns = self.clock.now_ns.load(Ordering::Relaxed);
        let later = self.waiting.split_off(&(now_ns + 1, 0));
        let arrived = std::mem::replace(&mut self.waiting, later);
        arrived.values().for_each(|reply| each(Received::Flat(reply)));
        self.tell_next();
        Ok(arrived.len())
    }

    fn wait(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn dropped(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn name(&self) -> &'static str {
        "slow"
    }
}
