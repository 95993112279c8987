//! Where requests are executed: the exports that a worker owns, and the
//! requests that their stores are working on.

use std::sync::Arc;

use super::directory::Directory;
use super::inflight::{Pending, Slab};
use super::job::{Done, Job};
use super::lanes::SharedLane;
use super::stats::Stats;
use crate::command::{self, Action};
use crate::observe::Operation;
use crate::shelf::{Export, Shelf};
use crate::store::{Buffers, Full, Kind, Op};
use crate::wire::query::Advert;
use crate::wire::{Body, Reply, Request, aoe, ata};

/// Longest request that is not ATA: 255 mask directives behind two VLAN tags.
const SCRATCH_BYTES: usize = 22 + 10 + 4 + 255 * 8;

/// The token of a measurement that no request asked for. No request has it: the
/// slab has a place less than 16 bits can count.
const MEASURE: u32 = u32::MAX;

/// Exports, and what is being done for them.
#[derive(Debug)]
pub struct Desk {
    shelf: Shelf,
    /// Operations of each export that have not completed.
    open: Vec<u32>,
    /// Exports whose size is being looked at, for nobody who asked on the wire.
    measuring: Vec<bool>,
    slab: Slab,
    lanes: Arc<[SharedLane]>,
    directory: Arc<Directory>,
    buffer_count: u16,
    /// A request that is not ATA and lies in several pieces, in one piece.
    scratch: [u8; SCRATCH_BYTES],
}

impl Desk {
    /// A desk for these exports, with room for `in_flight` requests.
    pub fn new(
        shelf: Shelf,
        lanes: Arc<[SharedLane]>,
        directory: Arc<Directory>,
        buffer_count: u16,
        in_flight: u16,
    ) -> Self {
        Self {
            open: vec![0; shelf.len()],
            measuring: vec![false; shelf.len()],
            slab: Slab::new(in_flight),
            shelf,
            lanes,
            directory,
            buffer_count,
            scratch: [0; SCRATCH_BYTES],
        }
    }

    /// Executes a request. What needs the store comes out of
    /// [`Self::harvest`], the rest is done at once.
    pub fn execute(&mut self, job: Job, stats: &mut Stats) -> Option<Done> {
        let lanes = Arc::clone(&self.lanes);
        let lane = lanes.get(usize::from(job.lane))?;
        let first = lane.memory.piece(&job.frame, 0);
        let head = if job.header.command != aoe::Command::Ata && job.frame.pieces() > 1 {
            let n = lane.memory.copy_out(&job.frame, &mut self.scratch);
            self.scratch.get(..n).unwrap_or(first)
        } else {
            first
        };
        let request = match Request::parse(&job.header, head, job.request_len as usize) {
            Ok(request) => request,
            Err(reason) => {
                stats.dropped(reason);
                return Some(job.done(Operation::Other, None));
            }
        };
        let operation = operation_of(&request.body);
        let export = self.shelf.get_mut(usize::from(job.export))?;
        let address = export.state.settings.address;
        let advert = Advert {
            buffer_count: self.buffer_count,
            firmware: super::FIRMWARE,
            sectors_per_frame: lane.sectors_per_frame(),
        };
        let (ata, kind, sector, payload_offset) = match command::execute(&request, &mut export.state, advert)
        {
            Action::Ignore(reason) => {
                stats.dropped(reason);
                return Some(job.done(operation, None));
            }
            Action::Reply(reply) => return Some(reply_to(job, operation, reply, address, lane)),
            Action::Read { ata, sector, .. } => {
                (ata, Kind::Read, sector, job.header.argument_offset() + ata::HEADER_LEN)
            }
            Action::Write { ata, sector, payload_offset, .. } => (ata, Kind::Write, sector, payload_offset),
            Action::Discard { ata, payload_offset, .. } => (ata, Kind::Discard, 0, payload_offset),
            Action::Flush { ata } => (ata, Kind::Flush, 0, 0),
            Action::Identify { ata } => (ata, Kind::Measure, 0, 0),
        };
        let pending = Pending { job, ata, kind, operation };
        self.submit(pending, sector, payload_offset, lane, stats)
    }

