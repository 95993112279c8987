//! The target: turns of its workers, the frames it sends, its exit and its start.

use std::sync::Arc;

use xblade::shelf::Rates;
use xblade::store::disk::{DiskLayout, DiskStore};
use xblade::store::{Geometry, Store};
use xblade::worker::Worker;
use xblade_sim::FakeRings;

use super::super::history::{Ended, What};
use super::super::reply::Reply;
use super::super::value;
use super::hosts::{address, lane_mac};
use super::inside::SlowKernel;
use super::{Event, HEARTBEAT_NS, Turns, Violation, World};
use crate::{ExportPlan, FakeTarget, Plan};

/// Longest time between a frame's arrival and the turn that receives it.
const TURN_MAX_NS: u64 = 20_000;
/// Rate of late wakeups of a worker, in 10,000.
const LATE_WAKE: u32 = 300;

impl World {
    /// Starts the target on the disks as they are.
    pub(super) fn start_target(&mut self) {
        let exports = (0..self.disks.len()).map(|export| {
            let plan = ExportPlan::of(address(export), self.open(export));
            let rates = self.rates(export);
            ExportPlan { rates, ..plan }.owned_by(self.scenario.exports[export].owner)
        });
        let plan = Plan {
            lanes: self.scenario.lanes.clone(),
            one_queue: self.scenario.one_queue,
            workers: self.scenario.workers,
            chunks: self.scenario.chunks,
            chunk_bytes: self.scenario.chunk_bytes,
            ring: self.scenario.ring,
            mtu: self.scenario.mtu,
            in_flight: self.scenario.in_flight,
            sharing: self.scenario.sharing,
            ..Plan::new(exports.collect())
        };
        let mut target = FakeTarget::new(plan);
        self.workers = std::mem::take(&mut target.workers).into_iter().map(Some).collect();
        self.target = Some(target);
        self.starts += 1;
        self.hosts.iter_mut().for_each(|host| host.in_order = 0);
        if self.starts > 1 {
            let moment = self.next_moment();
            self.settings_lost.push(moment);
        }
        self.trace.note(self.now_ns, "start", &[self.starts.into()]);
        self.refusing.fill(None);
        self.turns.fill(Turns { next_ns: self.now_ns + 1, paused_until_ns: 0 });
    }

    pub(super) fn rates(&self, export: usize) -> Rates {
        let [export, each_host] = self.scenario.exports[export].rates;
        Rates { export, each_host, hosts: Arc::clone(&self.host_rates) }
    }

    pub(super) fn open(&self, export: usize) -> Box<dyn Store> {
        let scene = &self.scenario.exports[export];
        let (block_bytes, discards) = (scene.habits.block_bytes, scene.discards);
        let shape = DiskLayout {
            offset_bytes: 0,
            length_bytes: None,
            geometry: Geometry { block_bytes, discards, ..Geometry::new(scene.sectors, block_bytes) },
            read_only: false,
            persist: scene.stable,
        };
        Box::new(DiskStore::new(SlowKernel(self.disks[export].engine()), shape).expect("memory"))
    }

    /// Ends the target at any point of what it is doing.
    pub(super) fn crash(&mut self) {
        let (Some(target), Some(crash)) = (self.target.take(), self.scenario.crash) else { return };
        self.marks.hit(if crash.power { "power cut" } else { "process killed" });
        self.trace.note(self.now_ns, "crash", &[u64::from(crash.power)]);
        // A worker inside its turn notices when it continues.
        let workers = std::mem::take(&mut self.workers);
        workers.iter().flatten().for_each(|worker| self.count(worker));
        for disk in &self.disks {
            disk.advance(self.now_ns);
            if crash.power { disk.crash() } else { disk.kill() }
        }
        drop((workers, target));
        self.commands.iter_mut().for_each(|commands| commands.clear());
        self.end_change();
        for op in self.ops.iter_mut().filter(|op| op.begin > 0 && op.ended == Ended::NotYet) {
            // What it has executed may be lost, and is executed again.
            op.copies += 1;
            op.in_service = false;
        }
        self.at(self.now_ns + crash.down_ns, Event::Restart);
    }

    /// A worker soon notices what has arrived, unless it sleeps and wakes late.
    pub(super) fn wake(&mut self, worker: usize) {
        let at_ns = self.now_ns + self.rng.between(1_000, TURN_MAX_NS);
        if self.scenario.sleeps && self.turns[worker].next_ns == u64::MAX && self.rng.hits(LATE_WAKE) {
            self.marks.hit("worker woken late");
            let late_ns = self.draw_pause();
            self.turns[worker].paused_until_ns = self.now_ns + late_ns;
        }
        let turns = &mut self.turns[worker];
        turns.next_ns = turns.next_ns.min(at_ns).max(turns.paused_until_ns);
    }

