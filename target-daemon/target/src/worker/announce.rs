//! Announcements: unsolicited query replies, so that hosts discover an export at once
//! instead of at their next query.

use std::sync::Arc;

use super::{Addressee, Clock, Head, LaneState, Origin, Owner, SharedLane, Worker};
use crate::ring::Rings;
use crate::wire::aoe::{Address, Command, Header, Role};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::{Body, FRAME_LEN_MIN, Request, query};

/// An announcement: of this export, to this destination, in this VLAN.
pub type Announcement = (Address, Mac, u16);

impl<R: Rings> Worker<R> {
    /// Makes the announcements in `audience` on an interface, each by executing a query that
    /// looks as if the destination had sent it.
    pub fn announce(&mut self, interface: usize, audience: &[Announcement], clock: &impl Clock) {
        let on_it = |own: &LaneState<R>| {
            self.shared.get(usize::from(own.id)).is_some_and(|shared| shared.interface == interface)
        };
        let Some(at) = self.lanes.iter().position(on_it) else { return };
        let now_ns = clock.now_ns();
        let directory = Arc::clone(&self.directory);
        for (address, owner) in directory.rows() {
            for (_, to, vlan) in audience.iter().filter(|(of, ..)| of == address) {
                let header = self.query_from(*to, *vlan, at, *address);
                self.announce_one(at, header, *owner, now_ns);
                // One by one: there may not be enough chunks for many at once.
                self.reclaim();
                self.settle(clock);
            }
        }
    }

    fn query_from(&self, src: Mac, vlan: u16, at: usize, Address { shelf, slot }: Address) -> Header {
        let id = self.lanes.get(at).map_or(0, |own| usize::from(own.id));
        let dst = self.shared.get(id).map_or(Mac::BROADCAST, SharedLane::mac);
        let ether = Ether { dst, src, tags: Tags::of_vlan(vlan) };
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
        let head = Head { header, ata: None, to: Addressee::One(owner), host: own.hosts.unknown() };
        let origin = Origin { at, received_ns: now_ns, since_ns: now_ns, held: true };
        self.dispatch_other(origin, frame, &head, owner);
    }
}
