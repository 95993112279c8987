//! The frames of a host, or of many, that takes no account of others.

use std::str::FromStr;
use std::time::Instant;

use xblade::wire::aoe::{Address, Command, Header, Role, SHELF_ANY, SLOT_ANY};
use xblade::wire::ata;
use xblade::wire::ether::{Ether, Mac, Tags};
use xblade::wire::{Body, Request, query};
use xblade_kit::PacketSocket;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Frames that are not AoE.
    Other,
    /// Reads of 8 KiB from one address.
    Reads,
    /// The same from random addresses.
    Random,
    /// Writes of one sector from one address.
    Writes,
    /// Queries from one address.
    Queries,
    /// Queries to all exports from one address.
    Broadcasts,
    /// IDENTIFY DEVICE to all exports from one address.
    IdentifyAll,
    /// Sets of the config string of all exports, each to another value, from one address.
    SetAll,
    /// The same of one export.
    Sets,
}

impl Kind {
    /// Every kind, with its name.
    pub const ALL: [(&str, Self); 9] = [
        ("other", Self::Other),
        ("reads", Self::Reads),
        ("random", Self::Random),
        ("writes", Self::Writes),
        ("queries", Self::Queries),
        ("broadcasts", Self::Broadcasts),
        ("identify-all", Self::IdentifyAll),
        ("set-all", Self::SetAll),
        ("sets", Self::Sets),
    ];
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, kind)| kind).ok_or(())
    }
}

/// Makes the frames.
#[derive(Debug)]
pub struct Flood {
    kind: Kind,
    /// Where they go.
    pub target: Mac,
    /// The export.
    pub export: Address,
    /// Number of frames so far.
    sent: u32,
}

impl Flood {
    /// Frames of this kind.
    pub fn new(kind: Kind) -> Self {
        Self { kind, target: Mac::BROADCAST, export: Address { shelf: 0, slot: 0 }, sent: 0 }
    }

    /// The next frame.
    pub fn frame(&mut self) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let Self { kind, target, export, sent } = *self;
        let mut src = Mac([2, 0xbd, 0, 0, 0, 1]);
        if kind == Kind::Random {
            // A permutation of all numbers: no address comes twice.
            let [a, b, c, d] = sent.wrapping_mul(0x9e37_79b1).to_be_bytes();
            src = Mac([2, 0xbe, a, b, c, d]);
        }
        let (mut dst, mut shelf, mut slot) = (target, export.shelf, export.slot);
        let string = sent.to_be_bytes();
        let (command, body) = match kind {
            Kind::Other | Kind::Queries | Kind::Broadcasts => {
                (Command::Query, Body::Query(query::Request::Read))
            }
            Kind::Sets | Kind::SetAll => (Command::Query, Body::Query(query::Request::ForceSet(&string))),
            Kind::Reads | Kind::Random => (Command::Ata, ata_body(ata::Command::ReadSectorsExt, 16)),
            Kind::IdentifyAll => (Command::Ata, ata_body(ata::Command::Identify, 1)),
            Kind::Writes => (Command::Ata, ata_body(ata::Command::WriteSectorsExt, 1)),
        };
        if matches!(kind, Kind::Broadcasts | Kind::IdentifyAll | Kind::SetAll) {
            (dst, shelf, slot) = (Mac::BROADCAST, SHELF_ANY, SLOT_ANY);
        }
        let ether = Ether { dst, src, tags: Tags::NONE };
        let header = Header { ether, role: Role::Request, shelf, slot, command, tag: sent };
        let mut frame = vec![0; 2048];
        let len = Request { header, body }.emit(&mut frame).expect("a frame has room for it");
        let data = if kind == Kind::Writes { ata::SECTOR_LEN } else { 0 };
        frame.truncate((len + data).max(60));
        if kind == Kind::Other {
            frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        }
        frame
    }

    /// Sends frames at this rate per second, or as fast as possible, while this is true.
    /// Returns their number.
    pub fn send(&mut self, socket: &PacketSocket, rate: f64, goes_on: impl Fn() -> bool) -> u64 {
        let (began, mut sent) = (Instant::now(), 0_u64);
        while goes_on() {
            if (sent as f64) < began.elapsed().as_secs_f64() * rate {
                // A full queue loses the frame, as a wire would.
                let _ = socket.send(&self.frame());
                sent += 1;
            }
        }
        sent
    }
}

fn ata_body(command: ata::Command, count: u8) -> Body<'static> {
    let ata = ata::Request { flags: 0x40, feature: 0, count, command, registers: [0; 6] };
    Body::Ata { ata, payload_offset: 0, payload_len: 0 }
}
