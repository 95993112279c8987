//! What an operator does to an export while hosts use it, done as the daemon does it: an
//! export is reopened by the same or another worker, is removed and added again, or
//! changes its size. Commands reach a worker between two turns.

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use xblade::shelf::{Export, Settings};
use xblade::wire::aoe;
use xblade::worker::{Answered, Directory, ExportRuntime, Owner, Worker, WorkerCommand};
use xblade_sim::FakeRings;

use crate::fake::{TestClock, settings};

use super::super::history::{Ended, Op, What};
use super::super::value::SECTOR;
use super::hosts::address;
use super::{Event, World};

/// Number of checks until a change of size is given up.
const PATIENCE: u32 = 1_000;

/// Number of checks by which the new size of an export must have been noticed.
const MEASURE_MAX: u32 = 20_000;

/// A change in progress.
#[derive(Debug)]
pub(super) struct Change {
    export: usize,
    phase: Phase,
    /// The owner at the end.
    owner: Owner,
}

/// The next step, once all workers have carried out their commands.
#[derive(Debug)]
enum Phase {
    /// No worker finds it any more; its owner has to detach it.
    Forgotten(Owner),
    Leaves(Receiver<Box<ExportRuntime>>),
    Away(Box<(Export, Answered)>, u64),
    Attached,
    /// None of its hosts may have anything in flight when its size changes.
    Resize(u64, u32),
    Measured(u32),
    /// Nothing.
    Over,
}

impl World {
    /// Starts a change, or continues the one in progress.
    pub(super) fn change(&mut self) {
        if self.target.is_none() {
            let at_ns = self.now_ns + 1_000_000;
            return self.at(at_ns, Event::Change);
        }
        if self.change.is_none() {
            if self.resting {
                return;
            }
            self.change = self.begin_change();
        } else if self.commands.iter().all(|commands| commands.is_empty())
            && let Some(change) = self.change.take()
        {
            self.change = self.go_on(change);
        }
        let wait_ns = match self.change {
            Some(_) => self.rng.between(20_000, 2_000_000),
            None => self.rng.between(1_000_000, self.scenario.change_every_ns.unwrap_or(1) * 2),
        };
        self.at(self.now_ns + wait_ns, Event::Change);
    }

    /// The target has exited, and the change in progress with it.
    pub(super) fn end_change(&mut self) {
        self.change = None;
        self.halted = None;
    }

    /// Whether the run waits for a worker to notice a new size.
    pub(super) fn is_measured(&self) -> bool {
        matches!(self.change, Some(Change { phase: Phase::Measured(_), .. }))
    }

    fn begin_change(&mut self) -> Option<Change> {
        let export = self.rng.below(self.disks.len() as u64) as usize;
        let habits = self.scenario.exports[export].habits;
        let workers = self.turns.len() as u64;
        let target = self.target.as_mut()?;
        let at = wire_address(export);
        let from = target.directory.owner(at)?;
        if self.rng.hits(2_000) {
            self.scenario.exports[export].draw_rates(&mut self.rng);
            let settings = Settings { rates: self.rates(export), ..settings(address(export)) };
            self.command(from.worker.into(), WorkerCommand::Change(from.export, Box::new(settings)));
            self.marks.hit("limits changed");
            return None;
        }
        if self.rng.hits(2_500) {
            if habits.stuck > 0 {
                return None;
            }
            self.halted = Some(export);
            let to = 8 * self.rng.between(8, 40);
            return Some(Change { export, phase: Phase::Resize(to, PATIENCE), owner: from });
        }
        // One that refuses writes since a sync failed would accept them again.
        if habits.sync_errors > 0 {
            return None;
        }
        let owner = Owner { worker: self.rng.below(workers) as u16, export: self.free_index };
        self.free_index += 1;
        self.trace.note(self.now_ns, "reopen", &[export as u64, owner.worker.into()]);
        let directory = target.directory.without(at);
        self.publish(directory);
        Some(Change { export, phase: Phase::Forgotten(from), owner })
    }

