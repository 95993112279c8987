//! For any input and any state: no panic, and no byte of an earlier frame is sent.

use super::*;
use crate::store::{IoError, Kind};
use crate::wire::Response;
use crate::wire::ata::HEADER_LEN;
use proptest::collection::vec;
use proptest::prelude::*;

/// Size of the buffer that a reply is written into.
const CHUNK: usize = 2048;

/// Frames that pass the header checks more often than noise does.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let link = prop_oneof![
        4 => Just(vec![]),
        1 => any::<[u8; 2]>().prop_map(|tci| [&[0x81, 0x00], &tci[..]].concat()),
        1 => any::<[u8; 4]>().prop_map(|t| vec![0x88, 0xA8, t[0], t[1], 0x81, 0x00, t[2], t[3]]),
    ];
    let dst = prop_oneof![Just(OWN), Just(Mac::BROADCAST)];
    let src = prop_oneof![Just(HOST), Just(OTHER)];
    let shelf = prop_oneof![Just([0, 7]), Just([0xff, 0xff])];
    let slot = prop_oneof![Just(3), Just(0xff)];
    let header = (dst, src, link, 0..8u8, any::<u8>(), shelf, slot, 0..6u8, any::<[u8; 4]>());
    (header, arguments()).prop_map(|((dst, src, link, flags, error, shelf, slot, command, tag), argument)| {
        let mut frame = [&dst.0[..], &src.0, &link, &[0x88, 0xA2]].concat();
        // The error flag is meaningless in a request, too.
        frame.extend([0x10 | flags, error, shelf[0], shelf[1], slot, command]);
        frame.extend(tag);
        frame.extend(argument);
        frame
    })
}

/// Arguments: noise, or small numbers where codes, counts and lengths are.
fn arguments() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        proptest::sample::select(vec![0x06u8, 0x20, 0x24, 0x30, 0x34, 0xEC, 0xE7, 0xE5, 0xEF]),
        any::<u8>()
    ];
    let ata = (any::<[u8; 2]>(), 0..12u8, opcode, any::<u16>(), vec(any::<u8>(), 0..700)).prop_map(
        |(start, count, opcode, lba, rest)| {
            let [low, high] = lba.to_le_bytes();
            let fixed = [start[0], start[1], count, opcode, low, high, 0, 0, 0, 0, 0, 0];
            [&fixed[..], &rest].concat()
        },
    );
    let codes = (vec(0..4u8, 8), vec(any::<u8>(), 0..700)).prop_map(|(codes, rest)| [codes, rest].concat());
    prop_oneof![vec(any::<u8>(), 0..1200), ata, codes]
}

prop_compose! {
    fn states()(
        read_only in any::<bool>(),
        volatile in any::<bool>(),
        discards in any::<bool>(),
        sectors in prop_oneof![0..2000u64, any::<u64>()],
        physical_bytes in any::<u32>(),
        config in vec(any::<u8>(), 0..=1024),
        mask in vec(any::<[u8; 6]>(), 0..=180),
        masked in any::<bool>(),
        reservation in vec(any::<[u8; 6]>(), 0..=239),
        reserved in any::<bool>(),
    ) -> State {
        let mut state = with_settings(|settings| {
            settings.read_only = read_only;
            settings.durability = if volatile { Durability::Volatile } else { Durability::Durable };
        });
        state.geometry = Geometry { discards, ..Geometry::new(sectors, physical_bytes) };
        state.set_config(&config).unwrap();
        if masked {
            // The host is on the list, so that it gets replies.
            state.add_to_mask(HOST).unwrap();
            for bytes in mask.into_iter().take(179) {
                state.add_to_mask(Mac(bytes)).unwrap();
            }
        }
        if reserved {
            let macs = reservation.into_iter().map(Mac).chain([OTHER]);
            state.set_reservation(macs.collect::<Vec<_>>().into_iter()).unwrap();
        }
        state
    }
}

