//! A lane: a socket on a receive queue, as a source and sink of owned frames.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::chunk_table::{ChunkOwner, ChunkState, ChunkTable, LANES_MAX};
use super::pool::Pool;
use super::shared_queues::SharedQueues;
use super::{BATCH, Descriptor, FRAGMENTS_MAX, Frame, Imbalance, RingStatistics, Rings, Umem};

/// Number of chunks, by where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkCounts {
    /// On this lane's free list.
    pub own: u32,
    /// On the free list that all lanes of the queue share.
    pub shared: u32,
    /// With the kernel for receiving, of all lanes of the queue.
    pub filled: u32,
    /// With the kernel for sending, of all lanes of the queue.
    pub sending: u32,
    /// In a frame of this lane that is only partly received.
    pub partial: u32,
}

/// Counters of a lane since it was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LaneCounters {
    /// Complete frames received.
    pub received: u64,
    /// Received frames without the XDP program's stamp.
    pub unstamped: u64,
    /// Frames queued for sending.
    pub transmitted: u64,
    /// Rx descriptors out of bounds, or for a chunk that the kernel did not have.
    pub bad_descriptors: u64,
    /// Completions for a chunk that was not being sent.
    pub bad_completions: u64,
    /// Frames longer than `FRAGMENTS_MAX` chunks, recycled unread.
    pub too_long: u64,
    /// Times a frame found the tx ring full.
    pub tx_full: u64,
    /// Times a frame found no free chunk to grow into.
    pub no_chunks: u64,
}

/// Maximum length of a frame worth moving to a hot chunk: a request without data, padding
/// included. Fits in any chunk.
const SHORT: u16 = 128;

/// No free chunk. The frame keeps the chunks that it got so far; release it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoChunks;

/// The tx ring is full: nothing was sent, and the frame is handed back.
#[derive(Debug)]
pub struct TxFull(pub Frame);

/// How to treat the next rx descriptor.
#[derive(Debug)]
enum Chain {
    /// It starts a frame.
    Start,
    /// It continues this frame.
    Grow(Frame),
    /// It belongs to a frame that was given up; recycle its chunk.
    Skip,
}

/// A socket on a receive queue, alone or with other sockets of the same UMEM.
#[derive(Debug)]
pub struct Lane<R: Rings> {
    rings: R,
    umem: Umem,
    pool: Pool,
    queues: Arc<SharedQueues<R::FillCompletion>>,
    chain: Chain,
    /// Chunks taken from the kernel since the last `note_received`.
    claimed: u32,
    outbox: Vec<Descriptor>,
    /// The kernel needs a wakeup for the fill ring.
    fill_needs_wakeup: bool,
    counters: LaneCounters,
}

