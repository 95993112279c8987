//! Executes requests: decides what to do with each one.
//!
//! ```text
//! Request ─► for this export? ─► on its lists? ─► ATA │ query │ mask │ reserve ─► Action
//!              no: Ignore          no: Ignore
//! ```
//!
//! Pure: no clock, no system call, no state other than the export's. The caller carries
//! out the returned [`Action`](crate::command::Action): it sends a reply at once, or
//! submits the operation to the store and turns the result into a reply with
//! [`finish`](crate::command::finish()).
//!
//! The behaviour of initiators decides whether a failure is answered by silence, an ATA
//! error or an AoE error: Linux resends what gets no reply, fails a request at once on an
//! ATA error, and hangs for 180 s on an AoE error. So only malformed requests and
//! reservation conflicts get an AoE error.

mod ata;
mod finish;
mod limits;
mod mask;
mod query;
mod reserve;

pub use finish::finish;
pub use limits::{REQUEST_LEN_MAX, persists, reply_len_max};

use crate::shelf::{ReplyLimit, State};
use crate::store::Kind;
use crate::wire;
use crate::wire::query::Advert;
use crate::wire::{Body, DropReason, Reply, Request, aoe};

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Send nothing.
    Ignore(DropReason),
    /// Send this reply.
    Reply(Reply<'a>),
    /// Carry out this operation in the store, then [`finish`]. The sectors of a read or
    /// write exist. The reply has room for what is read, and the frame contains what is
    /// written, or the blocks of ranges to discard: these may exceed the export, the store
    /// checks them.
    Store {
        /// The request to finish. Its count is at least 1 if it moves data.
        ata: wire::ata::Request,
        /// The operation.
        kind: Kind,
    },
}

/// Decides what to do with a request to the export with this state, and changes the state
/// if the request asks for that.
///
/// `advert` is what the interface that received the request advertises, `limit` what it
/// can carry. A host that learned a larger count from another target is served up to
/// `limit`.
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
        Body::Ata { ata, payload_len, .. } => ata::execute(header, ata, payload_len, state, advert, limit),
        Body::Query(query) => query::execute(query, state, advert),
        Body::Mask(mask) => mask::execute(mask, state),
        Body::Reserve(reserve) => reserve::execute(header.ether.src, reserve, state),
        Body::Unknown(_) => refuse(aoe::Error::Command),
    }
}

/// The reply to a duplicate of a request that set something: the current value. Sets
/// nothing.
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
