//! The mask list.

use xblade::wire::DropReason;

use super::rules;
use crate::frame::{ATA, Ask, MASK, QUERY, RESERVE, ata, mac, mask, query, reserve};
use crate::{Bench, HOST, MAIN, Mac, OTHER_HOST, READ_ONLY};

rules! {
    edits_follow_in_order_and_may_be_repeated ["P-MSK-1"]
    list_silences_everybody_else_whatever_is_asked ["P-ADR-5" "P-MSK-1"]
    edit_that_drops_the_requester_is_answered ["P-MSK-2"]
    bad_directive_stops_and_tells_its_index ["P-MSK-3"]
    list_has_180_entries ["P-MSK-4"]
    directives_beyond_the_frame_are_a_bad_argument ["P-MSK-5"]
    unknown_codes_are_bad_arguments ["P-MSK-6"]
    reservations_do_not_block_the_list ["P-MSK-7"]
}

const ADD: u8 = 1;
const DELETE: u8 = 2;

/// Edits, and demands this list.
#[track_caller]
fn edit(bench: &mut Bench<'_>, directives: &[(u8, Mac)], list: &[Mac]) {
    let ask = bench.ask(MAIN, MASK, mask(1, 0, directives.len() as u8, directives));
    answered_with(bench, &ask, 1, list);
}

#[track_caller]
fn read(bench: &mut Bench<'_>, list: &[Mac]) {
    // Count and error of a read mean nothing.
    let ask = bench.ask(MAIN, MASK, mask(0, 9, 200, &[]));
    answered_with(bench, &ask, 0, list);
}

#[track_caller]
fn answered_with(bench: &mut Bench<'_>, ask: &Ask, code: u8, list: &[Mac]) {
    let told: Vec<_> = list.iter().map(|mac| (0, *mac)).collect();
    bench.expect(ask, ask.reply(MAIN, &mask(code, 0, list.len() as u8, &told)));
}

#[track_caller]
fn stopped(bench: &mut Bench<'_>, directives: &[(u8, Mac)], error: u8, index: u8) {
    let ask = bench.ask(MAIN, MASK, mask(1, 0, directives.len() as u8, directives));
    let expected = ask.reply(MAIN, &mask(1, error, index, &[]));
    bench.expect(&ask, expected);
}

fn edits_follow_in_order_and_may_be_repeated(bench: &mut Bench<'_>) {
    read(bench, &[]);
    edit(bench, &[(DELETE, HOST)], &[]);
    edit(bench, &[(ADD, HOST), (ADD, mac(1)), (ADD, HOST)], &[HOST, mac(1)]);
    edit(bench, &[(ADD, HOST), (0, mac(9)), (ADD, mac(1))], &[HOST, mac(1)]);
    read(bench, &[HOST, mac(1)]);
    edit(bench, &[(ADD, mac(2)), (DELETE, mac(2))], &[HOST, mac(1)]);
    edit(bench, &[], &[HOST, mac(1)]);
    edit(bench, &[(DELETE, mac(1)), (DELETE, mac(1)), (DELETE, HOST)], &[]);
}

fn list_silences_everybody_else_whatever_is_asked(bench: &mut Bench<'_>) {
    edit(bench, &[(ADD, HOST)], &[HOST]);
    for (command, argument) in [
        (ATA, ata(0xEC, 0, 1, &[])),
        (ATA, ata(0x20, 0, 1, &[])),
        (ATA, ata(0x30, 2000, 1, &[7; 512])),
        (ATA, ata(0x06, 0, 1, &[])),
        (QUERY, query(0, b"")),
        (QUERY, query(4, b"mine")),
        (MASK, mask(0, 0, 0, &[])),
        (MASK, mask(1, 0, 1, &[(ADD, OTHER_HOST)])),
        (RESERVE, reserve(2, 1, &[OTHER_HOST])),
        (0xF0, Vec::new()),
    ] {
        let ask = bench.ask(MAIN, command, argument).from(OTHER_HOST);
        bench.silence(&ask.bytes(), &[DropReason::Mask]);
    }
    // The others have lists of their own.
    let ask = bench.ask(READ_ONLY, MASK, mask(0, 0, 0, &[])).from(OTHER_HOST);
    let expected = ask.reply(READ_ONLY, &mask(0, 0, 0, &[]));
    bench.expect(&ask, expected);
    bench.query(MAIN, query(0, b""), b"");
    edit(bench, &[(DELETE, HOST)], &[]);
}

