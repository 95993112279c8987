//! The slab: a fixed-size table of the requests that a store is working on or will work
//! on.

use super::fingerprint::Fingerprint;
use super::messages::{Finished, Inbound};
use crate::observe::Operation;
use crate::ring::{Frame, Umem};
use crate::store::{IoVec, Kind, Op};
use crate::wire::ata;

/// A request that needs the store.
#[derive(Debug)]
pub struct Pending {
    /// The request. Its frame's memory belongs to the store while the operation is in
    /// flight.
    pub inbound: Inbound,
    /// What the store does for it.
    pub task: Task,
}

/// What a store does for a request.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The ATA header, for the reply.
    pub ata: ata::Request,
    /// The store operation.
    pub fingerprint: Fingerprint,
    /// Offset of the data in the frame.
    pub payload_offset: u16,
    /// For service times.
    pub operation: Operation,
    /// When it was submitted to the store; 0 if it was not.
    pub submitted_ns: u64,
}

impl Task {
    /// What `kind` does for the request in this frame.
    #[inline]
    pub fn new(ata: ata::Request, kind: Kind, payload_offset: usize, frame: &Frame, umem: &Umem) -> Self {
        let sector = if matches!(kind, Kind::Read | Kind::Write) { ata.lba() } else { 0 };
        let bytes = match kind {
            Kind::Flush | Kind::Measure => 0,
            _ => u32::from(ata.count) * ata::SECTOR_LEN as u32,
        };
        let payload_offset = payload_offset as u16;
        let fingerprint = Fingerprint::of(kind, sector, bytes, frame, payload_offset, umem);
        let operation = match kind {
            Kind::Read => Operation::Read,
            Kind::Write => Operation::Write,
            Kind::Flush => Operation::Flush,
            Kind::Discard => Operation::Discard,
            Kind::Measure => Operation::Ata,
        };
        Self { ata, fingerprint, payload_offset, operation, submitted_ns: 0 }
    }

    /// The store operation with this token, without its memory.
    #[inline]
    pub fn op(&self, token: u32) -> Op {
        let Fingerprint { kind, sector, .. } = self.fingerprint;
        Op { token, kind, sector, buffers: IoVec::empty() }
    }

    /// Adds the memory of the data in the request's frame to `buffers`. Returns `false` if
    /// the frame has no room for the data. Until the operation has completed, nothing else
    /// may access that memory.
    #[inline]
    pub fn lend(&self, frame: &mut Frame, buffers: &mut IoVec, umem: &Umem) -> bool {
        let bytes = self.fingerprint.bytes as usize;
        bytes == 0 || scatter(frame, self.payload_offset.into(), bytes, umem, buffers)
    }
}

impl Pending {
    /// Ends the request without a reply: the initiator resends it.
    pub fn unanswered(self) -> Finished {
        let Task { ata, operation, .. } = self.task;
        Finished { asked: Some(ata), ..self.inbound.unanswered(operation) }
    }
}

/// Pending requests by token.
///
/// A token consists of an index and a generation. A completion that the store reports
/// twice, or for an operation that it never had, is therefore detected.
#[derive(Debug)]
pub struct Slab {
    /// Grows to its full size, without allocating, as it is used: most of many exports never use
    /// much of it.
    entries: Vec<Entry>,
    free: Vec<u16>,
    size: usize,
}

#[derive(Debug)]
struct Entry {
    generation: u16,
    /// When it was submitted; `None` if the store does not have its memory.
    submitted_ns: Option<u64>,
    /// It has already been counted as overdue.
    overdue: bool,
    pending: Option<Pending>,
}

/// The slab is full: the request is handed back.
#[derive(Debug)]
pub struct SlabFull(pub Pending);

impl Slab {
    /// A slab for `size` requests. Allocates all memory.
    pub fn new(size: u16) -> Self {
        let size = size.into();
        Self { entries: Vec::with_capacity(size), free: Vec::with_capacity(size), size }
    }

    /// Adds a request; returns its index.
    ///
    /// # Errors
    ///
    /// The slab is full.
    pub fn admit(&mut self, pending: Pending) -> Result<u16, SlabFull> {
        let Some(index) = self.free_index() else { return Err(SlabFull(pending)) };
        let Some(entry) = self.entries.get_mut(usize::from(index)) else {
            return Err(SlabFull(pending));
        };
        entry.generation = entry.generation.wrapping_add(1);
        entry.pending = Some(pending);
        Ok(index)
    }

