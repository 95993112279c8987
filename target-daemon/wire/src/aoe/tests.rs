use super::*;
use crate::ether::Tags;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOST: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn request() -> Header {
    Header {
        ether: Ether { dst: OWN, src: HOST, tags: Tags::NONE },
        role: Role::Request,
        shelf: 7,
        slot: 3,
        command: Command::Query,
        tag: 0x8012_3456,
    }
}

fn bytes(header: &Header) -> [u8; 24] {
    let mut frame = [0; 24];
    assert_eq!(header.emit(&mut frame), Some(24));
    frame
}

#[test]
fn layout_is_the_published_one() {
    let frame = bytes(&Header { role: Role::Refusal(Error::Reserved), ..request() });
    assert_eq!(
        frame,
        [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xA2, 0x1C, 6, 0, 7, 3, 1, 0x80, 0x12, 0x34, 0x56]
    );
}

#[test]
fn twenty_four_bytes_suffice_and_not_one_less() {
    let frame = bytes(&request());
    assert_eq!(Header::parse(&frame), Ok(request()));
    for len in 0..frame.len() {
        assert_eq!(Header::parse(&frame[..len]), Err(DropReason::TooShort), "{len}");
    }
}

/// What parsing returns if one byte of a valid request is changed.
#[test]
fn each_field_is_judged_by_itself() {
    for (at, value, expected) in [
        (12, 0x08, Some(DropReason::NotAoe)),
        (14, 0x18, Some(DropReason::Response)),
        (14, 0x1C, Some(DropReason::Response)),
        (14, 0x00, Some(DropReason::Version)),
        (14, 0x20, Some(DropReason::Version)),
        (14, 0x13, None),
        (14, 0x14, None),
        (15, 0xFF, None),
        (6, 0x03, Some(DropReason::Source)),
        (23, 0xFF, None),
    ] {
        let mut frame = bytes(&request());
        frame[at] = value;
        assert_eq!(Header::parse(&frame).err(), expected, "byte {at} = {value:#x}");
    }
}

#[test]
fn nobody_to_answer_is_no_source() {
    for src in [Mac::BROADCAST, Mac([0; 6]), Mac([1, 0, 0x5e, 0, 0, 1])] {
        let mut header = request();
        header.ether.src = src;
        assert_eq!(Header::parse(&bytes(&header)), Err(DropReason::Source), "{src}");
    }
}

#[test]
fn only_frames_for_us_and_not_from_us() {
    for (dst, src, expected) in [
        (OWN, HOST, Ok(())),
        (Mac::BROADCAST, HOST, Ok(())),
        (Mac([1, 0, 0x5e, 0, 0, 1]), HOST, Err(DropReason::Destination)),
        (HOST, HOST, Err(DropReason::Destination)),
        (OWN, OWN, Err(DropReason::Source)),
        (Mac::BROADCAST, OWN, Err(DropReason::Source)),
    ] {
        let mut header = request();
        header.ether.dst = dst;
        header.ether.src = src;
        assert_eq!(header.check_link(OWN), expected, "{src} to {dst}");
    }
}

#[test]
fn shelf_and_slot_are_matched_separately() {
    let address = Address { shelf: 7, slot: 3 };
    for (shelf, slot, expected) in [
        (7, 3, true),
        (SHELF_ANY, 3, true),
        (7, SLOT_ANY, true),
        (SHELF_ANY, SLOT_ANY, true),
        (8, 3, false),
        (7, 4, false),
        (SHELF_ANY, 4, false),
        (8, SLOT_ANY, false),
    ] {
        let header = Header { shelf, slot, ..request() };
        assert_eq!(header.is_for(address), expected, "{shelf}.{slot}");
    }
}

#[test]
fn broadcast_is_any_shelf_any_slot_or_a_group() {
    assert!(!request().is_broadcast());
    assert!(Header { shelf: SHELF_ANY, ..request() }.is_broadcast());
    assert!(Header { slot: SLOT_ANY, ..request() }.is_broadcast());
    let mut header = request();
    header.ether.dst = Mac::BROADCAST;
    assert!(header.is_broadcast());
}

#[test]
fn answer_goes_back_with_the_real_address() {
    let tags = Tags::NONE.with(0x8100, 0xE005).unwrap();
    let mut asked = Header { shelf: SHELF_ANY, slot: SLOT_ANY, ..request() };
    asked.ether = Ether { dst: Mac::BROADCAST, src: HOST, tags };
    let answer = asked.answer(OWN, Address { shelf: 7, slot: 3 }, None);
    assert_eq!(answer.ether, Ether { dst: HOST, src: OWN, tags });
    assert_eq!((answer.shelf, answer.slot), (7, 3));
    assert_eq!((answer.command, answer.tag), (asked.command, asked.tag));
    assert_eq!(answer.role, Role::Response);
}
