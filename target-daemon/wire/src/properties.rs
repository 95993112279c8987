//! Round trips: emitted frames parse back to the same value.

use super::aoe::{Address, Command, Error, Header, Role};
use super::ether::{Ether, Mac, Tags};
use super::identify::{Identity, Names, Text};
use super::query::Advert;
use super::reserve::Macs;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Room for any frame without data.
const CHUNK: usize = 2100;

fn stations() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|[first, rest @ .., last]| {
        let [b, c, d, e] = rest;
        Mac([first & !1, b, c, d, e, last | 1])
    })
}

prop_compose! {
    fn headers()(
        dst in any::<[u8; 6]>(),
        src in stations(),
        tags in vec((proptest::sample::select(vec![0x8100, 0x88A8, 0x9100]), any::<u16>()), 0..=2),
        shelf in any::<u16>(),
        slot in any::<u8>(),
        tag in any::<u32>(),
    ) -> Header {
        let tags = tags.into_iter().fold(Tags::NONE, |tags, (tpid, tci)| tags.with(tpid, tci).unwrap());
        let ether = Ether { dst: Mac(dst), src, tags };
        Header { ether, role: Role::Request, shelf, slot, command: Command::Ata, tag }
    }
}

prop_compose! {
    fn ata_requests()(
        flags in any::<u8>(), feature in any::<u8>(), count in any::<u8>(), opcode in any::<u8>(),
        registers in any::<[u8; 6]>(),
    ) -> ata::Request {
        ata::Request { flags, feature, count, command: opcode.into(), registers }
    }
}

/// Emits a request over a buffer of old bytes and parses it.
fn there_and_back(mut header: Header, command: Command, body: Body<'_>) -> Result<(), TestCaseError> {
    header.command = command;
    let mut frame = vec![0xEE; CHUNK];
    let request = Request { header, body };
    let len = request.emit(&mut frame).unwrap();
    prop_assert!(len >= FRAME_LEN_MIN);
    let parsed = Header::parse(&frame).unwrap();
    prop_assert_eq!(parsed, header);
    prop_assert_eq!(Request::parse(&parsed, &frame, len), Ok(request));
    Ok(())
}

/// Emits a reply into a buffer that is one byte too short, then into one that just fits.
fn reply_frame(reply: &Reply<'_>, request: &Header) -> Vec<u8> {
    let own = Mac([2, 0, 0, 0, 0, 1]);
    let address = Address { shelf: 7, slot: 3 };
    let len = reply.frame_len(request.l2_len());
    let mut frame = vec![0xEE; len];
    assert_eq!(reply.emit(request, own, address, &mut frame[..len - 1]), None);
    assert_eq!(reply.emit(request, own, address, &mut frame), Some(len));
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ata_requests_round_trip(header in headers(), ata in ata_requests(), data_len in 0..9000usize) {
        // Padding counts as payload: it cannot be told apart.
        let payload_offset = header.argument_offset() + ata::HEADER_LEN;
        let payload_len = data_len.max(FRAME_LEN_MIN.saturating_sub(payload_offset));
        there_and_back(header, Command::Ata, Body::Ata { ata, payload_offset, payload_len })?;
    }

    #[test]
    fn query_requests_round_trip(header in headers(), code in 0..5u8, string in vec(any::<u8>(), 0..=1024)) {
        let query = match code {
            0 => query::Request::Read,
            1 => query::Request::Test(&string),
            2 => query::Request::Prefix(&string),
            3 => query::Request::Set(&string),
            _ => query::Request::ForceSet(&string),
        };
        there_and_back(header, Command::Query, Body::Query(query))?;
    }

    #[test]
    fn list_requests_round_trip(
        header in headers(),
        directives in vec(any::<[u8; 8]>(), 0..=255),
        macs in vec(any::<[u8; 6]>(), 0..=255),
    ) {
        let edit = mask::Request::Edit(&directives);
        there_and_back(header, Command::Mask, Body::Mask(edit))?;
        let set = reserve::Request::Set(Macs::new(macs.as_flattened()));
        there_and_back(header, Command::Reserve, Body::Reserve(set))?;
        let force_set = reserve::Request::ForceSet(Macs::new(macs.as_flattened()));
        there_and_back(header, Command::Reserve, Body::Reserve(force_set))?;
    }

    #[test]
    fn codes_without_a_meaning_round_trip(header in headers(), code in 5..=255u8) {
        there_and_back(header, Command::Unknown(code), Body::Unknown(code))?;
        there_and_back(header, Command::Mask, Body::Mask(mask::Request::Unknown(code)))?;
        there_and_back(header, Command::Reserve, Body::Reserve(reserve::Request::Unknown(code)))?;
        let query = query::Request::Unknown(5 + code % 11);
        there_and_back(header, Command::Query, Body::Query(query))?;
    }

    #[test]
    fn ata_replies_round_trip(
        header in headers(), ata in ata_requests(), status in any::<u8>(), error in any::<u8>(),
        serial in "[ -~]{0,20}", sectors in 0..1u64 << 48, exponent in 0..8u32,
    ) {
        let ata = ata.reply(status, error);
        let frame = reply_frame(&Reply::Ata(ata), &header);
        let response = Response::parse(&frame).unwrap();
        prop_assert_eq!(response.ata().unwrap().0, ata);
        prop_assert_eq!(response.header.tag, header.tag);
        let names = Names { serial: Text::new(&serial), firmware: Text::new("1"), model: Text::new("m") };
        let (trims, write_cache) = (sectors % 2 == 0, sectors % 3 == 0);
        let identity = Identity { names, sectors, physical_bytes: 512 << exponent, trims, write_cache };
        let frame = reply_frame(&Reply::Identify(ata, identity), &header);
        let (parsed, data) = Response::parse(&frame).unwrap().ata().unwrap();
        prop_assert_eq!((parsed, Identity::parse(data)), (ata, Some(identity)));
    }

    #[test]
    fn query_replies_round_trip(
        header in headers(), code in 0..16u8, string in vec(any::<u8>(), 0..=1024),
        numbers in any::<(u16, u16, u8)>(), refused in any::<bool>(),
    ) {
        let (buffer_count, firmware, sectors_per_frame) = numbers;
        let reply = query::Reply {
            code,
            advert: Advert { buffer_count, firmware, sectors_per_frame },
            string: &string,
            refusal: refused.then_some(Error::ConfigPresent),
        };
        let header = Header { command: Command::Query, ..header };
        let frame = reply_frame(&Reply::Query(reply), &header);
        prop_assert_eq!(Response::parse(&frame).unwrap().query(), Some(reply));
    }

    /// The header of a read reply leaves the data untouched.
    #[test]
    fn read_reply_does_not_touch_the_data(header in headers(), ata in ata_requests(), count in 1..=16usize) {
        let own = Mac([2, 0, 0, 0, 0, 1]);
        let reply = Reply::AtaData { ata: ata.reply(0x40, 0), bytes: count * 512 };
        let at = header.argument_offset() + ata::HEADER_LEN;
        let mut frame = vec![0xDD; at + count * 512];
        let len = reply.emit(&header, own, Address { shelf: 7, slot: 3 }, &mut frame);
        prop_assert_eq!(len, Some(frame.len()));
        prop_assert!(frame[at..].iter().all(|&byte| byte == 0xDD));
        // Only the header must be in the first piece.
        let mut head = vec![0xDD; at];
        prop_assert_eq!(reply.emit(&header, own, Address { shelf: 7, slot: 3 }, &mut head), len);
        prop_assert_eq!(&head[..], &frame[..at]);
    }
}