    fn free_index(&mut self) -> Option<u16> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        (self.entries.len() < self.size).then(|| {
            self.entries.push(Entry { generation: 0, submitted_ns: None, overdue: false, pending: None });
            (self.entries.len() - 1) as u16
        })
    }

    /// The request with this index.
    pub fn get(&self, index: u16) -> Option<&Pending> {
        self.entries.get(usize::from(index))?.pending.as_ref()
    }

    /// The operation of a request, for the store. `None` if the store already has it, or
    /// if the frame has no room for the data, which cannot happen: the request was
    /// checked and room for the reply was made.
    pub fn begin(&mut self, index: u16, umem: &Umem, now_ns: u64) -> Option<Op> {
        let entry = self.entries.get_mut(usize::from(index))?;
        if entry.submitted_ns.is_some() {
            return None;
        }
        let token = u32::from(entry.generation) << 16 | u32::from(index);
        let pending = entry.pending.as_mut()?;
        let mut op = pending.task.op(token);
        if !pending.task.lend(&mut pending.inbound.frame, &mut op.buffers, umem) {
            return None;
        }
        (entry.submitted_ns, entry.overdue) = (Some(now_ns), false);
        Some(op)
    }

    /// Removes a request whose completion has arrived. `None` if the store has no
    /// operation with this token.
    pub fn complete(&mut self, token: u32) -> Option<Pending> {
        let index = token as u16;
        let entry = self.entries.get_mut(usize::from(index))?;
        if u32::from(entry.generation) != token >> 16 {
            return None;
        }
        let submitted_ns = entry.submitted_ns.take()?;
        let mut pending = entry.pending.take()?;
        pending.task.submitted_ns = submitted_ns;
        self.free.push(index);
        Some(pending)
    }

    /// Removes a request that the store does not have.
    pub fn withdraw(&mut self, index: u16) -> Option<Pending> {
        let entry = self.entries.get_mut(usize::from(index)).filter(|entry| entry.submitted_ns.is_none())?;
        let pending = entry.pending.take()?;
        self.free.push(index);
        Some(pending)
    }

    /// Removes a request whose operation the store has handed back. The operation gives
    /// access to the frame's memory, so it is dropped here.
    pub fn refuse(&mut self, op: Op) -> Option<Pending> {
        self.complete(op.token)
    }

    /// Looks for operations that the store has had for longer than `limit_ns`. Returns
    /// the number found for the first time, and whether there are any at all.
    pub fn find_overdue(&mut self, now_ns: u64, limit_ns: u64) -> (u64, bool) {
        let (mut new, mut any) = (0, false);
        for entry in &mut self.entries {
            if entry.submitted_ns.is_some_and(|since| now_ns.saturating_sub(since) > limit_ns) {
                new += u64::from(!std::mem::replace(&mut entry.overdue, true));
                any = true;
            }
        }
        (new, any)
    }

    /// Maximum number of requests.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of requests that there is room for.
    pub fn room(&self) -> usize {
        self.size - self.len()
    }

    /// Number of pending requests.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// Adds the memory of `left` bytes of a frame, after the first `skip`, to `buffers`.
/// Returns `false` if the frame is too short, or if the bytes are in too many pieces.
#[allow(unsafe_code)] // The only place in this crate: the slab decides who owns the memory.
#[inline]
fn scatter(frame: &mut Frame, mut skip: usize, mut left: usize, umem: &Umem, buffers: &mut IoVec) -> bool {
    for at in 0..frame.pieces() {
        let piece = umem.piece_mut(frame, at);
        let Some(rest) = piece.get_mut(skip..).filter(|rest| !rest.is_empty()) else {
            skip -= piece.len();
            continue;
        };
        skip = 0;
        let taken = left.min(rest.len());
        let (part, _) = rest.split_at_mut(taken);
        left -= taken;
        // SAFETY: the frame owns these bytes. It is in the slab, where nothing touches it
        // until `complete`: `begin` makes no second list before that, and the store drops
        // this one before it returns the completion. Or it is lent for a single call
        // (`ExportRuntime::try_inline`), and the list does not outlive that call.
        if !unsafe { buffers.push(part) } {
            return false;
        }
        if left == 0 {
            return true;
        }
    }
    false
}
