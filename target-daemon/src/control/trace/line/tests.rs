use std::time::Duration;

use super::*;
use crate::observe::{Operation, Outcome};
use crate::wire::aoe::{Error, Role};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::{DropReason, Reply};
use crate::worker::CAPTURE_MAX;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOST: Mac = Mac([2, 0, 0, 0, 0, 2]);
const DISK: Address = Address { shelf: 0, slot: 1 };

/// A request of the host, with this number of VLAN tags.
fn header(command: aoe::Command, tags: usize) -> Header {
    let tags = (0..tags).fold(Tags::NONE, |tags, n| tags.with(0x8100, n as u16).unwrap());
    let ether = Ether { dst: OURS, src: HOST, tags };
    Header { ether, role: Role::Request, shelf: DISK.shelf, slot: DISK.slot, command, tag: 0xfeed }
}

fn ata(command: ata::Command, lba: u64, count: u8) -> ata::Request {
    ata::Request { flags: 0, feature: 0, count, command, registers: ata::Request::registers_of(lba) }
}

fn traced(what: TraceOutcome, frame: &[u8]) -> Traced {
    let captured = frame.len().min(CAPTURE_MAX);
    let mut bytes = [0; CAPTURE_MAX];
    bytes[..captured].copy_from_slice(&frame[..captured]);
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, 678);
    Traced { what, at, lane: 1, len: frame.len() as u32, captured: captured as u16, bytes }
}

fn line(what: TraceOutcome, frame: &[u8]) -> TraceEvent {
    line_of(&traced(what, frame), &["eth0".to_owned(), "eth1".to_owned()], None).unwrap()
}

/// The frame of a request, without data.
fn request(header: Header, ata: ata::Request) -> Vec<u8> {
    let payload_offset = header.argument_offset() + ata::HEADER_LEN;
    let mut frame = vec![0; 100];
    let body = Body::Ata { ata, payload_offset, payload_len: 0 };
    let len = Request { header, body }.emit(&mut frame).unwrap();
    frame.truncate(len);
    frame
}

fn reply(header: Header, reply: Reply<'_>) -> Vec<u8> {
    let mut frame = vec![0; 2000];
    let len = reply.emit(&header, OURS, DISK, &mut frame).unwrap();
    frame.truncate(len);
    frame
}

fn done(asked: Option<ata::Request>, outcome: Outcome) -> TraceOutcome {
    TraceOutcome::Request { operation: Operation::Other, asked, outcome, service_ns: 9_000, store_ns: 7_000 }
}

#[test]
fn an_answered_request_is_told_as_it_was_asked() {
    for tags in 0..=2 {
        // The same registers read as a 28-bit and as a 48-bit address.
        let high = 0x0605_e403_0201;
        for (command, name, lba) in [
            (ata::Command::ReadSectorsExt, "read", high),
            (ata::Command::WriteSectorsExt, "write", high),
            (ata::Command::ReadSectors, "read", 0x0403_0201),
            (ata::Command::WriteDma, "write", 0x0403_0201),
        ] {
            let (header, asked) = (header(aoe::Command::Ata, tags), ata(command, high, 16));
            let frame = reply(header, Reply::Ata(asked.reply(ata::status::GOOD, 0)));
            let expected = TraceEvent {
                time: "2026-01-02T03:04:05.000000678Z".to_owned(),
                interface: "eth1".to_owned(),
                lane: 1,
                host: Some(HOST.to_string()),
                address: Some("0.1".to_owned()),
                command: Some(name.to_owned()),
                lba: Some(lba),
                sectors: Some(16),
                tag: Some(0xfeed),
                outcome: Some("ok".to_owned()),
                service_ns: Some(9_000),
                store_ns: Some(7_000),
                ..TraceEvent::default()
            };
            assert_eq!(line(done(Some(asked), Outcome::Done), &frame), expected, "{command:?}, {tags} tags");
        }
    }
}

#[test]
fn an_error_is_told_with_its_code() {
    let asked = ata(ata::Command::ReadSectorsExt, 1 << 40, 2);
    let failed = reply(header(aoe::Command::Ata, 0), Reply::Ata(asked.reply(ata::status::ERROR, 0x10)));
    let event = line(done(Some(asked), Outcome::Failed), &failed);
    assert_eq!((event.outcome.as_deref(), event.code.as_deref()), (Some("error"), Some("ata-0x10")));
    assert_eq!((event.lba, event.sectors), (Some(1 << 40), Some(2)));
    let refused = reply(header(aoe::Command::Unknown(7), 1), Reply::Refusal(Error::Command));
    let event = line(done(None, Outcome::Failed), &refused);
    assert_eq!((event.command.as_deref(), event.code.as_deref()), (Some("aoe-7"), Some("aoe-1")));
    assert_eq!((event.lba, event.sectors, event.host), (None, None, Some(HOST.to_string())));
}

