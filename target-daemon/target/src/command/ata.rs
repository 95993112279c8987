//! ATA commands.

use super::Action;
use crate::plant::{Bug, planted};
use crate::shelf::{ReplyLimit, State};
use crate::store::{Durability, Kind};
use crate::wire::aoe::{self, Header};
use crate::wire::ata::{self, Command, Direction, Request, SECTOR_LEN, error, status};
use crate::wire::{DropReason, Reply};

/// SET FEATURES: write cache on and off. Initiators set no other feature.
const WRITE_CACHE_ON: u8 = 0x02;
const WRITE_CACHE_OFF: u8 = 0x82;
/// DATA SET MANAGEMENT: TRIM, with the reserved bits of the feature register clear.
const TRIM: u8 = 0x01;
/// CHECK POWER MODE: active or idle.
const POWER_ACTIVE: u8 = 0xff;

/// What to do with an ATA request. Small, unlike an [`Action`]: it is returned in a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As [`Action::Store`].
    Store(Kind),
    /// As [`Action::Ignore`].
    Ignore(DropReason),
    /// It is done.
    Good,
    /// The drive is active.
    Active,
    /// It fails with this ATA error.
    Fail(u8),
    /// It fails with this AoE error.
    Refuse(aoe::Error),
}

impl Verdict {
    /// What to do with this request.
    pub fn action<'a>(self, ata: Request) -> Action<'a> {
        let reply = |reply| Action::Reply(Reply::Ata(reply));
        match self {
            Self::Store(kind) => Action::Store { ata, kind },
            Self::Ignore(reason) => Action::Ignore(reason),
            Self::Good => reply(ata.reply(status::GOOD, error::NONE)),
            Self::Active => reply(ata::Reply { count: POWER_ACTIVE, ..ata.reply(status::GOOD, error::NONE) }),
            Self::Fail(error) => reply(ata.reply(status::ERROR, error)),
            Self::Refuse(error) => Action::Reply(Reply::Refusal(error)),
        }
    }
}

#[inline(always)]
pub(super) fn execute(
    header: &Header,
    ata: &Request,
    payload_len: usize,
    state: &State,
    advertised: u8,
    limit: ReplyLimit,
) -> Verdict {
    let direction = ata.command.direction();
    // Every target on the segment would execute it. Checked before the reservation,
    // because a broadcast must not cause errors from targets that it is not meant for.
    if direction == Direction::Write && header.is_broadcast() {
        return Verdict::Ignore(DropReason::BroadcastWrite);
    }
    if ata.command != Command::Identify && state.is_reserved_against(header.ether.src) {
        return Verdict::Refuse(aoe::Error::Reserved);
    }
    match direction {
        Direction::None => without_data(ata, state, limit),
        Direction::Read => read(ata, state, limit),
        Direction::Write if ata.command == Command::DataSetManagement => {
            discard(ata, payload_len, state, advertised)
        }
        Direction::Write => write(ata, payload_len, state),
    }
}

#[inline(never)]
fn without_data(ata: &Request, state: &State, limit: ReplyLimit) -> Verdict {
    match ata.command {
        Command::Identify if limit.now == 0 => Verdict::Ignore(DropReason::ReplyTooLong),
        // Initiators use it to detect a new size, so the store checks its size now.
        Command::Identify => Verdict::Store(Kind::Measure),
        Command::FlushCache | Command::FlushCacheExt => Verdict::Store(Kind::Flush),
        Command::CheckPowerMode => Verdict::Active,
        // Every export can accept "on". "Off" only a durable one can: it acknowledges
        // writes only once they are stable, so it has no cache to turn off.
        Command::SetFeatures if ata.feature == WRITE_CACHE_ON => Verdict::Good,
        Command::SetFeatures
            if ata.feature == WRITE_CACHE_OFF && state.settings.durability == Durability::Durable =>
        {
            Verdict::Good
        }
        _ => Verdict::Fail(error::ABORT),
    }
}

/// Serves any count that fits in the reply, whatever is advertised: after a takeover from
/// another target, or after the MTU was lowered, a host resends with the count it learned
/// before. Hosts pass an error on at once, but wait for minutes if there is no reply. So
/// a read that a larger MTU would fix gets no reply.
#[inline]
fn read(ata: &Request, state: &State, limit: ReplyLimit) -> Verdict {
    if ata.count == 0 {
        return Verdict::Good;
    }
    if ata.count > limit.ever {
        return Verdict::Fail(error::ABORT);
    }
    if let Err(error) = check_range(ata, state) {
        return Verdict::Fail(error);
    }
    if ata.count > limit.now {
        return Verdict::Ignore(DropReason::ReplyTooLong);
    }
    // A read may carry data: Linux probes a path with a full-length read.
    Verdict::Store(Kind::Read)
}

#[inline]
fn write(ata: &Request, payload_len: usize, state: &State) -> Verdict {
    if state.settings.read_only {
        return Verdict::Fail(error::ABORT);
    }
    if ata.count == 0 {
        return Verdict::Good;
    }
    if let Err(error) = check_range(ata, state) {
        return Verdict::Fail(error);
    }
    if payload_len < usize::from(ata.count) * SECTOR_LEN {
        return Verdict::Refuse(aoe::Error::Argument);
    }
    Verdict::Store(Kind::Write)
}

/// Does not check the ranges: they may be in other pieces of the frame, and they must be
/// checked against the size at the moment when the store acts.
#[inline(never)]
fn discard(ata: &Request, payload_len: usize, state: &State, advertised: u8) -> Verdict {
    if !state.trims() || ata.feature != TRIM {
        return Verdict::Fail(error::ABORT);
    }
    if ata.count == 0 {
        return Verdict::Good;
    }
    if ata.count > advertised {
        return Verdict::Fail(error::ABORT);
    }
    if payload_len < usize::from(ata.count) * SECTOR_LEN {
        return Verdict::Refuse(aoe::Error::Argument);
    }
    Verdict::Store(Kind::Discard)
}

/// Checks that the sectors exist; returns the ATA error if not.
#[inline]
fn check_range(ata: &Request, state: &State) -> Result<(), u8> {
    match ata.lba().checked_add(u64::from(ata.count)) {
        Some(end) if end <= state.geometry.sectors + u64::from(planted(Bug::OffByOneAtEnd)) => Ok(()),
        _ => Err(error::NOT_FOUND),
    }
}
