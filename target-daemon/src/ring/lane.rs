//! A lane: a socket on a receive queue, seen as a source and sink of owned
//! frames.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::chunk_table::{ChunkOwner, ChunkState, ChunkTable, LANES_MAX};
use super::pool::Pool;
use super::shared_queues::SharedQueues;
use super::{BATCH, Descriptor, FRAGMENTS_MAX, Frame, Imbalance, RingStatistics, Rings, Umem};

/// What a lane counts, since it was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LaneCounters {
    /// Frames received whole.
    pub received: u64,
    /// Those of them that came without the XDP program's stamp.
    pub unstamped: u64,
    /// Frames queued for sending.
    pub transmitted: u64,
    /// Rx descriptors out of bounds, or for a chunk that the kernel did not have.
    pub bad_descriptors: u64,
    /// Completions for a chunk that was not being sent.
    pub bad_completions: u64,
    /// Frames longer than `FRAGMENTS_MAX` chunks, recycled unread.
    pub too_long: u64,
    /// Frames that found the tx ring full.
    pub tx_full: u64,
    /// Frames that found no free chunk to grow into.
    pub no_chunks: u64,
}

/// A frame that is worth moving: a request without data, padding included. It
/// fits into any chunk.
const SHORT: u16 = 128;

/// No free chunk: the frame has what there was, and is to be released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoChunks;

/// The tx ring is full: nothing was sent, and the frame comes back.
#[derive(Debug)]
pub struct TxFull(pub Frame);

/// What to do with the next rx descriptor.
#[derive(Debug)]
enum Chain {
    /// It starts a frame.
    Start,
    /// It continues this frame.
    Grow(Frame),
    /// It belongs to a frame that was given up; recycle it.
    Skip,
}

/// A socket on a receive queue, alone there or with others of its UMEM.
#[derive(Debug)]
pub struct Lane<R: Rings> {
    rings: R,
    umem: Umem,
    pool: Pool,
    queues: Arc<SharedQueues<R::FillCompletion>>,
    chain: Chain,
    /// Chunks taken over from the kernel, and not yet noted.
    claimed: u32,
    outbox: Vec<Descriptor>,
    /// The kernel wants to be told that the fill ring has entries.
    fill_needs_wakeup: bool,
    counters: LaneCounters,
}

impl<R: Rings> Lane<R> {
    /// A lane for each of the rings, which have one `supply` and one `memory`,
    /// with the fill ring full. No lane for more than [`LANES_MAX`].
    pub(super) fn open(rings: Vec<R>, fill_completion: R::FillCompletion, umem: &Umem) -> Vec<Self> {
        let (chunks, lanes) = (umem.chunks(), rings.len().min(LANES_MAX));
        let Some(first) = ChunkOwner::lane(0) else { return Vec::new() };
        let table = Arc::new(ChunkTable::new(chunks, lanes, first));
        let queues = Arc::new(SharedQueues::new(fill_completion, chunks, lanes));
        let lane = |(index, rings)| {
            let mut lane = Self {
                rings,
                umem: umem.clone(),
                pool: Pool::new(Arc::clone(&table), ChunkOwner::lane(index)?),
                queues: Arc::clone(&queues),
                chain: Chain::Start,
                claimed: 0,
                outbox: Vec::with_capacity(BATCH),
                fill_needs_wakeup: false,
                counters: LaneCounters::default(),
            };
            // The first fills the ring, and shares the rest.
            lane.refill();
            Some(lane)
        };
        rings.into_iter().enumerate().map_while(lane).collect()
    }

    /// The memory that this lane's frames live in.
    pub fn umem(&self) -> &Umem {
        &self.umem
    }

    /// What this lane has counted.
    pub fn counters(&self) -> LaneCounters {
        self.counters
    }

    /// What the kernel has counted for the socket.
    pub fn statistics(&self) -> io::Result<RingStatistics> {
        self.rings.statistics()
    }

    /// The rings, for what only they know.
    pub fn rings(&self) -> &R {
        &self.rings
    }

