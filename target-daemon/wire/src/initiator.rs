//! The initiator side, for our own tools: the conflict probe, the load generator and the
//! tests. [`Request::emit`](super::Request::emit) writes the requests.

use super::aoe::{Command, Error, Header, Role};
use super::{DropReason, ata, query};

/// A response as an initiator sees it, borrowed from its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// Link layer and AoE header.
    pub header: Header,
    argument: &'a [u8],
}

impl<'a> Response<'a> {
    /// Parses a frame. Returns [`DropReason::Response`] for a request: its response flag
    /// is wrong.
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

    /// What a target advertises: the reply to a query, or an announcement.
    pub fn query(&self) -> Option<query::Reply<'a>> {
        (self.header.command == Command::Query)
            .then(|| query::Reply::parse(self.argument, self.refusal()))
            .flatten()
    }

    /// The ATA header and the bytes after it, padding included. `None` if this is not an
    /// ATA response, or if it is a refusal, which has no ATA header.
    pub fn ata(&self) -> Option<(ata::Reply, &'a [u8])> {
        if self.header.command != Command::Ata || self.refusal().is_some() {
            return None;
        }
        let reply = ata::Reply::parse(self.argument)?;
        Some((reply, self.argument.get(ata::HEADER_LEN..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
