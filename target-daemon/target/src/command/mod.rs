//! Meaning → action.
//!
//! ```text
//! Request ─► for this export? ─► on its lists? ─► ATA │ query │ mask │ reserve ─► Action
//!              no: Ignore          no: Ignore
//! ```
//!
//! Pure: no clock, no system call, no memory but the export's state. A caller
//! hands every [`Action`](crate::command::Action) on: a reply goes out at
//! once, sectors go to the store, and [`finish`](crate::command::finish())
//! turns the store's answer into a reply.
//!
//! Which of silence, ATA error and AoE error answers a fault is decided by
//! the initiators: Linux repeats what is not answered, fails on an ATA error
//! at once, and hangs for 180 s on an AoE error. So an AoE error goes only to
//! what is malformed or reserved.

mod ata;
mod finish;
mod mask;
mod query;
mod reserve;

pub use finish::finish;

use crate::shelf::{ReplyLimit, State};
use crate::wire;
use crate::wire::query::Advert;
use crate::wire::{Body, DropReason, Reply, Request, aoe};

/// What to do about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Send nothing.
    Ignore(DropReason),
    /// Send this.
    Reply(Reply<'a>),
    /// Read sectors, then [`finish`]. They exist, and the reply has room for them.
    Read {
        /// What to finish.
        ata: wire::ata::Request,
        /// First sector.
        sector: u64,
        /// How many: 1 or more.
        count: u8,
    },
    /// Write sectors, then [`finish`]. They exist, and the frame has them.
    Write {
        /// What to finish.
        ata: wire::ata::Request,
        /// First sector.
        sector: u64,
        /// How many: 1 or more.
        count: u8,
        /// Where they begin in the frame.
        payload_offset: usize,
    },
    /// Forget sectors, then [`finish`]. The frame has the blocks with their
    /// ranges, which may lead out of the export: the store looks at that.
    Discard {
        /// What to finish.
        ata: wire::ata::Request,
        /// How many blocks of ranges: 1 or more.
        count: u8,
        /// Where they begin in the frame.
        payload_offset: usize,
    },
    /// Look at the size of the store, then [`finish`].
    Identify {
        /// What to finish.
        ata: wire::ata::Request,
    },
    /// Make all writes stable, then [`finish`].
    Flush {
        /// What to finish.
        ata: wire::ata::Request,
    },
}

/// Decides on a request to the export with this state, and changes the state
/// if that is what it asks.
///
/// `advert` is what the interface that the request came in on advertises, and
/// `limit` how much it can carry: hosts that learned another count from another
/// target use that, and get what fits.
pub fn execute<'a>(
    request: &Request<'_>,
    state: &'a mut State,
    advert: Advert,
    limit: ReplyLimit,
) -> Action<'a> {
    let header = &request.header;
    if !header.is_for(state.settings.address) {
        return Action::Ignore(DropReason::Address);
    }
    if let Err(reason) = state.admit(header.ether.src) {
        return Action::Ignore(reason);
    }
    match request.body {
        Body::Ata { ata, payload_offset, payload_len } => {
            ata::execute(header, ata, payload_offset, payload_len, state, advert, limit)
        }
        Body::Query(query) => query::execute(query, state, advert),
        Body::Mask(mask) => mask::execute(mask, state),
        Body::Reserve(reserve) => reserve::execute(header.ether.src, reserve, state),
        Body::Unknown(_) => refuse(aoe::Error::Command),
    }
}

/// What a copy of a request that has set something is answered with: what is in force
/// now. Nothing is set.
pub fn in_force<'a>(request: &Request<'_>, state: &'a State, advert: Advert) -> Action<'a> {
    if let Err(reason) = state.admit(request.header.ether.src) {
        return Action::Ignore(reason);
    }
    Action::Reply(match request.body {
        Body::Query(query) => {
            let (code, string) = (query.code(), state.config());
            Reply::Query(wire::query::Reply { code, advert, string, refusal: None })
        }
        Body::Mask(_) => Reply::Mask(wire::mask::Reply::List { code: 1, macs: state.mask() }),
        Body::Reserve(reserve) => {
            Reply::Reserve(wire::reserve::Reply { code: reserve.code(), macs: state.reservation() })
        }
        Body::Ata { .. } | Body::Unknown(_) => return refuse(aoe::Error::Command),
    })
}

fn refuse<'a>(error: aoe::Error) -> Action<'a> {
    Action::Reply(Reply::Refusal(error))
}

#[cfg(test)]
mod tests;