/// Where the meaningful part of a reply ends, derived from its bytes alone.
fn meaning_len(reply: &[u8], l2_len: usize) -> usize {
    let aoe = &reply[l2_len..];
    let error = aoe[0] & 0x04 != 0;
    let argument = &aoe[10..];
    let argument_len = match aoe[5] {
        1 if !error || aoe[1] == 4 => 8 + usize::from(argument[6]) * 256 + usize::from(argument[7]),
        _ if error => 0,
        0 if reply.len() > 100 => 12 + 512,
        0 => 12,
        2 if argument[2] != 0 => 4,
        2 => 4 + usize::from(argument[3]) * 8,
        3 => 2 + usize::from(argument[1]) * 6,
        other => panic!("command {other} was answered without the error flag"),
    };
    l2_len + 10 + argument_len
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Noise of any length is parsed or dropped, and never causes a panic.
    #[test]
    fn noise_does_no_harm(
        mut frame in vec(any::<u8>(), 0..200),
        nearly in any::<bool>(),
        total_len in prop_oneof![0..300usize, any::<usize>()],
        mut state in states(),
    ) {
        if nearly && frame.len() > 24 {
            frame[12..14].copy_from_slice(&[0x88, 0xA2]);
            frame[14] = 0x10 | frame[14] & 0x0f;
            frame[16..19].copy_from_slice(&[0, 7, 3]);
            frame[19] %= 5;
        }
        let _ = Response::parse(&frame).map(|response| (response.query(), response.ata()));
        if let Ok(header) = Header::parse(&frame)
            && let Ok(request) = Request::parse(&header, &frame, total_len)
        {
            let _ = execute(&request, &mut state, ADVERT, LIMIT, Ingress::default());
        }
    }

    /// A reply over old bytes equals the reply over zeros, has at least 60 bytes, and
    /// zeros after its meaningful part.
    #[test]
    fn reply_never_leaks(frame in frames(), mut state in states(), old in any::<u8>()) {
        let header = Header::parse(&frame).unwrap();
        header.check_link(OWN).unwrap();
        let Ok(request) = Request::parse(&header, &frame, frame.len()) else { return Ok(()) };
        let address = state.settings.address;
        let reply = match execute(&request, &mut state, ADVERT, LIMIT, Ingress::default()) {
            Action::Ignore(_) => return Ok(()),
            Action::Reply(reply) => reply,
            Action::Store { ata, kind } => {
                let in_range = u128::from(ata.lba()) + u128::from(ata.count) <= state.geometry.sectors.into();
                let data = header.argument_offset() + HEADER_LEN + usize::from(ata.count) * 512;
                let may_write = data <= frame.len() && !state.settings.read_only && !header.is_broadcast();
                let result = match kind {
                    Kind::Read => {
                        prop_assert!(in_range && (1..=LIMIT.now).contains(&ata.count));
                        Err(IoError::Media)
                    }
                    Kind::Write => {
                        prop_assert!(in_range && ata.count >= 1 && may_write);
                        Ok(())
                    }
                    Kind::Discard => {
                        prop_assert!((1..=ADVERT.sectors_per_frame).contains(&ata.count));
                        prop_assert!(state.trims() && may_write);
                        Err(IoError::Range)
                    }
                    Kind::Flush | Kind::Measure => Ok(()),
                };
                crate::command::finish(&ata, kind, result, &state)
            }
        };
        let mut over_zeros = vec![0; CHUNK];
        let mut over_old = vec![old; CHUNK];
        over_old[..frame.len()].copy_from_slice(&frame);
        let len = reply.emit(&header, OWN, address, &mut over_old).unwrap();
        prop_assert_eq!(reply.emit(&header, OWN, address, &mut over_zeros), Some(len));
        prop_assert_eq!(&over_old[..len], &over_zeros[..len]);
        prop_assert!(len >= 60);
        let end = meaning_len(&over_old[..len], header.l2_len());
        prop_assert_eq!(len, end.max(60), "nothing is cut off or added");
        prop_assert!(over_old[end..len].iter().all(|&byte| byte == 0));
        check_header(&over_old[..len], &header);
    }

    /// Where hosts may change nothing, a request that would change something fails, but for
    /// the release of a reservation by its sole holder. Every other request has the same
    /// reply as where they may.
    #[test]
    fn what_hosts_may_not_change_stays(frame in frames(), mut state in states()) {
        let before = Saved::of(&state);
        let mut refusing = with_settings(|settings| {
            *settings = Settings { host_settings: HostSettings::Refuse, ..state.settings.clone() };
        });
        refusing.geometry = state.geometry;
        before.restore(&mut refusing).unwrap();
        let header = Header::parse(&frame).unwrap();
        let (allowed, seen) = (run(&mut state, &frame), run(&mut refusing, &frame));
        let (changed, after) = (Saved::of(&state), Saved::of(&refusing));
        let releases_its_own = before.reservation == [header.ether.src]
            && changed == Saved { reservation: Vec::new(), ..before.clone() };
        if changed == before || releases_its_own {
            prop_assert_eq!((after, seen), (changed, allowed));
        } else {
            prop_assert_eq!(after, before);
            let reply = seen.reply();
            let aoe = &reply[header.l2_len()..];
            prop_assert!(aoe[..2] == [0x1C, 2] || (aoe[5] == 2 && aoe[12] == 1), "{:?}", aoe);
        }
    }
}

/// Every reply goes to the source, from us, with its tags, the response flag, version 1,
/// no reserved flags, our address, and the command and tag of the request.
fn check_header(reply: &[u8], request: &Header) {
    let response = Response::parse(reply).unwrap();
    let header = response.header;
    assert_eq!((header.ether.dst, header.ether.src), (request.ether.src, OWN));
    assert_eq!(header.ether.tags, request.ether.tags);
    assert_eq!((header.shelf, header.slot), (7, 3));
    assert_eq!((header.command, header.tag), (request.command, request.tag));
    let aoe = &reply[header.l2_len()..];
    assert_eq!(aoe[0] & !0x04, 0x18);
    assert_eq!(aoe[0] & 0x04 != 0, aoe[1] != 0, "an error byte with the flag, and only then");
}
