//! A sequence of frames for one export, as several hosts may send them: each is executed on the
//! state that those before it left.

use xblade::command::{Action, execute, finish, reply_len_max};
use xblade::shelf::{
    Acl, Belongs, HostSettings, Ingress, Rates, ReplyLimit, Saved, Segments, Settings, State,
};
use xblade::store::{Data, Durability, Geometry, Identity, IoError, Kind};
use xblade::wire::aoe::{Address, Header};
use xblade::wire::ether::Mac;
use xblade::wire::identify::{Names, Text};
use xblade::wire::query::Advert;
use xblade::wire::vlan::Vlans;
use xblade::wire::{Body, Request};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ADDRESS: Address = Address { shelf: 7, slot: 3 };
const ADVERT: Advert = Advert { buffer_count: 64, firmware: 0x0102, sectors_per_frame: 8 };
const LIMIT: ReplyLimit = ReplyLimit { now: 9, ever: 24 };
const INGRESS: Ingress = Ingress { interface: 0, strips_tags: false };
const SECTORS: u64 = 1000;

/// The first byte has the settings of the export, the second the results of its store. For each
/// frame a byte says where it comes from, and two bytes how long it is.
pub fn run(data: &[u8]) {
    let [flags, results, rest @ ..] = data else { return };
    let mut rest = rest;
    let mut state = state(*flags);
    let mut number = 0;
    while let [host, high, low, next @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]) % 2048).min(next.len());
        let (argument, others) = next.split_at(len);
        rest = others;
        number += 1;
        let result = if results >> (number % 8) & 1 == 0 { Ok(()) } else { Err(IoError::Media) };
        frame(&framed(*host, argument), &mut state, result);
    }
    saved_and_restored(&state, *flags);
}

/// The frame from one of four hosts. What follows the link layer is the input's, so that few inputs
/// are lost at the addresses.
fn framed(host: u8, aoe: &[u8]) -> Vec<u8> {
    let dst = if host & 0x80 == 0 { OWN } else { Mac::BROADCAST };
    let src = [2, 0, 0, 0, 1, host & 3];
    let tag: &[u8] = if host & 0x40 == 0 { &[] } else { &[0x81, 0, 0x20, host] };
    [&dst.0, &src[..], tag, &[0x88, 0xA2], aoe].concat()
}

fn state(flags: u8) -> State {
    let listed = [Mac([2, 0, 0, 0, 1, 0]), Mac([2, 0, 0, 0, 1, 1])];
    let settings = Settings {
        address: ADDRESS,
        read_only: flags & 1 != 0,
        durability: if flags & 2 == 0 { Durability::Durable } else { Durability::Volatile },
        names: Names { serial: Text::new("7.3:ab"), firmware: Text::new("1"), model: Text::new("xblade") },
        segments: Segments {
            vlans: if flags & 16 == 0 { Vlans::Any } else { Vlans::default() },
            interfaces: None,
        },
        acl: Acl::new(listed.into_iter().filter(|_| flags & 4 != 0)),
        host_settings: if flags & 32 == 0 { HostSettings::Allow } else { HostSettings::Refuse },
        rates: Rates::default(),
    };
    let geometry = Geometry { discards: flags & 8 != 0, ..Geometry::new(SECTORS, 4096) };
    State::new(settings, geometry)
}

fn frame(frame: &[u8], state: &mut State, result: Result<(), IoError>) {
    let Ok(header) = Header::parse(frame) else { return };
    if header.check_link(OWN).is_err() {
        return;
    }
    let Ok(request) = Request::parse(&header, frame, frame.len()) else { return };
    let before = state.revision();
    let ata = match &request.body {
        Body::Ata { ata, .. } => Some(*ata),
        _ => None,
    };
    let room = reply_len_max(&header, ata.as_ref(), LIMIT.now);
    let reply = match execute(&request, state, ADVERT, LIMIT, INGRESS) {
        Action::Ignore(_) => return,
        Action::Reply(reply) => reply,
        Action::Store { ata, kind } => {
            let in_range = u128::from(ata.lba()) + u128::from(ata.count) <= u128::from(SECTORS);
            assert!(in_range || !matches!(kind, Kind::Read | Kind::Write), "{ata:?} leaves the export");
            finish(&ata, kind, result, state)
        }
    };
    let mut over_old = vec![0xEE; room];
    let mut over_zeros = vec![0; room];
    let len = reply.emit(&header, OWN, ADDRESS, &mut over_old);
    let len = len.unwrap_or_else(|| panic!("{room} bytes do not suffice for the reply to {request:?}"));
    assert_eq!(reply.emit(&header, OWN, ADDRESS, &mut over_zeros), Some(len));
    // The data of a read comes from the store.
    let written = match reply {
        xblade::wire::Reply::AtaData { bytes, .. } => len - bytes,
        _ => len,
    };
    assert_eq!(over_old.get(..written), over_zeros.get(..written), "a byte of an earlier frame is sent");
    let may_set = !matches!(request.body, Body::Ata { .. } | Body::Unknown(_));
    assert!(may_set || state.revision() == before, "{request:?} has set something");
    if state.settings.host_settings == HostSettings::Refuse {
        let set = (state.config(), state.mask(), state.reservation());
        assert!(set.0.is_empty() && set.1.is_empty() && set.2.is_empty(), "{request:?} has set something");
    }
}

/// What hosts have set is the same after a restart.
fn saved_and_restored(state: &State, flags: u8) {
    let facts = [("kind", "file"), ("inode", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let data = Data { identity: Identity::from_facts(facts), offset_bytes: 0 };
    let belongs = Belongs { address: ADDRESS, path: "/srv/x".to_owned(), data };
    let saved = Saved::of(state);
    let (owner, read) = Saved::parse(&saved.to_text(&belongs)).expect("what was written");
    assert_eq!((&owner, &read), (&belongs, &saved));
    let mut again = self::state(flags);
    assert!(read.restore(&mut again).is_ok(), "does not fit: {read:?}");
    assert_eq!(Saved::of(&again), saved);
}