#[test]
fn an_unanswered_request_is_told_from_its_own_bytes() {
    let asked = ata(ata::Command::WriteSectorsExt, 5, 1);
    let event = line(done(Some(asked), Outcome::Unanswered), &request(header(aoe::Command::Ata, 2), asked));
    assert_eq!((event.host, event.lba, event.sectors), (Some(HOST.to_string()), Some(5), Some(1)));
    assert_eq!((event.outcome.as_deref(), event.code), (Some("unanswered"), None));
}

#[test]
fn commands_have_names() {
    for (command, name, has_sectors) in [
        (0x06, "trim", false),
        (0xE7, "flush", false),
        (0xEA, "flush", false),
        (0xEC, "identify", false),
        (0xE5, "check-power-mode", false),
        (0xEF, "set-features", false),
        (0xB0, "ata-0xb0", false),
        (0xC8, "read", true),
        (0x35, "write", true),
    ] {
        let asked = ata(ata::Command::from(command), 8, 1);
        let frame = request(header(aoe::Command::Ata, 0), asked);
        let event = line(TraceOutcome::Dropped(DropReason::Acl), &frame);
        assert_eq!(
            (event.command.as_deref(), event.lba.is_some()),
            (Some(name), has_sectors),
            "{command:#x}"
        );
    }
}

#[test]
fn a_dropped_frame_is_told_with_its_bytes_and_what_can_be_read_of_it() {
    let frame = request(header(aoe::Command::Ata, 1), ata(ata::Command::ReadSectorsExt, 8, 3));
    let event = line(TraceOutcome::Dropped(DropReason::BroadcastWrite), &frame);
    assert_eq!(event.frame.as_ref().unwrap().dropped, "broadcast-write");
    assert_eq!((event.host.clone(), event.lba, event.sectors), (Some(HOST.to_string()), Some(8), Some(3)));
    assert_eq!((&event.outcome, event.service_ns, event.store_ns), (&None, None, None));
    let (at, len, bytes) = event.captured().unwrap();
    assert_eq!((at.as_second(), at.subsec_nanosecond(), len), (1_767_323_045, 678, 60));
    assert_eq!(bytes, frame);
    // For a response, the host is the sender.
    let stray = reply(header(aoe::Command::Query, 0), Reply::Refusal(Error::Reserved));
    let event = line(TraceOutcome::Dropped(DropReason::Response), &stray);
    assert_eq!((event.host, event.address.as_deref()), (Some(OURS.to_string()), Some("0.1")));
}

#[test]
fn a_frame_is_told_however_little_there_is_of_it() {
    let frame = request(header(aoe::Command::Ata, 2), ata(ata::Command::ReadSectorsExt, 8, 3));
    for len in 0..frame.len() {
        let event = line(TraceOutcome::Dropped(DropReason::TooShort), &frame[..len]);
        let (_, length, bytes) = event.captured().unwrap();
        assert_eq!((length, bytes.len()), (len as u32, len));
        // With two tags the AoE header ends at 32, and the ATA header at 44.
        assert_eq!((event.host.is_some(), event.lba.is_some()), (len >= 32, len >= 44), "{len} bytes");
        let _ = line(done(None, Outcome::Unanswered), &frame[..len]);
    }
    let long = vec![0xee; 9000];
    let event = line(TraceOutcome::Dropped(DropReason::NotAoe), &long);
    let (_, length, bytes) = event.captured().unwrap();
    assert_eq!((length, bytes.len()), (9000, CAPTURE_MAX));
}

#[test]
fn what_is_for_another_export_is_left_out() {
    let of = |shelf, slot, only| {
        let header = Header { shelf, slot, ..header(aoe::Command::Ata, 0) };
        let frame = request(header, ata(ata::Command::ReadSectorsExt, 8, 3));
        line_of(&traced(TraceOutcome::Dropped(DropReason::Acl), &frame), &[], Some(only)).is_some()
    };
    let other = Address { shelf: 0, slot: 2 };
    assert!(of(0, 1, DISK) && !of(0, 1, other) && of(0xffff, 0xff, DISK) && of(0, 0xff, other));
    let noise = line_of(&traced(TraceOutcome::Dropped(DropReason::NotAoe), &[0; 60]), &[], Some(DISK));
    assert_eq!(noise, None);
}

#[test]
fn lines_are_told_apart() {
    let event = line(done(None, Outcome::Unanswered), &[]);
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), Line::Told(Box::new(event)));
    let missed = serde_json::from_str::<Line>(&serde_json::to_string(&Line::Missed { missed: 3 }).unwrap());
    assert_eq!(missed.unwrap(), Line::Missed { missed: 3 });
    // A field from a later version.
    let later = r#"{"time": "", "interface": "", "lane": 0, "vlan": 5}"#;
    assert!(matches!(serde_json::from_str::<Line>(later).unwrap(), Line::Told(_)));
}
