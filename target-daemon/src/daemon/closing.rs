//! Closes stores, with a last sync if the export is removed for good: the operator may pull
//! its disk next.

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
    /// Its former address.
    pub address: Address,
    identity: Identity,
    from: Receiver<Result<(), String>>,
}

/// What to sync before a store is closed.
#[derive(Debug)]
pub struct LastSync {
    /// The file or device.
    pub identity: Identity,
    /// Set if the data written by hosts must be made stable.
    pub file: Option<OpenFile>,
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

impl ExportRegistry {
    /// Closes a store on a thread of its own, because that may take long if a disk hangs.
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
            // The caller may have stopped waiting.
            let _ = to.send(synced);
        };
        // If no thread can be started, dropping the closure closes the store right here.
        let _ = thread::Builder::new().name("closer".into()).spawn(body);
        Closing { address, identity, from }
    }

    /// The outcome of closing a store. If that takes longer than `limit`, it stays on the
    /// list.
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
