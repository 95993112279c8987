//! Announcements: replies to a query that nobody sent, so that hosts learn of
//! an export at once rather than at their next query.

use std::sync::Arc;

use super::{Clock, LaneState, Owner, SharedLane, Worker};
use crate::ring::Rings;
use crate::wire::aoe::{Address, Command, Header, Role};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::{Body, FRAME_LEN_MIN, Request, query};

impl<R: Rings> Worker<R> {
    /// Tells hosts on an interface about exports, each about those that it may
    /// use: by a query that nobody sent, from who is to hear the answer.
    pub fn announce(&mut self, interface: usize, audience: &[(Address, Mac)], clock: &impl Clock) {
        let on_it = |own: &LaneState<R>| {
            self.shared.get(usize::from(own.id)).is_some_and(|shared| shared.interface == interface)
        };
        let Some(at) = self.lanes.iter().position(on_it) else { return };
        let now_ns = clock.now_ns();
        let directory = Arc::clone(&self.directory);
        for (address, owner) in directory.rows() {
            for (_, to) in audience.iter().filter(|(of, _)| of == address) {
                let header = self.query_from(*to, at, address.shelf, address.slot);
                self.announce_one(at, header, *owner, now_ns);
                // One by one: the chunks of many would not be there at once.
                self.reclaim();
                self.settle(clock);
            }
        }
    }

    fn query_from(&self, src: Mac, at: usize, shelf: u16, slot: u8) -> Header {
        let id = self.lanes.get(at).map_or(0, |own| usize::from(own.id));
        let dst = self.shared.get(id).map_or(Mac::BROADCAST, SharedLane::mac);
        let ether = Ether { dst, src, tags: Tags::NONE };
        Header { ether, role: Role::Request, shelf, slot, command: Command::Query, tag: 0 }
    }

    fn announce_one(&mut self, at: usize, header: Header, owner: Owner, now_ns: u64) {
        let Some(own) = self.lanes.get_mut(at) else { return };
        let Ok(mut frame) = own.lane.allocate(FRAME_LEN_MIN) else { return };
        let request = Request { header, body: Body::Query(query::Request::Read) };
        let umem = own.lane.umem().clone();
        if request.emit(umem.piece_mut(&mut frame, 0)).is_none() {
            return own.lane.release(frame);
        }
        self.dispatch(at, frame, header, owner, now_ns);
    }
}
