//! Stores that are closed, with a last sync where nobody opens them again: who takes
//! an export away may pull its disk next.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::registry::ExportRegistry;
use crate::store::{Identity, IoError, OpenFile};
use crate::wire::aoe::Address;
use crate::worker::ExportRuntime;

/// A store that is being closed.
#[derive(Debug)]
pub struct Closing {
    /// Where it answered.
    pub address: Address,
    identity: Identity,
    from: Receiver<Result<(), String>>,
}

/// What is made stable before a store is closed.
#[derive(Debug)]
pub struct LastSync {
    /// The file or device.
    pub identity: Identity,
    /// It, where what hosts have written is to be made stable.
    pub file: Option<OpenFile>,
}

/// How an export has left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removed {
    /// Its store is closed, and what hosts have written is stable if that was asked for.
    Closed,
    /// Requests to it are still under way, or it is still being made stable: the log tells
    /// of the end.
    Later,
    /// It is closed, and what hosts have written may be lost.
    Unsynced(String),
}

impl ExportRegistry {
    /// Closes a store, which may take long where a disk hangs: on a thread of its own.
    pub fn close_store(&mut self, address: Address, runtime: Box<ExportRuntime>, last: LastSync) -> Closing {
        let LastSync { identity, file } = last;
        let fault = runtime.degraded();
        if let Some(fault) = fault {
            self.quarantine.fail(&identity, fault);
        }
        let (to, from) = bounded(1);
        let body = move || {
            let synced = match (&file, fault) {
                (None, _) => Ok(()),
                (Some(_), Some(_)) => Err("a sync of it has failed before".to_owned()),
                (Some(file), None) => file.sync().map_err(|e| e.to_string()),
            };
            drop((runtime, file));
            // Whoever asked may have stopped waiting.
            let _ = to.send(synced);
        };
        // Without a thread the store is closed right here, with the closure.
        let _ = thread::Builder::new().name("closer".into()).spawn(body);
        Closing { address, identity, from }
    }

    /// How a store was closed; it stays on the list if that takes longer.
    pub fn when_closed(&mut self, closing: Closing, limit: Duration) -> Removed {
        let why = match closing.from.recv_timeout(limit) {
            Ok(Ok(())) => return Removed::Closed,
            Err(RecvTimeoutError::Timeout) => {
                self.closing.push(closing);
                return Removed::Later;
            }
            Ok(Err(why)) => why,
            Err(RecvTimeoutError::Disconnected) => "no thread could be started for it".to_owned(),
        };
        self.quarantine.fail(&closing.identity, IoError::Media);
        Removed::Unsynced(format!(
            "its last sync failed, so what hosts have written may not be on the disk: {why}: check the disk and what is on it"
        ))
    }
}
