//! What the worker must know of a command beside its action: how long its request and its
//! reply may be, so that the frame can be extended while its lane still has it, and whether
//! it sets something that must be saved.

use crate::wire::aoe::{Command, Header};
use crate::wire::{Body, FRAME_LEN_MIN, Request, ata, identify, mask, query, reserve};

/// Maximum length of the argument of a non-ATA reply.
const ARGUMENT_LEN_MAX: usize = {
    let query = query::HEADER_LEN + query::STRING_LEN_MAX;
    let mask = mask::HEADER_LEN + mask::ENTRIES_MAX * mask::DIRECTIVE_LEN;
    let reserve = reserve::HEADER_LEN + reserve::ENTRIES_MAX * 6;
    let longest = if query > mask { query } else { mask };
    if longest > reserve { longest } else { reserve }
};

/// Upper bound for the length of the reply to the request that starts in `first`, on a
/// lane whose replies carry at most `sectors_max` sectors.
pub fn reply_len_max(header: &Header, first: &[u8], sectors_max: u8) -> usize {
    let argument = header.argument_offset();
    let length = match header.command {
        Command::Ata => argument + ata::HEADER_LEN + data(header, first, sectors_max),
        Command::Query | Command::Mask | Command::Reserve => argument + ARGUMENT_LEN_MAX,
        Command::Unknown(_) => argument,
    };
    length.max(FRAME_LEN_MIN)
}

fn data(header: &Header, first: &[u8], sectors_max: u8) -> usize {
    let Ok(Request { body: Body::Ata { ata, .. }, .. }) = Request::parse(header, first, first.len()) else {
        return 0;
    };
    match (ata.command, ata.command.direction()) {
        (ata::Command::Identify, _) => identify::IDENTIFY_LEN,
        // A larger count is refused, or gets no reply.
        (_, ata::Direction::Read) if ata.count <= sectors_max => usize::from(ata.count) * ata::SECTOR_LEN,
        _ => 0,
    }
}

/// Maximum length of a non-ATA request: 255 mask directives after two VLAN tags.
pub const REQUEST_LEN_MAX: usize = 22 + 10 + mask::HEADER_LEN + u8::MAX as usize * mask::DIRECTIVE_LEN;

/// Whether a request sets something that must be saved before the reply.
pub fn persists(body: &Body<'_>) -> bool {
    match body {
        Body::Query(request) => matches!(request, query::Request::Set(_) | query::Request::ForceSet(_)),
        Body::Mask(request) => matches!(request, mask::Request::Edit(_)),
        Body::Reserve(request) => {
            matches!(request, reserve::Request::Set(_) | reserve::Request::ForceSet(_))
        }
        Body::Ata { .. } | Body::Unknown(_) => false,
    }
}
