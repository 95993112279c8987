//! Tests of single parts of a worker. Whole workers, over rings and stores in memory, are
//! tested in the workspace's `tests` crate.
use xblade_sim::FakeRings;

use super::Addressee;
use super::channels::WorkerChannels;
use super::directory::{Directory, Owner, Step};
use super::fingerprint::Fingerprint;
use super::inflight::{Pending, Slab, Task};
use super::messages::{Finished, Inbound};
use crate::command::{self, Action};
use crate::observe::Operation;
use crate::ring::{Frame, Lane};
use crate::shelf::{Acl, HostSettings, Ingress, Rates, ReplyLimit, Segments, Settings, State};
use crate::store::{Durability, Geometry, Kind};
use crate::wire::aoe::{Address, Command, Header, Role, SHELF_ANY, SLOT_ANY};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::identify::{Names, Text};
use crate::wire::query::Advert;
use crate::wire::vlan::Vlans;
use crate::wire::{Request, ata};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ADDRESS: Address = Address { shelf: 7, slot: 3 };

fn header(command: Command, tags: Tags) -> Header {
    let ether = Ether { dst: OWN, src: Mac([2, 0, 0, 0, 0, 2]), tags };
    Header { ether, role: Role::Request, shelf: 7, slot: 3, command, tag: 9 }
}

fn lane() -> Lane<FakeRings> {
    FakeRings::open(64, 2048, 16).unwrap().0
}

fn inbound(frame: Frame) -> Inbound {
    let header = header(Command::Ata, Tags::NONE);
    Inbound { request_len: 36, ..Inbound::of(frame, header, 0) }
}

fn pending(frame: Frame, bytes: u32) -> Pending {
    let ata = ata::Request { flags: 0, feature: 0, count: 4, command: 0x24.into(), registers: [0; 6] };
    let fingerprint = Fingerprint { kind: Kind::Read, sector: 5, bytes, hash: 0 };
    let task = Task { ata, fingerprint, payload_offset: 36, operation: Operation::Read, submitted_ns: 0 };
    Pending { inbound: inbound(frame), task }
}

#[test]
fn a_full_slab_gives_the_request_back() {
    let mut lane = lane();
    let umem = lane.umem().clone();
    let mut slab = Slab::new(2);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let index = slab.admit(pending(lane.allocate(36 + 2048).unwrap(), 2048)).unwrap();
        let op = slab.begin(index, &umem, 7).unwrap();
        assert_eq!((op.buffers.len(), op.sector), (2048, 5), "over two pieces");
        assert!(slab.begin(index, &umem, 7).is_none(), "to one at a time");
        assert!(slab.withdraw(index).is_none(), "the store has it");
        tokens.push(op.token);
    }
    let refused = slab.admit(pending(lane.allocate(60).unwrap(), 0)).unwrap_err();
    lane.release(refused.0.inbound.frame);
    assert_eq!(slab.len(), 2);
    for token in tokens {
        lane.release(slab.complete(token).unwrap().inbound.frame);
        assert!(slab.complete(token).is_none(), "once");
    }
    assert_eq!(slab.len(), 0);
    lane.check(0).unwrap();
}

#[test]
fn a_frame_without_room_for_the_data_is_not_lent() {
    let mut lane = lane();
    let umem = lane.umem().clone();
    let mut slab = Slab::new(1);
    for bytes in [35, 36, 36 + 511] {
        let index = slab.admit(pending(lane.allocate(bytes).unwrap(), 512)).unwrap();
        assert!(slab.begin(index, &umem, 0).is_none());
        lane.release(slab.withdraw(index).unwrap().inbound.frame);
        assert_eq!(slab.len(), 0);
    }
    lane.check(0).unwrap();
}

/// A reused entry accepts only its new token, as long as the 16-bit generation does not
/// wrap; an entry whose operation the store does not have accepts none.
#[test]
fn tokens_of_the_past_are_strangers() {
    let mut lane = lane();
    let umem = lane.umem().clone();
    let mut slab = Slab::new(1);
    let mut frame = lane.allocate(60).unwrap();
    let mut seen = std::collections::HashSet::new();
    let mut last = 0;
    for _ in 0..1000 {
        let index = slab.admit(pending(frame, 0)).unwrap();
        assert!(slab.complete(last + (1 << 16)).is_none(), "not lent");
        let op = slab.begin(index, &umem, 0).unwrap();
        let token = op.token;
        assert!(seen.insert(token));
        for strange in [token ^ 1, token ^ 1 << 16, token.wrapping_sub(1 << 16), token | 0xffff] {
            assert!(slab.complete(strange).is_none(), "{strange:#x} for {token:#x}");
        }
        frame = slab.refuse(op).unwrap().inbound.frame;
        last = token;
    }
    lane.release(frame);
}