    pub(super) fn wake_all(&mut self) {
        (0..self.turns.len()).for_each(|worker| self.wake(worker));
    }

    pub(super) fn advance_disks(&self) {
        self.disks.iter().for_each(|disk| disk.advance(self.now_ns));
    }

    /// Handles the results of a worker's turn.
    pub(super) fn after_turn(
        &mut self,
        index: usize,
        worker: &mut Worker<FakeRings>,
        work: usize,
    ) -> Result<(), Violation> {
        let Some(target) = &self.target else { return Ok(()) };
        let mut replies = Vec::new();
        for (lane, wire) in target.wires.iter().enumerate() {
            if usize::from(self.scenario.lanes[lane]) == index {
                replies.extend(std::iter::from_fn(|| wire.sent()).map(|frame| (lane, frame)));
            }
        }
        for (lane, frame) in replies {
            self.leave(lane, frame)?;
        }
        for (disk, refusing) in self.disks.iter().zip(&mut self.refusing) {
            if disk.sync_failed() && refusing.is_none() {
                self.moment += 1;
                *refusing = Some(self.moment);
            }
        }
        let carried_out = self.carry_out(index, worker);
        if work > 0 || carried_out {
            self.wake_all();
        } else if worker.is_busy() || self.is_measured() {
            self.wake_when_due(index);
        }
        if let Some(ready_ns) = worker.ready_ns() {
            self.marks.hit("request waited for a limit");
            let turns = &mut self.turns[index];
            turns.next_ns = turns.next_ns.min(ready_ns.max(self.now_ns + 1) + self.rng.below(TURN_MAX_NS));
        }
        let rests = self.scenario.sleeps && !worker.is_busy() && !self.is_measured();
        let turns = &mut self.turns[index];
        if !rests {
            turns.next_ns = turns.next_ns.min(self.now_ns + HEARTBEAT_NS);
        } else if turns.next_ns == u64::MAX {
            self.marks.hit("worker slept");
        }
        let turns = &mut self.turns[index];
        turns.next_ns = turns.next_ns.max(turns.paused_until_ns);
        Ok(())
    }

    /// A busy worker spins; only turns that find something matter.
    fn wake_when_due(&mut self, worker: usize) {
        let own = (0..self.disks.len()).filter(|at| usize::from(self.scenario.exports[*at].owner) == worker);
        if let Some(due_ns) = own.filter_map(|at| self.disks[at].next_due_ns()).min() {
            let late_ns = if due_ns > self.now_ns { self.rng.below(TURN_MAX_NS) } else { 100_000 };
            let turns = &mut self.turns[worker];
            turns.next_ns = turns.next_ns.min(due_ns.max(self.now_ns) + late_ns);
        }
    }

    /// A frame leaves the target: it must be a correct reply to a request delivered on
    /// this lane.
    fn leave(&mut self, lane: usize, frame: Vec<u8>) -> Result<(), Violation> {
        let Some(reply) = Reply::parse(&frame) else { return Err("the target sent no reply".to_owned()) };
        let host = self.hosts.iter().position(|host| host.linux.macs[lane] == reply.dst);
        let Some(host) = host else { return Err(format!("a reply to {:x?}", reply.dst)) };
        let Some(tag) = self.tags.get_mut(&(host, reply.tag)) else {
            return Err(format!("a reply to host {host} with tag {:#x}, which it has not sent", reply.tag));
        };
        tag.replies += 1;
        let number = tag.op;
        let op = &mut self.ops[number as usize];
        op.in_service = false;
        let wrong = |what: &str| Err(format!("op {number}: {op}: {what}"));
        if tag.replies > tag.delivered {
            return wrong("more replies than requests");
        }
        if (tag.lane, lane_mac(lane), address(op.export)) != (lane, reply.src, reply.address) {
            return wrong("the reply comes from elsewhere");
        }
        if !reply.is_good_response() {
            return wrong("an AoE error, on which Linux hangs");
        }
        let good = !op.what.is_ata() || reply.ata().0 & 0xA9 == 0;
        tag.answered |= good;
        let known = &mut self.hosts[host];
        if op.what.is_ata() && is_after(reply.tag, known.newest_answered) {
            known.newest_answered = reply.tag;
            known.in_order += 1;
        }
        self.trace.note(self.now_ns, "reply", &[host as u64, number.into(), reply.tag.into(), good.into()]);
        self.trace.bytes(&frame);
        if good && op.what == What::Write {
            self.check_acknowledged(number)?;
        }
        self.send_back(host, lane, frame);
        Ok(())
    }

