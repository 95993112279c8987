//! From the store's result to the reply.

use crate::plant::{Bug, planted};
use crate::shelf::State;
use crate::store::{IoError, Kind};
use crate::wire::ata::{self, Request, SECTOR_LEN, error, status};
use crate::wire::{Reply, aoe};

/// The reply to an ATA command whose store operation has completed.
///
/// Never an AoE error: an ATA error makes an initiator fail this one request at once, but
/// an AoE error makes Linux hang.
pub fn finish(ata: &Request, kind: Kind, result: Result<(), IoError>, state: &State) -> Reply<'static> {
    match (kind, result) {
        // If the size could not be determined, the last known one is reported.
        (Kind::Measure, _) => Reply::Identify(ata.reply(status::GOOD, error::NONE), state.identity()),
        (_, Ok(())) => match success(ata, kind) {
            (ata, 0) => Reply::Ata(ata),
            (ata, bytes) => Reply::AtaData { ata, bytes },
        },
        (_, Err(fault)) => fail(ata, kind, fault),
    }
}

/// The reply to an ATA command, other than IDENTIFY, that the store has carried out: its ATA
/// header, and the number of bytes of data behind that.
#[inline]
pub fn success(ata: &Request, kind: Kind) -> (ata::Reply, usize) {
    let bytes = if kind == Kind::Read { usize::from(ata.count) * SECTOR_LEN } else { 0 };
    (ata.reply(status::GOOD, error::NONE), bytes)
}

fn fail(ata: &Request, kind: Kind, fault: IoError) -> Reply<'static> {
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
