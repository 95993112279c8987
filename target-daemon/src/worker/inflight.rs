//! Requests that a store is working on: a slab of fixed size.

use super::job::Job;
use crate::observe::Operation;
use crate::ring::{Frame, Memory};
use crate::store::{Buffers, Kind};
use crate::wire::ata;

/// A request whose operation has been submitted.
#[derive(Debug)]
pub struct Pending {
    /// The request; its frame's memory is the store's until completion.
    pub job: Job,
    /// Its ATA header, for the reply.
    pub ata: ata::Request,
    /// What the store does.
    pub kind: Kind,
    /// For the service times.
    pub operation: Operation,
}

/// Pending requests by token.
///
/// A token is an index and a generation, so that a store that completes an
/// operation twice is found out rather than believed.
#[derive(Debug)]
pub struct Slab {
    entries: Vec<Entry>,
    free: Vec<u16>,
}

#[derive(Debug)]
struct Entry {
    generation: u16,
    pending: Option<Pending>,
}

/// The slab is full: the request comes back.
#[derive(Debug)]
pub struct SlabFull(pub Pending);

impl Slab {
    /// Room for `size` requests. All memory is taken here.
    pub fn new(size: u16) -> Self {
        Self {
            entries: (0..size).map(|_| Entry { generation: 0, pending: None }).collect(),
            free: (0..size).rev().collect(),
        }
    }

    /// Takes a request in, and describes the memory of its data for the store:
    /// `bytes` bytes that begin at `payload_offset` of the frame.
    pub fn admit(
        &mut self,
        pending: Pending,
        payload_offset: usize,
        bytes: usize,
        memory: &Memory,
    ) -> Result<(u32, Buffers), SlabFull> {
        let Some(index) = self.free.pop() else { return Err(SlabFull(pending)) };
        let Some(entry) = self.entries.get_mut(usize::from(index)) else {
            return Err(SlabFull(pending));
        };
        entry.generation = entry.generation.wrapping_add(1);
        let token = u32::from(entry.generation) << 16 | u32::from(index);
        match scatter(&mut entry.pending.insert(pending).job.frame, payload_offset, bytes, memory) {
            Some(buffers) => Ok((token, buffers)),
            // Cannot be: the request was checked, and room for the reply made.
            None => self.remove(token).map_or(Ok((token, Buffers::EMPTY)), |p| Err(SlabFull(p))),
        }
    }

    /// Takes a request out, when its completion has come (or when it was never
    /// submitted). `None` for a token that is not pending.
    pub fn remove(&mut self, token: u32) -> Option<Pending> {
        let index = token as u16;
        let entry = self.entries.get_mut(usize::from(index))?;
        if u32::from(entry.generation) != token >> 16 {
            return None;
        }
        let pending = entry.pending.take()?;
        self.free.push(index);
        Some(pending)
    }

    /// Requests that are pending.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// The pieces of memory that hold these bytes of a frame; `None` if the frame
/// is too short for them.
fn scatter(frame: &mut Frame, mut skip: usize, mut left: usize, memory: &Memory) -> Option<Buffers> {
    let mut buffers = Buffers::EMPTY;
    for at in 0..frame.pieces() {
        let piece = memory.piece_mut(frame, at);
        let skipped = skip.min(piece.len());
        let taken = left.min(piece.len() - skipped);
        skip -= skipped;
        left -= taken;
        let Some(part) = piece.get_mut(skipped..skipped + taken).filter(|p| !p.is_empty()) else { continue };
        // SAFETY: the frame owns these bytes and sits in the slab, where nobody
        // touches it, until `remove`: that is called when the store has
        // returned the completion, or has refused the operation.
        if !unsafe { buffers.push(part) } {
            return None;
        }
    }
    (left == 0).then_some(buffers)
}