    /// A write is acknowledged: it must be stable, and no sync may have failed before it
    /// was sent.
    fn check_acknowledged(&self, number: u32) -> Result<(), Violation> {
        let op = &self.ops[number as usize];
        let wrong = |what: &str| Err(format!("op {number}: {op}: {what}"));
        if op.beyond {
            return wrong("a write beyond the end succeeded");
        }
        if !self.options.oracles {
            return Ok(());
        }
        if self.refusing[op.export].is_some_and(|since| since < op.begin) {
            return wrong("acknowledged though a sync had failed");
        }
        let disk = &self.disks[op.export];
        let stable = |lba| disk.was_stable(lba, &value::sector(self.seed, op.value - 1, lba));
        match (op.lba..op.lba + u64::from(op.count)).all(stable) {
            true => Ok(()),
            false => wrong("acknowledged before it was stable"),
        }
    }

    /// Nothing is in flight, every chunk is accounted for, the counters of impossible
    /// events are zero, and every write was executed once for each time that was
    /// necessary.
    pub(super) fn check_at_rest(&mut self) -> Result<(), Violation> {
        for (index, worker) in self.workers.iter().flatten().enumerate() {
            for lane in worker.lanes() {
                let counters = lane.counters();
                if let Err(error) = lane.check(0) {
                    return Err(format!("worker {index}: chunks do not add up: {error:?}"));
                }
                if counters.bad_descriptors + counters.bad_completions > 0 {
                    return Err(format!("worker {index}: bad descriptors: {counters:?}"));
                }
            }
            let counters = worker.stats().counters;
            if counters.unsendable + counters.stale_completions + counters.imbalances > 0 {
                return Err(format!("worker {index}: what never happens: {counters:?}"));
            }
        }
        if let Some(disk) = self.disks.iter().find(|disk| disk.stats().refused > 0 && self.starts == 1) {
            return Err(format!("calls that a disk must refuse: {:?}", disk.stats()));
        }
        // What was repeated after a reboot is another operation with the same bytes.
        let reboots = self.hosts.iter().any(|host| host.boots > 0);
        let writes =
            (0u32..).zip(&self.ops).filter(|(_, op)| op.what == What::Write && !op.beyond && !reboots);
        for (number, op) in writes.filter(|(_, op)| self.options.oracles && self.scenario.is_plain(op.export))
        {
            let sector = value::sector(self.seed, op.value - 1, op.lba);
            let times = self.disks[op.export].times_written(op.lba, &sector);
            if times > op.served {
                return Err(format!("op {number}: {op}: executed {times} times, {} at most", op.served));
            }
        }
        Ok(())
    }

    pub(super) fn count(&mut self, worker: &Worker<FakeRings>) {
        for count in worker.stats().counters.rows() {
            self.marks.add(count.name, count.value);
        }
    }

    pub(super) fn count_disks(&mut self) {
        for (disk, scene) in self.disks.iter().zip(&self.scenario.exports) {
            let happened = disk.stats();
            for (name, n) in [
                ("disk: read", happened.reads),
                ("disk: write", happened.writes),
                ("disk: sync", happened.syncs),
                ("disk: range forgotten", happened.punches),
                ("disk: late", happened.late),
                ("disk: slow", happened.slow),
                ("disk: stuck", happened.stuck),
                ("disk: EIO on a read", happened.read_errors),
                ("disk: EIO on a write", happened.write_errors),
                ("disk: EIO on a sync", happened.sync_errors),
                ("disk: ENOSPC", happened.no_space),
                ("disk: short read", happened.short_reads),
                ("disk: short write", happened.short_writes),
                ("disk: EAGAIN", happened.again),
                ("disk: sector lost in a power cut", happened.sectors_lost),
                ("disk: torn write", happened.torn),
                ("disk: of 4 KiB blocks", u64::from(scene.habits.block_bytes == 4096)),
            ] {
                self.marks.add(name, n);
            }
        }
        if self.refusing.iter().any(Option::is_some) {
            self.marks.hit("export read-only since a sync has failed");
        }
    }
}

/// Whether a Linux host sent the first of these after the other.
fn is_after(tag: u32, other: u32) -> bool {
    let ticks = (tag as u16).wrapping_sub(other as u16) as i16;
    let steps = ((tag >> 16).wrapping_sub(other >> 16) & 0x7FFF) as i16;
    ticks > 0 || ticks == 0 && (1..0x4000).contains(&steps)
}
