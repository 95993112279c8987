//! Decides what to do with each request.
//!
//! ```text
//! Request ─► for this export? ─► its segment? its lists? ─► ATA │ query │ mask │ reserve ─► Action
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
//! ATA error, and hangs for 180 s on an AoE error. So only malformed requests, reservation
//! conflicts and what hosts may not set get an AoE error: Linux sets nothing.

mod ata;
mod finish;
mod mask;
mod query;
mod reserve;

pub use ata::Verdict;
pub use finish::{finish, success};

use crate::shelf::{HostSettings, Ingress, ReplyLimit, State};
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
    /// write exist. The reply has room for the data to read. The frame contains the data
    /// to write, or the list of ranges to discard; ranges may exceed the export, the
    /// store checks them.
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
/// `limit`. `ingress` is that interface.
pub fn execute<'a>(
    request: &Request<'_>,
    state: &'a mut State,
    advert: Advert,
    limit: ReplyLimit,
    ingress: Ingress,
) -> Action<'a> {
    let header = &request.header;
    if let Body::Ata { ata, payload_len, .. } = request.body {
        let advertised = advert.sectors_per_frame;
        return execute_ata(header, &ata, payload_len, state, advertised, limit, ingress).action(ata);
    }
    if let Err(reason) = admit(header, state, ingress) {
        return Action::Ignore(reason);
    }
    match request.body {
        Body::Query(query) => query::execute(query, state, advert),
        Body::Mask(mask) => mask::execute(mask, state),
        Body::Reserve(reserve) => reserve::execute(header.ether.src, reserve, state),
        Body::Ata { .. } | Body::Unknown(_) => refuse(aoe::Error::Command),
    }
}

/// As [`execute`], for an ATA request. `payload_len` is the number of bytes behind its ATA
/// header, `advertised` the number of sectors in a frame that the interface advertises.
#[inline(always)]
pub fn execute_ata(
    header: &aoe::Header,
    ata: &wire::ata::Request,
    payload_len: usize,
    state: &State,
    advertised: u8,
    limit: ReplyLimit,
    ingress: Ingress,
) -> Verdict {
    match admit(header, state, ingress) {
        Ok(()) => ata::execute(header, ata, payload_len, state, advertised, limit),
        Err(reason) => Verdict::Ignore(reason),
    }
}

/// Checks that a request is for the export, of one of its segments, and from a host that
/// may get a reply.
#[inline]
fn admit(header: &aoe::Header, state: &State, ingress: Ingress) -> Result<(), DropReason> {
    if header.is_for(state.settings.address) {
        state.admit(&header.ether, ingress)
    } else {
        Err(DropReason::Address)
    }
}

/// Answers a duplicate of a request that set something: replies with the current value,
/// sets nothing. The caller has checked that the request may get a reply.
pub fn in_force<'a>(request: &Request<'_>, state: &'a State, advert: Advert) -> Action<'a> {
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

/// Whether hosts may change nothing. A request that asks for what is in force succeeds even
/// so: it may be a retransmission. One that would fail anyway keeps its error, so that no
/// tool takes a conflict for a refusal, or a refusal for a conflict that force could solve.
fn refuses_changes(state: &State) -> bool {
    state.settings.host_settings == HostSettings::Refuse
}

/// Maximum length of the argument of a non-ATA reply.
const ARGUMENT_LEN_MAX: usize = {
    let query = wire::query::HEADER_LEN + wire::query::STRING_LEN_MAX;
    let mask = wire::mask::HEADER_LEN + wire::mask::ENTRIES_MAX * wire::mask::DIRECTIVE_LEN;
    let reserve = wire::reserve::HEADER_LEN + wire::reserve::ENTRIES_MAX * 6;
    let longest = if query > mask { query } else { mask };
    if longest > reserve { longest } else { reserve }
};

/// Upper bound for the length of the reply to the request with these headers, on a lane
/// whose replies carry at most `sectors_max` sectors.
#[inline]
pub fn reply_len_max(header: &aoe::Header, ata: Option<&wire::ata::Request>, sectors_max: u8) -> usize {
    let argument = header.argument_offset();
    let length = match header.command {
        aoe::Command::Ata => argument + wire::ata::HEADER_LEN + ata.map_or(0, |ata| data(ata, sectors_max)),
        aoe::Command::Query | aoe::Command::Mask | aoe::Command::Reserve => argument + ARGUMENT_LEN_MAX,
        aoe::Command::Unknown(_) => argument,
    };
    length.max(wire::FRAME_LEN_MIN)
}

#[inline]
fn data(ata: &wire::ata::Request, sectors_max: u8) -> usize {
    match (ata.command, ata.command.direction()) {
        (wire::ata::Command::Identify, _) => wire::identify::IDENTIFY_LEN,
        // A larger count is refused, or gets no reply.
        (_, wire::ata::Direction::Read) if ata.count <= sectors_max => {
            usize::from(ata.count) * wire::ata::SECTOR_LEN
        }
        _ => 0,
    }
}

/// Maximum length of a non-ATA request: 255 mask directives after two VLAN tags.
pub const REQUEST_LEN_MAX: usize =
    22 + 10 + wire::mask::HEADER_LEN + u8::MAX as usize * wire::mask::DIRECTIVE_LEN;

fn refuse<'a>(error: aoe::Error) -> Action<'a> {
    Action::Reply(Reply::Refusal(error))
}

#[cfg(test)]
mod tests;
