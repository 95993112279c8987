//! Requests, and the export that they are for.

use xblade_store::Durability;
use xblade_target::shelf::{Acl, HostSettings, Rates, Segments, Settings};
use xblade_wire::aoe::{Address, Command, Header, Role};
use xblade_wire::ata::Command::WriteSectorsExt;
use xblade_wire::ether::{Ether, Mac, Tags};
use xblade_wire::identify::{Names, Text};
use xblade_wire::query::Advert;
use xblade_wire::{Body, Request, ata, query};

/// The target's interface.
pub const TARGET: Mac = Mac([2, 0, 0, 0, 1, 0]);
/// The initiator.
/// The host that sends them.
pub const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// The address of the export.
pub const EXPORT: Address = Address { shelf: 1, slot: 0 };
/// The MTU of the interface.
pub const MTU: u32 = 9000;
/// Where the data of a write begins.
pub const PAYLOAD_OFFSET: usize = 36;
/// What the target advertises.
pub const ADVERT: Advert = Advert { buffer_count: 64, firmware: 1, sectors_per_frame: 16 };
/// The settings of the export.
pub fn settings() -> Settings {
    Settings {
        address: EXPORT,
        read_only: false,
        durability: Durability::Volatile,
        names: Names { serial: Text::new("serial"), firmware: Text::new("1"), model: Text::new("xblade") },
        segments: Segments::default(),
        acl: Acl::default(),
        host_settings: HostSettings::Refuse,
        rates: Rates::default(),
    }
}

/// A read or write of `count` sectors, without its data.
pub fn transfer(command: ata::Command, tag: u32, sector: u64, count: u8) -> Request<'static> {
    const EXTENDED: u8 = 0x40;
    const WRITE: u8 = 0x01;
    let (flags, payload_len) = match command {
        WriteSectorsExt => (EXTENDED | WRITE, usize::from(count) * ata::SECTOR_LEN),
        _ => (EXTENDED, 0),
    };
    let ata =
        ata::Request { flags, feature: 0, count, command, registers: ata::Request::registers_of(sector) };
    Request {
        header: header(TARGET, EXPORT, Command::Ata, tag),
        body: Body::Ata { ata, payload_offset: PAYLOAD_OFFSET, payload_len },
    }
}

/// A read or write of 8 KiB.
pub fn of_8_kib(command: ata::Command) -> Request<'static> {
    transfer(command, 1, 8, 16)
}

/// A query of the config string.
pub fn query() -> Request<'static> {
    Request { header: header(TARGET, EXPORT, Command::Query, 1), body: Body::Query(query::Request::Read) }
}

/// A broadcast query for an export that is not ours.
pub fn for_another() -> Request<'static> {
    let elsewhere = Address { shelf: 9, slot: 9 };
    let header = header(Mac::BROADCAST, elsewhere, Command::Query, 1);
    Request { header, ..query() }
}

/// The frame of a request; the data of a write is filled with `data`.
pub fn frame(request: &Request<'_>, data: u8) -> Vec<u8> {
    let mut frame = vec![data; 9014];
    let len = request.emit(&mut frame).expect("room in the frame");
    frame.truncate(len);
    frame
}

fn header(dst: Mac, to: Address, command: Command, tag: u32) -> Header {
    let ether = Ether { dst, src: HOST, tags: Tags::NONE };
    Header { ether, role: Role::Request, shelf: to.shelf, slot: to.slot, command, tag }
}
