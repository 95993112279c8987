//! Query config information.

use super::*;

fn query(code: u8, string: &[u8]) -> Vec<u8> {
    with_length(code, string.len(), string)
}

fn with_length(code: u8, length: usize, string: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    frame(1, &[&[0xEE, 0xEE, 0xEE, 0xEE, 0xEE, code, high, low], string].concat())
}

fn holding(string: &[u8]) -> State {
    let mut state = state();
    state.set_config(string).unwrap();
    state
}

/// Checks a whole reply: code, error flag and error, string.
fn expect(seen: Seen, code: u8, refusal: [u8; 2], string: &[u8]) {
    let reply = seen.reply();
    assert_eq!(reply[14..16], refusal);
    let [high, low] = u16::try_from(string.len()).unwrap().to_be_bytes();
    assert_eq!(reply[24..32], [0, 64, 1, 2, 8, 0x10 | code, high, low]);
    assert_eq!(reply[32..32 + string.len()], *string);
    assert_eq!(reply.len(), 60.max(32 + string.len()));
    assert!(reply[32 + string.len()..].iter().all(|&byte| byte == 0));
}

const GOOD: [u8; 2] = [0x18, 0];
const PRESENT: [u8; 2] = [0x1C, 4];

#[test]
fn read_tells_string_and_limits() {
    for string in [&b""[..], b"owner", &[7; 1024]] {
        expect(run(&mut holding(string), &query(0, b"")), 0, GOOD, string);
    }
}

#[test]
fn read_does_not_look_at_its_length() {
    let mut state = holding(b"owner");
    for asked in [with_length(0, 1024, &[0xEE; 1024]), with_length(0, 1024, b""), with_length(0, 65535, b"")]
    {
        expect(run(&mut state, &asked), 0, GOOD, b"owner");
    }
}

#[test]
fn tests_are_answered_if_true_and_else_not() {
    for (string, code, argument, matches) in [
        (&b"owner"[..], 1, &b"owner"[..], true),
        (b"owner", 1, b"own", false),
        (b"owner", 1, b"ownerx", false),
        (b"owner", 1, b"", false),
        (b"", 1, b"", true),
        (b"owner", 2, b"own", true),
        (b"owner", 2, b"owner", true),
        (b"owner", 2, b"", true),
        (b"", 2, b"", true),
        (b"owner", 2, b"ownerx", false),
        (b"owner", 2, b"xow", false),
    ] {
        let mut state = holding(string);
        let seen = run(&mut state, &query(code, argument));
        if matches {
            expect(seen, code, GOOD, string);
        } else {
            assert_eq!(seen, Seen::Ignored(DropReason::ConfigMismatch), "{code} {argument:?}");
        }
    }
}

#[test]
fn set_takes_an_empty_string_and_an_identical_one() {
    for (string, code, argument, refusal, after) in [
        (&b""[..], 3, &b"new"[..], GOOD, &b"new"[..]),
        (b"old", 3, b"old", GOOD, b"old"),
        (b"old", 3, b"new", PRESENT, b"old"),
        (b"old", 3, b"ol", PRESENT, b"old"),
        (b"old", 3, b"", PRESENT, b"old"),
        (b"", 3, b"", GOOD, b""),
        (b"old", 4, b"new", GOOD, b"new"),
        (b"old", 4, b"", GOOD, b""),
        (b"", 3, &[7; 1024], GOOD, &[7; 1024]),
        (b"old", 4, &[7; 1024], GOOD, &[7; 1024]),
    ] {
        let mut state = holding(string);
        expect(run(&mut state, &query(code, argument)), code, refusal, after);
        assert_eq!(state.config(), after);
    }
}

#[test]
fn retransmitted_set_succeeds_again() {
    let mut state = state();
    for _ in 0..2 {
        expect(run(&mut state, &query(3, b"mine")), 3, GOOD, b"mine");
    }
}

#[test]
fn length_beyond_the_limit_or_the_frame_is_ignored() {
    for asked in [
        with_length(1, 1025, &[7; 1025]),
        with_length(2, 1025, &[7; 1025]),
        with_length(3, 1025, &[7; 1025]),
        with_length(4, 1025, &[7; 1025]),
        with_length(3, 5, b"four"),
        with_length(4, 65535, b"four"),
        with_length(9, 1025, b""),
    ] {
        let mut state = state();
        assert_eq!(run(&mut state, &asked), Seen::Ignored(DropReason::ConfigLength));
        assert_eq!(state.config(), b"");
    }
}

#[test]
fn string_ends_where_the_length_says() {
    let mut state = state();
    run(&mut state, &with_length(4, 3, b"abcdef"));
    assert_eq!(state.config(), b"abc");
}

#[test]
fn unknown_code_is_a_bad_argument() {
    for code in 5..=15 {
        assert_eq!(run(&mut state(), &query(code, b"x")).refusal(), 2, "{code}");
    }
}

#[test]
fn reservation_does_not_block_queries() {
    let mut state = holding(b"owner");
    state.set_reservation([OTHER].into_iter()).unwrap();
    expect(run(&mut state, &query(0, b"")), 0, GOOD, b"owner");
}

/// A conflict stays one: it asks for no force where force does not help either, but says
/// what is in force.
#[test]
fn a_host_that_may_not_sets_nothing_new() {
    for (before, code, string, expected) in [
        (&b""[..], 3, &b"x"[..], Some(2)),
        (b"", 4, b"x", Some(2)),
        (b"owner", 4, b"", Some(2)),
        (b"owner", 4, b"other", Some(2)),
        (b"owner", 3, b"owner", None),
        (b"owner", 4, b"owner", None),
        (b"", 3, b"", None),
    ] {
        let mut state = holding(before);
        state.settings.host_settings = HostSettings::Refuse;
        let seen = run(&mut state, &query(code, string));
        match expected {
            Some(error) => assert_eq!(seen.refusal(), error, "{before:?} {string:?}"),
            None => expect(seen, code, GOOD, before),
        }
        assert_eq!(state.config(), before);
    }
    let mut state = holding(b"owner");
    state.settings.host_settings = HostSettings::Refuse;
    expect(run(&mut state, &query(3, b"other")), 3, PRESENT, b"owner");
    expect(run(&mut state, &query(0, b"")), 0, GOOD, b"owner");
}