/// The fingerprint of a write is independent of how its frame is split, and changes with
/// any byte.
#[test]
fn contents_do_not_depend_on_pieces() {
    let data: Vec<u8> = (0..5000u32).map(|at| (at % 251) as u8).collect();
    let hash = |chunk_bytes: u32, offset: u16, data: &[u8]| {
        let (mut lane, _wire) = FakeRings::open(64, chunk_bytes, 16).unwrap();
        let umem = lane.umem().clone();
        let mut frame = lane.allocate(usize::from(offset) + data.len()).unwrap();
        let mut at = 0;
        for piece in 0..frame.pieces() {
            for byte in umem.piece_mut(&mut frame, piece) {
                *byte = data.get(usize::wrapping_sub(at, offset.into())).copied().unwrap_or(0xEE);
                at += 1;
            }
        }
        let fingerprint = Fingerprint::of(Kind::Write, 0, data.len() as u32, &frame, offset, &umem);
        lane.release(frame);
        fingerprint.hash
    };
    let expected = hash(8192, 0, &data);
    for (chunk_bytes, offset) in [(2048, 36), (2048, 44), (4096, 36), (8192, 36)] {
        assert_eq!(hash(chunk_bytes, offset, &data), expected, "{chunk_bytes}, {offset}");
    }
    for at in [0, 1, 2011, 2012, 4999] {
        let mut other = data.clone();
        other[at] ^= 1;
        assert_ne!(hash(2048, 36, &other), expected, "byte {at}");
    }
}

/// As many as there are chunks can be returned without one being refused.
#[test]
fn giving_back_never_fails_and_handing_over_may() {
    let mut lane = lane();
    let mut ends: Vec<_> =
        WorkerChannels::connect(&[3, 3]).unwrap().into_iter().map(|(end, _)| end).collect();
    let (second, first) = (ends.pop().unwrap(), ends.pop().unwrap());
    for tag in 0..3 {
        let mut inbound = inbound(lane.allocate(60).unwrap());
        inbound.header.tag = tag;
        first.hand_over(1, inbound).unwrap();
    }
    assert!(first.is_empty() && !second.is_empty());
    for tag in 0..3 {
        let inbound = second.next_inbound().unwrap();
        assert_eq!(inbound.header.tag, tag, "in order");
        second.give_back(0, inbound.unanswered(Operation::Other)).unwrap();
    }
    assert!(second.next_inbound().is_none());
    while let Some(Finished { frame, .. }) = first.next_finished() {
        lane.release(frame);
    }
    assert!(first.is_empty() && second.is_empty());
    let refused = first.hand_over(2, inbound(lane.allocate(60).unwrap())).unwrap_err();
    lane.release(refused.frame);
    lane.check(0).unwrap();
}

#[test]
fn directory_finds_owners_by_shelf_and_slot() {
    let owner = |worker| Owner { worker, export: 0 };
    let row = |shelf, slot, worker| (Address { shelf, slot }, owner(worker));
    let directory = Directory::new(vec![row(7, 4, 1), row(300, 3, 2), row(7, 3, 0)]);
    for (shelf, slot, expected) in [
        (7, 3, &[0][..]),
        (7, 4, &[1]),
        (7, 5, &[]),
        (8, 3, &[]),
        (7, SLOT_ANY, &[0, 1]),
        (SHELF_ANY, 3, &[0, 2]),
        (SHELF_ANY, SLOT_ANY, &[0, 1, 2]),
        (8, SLOT_ANY, &[]),
    ] {
        for dst in [OWN, Mac::BROADCAST] {
            let mut header = header(Command::Query, Tags::NONE);
            (header.shelf, header.slot, header.ether.dst) = (shelf, slot, dst);
            let found: Vec<_> = match directory.addressee(&header) {
                Addressee::One(owner) => vec![owner.worker],
                Addressee::Several => all_steps(&directory, &header).0,
                Addressee::None(_) => Vec::new(),
            };
            assert_eq!(found, expected, "{shelf}.{slot} to {dst}");
        }
    }
}

/// The owners that a request to several exports visits, and the number of steps.
fn all_steps(directory: &Directory, header: &Header) -> (Vec<u16>, usize) {
    let (mut visited, mut found, mut steps) = (None, Vec::new(), 0);
    loop {
        steps += 1;
        match directory.step(header, visited) {
            Step::To(address, owner) => {
                visited = Some(address);
                found.push(owner.worker);
            }
            Step::Past(address) => visited = Some(address),
            Step::End => return (found, steps),
        }
    }
}

