//! The initiator's side of the protocol, as this program uses it: frames to send along a
//! route, and the location of the data in a reply.

use xblade_wire::aoe::{Command, Header, Role, SHELF_ANY, SLOT_ANY};
use xblade_wire::ether::{Ether, Tags};
use xblade_wire::{Body, FRAME_LEN_MIN, Request, ata, query};

pub use xblade_wire::Response;
pub use xblade_wire::aoe::Address;
pub use xblade_wire::ata::{Command as Opcode, SECTOR_LEN as SECTOR};
pub use xblade_wire::ether::Mac;

/// Offset of the data in our ATA frames, which have no VLAN tags.
pub const DATA_AT: usize = 36;
/// Set in every tag of ours. The Linux initiator ignores replies with it, and the XDP
/// program takes no others, so both can share an interface.
pub const TAG_USER: u32 = 1 << 31;
/// The address of every export, in a request.
pub const ANY: Address = Address { shelf: SHELF_ANY, slot: SLOT_ANY };

/// The sender and receiver of requests.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Our MAC address.
    pub from: Mac,
    /// The target's MAC address, or broadcast.
    pub to: Mac,
    /// The export, or [`ANY`].
    pub address: Address,
}

/// An ATA command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ata {
    /// The command.
    pub command: Opcode,
    /// The first sector.
    pub lba: u64,
    /// The number of sectors.
    pub sectors: u8,
}

impl Route {
    /// A query of the config string.
    pub fn query(&self, tag: u32) -> [u8; FRAME_LEN_MIN] {
        self.frame(Command::Query, Body::Query(query::Request::Read), tag)
    }

    /// An ATA request: the complete frame if it has no data, else the [`DATA_AT`] bytes
    /// before the data.
    pub fn ata(&self, ata: Ata, tag: u32) -> [u8; FRAME_LEN_MIN] {
        const EXTENDED: u8 = 0x40;
        const WRITE: u8 = 0x01;
        let flags = match ata.command.direction() {
            ata::Direction::Read => EXTENDED,
            ata::Direction::Write => EXTENDED | WRITE,
            ata::Direction::None => 0,
        };
        let registers = ata::Request::registers_of(ata.lba);
        let ata = ata::Request { flags, feature: 0, count: ata.sectors, command: ata.command, registers };
        self.frame(Command::Ata, Body::Ata { ata, payload_offset: DATA_AT, payload_len: 0 }, tag)
    }

    fn frame(&self, command: Command, body: Body<'_>, tag: u32) -> [u8; FRAME_LEN_MIN] {
        let Address { shelf, slot } = self.address;
        let ether = Ether { dst: self.to, src: self.from, tags: Tags::NONE };
        let header = Header { ether, role: Role::Request, shelf, slot, command, tag };
        let mut frame = [0; FRAME_LEN_MIN];
        // Every request without data fits into the shortest frame.
        let _ = Request { header, body }.emit(&mut frame);
        frame
    }
}
