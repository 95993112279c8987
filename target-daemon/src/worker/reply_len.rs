//! How long a reply may become, so that its frame can be made long enough
//! while it is still with its lane.

use crate::wire::aoe::{Command, Header};
use crate::wire::{Body, FRAME_LEN_MIN, Request, ata, identify, mask, query, reserve};

/// Longest argument of a reply that is not ATA.
const ARGUMENT_LEN_MAX: usize = {
    let query = query::HEADER_LEN + query::STRING_LEN_MAX;
    let mask = mask::HEADER_LEN + mask::ENTRIES_MAX * mask::DIRECTIVE_LEN;
    let reserve = reserve::HEADER_LEN + reserve::ENTRIES_MAX * 6;
    let longest = if query > mask { query } else { mask };
    if longest > reserve { longest } else { reserve }
};

/// Upper bound for the length of the reply to the request that starts in
/// `first`, on a lane whose replies carry so many sectors at most.
pub fn for_reply(header: &Header, first: &[u8], sectors_max: u8) -> usize {
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