#[test]
fn a_step_looks_at_a_few_exports_only() {
    let rows = (0..1_000)
        .map(|shelf| (Address { shelf, slot: (shelf % 10 == 9).into() }, Owner { worker: shelf, export: 0 }));
    let directory = Directory::new(rows.collect());
    let mut header = header(Command::Query, Tags::NONE);
    (header.shelf, header.slot) = (SHELF_ANY, 1);
    let (found, _) = all_steps(&directory, &header);
    assert_eq!(found, (0..100).map(|n| n * 10 + 9).collect::<Vec<_>>());
    (header.shelf, header.slot) = (SHELF_ANY, 77);
    let (found, steps) = all_steps(&directory, &header);
    assert_eq!((found.len(), steps), (0, 1_000_usize.div_ceil(64)));
}

/// A state with full lists and the longest string, which causes the longest replies.
fn crowded() -> State {
    let settings = Settings {
        address: ADDRESS,
        read_only: false,
        durability: Durability::Durable,
        names: Names { serial: Text::new("s"), firmware: Text::new("f"), model: Text::new("m") },
        segments: Segments { vlans: Vlans::Any, interfaces: None },
        acl: Acl::default(),
        host_settings: HostSettings::Allow,
        rates: Rates::default(),
    };
    let mut state = State::new(settings, Geometry::new(1 << 20, 512));
    state.set_config(&[7; 1024]).unwrap();
    let mac = |number: u8| Mac([2, 0, 0, 0, 0, number]);
    (0..180).for_each(|number| state.add_to_mask(mac(number)).unwrap());
    state.set_reservation((0..240).map(mac)).unwrap();
    state
}

/// Length of the reply to this frame, data included.
fn needed(header: &Header, frame: &[u8], sectors: u8) -> usize {
    let mut state = crowded();
    let advert = Advert { buffer_count: 64, firmware: 1, sectors_per_frame: 16 };
    let limit = ReplyLimit { now: sectors, ever: 24 };
    let Ok(request) = Request::parse(header, frame, frame.len()) else { return 0 };
    match command::execute(&request, &mut state, advert, limit, Ingress::default()) {
        Action::Reply(reply) => reply.frame_len(header.l2_len()),
        Action::Store { ata, kind: Kind::Read } => {
            header.argument_offset() + ata::HEADER_LEN + usize::from(ata.count) * 512
        }
        Action::Store { kind: Kind::Measure, .. } => header.argument_offset() + ata::HEADER_LEN + 512,
        Action::Ignore(_) | Action::Store { .. } => 60,
    }
}

/// Codes of the non-ATA commands, and opcodes.
const CODES: [u8; 20] =
    [0, 1, 2, 3, 4, 5, 6, 15, 0x20, 0x24, 0x25, 0xC8, 0x30, 0x34, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF, 0xff];

/// The room reserved for a reply before it is known fits every possible reply, so that
/// nothing is ever `unsendable`.
#[test]
fn room_holds_every_reply() {
    let mut longest = [0; 6];
    for tags in [Tags::NONE, Tags::NONE.with(0x8100, 7).unwrap()] {
        for (command, opcode, count) in
            (0..6u8).flat_map(|c| CODES.iter().flat_map(move |o| [0, 1, 2, 16, 17, 255].map(|n| (c, *o, n))))
        {
            // The opcode is at the position of the codes of other commands, too.
            let mut argument = [0; 12];
            argument[..6].copy_from_slice(&[opcode, opcode, count, opcode, 0, opcode]);
            if command == 3 {
                argument[1] = 0;
            }
            let header = header(command.into(), tags);
            let mut frame = vec![0; header.argument_offset()];
            header.emit(&mut frame).unwrap();
            frame.extend(argument);
            for sectors in [1, 2, 17] {
                let needed = needed(&header, &frame, sectors);
                let ata = ata::Request::behind(&header, &frame);
                let room = command::reply_len_max(&header, ata.as_ref(), sectors);
                assert!(room >= needed, "{command} {argument:?}: {room} of {needed} bytes");
                let longest = &mut longest[usize::from(command)];
                *longest = needed.max(*longest);
            }
        }
    }
    let expected =
        [18 + 10 + 12 + 17 * 512, 18 + 10 + 8 + 1024, 18 + 10 + 4 + 1440, 18 + 10 + 2 + 1440, 60, 60];
    assert_eq!(longest, expected, "the longest reply to each command was met");
}
