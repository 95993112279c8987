//! Frames, the AoE header, and what is common to all replies.

use xblade::wire::DropReason;

use super::rules;
use crate::frame::{ATA, Ask, MASK, QUERY, RESERVE, ata, ata_done, mac, mask, query, query_done, reserve};
use crate::{BROADCAST, Bench, MAIN, Stand};

rules! {
    frames_that_are_not_aoe_are_left_alone ["P-HDR-1"]
    tags_of_every_kind_come_back ["P-HDR-1" "P-RPL-2"]
    frames_without_a_whole_header_are_dropped ["P-HDR-2"]
    shortest_frame_of_each_command_is_enough ["P-HDR-2" "P-HDR-8"]
    responses_are_not_answered ["P-HDR-3"]
    other_versions_are_not_answered ["P-HDR-4"]
    reserved_flags_and_error_byte_mean_nothing ["P-HDR-5" "P-RPL-3"]
    sources_that_nobody_has_are_not_answered ["P-HDR-6"]
    frames_for_others_and_from_ourselves_are_not_answered ["P-HDR-7"]
    trailing_bytes_are_ignored_and_never_come_back ["P-HDR-9" "P-RPL-6" "P-RPL-7"]
    noise_behind_a_good_header_does_no_harm ["P-HDR-10"]
    unknown_commands_are_refused_by_a_bare_header ["P-HDR-11"]
    every_tag_comes_back ["P-RPL-5"]
    broadcast_requests_are_answered_from_our_own_address ["P-RPL-1"]
}

fn frames_that_are_not_aoe_are_left_alone(bench: &mut Bench<'_>) {
    let ask = bench.ask(MAIN, QUERY, query(0, &[]));
    let mut frame = ask.bytes();
    frame[ask.link_len() - 1] = 0xA3;
    bench.silence(&frame, &[DropReason::NotAoe]);
    let three = Ask { vlan: [0x81, 0, 0, 1].repeat(3), ..ask };
    bench.silence(&three.bytes(), &[DropReason::NotAoe]);
}

fn tags_of_every_kind_come_back(bench: &mut Bench<'_>) {
    // The kernel's filter does not know the oldest kind of tag.
    let kinds = if bench.is_fake() { &[0x8100u16, 0x88A8, 0x9100][..] } else { &[0x8100, 0x88A8] };
    for outer in kinds {
        for inner in kinds {
            let words = [*outer, 0xE001, *inner, 0x2FFE];
            for count in [1, 2] {
                let vlan = words[..2 * count].iter().flat_map(|word| word.to_be_bytes()).collect();
                let ask = Ask { vlan, ..bench.ask(MAIN, QUERY, query(0, &[])) };
                let expected = ask.reply(MAIN, &query_done(64, bench.sectors(), 0, &[]));
                bench.expect(&ask, expected);
            }
        }
    }
}

fn frames_without_a_whole_header_are_dropped(bench: &mut Bench<'_>) {
    let ask = bench.ask(MAIN, 0xF0, []);
    let frame = ask.bytes();
    assert_eq!(frame.len(), ask.link_len() + 10);
    for len in ask.link_len()..frame.len() {
        bench.silence(&frame[..len], &[DropReason::TooShort]);
    }
    let expected = ask.refusal(MAIN, 1);
    bench.expect(&ask, expected);
}

fn shortest_frame_of_each_command_is_enough(bench: &mut Bench<'_>) {
    let sectors = bench.sectors();
    let read = ata(0x20, 5, 1, &[]);
    let rows = [
        (ATA, read.clone(), ata_done(&read, 0x40, 0, &Stand::original(MAIN, 5, 1))),
        (QUERY, query(0, &[]), query_done(64, sectors, 0, &[])),
        (MASK, mask(0, 0, 0, &[]), mask(0, 0, 0, &[])),
        (RESERVE, reserve(0, 0, &[]), reserve(0, 0, &[])),
    ];
    for (command, argument, reply) in rows {
        let ask = bench.ask(MAIN, command, argument);
        let expected = ask.reply(MAIN, &reply);
        bench.expect(&ask, expected);
        let frame = ask.bytes();
        bench.silence(&frame[..frame.len() - 1], &[DropReason::TooShort]);
    }
}

fn responses_are_not_answered(bench: &mut Bench<'_>) {
    for version_flags in [0x18, 0x1C, 0x1F] {
        for command in [ATA, QUERY, MASK, RESERVE, 9] {
            let ask = Ask { version_flags, ..bench.ask(MAIN, command, [0; 32]) };
            bench.silence(&ask.bytes(), &[DropReason::Response]);
        }
    }
}

fn other_versions_are_not_answered(bench: &mut Bench<'_>) {
    for version in (0..=15).filter(|version| *version != 1) {
        let ask = Ask { version_flags: version << 4, ..bench.ask(MAIN, QUERY, query(0, &[])) };
        bench.silence(&ask.bytes(), &[DropReason::Version]);
    }
}

fn reserved_flags_and_error_byte_mean_nothing(bench: &mut Bench<'_>) {
    for (version_flags, error) in [(0x11, 0), (0x12, 0), (0x13, 9), (0x14, 6), (0x17, 0xff)] {
        let ask = Ask { version_flags, error, ..bench.ask(MAIN, QUERY, query(0, &[])) };
        let expected = ask.reply(MAIN, &query_done(64, bench.sectors(), 0, &[]));
        bench.expect(&ask, expected);
    }
}