fn edit_that_drops_the_requester_is_answered(bench: &mut Bench<'_>) {
    edit(bench, &[(ADD, HOST), (ADD, OTHER_HOST)], &[HOST, OTHER_HOST]);
    edit(bench, &[(DELETE, HOST)], &[OTHER_HOST]);
    let ask = bench.ask(MAIN, MASK, mask(1, 0, 1, &[(ADD, HOST)]));
    bench.silence(&ask.bytes(), &[DropReason::Mask]);
    let ask = bench.ask(MAIN, MASK, mask(1, 0, 1, &[(DELETE, OTHER_HOST)])).from(OTHER_HOST);
    answered_with(bench, &ask, 1, &[]);
    read(bench, &[]);
}

fn bad_directive_stops_and_tells_its_index(bench: &mut Bench<'_>) {
    stopped(bench, &[(9, mac(1))], 2, 0);
    stopped(bench, &[(ADD, HOST), (ADD, mac(1)), (3, mac(2)), (ADD, mac(3))], 2, 2);
    read(bench, &[HOST, mac(1)]);
    edit(bench, &[(DELETE, mac(1)), (DELETE, HOST)], &[]);
}

fn list_has_180_entries(bench: &mut Bench<'_>) {
    let mut all = vec![HOST];
    all.extend((1..180).map(mac));
    let adds: Vec<_> = all.iter().map(|mac| (ADD, *mac)).collect();
    edit(bench, &adds, &all);
    let two = [(ADD, mac(0)), (ADD, mac(181))];
    stopped(bench, &two, 3, 0);
    stopped(bench, &[(ADD, HOST), (ADD, mac(5)), (ADD, mac(181))], 3, 2);
    read(bench, &all);
    let deletes: Vec<_> = all.iter().rev().map(|mac| (DELETE, *mac)).collect();
    edit(bench, &deletes, &[]);
}

fn directives_beyond_the_frame_are_a_bad_argument(bench: &mut Bench<'_>) {
    let one = [(ADD, mac(1))];
    for argument in [mask(1, 0, 2, &one), mask(1, 0, 255, &one), mask(1, 0, 1, &[]), {
        let mut cut = mask(1, 0, 1, &one);
        cut.pop();
        cut
    }] {
        let ask = bench.ask(MAIN, MASK, argument);
        let expected = ask.refusal(MAIN, 2);
        bench.expect(&ask, expected);
    }
    read(bench, &[]);
}

fn unknown_codes_are_bad_arguments(bench: &mut Bench<'_>) {
    for code in [2, 3, 255] {
        let ask = bench.ask(MAIN, MASK, mask(code, 0, 1, &[(ADD, mac(1))]));
        let expected = ask.refusal(MAIN, 2);
        bench.expect(&ask, expected);
    }
    read(bench, &[]);
}

fn reservations_do_not_block_the_list(bench: &mut Bench<'_>) {
    for macs in [&[OTHER_HOST][..], &[]] {
        let ask = bench.ask(MAIN, RESERVE, reserve(2, macs.len() as u8, macs));
        let expected = ask.reply(MAIN, &ask.argument);
        bench.expect(&ask, expected);
        edit(bench, &[(ADD, HOST)], &[HOST]);
        edit(bench, &[(DELETE, HOST)], &[]);
    }
}
