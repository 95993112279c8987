//! Settings that a host makes on an export and queries from it.

use std::time::Duration;

use xblade::wire::aoe::{Address, Command};
use xblade::wire::ether::Mac;
use xblade::wire::{Body, Response, mask, query, reserve};

use crate::initiator::Initiator;
use xblade_kit::PATIENCE;

impl Initiator {
    /// Whether a successful reply arrived.
    pub fn set_config(&mut self, at: Address, string: &[u8], limit: Duration) -> bool {
        self.sets(at, Command::Query, Body::Query(query::Request::Set(string)), limit)
    }

    pub fn force_config(&mut self, at: Address, string: &[u8], limit: Duration) -> bool {
        self.sets(at, Command::Query, Body::Query(query::Request::ForceSet(string)), limit)
    }

    pub fn reserve(&mut self, at: Address, macs: &[Mac], limit: Duration) -> bool {
        let bytes: Vec<u8> = macs.iter().flat_map(|mac| mac.0).collect();
        let request = reserve::Request::Set(reserve::Macs::new(&bytes));
        self.sets(at, Command::Reserve, Body::Reserve(request), limit)
    }

    pub fn add_to_mask(&mut self, at: Address, mac: Mac, limit: Duration) -> bool {
        let [a, b, c, d, e, f] = mac.0;
        let directives = [[0, 1, a, b, c, d, e, f]];
        let request = mask::Request::Edit(&directives);
        self.sets(at, Command::Mask, Body::Mask(request), limit)
    }

    fn sets(&mut self, at: Address, command: Command, body: Body<'_>, limit: Duration) -> bool {
        let tag = self.send(at, command, body, &[]);
        let Some(frame) = self.wait(limit, |response| response.header.tag == tag) else { return false };
        assert_eq!(frame[14] & 0x04, 0, "refused: {frame:?}");
        true
    }

    pub fn config(&mut self, at: Address) -> Vec<u8> {
        let tag = self.send(at, Command::Query, Body::Query(query::Request::Read), &[]);
        let frame = self.wait(PATIENCE, |response| response.header.tag == tag).expect("an answer");
        Response::parse(&frame).unwrap().query().unwrap().string.to_vec()
    }

    pub fn reservation(&mut self, at: Address) -> Vec<Mac> {
        let tag = self.send(at, Command::Reserve, Body::Reserve(reserve::Request::Read), &[]);
        let frame = self.wait(PATIENCE, |response| response.header.tag == tag).expect("an answer");
        // Command, count, addresses.
        let macs = frame[26..].chunks(6).take(frame[25].into());
        macs.map(|mac| Mac(mac.try_into().unwrap())).collect()
    }
}
