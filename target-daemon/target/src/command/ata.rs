//! ATA commands.

use super::{Action, refuse};
use crate::plant::{Bug, planted};
use crate::shelf::{ReplyLimit, State};
use crate::store::{Durability, Kind};
use crate::wire::aoe::{self, Header};
use crate::wire::ata::{Command, Direction, Request, SECTOR_LEN, error, status};
use crate::wire::query::Advert;
use crate::wire::{DropReason, Reply};

/// SET FEATURES: write cache on and off. Initiators set no other feature.
const WRITE_CACHE_ON: u8 = 0x02;
const WRITE_CACHE_OFF: u8 = 0x82;
/// DATA SET MANAGEMENT: TRIM, with the reserved bits of the feature register clear.
const TRIM: u8 = 0x01;
/// CHECK POWER MODE: active or idle.
const POWER_ACTIVE: u8 = 0xff;

pub(super) fn execute<'a>(
    header: &Header,
    ata: Request,
    payload_len: usize,
    state: &State,
    advert: Advert,
    limit: ReplyLimit,
) -> Action<'a> {
    let direction = ata.command.direction();
    // Every target on the segment would execute it. Checked before the reservation,
    // because a broadcast must not cause errors from targets that it is not meant for.
    if direction == Direction::Write && header.is_broadcast() {
        return Action::Ignore(DropReason::BroadcastWrite);
    }
    if ata.command != Command::Identify && state.is_reserved_against(header.ether.src) {
        return refuse(aoe::Error::Reserved);
    }
    match direction {
        Direction::None => without_data(ata, state, limit),
        Direction::Read => read(ata, state, limit),
        Direction::Write if ata.command == Command::DataSetManagement => {
            discard(ata, payload_len, state, advert)
        }
        Direction::Write => write(ata, payload_len, state),
    }
}

fn without_data<'a>(ata: Request, state: &State, limit: ReplyLimit) -> Action<'a> {
    match ata.command {
        Command::Identify if limit.now == 0 => Action::Ignore(DropReason::ReplyTooLong),
        // Initiators use it to detect a new size, so the store checks its size now.
        Command::Identify => Action::Store { ata, kind: Kind::Measure },
        Command::FlushCache | Command::FlushCacheExt => Action::Store { ata, kind: Kind::Flush },
        Command::CheckPowerMode => {
            let mut reply = ata.reply(status::GOOD, error::NONE);
            reply.count = POWER_ACTIVE;
            Action::Reply(Reply::Ata(reply))
        }
        // Every export can accept "on". "Off" only a durable one can: it acknowledges
        // writes only once they are stable, so it has no cache to turn off.
        Command::SetFeatures if ata.feature == WRITE_CACHE_ON => good(ata),
        Command::SetFeatures
            if ata.feature == WRITE_CACHE_OFF && state.settings.durability == Durability::Durable =>
        {
            good(ata)
        }
        _ => fail(ata, error::ABORT),
    }
}

/// Serves any count that fits in the reply, whatever is advertised: after a takeover from
/// another target, or after the MTU was lowered, a host resends with the count it learned
/// before. Hosts pass an error on at once, but wait for minutes if there is no reply. So
/// a read that a larger MTU would fix gets no reply.
fn read<'a>(ata: Request, state: &State, limit: ReplyLimit) -> Action<'a> {
    if ata.count == 0 {
        return good(ata);
    }
    if ata.count > limit.ever {
        return fail(ata, error::ABORT);
    }
    if let Err(error) = check_range(ata, state) {
        return fail(ata, error);
    }
    if ata.count > limit.now {
        return Action::Ignore(DropReason::ReplyTooLong);
    }
    // A read may carry data: Linux probes a path with a full-length read.
    Action::Store { ata, kind: Kind::Read }
}

fn write<'a>(ata: Request, payload_len: usize, state: &State) -> Action<'a> {
    if state.settings.read_only {
        return fail(ata, error::ABORT);
    }
    if ata.count == 0 {
        return good(ata);
    }
    if let Err(error) = check_range(ata, state) {
        return fail(ata, error);
    }
    if payload_len < usize::from(ata.count) * SECTOR_LEN {
        return refuse(aoe::Error::Argument);
    }
    Action::Store { ata, kind: Kind::Write }
}

/// Does not check the ranges: they may be in other pieces of the frame, and they must be
/// checked against the size at the moment when the store acts.
fn discard<'a>(ata: Request, payload_len: usize, state: &State, advert: Advert) -> Action<'a> {
    if !state.trims() || ata.feature != TRIM {
        return fail(ata, error::ABORT);
    }
    if ata.count == 0 {
        return good(ata);
    }
    if ata.count > advert.sectors_per_frame {
        return fail(ata, error::ABORT);
    }
    if payload_len < usize::from(ata.count) * SECTOR_LEN {
        return refuse(aoe::Error::Argument);
    }
    Action::Store { ata, kind: Kind::Discard }
}

/// Checks that the sectors exist; returns the ATA error if not.
fn check_range(ata: Request, state: &State) -> Result<(), u8> {
    match ata.lba().checked_add(u64::from(ata.count)) {
        Some(end) if end <= state.geometry.sectors + u64::from(planted(Bug::OffByOneAtEnd)) => Ok(()),
        _ => Err(error::NOT_FOUND),
    }
}

fn good<'a>(ata: Request) -> Action<'a> {
    Action::Reply(Reply::Ata(ata.reply(status::GOOD, error::NONE)))
}

fn fail<'a>(ata: Request, error: u8) -> Action<'a> {
    Action::Reply(Reply::Ata(ata.reply(status::ERROR, error)))
}