    /// Takes what the stores have finished and makes the replies.
    pub fn harvest(&mut self, done: &mut Vec<Done>, stats: &mut Stats) {
        for (index, open) in self.open.iter_mut().enumerate() {
            if *open == 0 {
                continue;
            }
            let Some(export) = self.shelf.get_mut(index) else { continue };
            export.store.kick();
            while let Some(completion) = export.store.complete() {
                if completion.token == MEASURE
                    && std::mem::take(self.measuring.get_mut(index).unwrap_or(&mut false))
                {
                    *open = open.saturating_sub(1);
                    follow(export, &self.directory);
                    continue;
                }
                let Some(pending) = self.slab.remove(completion.token) else {
                    stats.counters.stale_completions += 1;
                    continue;
                };
                *open = open.saturating_sub(1);
                stats.completed(pending.kind, completion.result);
                if pending.kind == Kind::Measure {
                    follow(export, &self.directory);
                }
                let reply = command::finish(&pending.ata, pending.kind, completion.result, &export.state);
                let Some(lane) = self.lanes.get(usize::from(pending.job.lane)) else { continue };
                let address = export.state.settings.address;
                if completion.result.is_err() && export.store.degraded().is_some() {
                    self.directory.mark_degraded(address);
                }
                done.push(reply_to(pending.job, pending.operation, reply, address, lane));
            }
        }
    }

    /// Looks at the size of every store, but of those where the last look has not
    /// ended: a disk that hangs is not asked again and again.
    pub fn measure(&mut self) {
        for (index, measuring) in self.measuring.iter_mut().enumerate() {
            let (Some(export), Some(open)) = (self.shelf.get_mut(index), self.open.get_mut(index)) else {
                break;
            };
            let op = Op { token: MEASURE, kind: Kind::Measure, sector: 0, buffers: Buffers::EMPTY };
            if !*measuring && export.store.submit(op).is_ok() {
                *measuring = true;
                *open += 1;
            }
        }
    }

    /// Whether a store is working on anything, measurements included.
    pub fn awaits_stores(&self) -> bool {
        self.open.iter().any(|open| *open > 0)
    }

    /// Requests that stores are working on.
    pub fn in_flight(&self) -> usize {
        self.slab.len()
    }

    fn submit(
        &mut self,
        pending: Pending,
        sector: u64,
        payload_offset: usize,
        lane: &SharedLane,
        stats: &mut Stats,
    ) -> Option<Done> {
        let (index, kind) = (usize::from(pending.job.export), pending.kind);
        let bytes = match kind {
            Kind::Flush | Kind::Measure => 0,
            _ => usize::from(pending.ata.count) * ata::SECTOR_LEN,
        };
        let (token, buffers) = match self.slab.admit(pending, payload_offset, bytes, &lane.memory) {
            Ok(admitted) => admitted,
            Err(refused) => {
                // Silence: the initiator resends, by when there is room.
                stats.counters.slab_full += 1;
                return Some(refused.0.job.done(refused.0.operation, None));
            }
        };
        match self.shelf.get_mut(index).map(|e| e.store.submit(Op { token, kind, sector, buffers })) {
            Some(Ok(())) => {
                if let Some(open) = self.open.get_mut(index) {
                    *open += 1;
                }
                None
            }
            Some(Err(Full(_))) | None => {
                stats.counters.store_full += 1;
                let pending = self.slab.remove(token)?;
                Some(pending.job.done(pending.operation, None))
            }
        }
    }
}

/// Takes over the size that a store has found.
fn follow(export: &mut Export, directory: &Directory) {
    if export.refresh() {
        directory.note_size(export.state.settings.address, export.state.geometry.sectors);
    }
}

/// Writes the reply over the request.
fn reply_to(
    mut job: Job,
    operation: Operation,
    reply: Reply<'_>,
    from: aoe::Address,
    lane: &SharedLane,
) -> Done {
    let header = job.header;
    let first = lane.memory.piece_mut(&mut job.frame, 0);
    let len = reply.emit(&header, lane.mac(), from, first);
    job.done(operation, len.map(|len| len as u32))
}

fn operation_of(body: &Body<'_>) -> Operation {
    let Body::Ata { ata, .. } = body else {
        return if matches!(body, Body::Query(_)) { Operation::Query } else { Operation::Other };
    };
    match ata.command.direction() {
        ata::Direction::Read => Operation::Read,
        ata::Direction::Write if ata.command == ata::Command::DataSetManagement => Operation::Discard,
        ata::Direction::Write => Operation::Write,
        ata::Direction::None => match ata.command {
            ata::Command::FlushCache | ata::Command::FlushCacheExt => Operation::Flush,
            _ => Operation::Ata,
        },
    }
}
