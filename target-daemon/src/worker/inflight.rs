//! Requests that a store is working on, or will be: a slab of fixed size.

use super::fingerprint::Fingerprint;
use super::messages::{Finished, Inbound};
use crate::observe::Operation;
use crate::ring::{Frame, Umem};
use crate::store::{IoVec, Op};
use crate::wire::ata;

/// A request that needs the store.
#[derive(Debug)]
pub struct Pending {
    /// The request; its frame's memory is the store's while its operation is
    /// under way.
    pub inbound: Inbound,
    /// Its ATA header, for the reply.
    pub ata: ata::Request,
    /// What the store does.
    pub fingerprint: Fingerprint,
    /// Where the data begins in the frame.
    pub payload_offset: u16,
    /// For the service times.
    pub operation: Operation,
    /// When its store was given it; 0 if it was not.
    pub submitted_ns: u64,
}

impl Pending {
    /// Its operation, under this token; `None` if its frame has no room for the
    /// data. The frame's memory is the operation's: until that has ended, nobody
    /// may touch it.
    pub fn op(&mut self, token: u32, umem: &Umem) -> Option<Op> {
        let Fingerprint { kind, sector, bytes, .. } = self.fingerprint;
        let offset = usize::from(self.payload_offset);
        let buffers = scatter(&mut self.inbound.frame, offset, bytes as usize, umem)?;
        Some(Op { token, kind, sector, buffers })
    }

    /// The end of a request that gets no reply: the initiator resends it.
    pub fn unanswered(self) -> Finished {
        Finished { asked: Some(self.ata), ..self.inbound.unanswered(self.operation) }
    }
}

/// Pending requests by token.
///
/// A token is an index and a generation, so that a store that completes an
/// operation twice, or one that it was never given, is found out rather than
/// believed.
#[derive(Debug)]
pub struct Slab {
    entries: Vec<Entry>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Entry {
    generation: u16,
    /// Whether the store has its memory, and since when.
    submitted_ns: Option<u64>,
    /// It was found to have it for too long.
    overdue: bool,
    pending: Option<Pending>,
}

/// The slab is full: the request comes back.
#[derive(Debug)]
pub struct SlabFull(pub Pending);

impl Slab {
    /// Room for `size` requests. All memory is taken here.
    pub fn new(size: u16) -> Self {
        let entry = |_| Entry { generation: 0, submitted_ns: None, overdue: false, pending: None };
        Self { entries: (0..size).map(entry).collect(), free: (0..size).rev().collect() }
    }

    /// Takes a request in; returns its index.
    ///
    /// # Errors
    ///
    /// There is no room for it.
    pub fn admit(&mut self, pending: Pending) -> Result<u16, SlabFull> {
        let Some(index) = self.free.pop() else { return Err(SlabFull(pending)) };
        let Some(entry) = self.entries.get_mut(usize::from(index)) else {
            return Err(SlabFull(pending));
        };
        entry.generation = entry.generation.wrapping_add(1);
        entry.pending = Some(pending);
        Ok(index)
    }

    /// The request with this index.
    pub fn get(&self, index: u16) -> Option<&Pending> {
        self.entries.get(usize::from(index))?.pending.as_ref()
    }

    /// The operation of a request, for the store. `None` if the store has it
    /// already, or its frame has no room for the data: that cannot be, because
    /// the request was checked, and room for the reply made.
    pub fn begin(&mut self, index: u16, umem: &Umem, now_ns: u64) -> Option<Op> {
        let entry = self.entries.get_mut(usize::from(index))?;
        if entry.submitted_ns.is_some() {
            return None;
        }
        let token = u32::from(entry.generation) << 16 | u32::from(index);
        let op = entry.pending.as_mut()?.op(token, umem)?;
        (entry.submitted_ns, entry.overdue) = (Some(now_ns), false);
        Some(op)
    }

    /// Takes a request out whose completion has come. `None` for a token whose
    /// operation the store does not have.
    pub fn complete(&mut self, token: u32) -> Option<Pending> {
        let index = token as u16;
        let entry = self.entries.get_mut(usize::from(index))?;
        if u32::from(entry.generation) != token >> 16 {
            return None;
        }
        let submitted_ns = entry.submitted_ns.take()?;
        let mut pending = entry.pending.take()?;
        pending.submitted_ns = submitted_ns;
        self.free.push(index);
        Some(pending)
    }

    /// Takes a request out that the store has not got.
    pub fn withdraw(&mut self, index: u16) -> Option<Pending> {
        let entry = self.entries.get_mut(usize::from(index)).filter(|entry| entry.submitted_ns.is_none())?;
        let pending = entry.pending.take()?;
        self.free.push(index);
        Some(pending)
    }

    /// Takes a request out whose operation the store has given back: whoever
    /// has the operation has its hold on the frame's memory, which ends here.
    pub fn refuse(&mut self, op: Op) -> Option<Pending> {
        self.complete(op.token)
    }

    /// Looks for operations that the store has had for longer than this.
    /// Returns how many there are that were not found before, and whether there
    /// are any.
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

    /// Requests that are pending.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// The pieces of memory that hold these bytes of a frame; `None` if the frame
/// is too short for them.
fn scatter(frame: &mut Frame, mut skip: usize, mut left: usize, umem: &Umem) -> Option<IoVec> {
    let mut buffers = IoVec::EMPTY;
    for at in 0..frame.pieces() {
        let piece = umem.piece_mut(frame, at);
        let skipped = skip.min(piece.len());
        let taken = left.min(piece.len() - skipped);
        skip -= skipped;
        left -= taken;
        let Some(part) = piece.get_mut(skipped..skipped + taken).filter(|p| !p.is_empty()) else { continue };
        // SAFETY: the frame owns these bytes. It sits in the slab, where nobody
        // touches it until `complete`: `lend` makes no second list before that,
        // and the store drops this one before it returns the completion. Or it is
        // lent for one call (`ExportSet::try_inline`), and the list ends with that.
        if !unsafe { buffers.push(part) } {
            return None;
        }
    }
    (left == 0).then_some(buffers)
}
