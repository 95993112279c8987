//! Settings that a host makes on an export and queries from it.

use std::time::Duration;

use xblade_wire::aoe::{Address, Command};
use xblade_wire::ether::Mac;
use xblade_wire::{Body, Response, mask, query, reserve};

use crate::initiator::Initiator;
use crate::namespace::PATIENCE;

impl Initiator {
    /// Sets the config string, if there is none. Whether a successful reply arrived.
    pub fn set_config(&mut self, at: Address, string: &[u8], limit: Duration) -> bool {
        self.sets(at, Command::Query, Body::Query(query::Request::Set(string)), limit)
    }

    /// The same, whatever it is.
    pub fn force_config(&mut self, at: Address, string: &[u8], limit: Duration) -> bool {
        self.sets(at, Command::Query, Body::Query(query::Request::ForceSet(string)), limit)
    }

    /// Reserves the export for these hosts. Whether a successful reply arrived.
    pub fn reserve(&mut self, at: Address, macs: &[Mac], limit: Duration) -> bool {
        let bytes: Vec<u8> = macs.iter().flat_map(|mac| mac.0).collect();
        let request = reserve::Request::Set(reserve::Macs::new(&bytes));
        self.sets(at, Command::Reserve, Body::Reserve(request), limit)
    }

    /// Adds a host to the mask list. Whether a successful reply arrived.
    pub fn add_to_mask(&mut self, at: Address, mac: Mac, limit: Duration) -> bool {
        let [a, b, c, d, e, f] = mac.0;
        let directives = [[0, 1, a, b, c, d, e, f]];
        let request = mask::Request::Edit(&directives);
        self.sets(at, Command::Mask, Body::Mask(request), limit)
    }

    /// Sends a request to set something. Its error: 0 if there is none, that of the mask
    /// list if it is about that. `None` if there is no reply in time.
    pub fn error_of(&mut self, at: Address, body: Body<'_>, limit: Duration) -> Option<u8> {
        let command = match body {
            Body::Mask(_) => Command::Mask,
            Body::Reserve(_) => Command::Reserve,
            _ => Command::Query,
        };
        let tag = self.send(at, command, body, &[]);
        let frame = self.wait(limit, |response| response.header.tag == tag)?;
        let header = Response::parse(&frame).unwrap().header;
        let (flags, error) = (frame[header.l2_len()], frame[header.l2_len() + 1]);
        assert_eq!(flags & 0x04 != 0, error != 0, "{frame:02x?}");
        Some(if command == Command::Mask && error == 0 { frame[header.argument_offset() + 2] } else { error })
    }

    fn sets(&mut self, at: Address, command: Command, body: Body<'_>, limit: Duration) -> bool {
        let tag = self.send(at, command, body, &[]);
        self.argument_within(tag, limit).is_some()
    }

    /// The config string.
    pub fn config(&mut self, at: Address) -> Vec<u8> {
        let tag = self.send(at, Command::Query, Body::Query(query::Request::Read), &[]);
        let argument = self.argument_within(tag, PATIENCE).expect("an answer");
        let len = u16::from_be_bytes([argument[6], argument[7]]);
        argument[8..8 + usize::from(len)].to_vec()
    }

    /// The hosts for which it is reserved.
    pub fn reservation(&mut self, at: Address) -> Vec<Mac> {
        let tag = self.send(at, Command::Reserve, Body::Reserve(reserve::Request::Read), &[]);
        let argument = self.argument_within(tag, PATIENCE).expect("an answer");
        // Command, count, addresses.
        let macs = argument[2..].chunks(6).take(argument[1].into());
        macs.map(|mac| Mac(mac.try_into().unwrap())).collect()
    }
}
