//! Bytes in, bytes out: what an initiator would see.

mod addressing;
mod ata;
mod finish;
mod mask;
mod properties;
mod query;
mod reserve;

use super::{Action, execute};
use crate::shelf::{Acl, HostSettings, Ingress, Rates, ReplyLimit, Saved, Segments, Settings, State};
use crate::store::{Durability, Geometry, Kind};
use crate::wire::aoe::{Address, Header};
use crate::wire::ether::Mac;
use crate::wire::identify::{Names, Text};
use crate::wire::query::Advert;
use crate::wire::vlan::Vlans;
use crate::wire::{DropReason, Reply, Request};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 0x01]);
const HOST: Mac = Mac([2, 0, 0, 0, 0, 0x02]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 0x03]);
const ADVERT: Advert = Advert { buffer_count: 64, firmware: 0x0102, sectors_per_frame: 8 };
/// More than is advertised.
const LIMIT: ReplyLimit = ReplyLimit { now: 9, ever: 24 };
const SECTORS: u64 = 1000;

fn settings() -> Settings {
    Settings {
        address: Address { shelf: 7, slot: 3 },
        read_only: false,
        durability: Durability::Durable,
        names: Names { serial: Text::new("7.3:ab"), firmware: Text::new("0.1"), model: Text::new("xblade") },
        segments: Segments::default(),
        acl: Acl::default(),
        host_settings: HostSettings::Allow,
        rates: Rates::default(),
    }
}

fn with_settings(change: impl FnOnce(&mut Settings)) -> State {
    let mut settings = settings();
    change(&mut settings);
    State::new(settings, Geometry::new(SECTORS, 4096))
}

fn state() -> State {
    with_settings(|_| {})
}

fn in_any_vlan() -> State {
    with_settings(|settings| settings.segments.vlans = Vlans::Any)
}

/// The result of a frame.
#[derive(PartialEq, Debug)]
enum Seen {
    Ignored(DropReason),
    Reply(Vec<u8>),
    Read(u64, u8),
    Write(u64, u8),
    Flush,
    Discard(u8),
}

impl Seen {
    fn reply(self) -> Vec<u8> {
        match self {
            Self::Reply(frame) => frame,
            other => panic!("no reply but {other:?}"),
        }
    }

    /// Status and error register of a reply without the error flag.
    fn status(self) -> (u8, u8) {
        let frame = self.reply();
        assert_eq!(frame[14..16], [0x18, 0], "a response without error flag");
        (frame[27], frame[25])
    }

    /// The code of a reply with the error flag, which has only its header filled in.
    fn refusal(self) -> u8 {
        let frame = self.reply();
        assert_eq!(frame[14], 0x1C, "a response with error flag");
        assert_eq!(frame[24..], [0; 36]);
        frame[15]
    }
}

/// A frame from [`HOST`] for the export, with this command and argument.
fn frame(command: u8, argument: &[u8]) -> Vec<u8> {
    let aoe = [0x88, 0xA2, 0x10, 0, 0, 7, 3, command, 0x81, 0x02, 0x03, 0x04];
    [&OWN.0[..], &HOST.0, &aoe, argument].concat()
}

fn from(src: Mac, mut frame: Vec<u8>) -> Vec<u8> {
    frame[6..12].copy_from_slice(&src.0);
    frame
}

/// Runs a frame through parsing and execution. The reply is written over the frame, in a
/// buffer full of old bytes.
fn run(state: &mut State, frame: &[u8]) -> Seen {
    let parsed = Header::parse(frame).and_then(|header| {
        header.check_link(OWN)?;
        Request::parse(&header, frame, frame.len())
    });
    let request = match parsed {
        Ok(request) => request,
        Err(reason) => return Seen::Ignored(reason),
    };
    let address = state.settings.address;
    match execute(&request, state, ADVERT, LIMIT, Ingress::default()) {
        Action::Ignore(reason) => Seen::Ignored(reason),
        Action::Store { ata, kind } => match kind {
            Kind::Read => Seen::Read(ata.lba(), ata.count),
            Kind::Write => Seen::Write(ata.lba(), ata.count),
            Kind::Flush => Seen::Flush,
            Kind::Discard => Seen::Discard(ata.count),
            Kind::Measure => seen_reply(super::finish(&ata, kind, Ok(()), state), &request, frame, address),
        },
        Action::Reply(reply) => seen_reply(reply, &request, frame, address),
    }
}

fn seen_reply(reply: Reply<'_>, request: &Request<'_>, frame: &[u8], address: Address) -> Seen {
    let mut chunk = vec![0xEE; 2048.max(frame.len())];
    chunk[..frame.len()].copy_from_slice(frame);
    let len = reply.emit(&request.header, OWN, address, &mut chunk).unwrap();
    assert_eq!(len, reply.frame_len(request.header.l2_len()));
    chunk.truncate(len);
    Seen::Reply(chunk)
}