fn sources_that_nobody_has_are_not_answered(bench: &mut Bench<'_>) {
    for src in [BROADCAST, [1, 0, 0x5e, 0, 0, 1], [3, 0, 0, 0, 0, 1], [0; 6]] {
        for to in [MAIN, (0xffff, 0xff)] {
            let ask = bench.ask(to, QUERY, query(0, &[])).from(src);
            bench.silence(&ask.bytes(), &[DropReason::Source]);
        }
    }
}

fn frames_for_others_and_from_ourselves_are_not_answered(bench: &mut Bench<'_>) {
    for dst in [mac(1), [0; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
        let ask = Ask { dst, ..bench.ask(MAIN, QUERY, query(0, &[])) };
        bench.silence(&ask.bytes(), &[DropReason::Destination]);
    }
    for dst in [crate::TARGET_MAC, BROADCAST] {
        let ask = Ask { dst, ..bench.ask(MAIN, QUERY, query(0, &[])).from(crate::TARGET_MAC) };
        bench.silence(&ask.bytes(), &[DropReason::Source]);
    }
}

/// The replies are shorter than these requests, or lie where their trailing
/// bytes were.
fn trailing_bytes_are_ignored_and_never_come_back(bench: &mut Bench<'_>) {
    let room = bench.variant.frame_len_max();
    let read = ata(0x24, 3, 2, &[]);
    let bad = ata(0x24, 1 << 40, 1, &[]);
    let sectors = bench.sectors();
    let rows = [
        (ATA, read.clone(), ata_done(&read, 0x40, 0, &Stand::original(MAIN, 3, 2))),
        (ATA, bad.clone(), ata_done(&bad, 0x41, 0x10, &[])),
        (QUERY, query(0, &[]), query_done(64, sectors, 0, &[])),
        (QUERY, query(4, &[]), query_done(64, sectors, 4, &[])),
        (MASK, mask(0, 0, 0, &[]), mask(0, 0, 0, &[])),
        (MASK, mask(1, 0, 0, &[]), mask(1, 0, 0, &[])),
        (RESERVE, reserve(1, 0, &[]), reserve(1, 0, &[])),
    ];
    for (command, argument, reply) in rows {
        for extra in [1, 24, 100, 512, room - 14 - 10 - argument.len()] {
            let ask = bench.ask(MAIN, command, argument.clone()).trailed_by(&vec![0xEE; extra]);
            let expected = ask.reply(MAIN, &reply);
            bench.expect(&ask, expected);
        }
    }
}

/// Whatever the argument is, at most one reply comes, and it is a reply.
fn noise_behind_a_good_header_does_no_harm(bench: &mut Bench<'_>) {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let len = draw() as usize % 200;
        let mut argument: Vec<u8> = (0..len).map(|_| draw() as u8).collect();
        let command = (draw() % 6) as u8;
        // Nothing that would stay: no writes, sets and edits.
        if let Some(code) = argument.get_mut(if command == RESERVE { 0 } else { 1 })
            && matches!(command, MASK | RESERVE)
        {
            *code = if *code < 128 { 0 } else { *code };
        }
        if let Some(code) = argument.get_mut(5).filter(|_| command == QUERY) {
            *code = if matches!(*code & 0x0f, 3 | 4) { 0 } else { *code };
        }
        if let Some(opcode) = argument.get_mut(3).filter(|_| command == ATA) {
            *opcode = if matches!(*opcode, 0x30 | 0x34 | 0xCA | 0x35) { 0x20 } else { *opcode };
        }
        let ask = bench.ask(MAIN, command, argument);
        let replies = bench.exchange(&ask.bytes());
        assert!(replies.len() <= 1, "{ask:?}");
        for reply in replies {
            assert!(reply.len() >= 60, "{ask:?}");
            let at = ask.link_len();
            assert_eq!(reply[at] & 0xF8, 0x18, "{ask:?}");
            assert_eq!(reply[at + 6..at + 10], ask.tag.to_be_bytes(), "{ask:?}");
        }
    }
}

fn unknown_commands_are_refused_by_a_bare_header(bench: &mut Bench<'_>) {
    for command in [4, 5, 0x7f, 0xEF, 0xF0, 0xF1, 0xFF] {
        for argument in [&[][..], &[0xEE; 300]] {
            let ask = bench.ask(MAIN, command, argument);
            let expected = ask.refusal(MAIN, 1);
            bench.expect(&ask, expected);
        }
    }
}

fn every_tag_comes_back(bench: &mut Bench<'_>) {
    for tag in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let ask = Ask { tag, ..bench.ask(MAIN, QUERY, query(0, &[])) };
        let expected = ask.reply(MAIN, &query_done(64, bench.sectors(), 0, &[]));
        bench.expect(&ask, expected);
        let ask = Ask { tag, ..bench.ask(MAIN, ATA, ata(0x20, 9, 1, &[])) };
        let expected = ask.reply(MAIN, &ata_done(&ask.argument, 0x40, 0, &Stand::original(MAIN, 9, 1)));
        bench.expect(&ask, expected);
    }
}

fn broadcast_requests_are_answered_from_our_own_address(bench: &mut Bench<'_>) {
    let ask = bench.ask(MAIN, QUERY, query(0, &[])).broadcast();
    let expected = ask.reply(MAIN, &query_done(64, bench.sectors(), 0, &[]));
    bench.expect(&ask, expected);
}