impl<R: Rings> Lane<R> {
    /// One lane for each of `rings`, all on one UMEM and fill/completion pair, with the
    /// fill ring full. Opens at most [`LANES_MAX`].
    pub fn open(rings: Vec<R>, fill_completion: R::FillCompletion, umem: &Umem) -> Vec<Self> {
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
            // The first lane fills the ring and shares the rest.
            lane.refill();
            Some(lane)
        };
        rings.into_iter().enumerate().map_while(lane).collect()
    }

    /// The UMEM that this lane's frames are in.
    pub fn umem(&self) -> &Umem {
        &self.umem
    }

    /// This lane's counters.
    pub fn counters(&self) -> LaneCounters {
        self.counters
    }

    /// The kernel's counters for the socket.
    pub fn statistics(&self) -> io::Result<RingStatistics> {
        self.rings.statistics()
    }

    /// The underlying rings.
    pub fn rings(&self) -> &R {
        &self.rings
    }

    /// The descriptor to poll for received frames.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.rings.fd()
    }

    /// Number of received descriptors that are waiting; a frame has one or more.
    pub fn waiting(&mut self) -> usize {
        self.rings.waiting()
    }

    /// Appends received frames to `out`, at most [`BATCH`]; returns their number. Does
    /// not allocate if `out` has room for them.
    pub fn receive(&mut self, out: &mut Vec<Frame>) -> usize {
        let before = out.len();
        self.receive_up_to(BATCH, out);
        out.len() - before
    }

    /// As [`Self::receive`], but takes at most `limit` descriptors. Returns the number of
    /// descriptors taken.
    pub fn receive_up_to(&mut self, limit: usize, out: &mut Vec<Frame>) -> usize {
        let mut descriptors = [Descriptor::default(); BATCH];
        let room = descriptors.get_mut(..limit.min(BATCH)).unwrap_or(&mut []);
        let taken = self.rings.receive(room);
        let before = out.len();
        // Another core wrote these bytes. Prefetching all of them now overlaps the
        // transfers with work on the first.
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

    /// Sets the length of a frame: truncates it, or extends its last piece and takes
    /// chunks from the free list. Existing bytes stay in place; new ones are undefined.
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

    /// Moves a short frame into a recently used chunk, if there is one: the reply written
    /// into it then finds its memory in the cache.
    pub fn move_to_hot_chunk(&mut self, frame: &mut Frame) {
        let short = |len: u16| frame.pieces() == 1 && len <= SHORT;
        let Some((from, _)) = frame.piece(0).filter(|(_, len)| short(*len)) else { return };
        // Without a free chunk the frame stays where it is. That is not an error, and not
        // counted.
        if self.pool.free() == 0 {
            return;
        }
        let Ok(warm) = self.duplicate(frame) else { return };
        *frame = warm;
        // Cannot fail: the chunk belongs to the frame.
        let given = self.pool.free_cold(self.umem.chunk_of(from), ChunkState::User);
        debug_assert!(given.is_ok());
    }

    /// Allocates a frame of this length; its bytes are undefined.
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

    /// Copies a frame, including its arrival time.
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

    /// Returns the frame's chunks to the free list.
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

    /// Hands queued frames to the kernel and makes it send them. Returns the number of
    /// pieces still waiting because the link is down or busy.
    pub fn flush(&mut self) -> io::Result<u32> {
        self.post();
        let fill_asks = std::mem::take(&mut self.fill_needs_wakeup);
        Ok(self.rings.kick(fill_asks)? + self.outbox.len() as u32)
    }

    /// Takes back the chunks of frames that this or another lane of the queue has sent.
    pub fn reclaim(&mut self) {
        if self.sending() > 0 {
            self.counters.bad_completions += self.queues.reclaim(&mut self.pool, &self.umem);
        }
    }

    /// Hands free chunks to the kernel for receiving.
    pub fn refill(&mut self) {
        self.fill_needs_wakeup |= self.queues.refill(&mut self.pool, &self.umem);
    }

    /// Chunks handed to the kernel for sending and not yet reclaimed, of all lanes of the
    /// queue.
    pub fn sending(&self) -> u32 {
        self.pool.table().sending()
    }

    /// Number of free chunks that this lane can use.
    pub fn chunks_free(&self) -> u32 {
        let counts = self.chunk_counts();
        counts.own + counts.shared
    }

    /// Where the chunks of this lane and of its queue are.
    pub fn chunk_counts(&self) -> ChunkCounts {
        let table = self.pool.table();
        ChunkCounts {
            own: self.pool.free(),
            shared: self.queues.free(),
            filled: table.filled(),
            sending: table.sending(),
            partial: self.partial(),
        }
    }

    /// Chunks of a frame whose last piece has not been received.
    fn partial(&self) -> u32 {
        match &self.chain {
            Chain::Grow(frame) => frame.pieces() as u32,
            Chain::Start | Chain::Skip => 0,
        }
    }

    /// Checks that every chunk of this lane is accounted for; `held` is the number of
    /// chunks in frames that the caller holds.
    pub fn check(&self, held: u32) -> Result<(), Imbalance> {
        self.pool.check(held + self.partial())?;
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

    /// Checks a descriptor against the UMEM and the chunk table, and takes its chunk over
    /// from the kernel.
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

    /// Drops the partly received frame; `more` is whether it has remaining pieces, which
    /// are then skipped.
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

    /// Takes a free chunk from our list, or else from the shared one.
    fn take(&mut self) -> Option<u32> {
        if self.pool.free() == 0 {
            self.queues.refill_from_shared(&mut self.pool);
        }
        self.pool.take(ChunkState::User)
    }

    fn free(&mut self, addr: u32, from: ChunkState) {
        // Cannot fail: the chunk belongs to the frame.
        let given = self.pool.give(self.umem.chunk_of(addr), from);
        debug_assert!(given.is_ok());
    }

    /// Moves the outbox to the tx ring; `false` if the ring has no room.
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
