//! The other side of the wire, for our own tools: the probe for an address
//! that is taken, the load generator, the tests. Requests are written by
//! [`Request::emit`](super::Request::emit).

use super::aoe::{Address, Command, Error, Header, Role};
use super::ether::{Ether, Mac, Tags};
use super::{DropReason, Reply, ata, query};

/// A response as an initiator sees it, borrowed from its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// Link layer and AoE header.
    pub header: Header,
    argument: &'a [u8],
}

impl<'a> Response<'a> {
    /// Reads a frame. A request is refused as [`DropReason::Response`]: its
    /// flag is not what it should be.
    pub fn parse(frame: &'a [u8]) -> Result<Self, DropReason> {
        let header = Header::parse_any(frame)?;
        if header.role == Role::Request {
            return Err(DropReason::Response);
        }
        let argument = frame.get(header.argument_offset()..).ok_or(DropReason::TooShort)?;
        Ok(Self { header, argument })
    }

    /// The error, if the error flag is set.
    pub fn refusal(&self) -> Option<Error> {
        match self.header.role {
            Role::Refusal(error) => Some(error),
            Role::Request | Role::Response => None,
        }
    }

    /// What a target tells about itself: the answer to a query, or an
    /// announcement.
    pub fn query(&self) -> Option<query::Reply<'a>> {
        (self.header.command == Command::Query)
            .then(|| query::Reply::parse(self.argument, self.refusal()))
            .flatten()
    }

    /// The ATA header and what follows it, padding included. `None` if it is
    /// not an ATA response, or a refusal, which has no ATA header.
    pub fn ata(&self) -> Option<(ata::Reply, &'a [u8])> {
        if self.header.command != Command::Ata || self.refusal().is_some() {
            return None;
        }
        let reply = ata::Reply::parse(self.argument)?;
        Some((reply, self.argument.get(ata::HEADER_LEN..)?))
    }
}

/// Writes the announcement by which an initiator learns of an export at once,
/// rather than at its next query: an answer, with tag 0, to a query that
/// nobody sent. `to` is broadcast, or one who may use the export. Returns the
/// length of the frame; `None` if `out` is too short.
pub fn announce(
    own: Mac,
    to: Mac,
    address: Address,
    advert: query::Advert,
    string: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let unsent = Header {
        ether: Ether { dst: own, src: to, tags: Tags::NONE },
        role: Role::Request,
        shelf: address.shelf,
        slot: address.slot,
        command: Command::Query,
        tag: 0,
    };
    let reply = query::Reply { code: 0, advert, string, refusal: None };
    Reply::Query(reply).emit(&unsent, own, address, out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::query::Advert;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Address = Address { shelf: 7, slot: 3 };

    #[test]
    fn announcement_is_a_padded_response_with_tag_0() {
        let advert = Advert { buffer_count: 64, firmware: 1, sectors_per_frame: 2 };
        let mut out = [0xEE; 64];
        let len = announce(OWN, Mac::BROADCAST, ADDRESS, advert, b"", &mut out).unwrap();
        assert_eq!(len, 60);
        assert_eq!(
            out[..32],
            [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xA2, 0x18, 0, 0, 7, 3, 1, 0, 0,
                0, 0, 0, 64, 0, 1, 2, 0x10, 0, 0
            ]
        );
        assert_eq!(out[32..60], [0; 28]);
        let response = Response::parse(&out[..len]).unwrap();
        let told = response.query().unwrap();
        assert_eq!((told.code, told.advert, told.string), (0, advert, &b""[..]));
        assert_eq!(Header::parse(&out[..len]), Err(DropReason::Response), "nobody answers it");
    }

    #[test]
    fn requests_and_refusals_are_no_ata_responses() {
        let mut frame = [0; 60];
        frame[12..15].copy_from_slice(&[0x88, 0xA2, 0x10]);
        assert_eq!(Response::parse(&frame), Err(DropReason::Response));
        frame[14..16].copy_from_slice(&[0x1C, 6]);
        let response = Response::parse(&frame).unwrap();
        assert_eq!(response.refusal(), Some(Error::Reserved));
        assert_eq!(response.ata(), None);
        frame[14] = 0x18;
        let (reply, rest) = Response::parse(&frame).unwrap().ata().unwrap();
        assert_eq!((reply.status, rest.len()), (0, 24));
    }
}