    fn go_on(&mut self, change: Change) -> Option<Change> {
        let Change { export, owner, .. } = change;
        let phase = match change.phase {
            Phase::Forgotten(from) => {
                let (to, runtime) = bounded(1);
                self.command(from.worker.into(), WorkerCommand::Detach(from.export, to));
                Phase::Leaves(runtime)
            }
            Phase::Leaves(runtime) => match runtime.try_recv() {
                Ok(mut runtime) => {
                    let longest_ns = self.rng.pick(&[100_000, 5_000_000, 1_000_000_000]);
                    let until_ns = self.now_ns + self.rng.below(longest_ns);
                    let answered = runtime.take_answered();
                    Phase::Away(Box::new((runtime.into_export(), answered)), until_ns)
                }
                Err(_) => Phase::Leaves(runtime),
            },
            Phase::Away(left, until_ns) if self.now_ns < until_ns => Phase::Away(left, until_ns),
            Phase::Away(left, _) => {
                let (Export { mut state, store, key }, answered) = *left;
                drop(store);
                let store = self.open(export);
                state.geometry = store.geometry();
                let opened = Export { state, store, key };
                let runtime = ExportRuntime::new(opened, self.scenario.in_flight);
                let runtime = runtime.remembering(answered);
                self.command(owner.worker.into(), WorkerCommand::Attach(owner.export, Box::new(runtime)));
                let moved = self.scenario.exports[export].owner != owner.worker;
                self.marks.hit(if moved { "export moved to another worker" } else { "export opened again" });
                self.scenario.exports[export].owner = owner.worker;
                Phase::Attached
            }
            Phase::Attached => {
                let directory = self.target.as_ref()?.directory.with(wire_address(export), owner);
                self.publish(directory);
                Phase::Over
            }
            Phase::Resize(to, _) if self.is_untouched(export) => {
                self.resize(export, to);
                self.command(owner.worker.into(), WorkerCommand::Measure);
                Phase::Measured(MEASURE_MAX)
            }
            Phase::Resize(_, 0) => {
                // A disk hangs.
                self.halted = None;
                return None;
            }
            Phase::Resize(to, left) => Phase::Resize(to, left - 1),
            Phase::Measured(0) => {
                self.failed = Some(format!("export {export}: its new size is not found"));
                return None;
            }
            Phase::Measured(left) => {
                let worker = self.workers[usize::from(owner.worker)].as_ref();
                let found = worker.and_then(|worker| worker.export(owner.export));
                let sectors = self.scenario.exports[export].sectors;
                if found.is_none_or(|found| found.geometry.sectors != sectors) {
                    return Some(Change { phase: Phase::Measured(left - 1), ..change });
                }
                self.halted = None;
                Phase::Over
            }
            Phase::Over => return None,
        };
        Some(Change { phase, ..change })
    }

    /// Makes all workers use this directory, as soon as each has received it.
    fn publish(&mut self, directory: Directory) {
        let Some(target) = &mut self.target else { return };
        target.publish(directory);
        let directory = Arc::clone(&target.directory);
        (0..self.turns.len())
            .for_each(|worker| self.command(worker, WorkerCommand::Directory(Arc::clone(&directory))));
    }

    fn command(&mut self, worker: usize, command: WorkerCommand) {
        self.commands[worker].push_back(command);
        self.wake(worker);
    }

    /// Executes one command, after a turn of the worker.
    pub(super) fn carry_out(&mut self, index: usize, worker: &mut Worker<FakeRings>) -> bool {
        let Some(command) = self.commands[index].pop_front() else { return false };
        worker.carry_out(command, &TestClock(self.now_ns.into()));
        true
    }

    /// Whether no host of this export has anything in flight.
    fn is_untouched(&self, export: usize) -> bool {
        let of_it = |host: usize| self.hosts[host].linux.export == export;
        let traffic = |event: &Event| match event {
            Event::ToLane { sent, .. } => of_it(sent.host),
            Event::ToHost { host, .. } => of_it(*host),
            _ => false,
        };
        let idle = |host: usize| self.hosts[host].dead || self.hosts[host].linux.is_idle();
        (0..self.hosts.len()).all(|host| !of_it(host) || idle(host))
            && self.is_quiet()
            && !self.events.values().any(traffic)
    }

    /// Changes the size of the disk. Sectors that are cut off read as zeros when they
    /// reappear.
    fn resize(&mut self, export: usize, to: u64) {
        let from = std::mem::replace(&mut self.scenario.exports[export].sectors, to);
        self.trace.note(self.now_ns, "resize", &[export as u64, from, to]);
        self.disks[export].resize(to * SECTOR as u64);
        self.repeated[export] = None;
        self.marks.hit(if to < from { "export shrunk" } else { "export grown" });
        if to < from {
            let mut cut = Op::new(usize::MAX, export, What::Discard);
            cut.ranges.push((to, (from - to) as u16));
            (cut.begin, cut.end) = (self.next_moment(), self.next_moment());
            (cut.ended, cut.copies) = (Ended::Good, 1);
            self.ops.push(cut);
        }
    }
}

fn wire_address(export: usize) -> aoe::Address {
    let (shelf, slot) = address(export);
    aoe::Address { shelf, slot }
}
