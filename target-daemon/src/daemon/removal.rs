//! Removes exports. If an export is removed for good, its store is synced before it is
//! closed: the operator may pull its disk next.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use log::{error, info};

use super::registry::ExportRegistry;
use super::worker_pool::{PATIENCE, WorkerPool};
use crate::store::{Identity, IoError, OpenFile};
use crate::wire::aoe::Address;
use crate::worker::{ExportRuntime, HORIZON_NS, Owner, WorkerCommand};

/// How long the answers of a removed export are kept. Duplicates of its requests arrive
/// within the horizon, counted from the last reply.
const ANSWERED_KEPT: Duration = Duration::from_nanos(2 * HORIZON_NS);

/// A removed export whose store is not closed yet.
#[derive(Debug)]
pub struct Leaving {
    address: Address,
    identity: Identity,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Its worker has not returned it yet. The file is set if the data written by hosts must
    /// be made stable.
    Detaching(Owner, Receiver<Box<ExportRuntime>>, Option<OpenFile>),
    /// Its store is being closed.
    Closing(Receiver<Result<(), String>>),
}

impl Leaving {
    /// The index that it still occupies at its worker.
    pub fn owner(&self) -> Option<Owner> {
        match self.step {
            Step::Detaching(owner, ..) => Some(owner),
            Step::Closing(_) => None,
        }
    }
}

/// The outcome of removing an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removed {
    /// Its store is closed, and the data written by hosts is stable if that was requested.
    Closed,
    /// Requests to it, or its last sync, are still in progress. The log reports the end.
    Later,
    /// It is closed, and data written by hosts may be lost.
    Unsynced(String),
}

impl WorkerPool {
    /// Stops serving an export. With `sync`, the data written by hosts is made stable
    /// before the store is closed.
    pub fn remove(&mut self, address: Address, sync: bool) -> Removed {
        if self.is_used(address) {
            self.note_use_of(address);
        }
        let Some(entry) = self.registry.entries.remove(&address) else { return Removed::Closed };
        let owner = entry.owner;
        self.publish(self.directory.without(address));
        let (to, from) = bounded(1);
        if let Some(worker) = self.workers.get(usize::from(owner.worker)) {
            worker.insist(WorkerCommand::Detach(owner.export, to));
        }
        let file = entry.source.file.filter(|_| sync && entry.source.is_writable);
        let step = Step::Detaching(owner, from, file);
        self.close(Leaving { address, identity: entry.source.data.identity, step }, PATIENCE)
    }

    /// Closes the stores of exports that their workers have returned since the last call,
    /// and resends commands to workers that did not answer. Returns the outcome for the
    /// stores that have closed.
    pub fn reap_detached(&mut self) -> Vec<(Address, Removed)> {
        self.registry.answered.retain(|_, (since, _)| since.elapsed() < ANSWERED_KEPT);
        self.registry.behind.retain(|index| {
            let order = WorkerCommand::Directory(Arc::clone(&self.directory));
            !self.workers.get(*index).is_none_or(|worker| worker.offer(order))
        });
        let mut ended = Vec::new();
        for leaving in std::mem::take(&mut self.registry.leaving) {
            let address = leaving.address;
            let removed = self.close(leaving, Duration::ZERO);
            match &removed {
                Removed::Later => continue,
                Removed::Unsynced(why) => error!("{address}: {why}"),
                Removed::Closed => info!("{address} is closed"),
            }
            ended.push((address, removed));
        }
        ended
    }

    /// Takes a removed export back from its worker and closes its store. If a step of
    /// this takes longer than `limit`, the export stays on the list.
    fn close(&mut self, mut leaving: Leaving, limit: Duration) -> Removed {
        let Leaving { address, identity, step } = &mut leaving;
        if let Step::Detaching(owner, from, file) = step {
            match from.recv_timeout(limit) {
                Ok(mut runtime) => {
                    let answered = (Instant::now(), runtime.take_answered());
                    self.registry.answered.insert(*address, answered);
                    self.registry.left.insert(*address, runtime.tally().clone());
                    if let Some(fault) = runtime.degraded() {
                        self.registry.quarantine.fail(identity, fault);
                    }
                    *step = Step::Closing(close_store(runtime, file.take()));
                }
                Err(why) => {
                    if why == RecvTimeoutError::Disconnected
                        && let Some(worker) = self.workers.get(usize::from(owner.worker))
                    {
                        // Its worker did not even receive the command.
                        let to;
                        (to, *from) = bounded(1);
                        worker.offer(WorkerCommand::Detach(owner.export, to));
                    }
                    self.registry.leaving.push(leaving);
                    return Removed::Later;
                }
            }
        }
        let Step::Closing(from) = step else { return Removed::Later };
        let why = match from.recv_timeout(limit) {
            Ok(Ok(())) => return Removed::Closed,
            Err(RecvTimeoutError::Timeout) => {
                self.registry.leaving.push(leaving);
                return Removed::Later;
            }
            Ok(Err(why)) => why,
            Err(RecvTimeoutError::Disconnected) => "no thread could be started for it".to_owned(),
        };
        self.registry.quarantine.fail(identity, IoError::Media);
        Removed::Unsynced(format!(
            "its last sync failed, so what hosts have written may not be on the disk: {why}: check the disk and what is on it"
        ))
    }

    /// Whether an export with this address was removed and requests to it are still in
    /// flight.
    pub fn is_leaving(&self, address: Address) -> bool {
        self.registry.leaving.iter().any(|leaving| leaving.address == address)
    }
}

impl ExportRegistry {
    /// Whether the store of a removed export is still being closed.
    pub fn is_closing(&self, address: Address) -> bool {
        self.leaving.iter().any(|leaving| leaving.address == address && leaving.owner().is_none())
    }
}

/// Closes a store on a thread of its own, because that may take long if a disk hangs.
fn close_store(runtime: Box<ExportRuntime>, file: Option<OpenFile>) -> Receiver<Result<(), String>> {
    let (to, from) = bounded(1);
    let body = move || {
        let synced = match &file {
            None => Ok(()),
            Some(_) if runtime.degraded().is_some() => Err("a sync of it has failed before".to_owned()),
            Some(file) => file.sync().map_err(|e| e.to_string()),
        };
        drop((runtime, file));
        // The caller may have stopped waiting.
        let _ = to.send(synced);
    };
    // If no thread can be started, dropping the closure closes the store right here.
    let _ = thread::Builder::new().name("closer".into()).spawn(body);
    from
}
