//! Query config information.

use xblade::wire::DropReason;

use super::rules;
use crate::frame::{Ask, QUERY, RESERVE, query, query_done, query_with, reserve};
use crate::{Address, Bench, MAIN, OTHER_HOST, READ_ONLY};

rules! {
    read_tells_string_and_limits ["P-QRY-1" "P-QRY-12"]
    length_of_a_read_is_not_looked_at ["P-QRY-2"]
    version_beside_the_code_is_ignored ["P-QRY-3"]
    tests_are_answered_if_true ["P-QRY-4"]
    set_takes_an_empty_and_an_identical_string ["P-QRY-5" "P-QRY-6"]
    force_set_always_takes_it ["P-QRY-7"]
    strings_of_any_length_up_to_1024 ["P-QRY-7" "P-QRY-8"]
    lengths_beyond_the_limit_or_the_frame_are_dropped ["P-QRY-8"]
    unknown_codes_are_bad_arguments ["P-QRY-9"]
    reservations_do_not_block_queries ["P-QRY-10"]
    exports_have_strings_of_their_own ["P-QRY-1"]
}

#[track_caller]
fn set(bench: &mut Bench<'_>, to: Address, string: &[u8]) {
    bench.query(to, query(4, string), string);
}

fn read_tells_string_and_limits(bench: &mut Bench<'_>) {
    bench.query(MAIN, query(0, b""), b"");
    set(bench, MAIN, b"cellar");
    bench.query(MAIN, query(0, b""), b"cellar");
    set(bench, MAIN, b"");
}

/// aoeping sends 1024, and as many bytes of filler.
fn length_of_a_read_is_not_looked_at(bench: &mut Bench<'_>) {
    for (length, present) in [(1024, 1024), (1025, 0), (65535, 10), (1, 0)] {
        bench.query(MAIN, query_with(0, length, &vec![0xEE; present]), b"");
    }
}

fn version_beside_the_code_is_ignored(bench: &mut Bench<'_>) {
    for version in [0, 1, 2, 15] {
        bench.query(MAIN, query(version << 4, b""), b"");
        bench.query(MAIN, query(version << 4 | 4, b"v"), b"v");
        bench.query(MAIN, query(version << 4 | 4, b""), b"");
    }
}

fn tests_are_answered_if_true(bench: &mut Bench<'_>) {
    set(bench, MAIN, b"a\0b");
    for (code, string, answered) in [
        (1, &b"a\0b"[..], true),
        (1, b"a\0", false),
        (1, b"a\0bc", false),
        (1, b"", false),
        (1, b"a\0c", false),
        (2, b"", true),
        (2, b"a", true),
        (2, b"a\0b", true),
        (2, b"a\0bc", false),
        (2, b"\0b", false),
    ] {
        if answered {
            bench.query(MAIN, query(code, string), b"a\0b");
        } else {
            let ask = bench.ask(MAIN, QUERY, query(code, string));
            bench.silence(&ask.bytes(), &[DropReason::ConfigMismatch]);
        }
    }
    set(bench, MAIN, b"");
    bench.query(MAIN, query(1, b""), b"");
    let ask = bench.ask(MAIN, QUERY, query(2, b"a"));
    bench.silence(&ask.bytes(), &[DropReason::ConfigMismatch]);
}

fn set_takes_an_empty_and_an_identical_string(bench: &mut Bench<'_>) {
    bench.query(MAIN, query(3, b""), b"");
    bench.query(MAIN, query(3, b"one"), b"one");
    bench.query(MAIN, query(3, b"one"), b"one");
    for other in [&b"two"[..], b"on", b"ones", b""] {
        let ask = bench.ask(MAIN, QUERY, query(3, other));
        let expected = ask.refusal_with(MAIN, 4, &query_done(64, bench.sectors(), 3, b"one"));
        bench.expect(&ask, expected);
    }
    bench.query(MAIN, query(0, b""), b"one");
    set(bench, MAIN, b"");
}

fn force_set_always_takes_it(bench: &mut Bench<'_>) {
    for string in [&b"long string"[..], b"short", b"short", b"another one"] {
        set(bench, MAIN, string);
        bench.query(MAIN, query(0, b""), string);
    }
    set(bench, MAIN, b"");
    bench.query(MAIN, query(0, b""), b"");
}

fn strings_of_any_length_up_to_1024(bench: &mut Bench<'_>) {
    for len in [1, 27, 28, 29, 255, 256, 511, 1023, 1024] {
        let string: Vec<u8> = (0..len).map(|index| (index * 7 + len) as u8).collect();
        set(bench, MAIN, &string);
        bench.query(MAIN, query(0, b""), &string);
        bench.query(MAIN, query(1, &string), &string);
    }
    set(bench, MAIN, b"");
}

fn lengths_beyond_the_limit_or_the_frame_are_dropped(bench: &mut Bench<'_>) {
    for code in [1, 2, 3, 4, 5, 15] {
        for (length, present) in [(1025, 1025), (1025, 1400), (65535, 1400), (5, 4), (1, 0), (1024, 1023)] {
            let ask = bench.ask(MAIN, QUERY, query_with(code, length, &vec![7; present]));
            bench.silence(&ask.bytes(), &[DropReason::ConfigLength]);
        }
    }
    bench.query(MAIN, query(0, b""), b"");
}

fn unknown_codes_are_bad_arguments(bench: &mut Bench<'_>) {
    for code in 5..=15 {
        let ask = bench.ask(MAIN, QUERY, query(code, b"abc"));
        let expected = ask.refusal(MAIN, 2);
        bench.expect(&ask, expected);
    }
    bench.query(MAIN, query(0, b""), b"");
}

fn reservations_do_not_block_queries(bench: &mut Bench<'_>) {
    let hold = |bench: &mut Bench<'_>, macs: &[_]| {
        let ask = bench.ask(MAIN, RESERVE, reserve(2, macs.len() as u8, macs));
        let expected = ask.reply(MAIN, &reserve(2, macs.len() as u8, macs));
        bench.expect(&ask, expected);
    };
    hold(bench, &[OTHER_HOST]);
    bench.query(MAIN, query(0, b""), b"");
    set(bench, MAIN, b"x");
    set(bench, MAIN, b"");
    hold(bench, &[]);
}

fn exports_have_strings_of_their_own(bench: &mut Bench<'_>) {
    set(bench, MAIN, b"main");
    set(bench, READ_ONLY, b"read-only");
    bench.query(MAIN, query(0, b""), b"main");
    bench.query(READ_ONLY, query(0, b""), b"read-only");
    // A test at a broadcast address finds the one that has the string.
    let ask: Ask = bench.ask((0xffff, 0xff), QUERY, query(2, b"read"));
    let expected = ask.reply(READ_ONLY, &query_done(64, bench.sectors(), 2, b"read-only"));
    bench.expect(&ask, expected);
    set(bench, MAIN, b"");
    set(bench, READ_ONLY, b"");
}
