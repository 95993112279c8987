//! From the store's answer to the reply.

use crate::plant::{Bug, planted};
use crate::shelf::State;
use crate::store::{IoError, Kind};
use crate::wire::ata::{Request, SECTOR_LEN, error, status};
use crate::wire::{Reply, aoe};

/// The reply to an ATA command whose operation has ended.
///
/// It is never an AoE error: on an ATA error an initiator fails the one
/// request at once, on an AoE error Linux would hang.
pub fn finish(ata: &Request, kind: Kind, result: Result<(), IoError>, state: &State) -> Reply<'static> {
    if kind == Kind::Measure {
        // Whether or not the size could be found out: the last one is known.
        return Reply::Identify(ata.reply(status::GOOD, error::NONE), state.identity());
    }
    let fault = match result {
        Ok(()) if kind == Kind::Read => {
            let bytes = usize::from(ata.count) * SECTOR_LEN;
            return Reply::AtaData { ata: ata.reply(status::GOOD, error::NONE), bytes };
        }
        Ok(()) => return Reply::Ata(ata.reply(status::GOOD, error::NONE)),
        Err(fault) => fault,
    };
    if fault == IoError::Media && planted(Bug::AoeErrorForMedium) {
        return Reply::Refusal(aoe::Error::Argument);
    }
    let error = match (fault, kind) {
        (IoError::Range, _) => error::NOT_FOUND,
        (IoError::Media, Kind::Read) => error::UNCORRECTABLE,
        (IoError::Media | IoError::NoSpace | IoError::ReadOnly | IoError::System | IoError::Transient, _) => {
            error::ABORT
        }
    };
    Reply::Ata(ata.reply(status::ERROR, error))
}