    /// What to wait on for received frames.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.rings.fd()
    }

    /// How many received descriptors wait: a frame has one or more.
    pub fn waiting(&mut self) -> usize {
        self.rings.waiting()
    }

    /// Appends received frames to `out`, at most [`BATCH`]; returns how many.
    /// Does not allocate if `out` has room for them.
    pub fn receive(&mut self, out: &mut Vec<Frame>) -> usize {
        let before = out.len();
        self.receive_up_to(BATCH, out);
        out.len() - before
    }

    /// As [`Self::receive`], but takes no more than `limit` descriptors.
    /// Returns how many it took.
    pub fn receive_up_to(&mut self, limit: usize, out: &mut Vec<Frame>) -> usize {
        let mut descriptors = [Descriptor::default(); BATCH];
        let room = descriptors.get_mut(..limit.min(BATCH)).unwrap_or(&mut []);
        let taken = self.rings.receive(room);
        let before = out.len();
        // They were written on another core; all of them are on their way here
        // by the time the first has been dealt with.
        for descriptor in descriptors.iter().take(taken) {
            self.umem.prefetch(descriptor.addr as u32);
        }
        for descriptor in descriptors.iter().take(taken) {
            if let Some(frame) = self.accept(*descriptor) {
                out.push(frame);
            }
        }
        self.counters.received += (out.len() - before) as u64;
        self.pool.note_received(std::mem::take(&mut self.claimed));
        taken
    }

    /// Sets the length of a frame: cuts it, or makes its last piece longer and
    /// takes chunks from the free list. Bytes that were there stay where they
    /// are; new ones are undefined.
    pub fn resize(&mut self, frame: &mut Frame, bytes: usize) -> Result<(), NoChunks> {
        let mut left = bytes;
        let mut at = 0;
        while left > 0 {
            let last = at + 1 >= frame.pieces();
            let (addr, len) = match frame.piece(at) {
                Some(piece) => piece,
                None => (self.grow(frame)?, 0),
            };
            let room = if last { self.umem.room_at(addr) } else { len.into() };
            let len = left.min(room as usize);
            frame.set_len(at, len as u16);
            left -= len;
            at += 1;
        }
        while frame.pieces() > at.max(1) {
            if let Some(addr) = frame.pop() {
                self.free(addr, ChunkState::User);
            }
        }
        if bytes == 0 {
            frame.set_len(0, 0);
        }
        Ok(())
    }

    /// Moves a short frame into a chunk that was used lately, if there is one:
    /// what is going to be written behind it finds its memory in the cache then.
    pub fn move_to_hot_chunk(&mut self, frame: &mut Frame) {
        let short = |len: u16| frame.pieces() == 1 && len <= SHORT;
        let Some((from, _)) = frame.piece(0).filter(|(_, len)| short(*len)) else { return };
        // Without one the frame stays where it is, which nobody needs to count.
        if self.pool.free() == 0 {
            return;
        }
        let Ok(warm) = self.duplicate(frame) else { return };
        *frame = warm;
        // Cannot fail: the chunk table gave it to the frame.
        let given = self.pool.free_cold(self.umem.chunk_of(from), ChunkState::User);
        debug_assert!(given.is_ok());
    }

    /// A new frame of this length, its bytes undefined.
    pub fn allocate(&mut self, bytes: usize) -> Result<Frame, NoChunks> {
        let mut frame = Frame::empty(self.umem.id());
        match self.resize(&mut frame, bytes) {
            Ok(()) => Ok(frame),
            Err(NoChunks) => {
                self.release(frame);
                Err(NoChunks)
            }
        }
    }

    /// A copy of a frame, with its time of arrival.
    pub fn duplicate(&mut self, frame: &Frame) -> Result<Frame, NoChunks> {
        let mut copy = Frame::empty(self.umem.id());
        copy.set_arrived(frame.arrived_ns());
        for at in 0..frame.pieces() {
            let Ok(addr) = self.grow(&mut copy) else {
                self.release(copy);
                return Err(NoChunks);
            };
            let from = self.umem.piece(frame, at);
            let len = from.len().min(self.umem.room_at(addr) as usize);
            copy.set_len(at, len as u16);
            if let (Some(from), Some(to)) =
                (from.get(..len), self.umem.piece_mut(&mut copy, at).get_mut(..len))
            {
                to.copy_from_slice(from);
            }
        }
        Ok(copy)
    }

    /// Puts the frame's chunks back on the free list.
    pub fn release(&mut self, mut frame: Frame) {
        while let Some(addr) = frame.pop() {
            self.free(addr, ChunkState::User);
        }
    }

    /// Queues a frame for sending. The kernel sees it at the next [`Self::flush`].
    pub fn transmit(&mut self, frame: Frame) -> Result<(), TxFull> {
        if self.outbox.len() + frame.pieces() > BATCH && !self.post() {
            self.counters.tx_full += 1;
            return Err(TxFull(frame));
        }
        let pieces = frame.pieces();
        let before = self.outbox.len();
        for at in 0..pieces {
            let Some((addr, len)) = frame.piece(at) else {
                break;
            };
            if self.pool.shift(self.umem.chunk_of(addr), ChunkState::User, ChunkState::Tx).is_ok() {
                let more = at + 1 < pieces;
                self.outbox.push(Descriptor { addr: addr.into(), len: len.into(), more });
            }
        }
        self.pool.note_posted((self.outbox.len() - before) as u32);
        self.counters.transmitted += 1;
        Ok(())
    }

    /// Hands queued frames to the kernel and makes it send them. Returns how
    /// many pieces still wait, because the link is down or busy.
    pub fn flush(&mut self) -> io::Result<u32> {
        self.post();
        let fill_asks = std::mem::take(&mut self.fill_needs_wakeup);
        Ok(self.rings.kick(fill_asks)? + self.outbox.len() as u32)
    }

    /// Takes back the chunks of frames that have been sent, by this lane or by
    /// others of its queue.
    pub fn reclaim(&mut self) {
        if self.sending() > 0 {
            self.counters.bad_completions += self.queues.reclaim(&mut self.pool, &self.umem);
        }
    }

    /// Hands free chunks to the kernel for receiving.
    pub fn refill(&mut self) {
        self.fill_needs_wakeup |= self.queues.refill(&mut self.pool, &self.umem);
    }

    /// Chunks of frames that were handed to the kernel and are not yet seen as
    /// sent, by this lane or by others of its queue.
    pub fn sending(&self) -> u32 {
        self.pool.table().sending()
    }

    /// Chunks that are free for this lane.
    pub fn chunks_free(&self) -> u32 {
        self.pool.free() + self.queues.free()
    }

    /// Checks that every chunk of this lane is accounted for, given how many are
    /// in frames that the caller holds.
    pub fn check(&self, held: u32) -> Result<(), Imbalance> {
        let partial = match &self.chain {
            Chain::Grow(frame) => frame.pieces() as u32,
            Chain::Start | Chain::Skip => 0,
        };
        self.pool.check(held + partial)?;
        self.queues.check(self.pool.table())
    }

    fn accept(&mut self, descriptor: Descriptor) -> Option<Frame> {
        let Some(addr) = self.claim(descriptor) else {
            self.counters.bad_descriptors += 1;
            self.abandon(descriptor.more);
            return None;
        };
        let mut frame = match std::mem::replace(&mut self.chain, Chain::Start) {
            Chain::Start => {
                let mut frame = Frame::empty(self.umem.id());
                frame.set_arrived(self.umem.take_stamp(addr));
                frame
            }
            Chain::Grow(frame) => frame,
            Chain::Skip => {
                self.free(addr, ChunkState::User);
                self.abandon(descriptor.more);
                return None;
            }
        };
        if !frame.push(addr, descriptor.len as u16) {
            self.counters.too_long += 1;
            self.free(addr, ChunkState::User);
            self.release(frame);
            self.abandon(descriptor.more);
            return None;
        }
        if descriptor.more {
            self.chain = Chain::Grow(frame);
            return None;
        }
        self.counters.unstamped += u64::from(frame.arrived_ns().is_none());
        Some(frame)
    }

    /// Checks a descriptor against the area and the chunk table, and takes its chunk
    /// over from the kernel.
    fn claim(&mut self, descriptor: Descriptor) -> Option<u32> {
        let chunk = self.umem.chunk_at(descriptor.addr)?;
        let addr = descriptor.addr as u32;
        if descriptor.len > self.umem.room_at(addr) {
            return None;
        }
        self.pool.shift(chunk, ChunkState::Fill, ChunkState::User).ok()?;
        self.claimed += 1;
        Some(addr)
    }

    /// Gives up the frame that is being put together.
    fn abandon(&mut self, more: bool) {
        let next = if more { Chain::Skip } else { Chain::Start };
        if let Chain::Grow(frame) = std::mem::replace(&mut self.chain, next) {
            self.release(frame);
        }
    }

    fn grow(&mut self, frame: &mut Frame) -> Result<u32, NoChunks> {
        if frame.pieces() < FRAGMENTS_MAX
            && let Some(chunk) = self.take()
        {
            let addr = self.umem.start_of(chunk);
            frame.push(addr, 0);
            return Ok(addr);
        }
        self.counters.no_chunks += 1;
        Err(NoChunks)
    }

    /// A free chunk of ours, or else of those that are nobody's.
    fn take(&mut self) -> Option<u32> {
        if self.pool.free() == 0 {
            self.queues.refill_from_shared(&mut self.pool);
        }
        self.pool.take(ChunkState::User)
    }

    fn free(&mut self, addr: u32, from: ChunkState) {
        // Cannot fail for a frame's own chunk: the chunk table gave it to the frame.
        let given = self.pool.give(self.umem.chunk_of(addr), from);
        debug_assert!(given.is_ok());
    }

    /// Moves the outbox into the tx ring; `false` if the ring has no room.
    fn post(&mut self) -> bool {
        if self.outbox.is_empty() {
            return true;
        }
        let posted = self.rings.transmit(&self.outbox) == self.outbox.len();
        if posted {
            self.outbox.clear();
        }
        posted
    }
}

#[cfg(test)]
mod tests;
