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
const SHORT: usize = 128;

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

    /// Number of entries in the rx ring, and in the tx ring.
    pub fn ring_size(&self) -> u32 {
        self.rings.size()
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
            self.accept(*descriptor, out);
        }
        self.counters.received += (out.len() - before) as u64;
        self.pool.note_received(std::mem::take(&mut self.claimed));
        taken
    }

    /// Sets the length of a frame: truncates it, or extends its last piece and takes
    /// chunks from the free list. Existing bytes stay in place; new ones are undefined.
    #[inline(always)]
    pub fn resize(&mut self, frame: &mut Frame, bytes: usize) -> Result<(), NoChunks> {
        if bytes == frame.len() { Ok(()) } else { self.change_len(frame, bytes) }
    }

    #[inline(never)]
    fn change_len(&mut self, frame: &mut Frame, bytes: usize) -> Result<(), NoChunks> {
        if bytes > frame.len() {
            return self.extend(frame, bytes - frame.len());
        }
        self.truncate(frame, bytes);
        Ok(())
    }

    /// Extends a frame by this number of bytes.
    #[inline(always)]
    fn extend(&mut self, frame: &mut Frame, mut left: usize) -> Result<(), NoChunks> {
        if let Some((addr, len)) = frame.last() {
            let more = left.min((self.umem.room_at(addr) - u32::from(len)) as usize);
            frame.set_last_len(len + more as u16);
            left -= more;
        }
        while left > 0 {
            let addr = self.grow(frame)?;
            let len = left.min(self.umem.room_at(addr) as usize);
            frame.push(addr, len as u16);
            left -= len;
        }
        Ok(())
    }

    /// Truncates a frame to at least one piece, which may be empty.
    #[inline]
    fn truncate(&mut self, frame: &mut Frame, bytes: usize) {
        while let Some((addr, len)) = frame.last() {
            let excess = frame.len() - bytes;
            if excess < len.into() || frame.pieces() == 1 {
                return frame.set_last_len(len - excess as u16);
            }
            frame.pop();
            self.free(addr, ChunkState::User);
        }
    }

    /// Extends a request to this length, for its reply. A short one moves to a hot chunk.
    #[inline(always)]
    pub fn make_room(&mut self, frame: &mut Frame, bytes: usize) -> Result<(), NoChunks> {
        self.move_to_hot_chunk(frame);
        self.extend(frame, bytes.saturating_sub(frame.len()))
    }

    /// Moves a short frame into a recently used chunk, if there is one: the reply written
    /// into it then finds its memory in the cache.
    #[inline(always)]
    pub fn move_to_hot_chunk(&mut self, frame: &mut Frame) {
        // Without a free chunk the frame stays where it is. That is not an error, and not
        // counted.
        if frame.pieces() == 1
            && frame.len() <= SHORT.min(self.umem.chunk_capacity())
            && let Some((cold, _)) = frame.last()
            && let Some(hot) = self.pool.exchange(self.umem.chunk_of(cold))
        {
            self.umem.move_piece(frame, self.umem.start_of(hot));
        }
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
            let Ok(addr) = self.grow(&copy) else {
                self.release(copy);
                return Err(NoChunks);
            };
            let from = self.umem.piece(frame, at);
            let len = from.len().min(self.umem.room_at(addr) as usize);
            copy.push(addr, len as u16);
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
    #[inline(always)]
    pub fn transmit(&mut self, frame: Frame) -> Result<(), TxFull> {
        if self.outbox.len() + frame.pieces() > BATCH && !self.post() {
            self.counters.tx_full += 1;
            return Err(TxFull(frame));
        }
        self.queue(&frame);
        Ok(())
    }

    /// Adds a frame to the outbox, which has room for it.
    #[inline(never)]
    fn queue(&mut self, frame: &Frame) {
        let Self { pool, umem, outbox, .. } = self;
        let (before, mut left) = (outbox.len(), frame.pieces());
        for (addr, len) in frame.iter() {
            left -= 1;
            if pool.shift(umem.chunk_of(addr), ChunkState::User, ChunkState::Tx).is_ok() {
                outbox.push(Descriptor { addr: addr.into(), len: len.into(), more: left > 0 });
            }
        }
        pool.note_posted((outbox.len() - before) as u32);
        self.counters.transmitted += 1;
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

    /// Whether fewer than this number of chunks are free.
    pub fn has_fewer_free(&self, chunks: u32) -> bool {
        // Without the lock of the shared list, usually.
        self.pool.free() < chunks && self.chunks_free() < chunks
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

    #[inline]
    fn accept(&mut self, descriptor: Descriptor, out: &mut Vec<Frame>) {
        let Some(addr) = self.claim(descriptor) else {
            self.counters.bad_descriptors += 1;
            return self.abandon(descriptor.more);
        };
        match &mut self.chain {
            Chain::Start => {
                let mut frame = Frame::empty(self.umem.id());
                let stamp = self.umem.take_stamp(addr);
                self.counters.unstamped += u64::from(!descriptor.more && stamp.is_none());
                frame.set_arrived(stamp);
                frame.push(addr, descriptor.len as u16);
                if descriptor.more { self.chain = Chain::Grow(frame) } else { out.push(frame) }
            }
            Chain::Grow(frame) => {
                if !frame.push(addr, descriptor.len as u16) {
                    self.counters.too_long += 1;
                    self.free(addr, ChunkState::User);
                    self.abandon(descriptor.more);
                } else if !descriptor.more
                    && let Chain::Grow(frame) = std::mem::replace(&mut self.chain, Chain::Start)
                {
                    self.counters.unstamped += u64::from(frame.arrived_ns().is_none());
                    out.push(frame);
                }
            }
            Chain::Skip => {
                self.free(addr, ChunkState::User);
                self.abandon(descriptor.more);
            }
        }
    }

    /// Checks a descriptor against the UMEM and the chunk table, and takes its chunk over
    /// from the kernel.
    #[inline]
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

    /// Takes a chunk for another piece of a frame. Returns the address of the piece.
    #[inline]
    fn grow(&mut self, frame: &Frame) -> Result<u32, NoChunks> {
        if frame.pieces() < FRAGMENTS_MAX
            && let Some(chunk) = self.take()
        {
            return Ok(self.umem.start_of(chunk));
        }
        self.counters.no_chunks += 1;
        Err(NoChunks)
    }

    /// Takes a free chunk from our list, or else from the shared one.
    #[inline(always)]
    fn take(&mut self) -> Option<u32> {
        if let Some(chunk) = self.pool.take(ChunkState::User) {
            return Some(chunk);
        }
        self.queues.refill_from_shared(&mut self.pool);
        self.pool.take(ChunkState::User)
    }

    #[inline]
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
