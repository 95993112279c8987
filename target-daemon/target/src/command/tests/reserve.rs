//! Reserve and release.

use super::*;

const READ: u8 = 0;
const SET: u8 = 1;
const FORCE: u8 = 2;

fn reserve(code: u8, macs: &[Mac]) -> Vec<u8> {
    let mut argument = vec![code, u8::try_from(macs.len()).unwrap()];
    argument.extend(macs.iter().flat_map(|mac| mac.0));
    frame(3, &argument)
}

fn held_by(macs: &[Mac]) -> State {
    let mut state = state();
    state.set_reservation(macs.iter().copied()).unwrap();
    state
}

/// Checks a whole list reply.
fn expect(seen: Seen, code: u8, macs: &[Mac]) {
    let reply = seen.reply();
    assert_eq!(reply[14..16], [0x18, 0]);
    assert_eq!(reply[24..26], [code, u8::try_from(macs.len()).unwrap()]);
    let mut list: Vec<u8> = macs.iter().flat_map(|mac| mac.0).collect();
    list.resize(list.len().max(34), 0);
    assert_eq!(reply[26..], list);
}

#[test]
fn set_needs_a_free_list_or_a_place_on_it() {
    for (before, code, macs, granted) in [
        (&[][..], SET, &[HOST][..], true),
        (&[], SET, &[OTHER], true),
        (&[HOST], SET, &[OTHER], true),
        (&[HOST, OTHER], SET, &[], true),
        (&[OTHER], SET, &[HOST], false),
        (&[OTHER], SET, &[], false),
        (&[OTHER], SET, &[OTHER, HOST], false),
        (&[OTHER], FORCE, &[HOST], true),
        (&[OTHER], FORCE, &[], true),
    ] {
        let mut state = held_by(before);
        let seen = run(&mut state, &reserve(code, macs));
        if granted {
            expect(seen, code, macs);
            assert_eq!(state.reservation(), macs);
        } else {
            assert_eq!(seen.refusal(), 6, "{before:?} {macs:?}");
            assert_eq!(state.reservation(), before);
        }
    }
}

#[test]
fn list_in_force_may_be_set_again_by_anybody() {
    let mut state = state();
    for _ in 0..2 {
        expect(run(&mut state, &reserve(SET, &[OTHER])), SET, &[OTHER]);
    }
}

#[test]
fn read_tells_the_list_to_anybody() {
    expect(run(&mut held_by(&[OTHER]), &reserve(READ, &[])), READ, &[OTHER]);
    expect(run(&mut held_by(&[]), &reserve(READ, &[HOST])), READ, &[]);
}

#[test]
fn list_has_240_entries_at_most() {
    let mut state = state();
    let reply = run(&mut state, &reserve(SET, &[HOST; 240])).reply();
    assert_eq!((reply[25], reply.len()), (240, 26 + 240 * 6));
    assert!(reply.len() - 14 <= 1500, "fits the MTU");
    for code in [SET, FORCE] {
        assert_eq!(run(&mut state, &reserve(code, &[OTHER; 241])).refusal(), 2);
        assert_eq!(state.reservation(), [HOST; 240]);
    }
}

#[test]
fn list_beyond_the_frame_and_unknown_codes_are_bad_arguments() {
    for code in [SET, FORCE] {
        let mut asked = reserve(code, &[HOST, HOST]);
        asked.pop();
        let mut state = state();
        assert_eq!(run(&mut state, &asked).refusal(), 2);
        assert_eq!(state.reservation(), []);
    }
    for code in [3, 255] {
        assert_eq!(run(&mut state(), &reserve(code, &[])).refusal(), 2, "{code}");
    }
}

#[test]
fn a_host_that_may_not_reserves_nothing_and_gives_back_its_own() {
    for (before, code, macs, refusal) in [
        (&[][..], SET, &[HOST][..], Some(2)),
        (&[], FORCE, &[HOST], Some(2)),
        (&[], SET, &[], None),
        (&[HOST], SET, &[HOST, OTHER], Some(2)),
        (&[HOST], SET, &[HOST], None),
        (&[HOST], SET, &[], None),
        (&[HOST], FORCE, &[], None),
        (&[HOST, OTHER], SET, &[], Some(2)),
        (&[OTHER], FORCE, &[], Some(2)),
        (&[OTHER], FORCE, &[HOST], Some(2)),
        // Another host has reserved it: that is the reason even so.
        (&[OTHER], SET, &[], Some(6)),
        (&[OTHER], SET, &[OTHER], None),
    ] {
        let mut state = held_by(before);
        state.settings.host_settings = HostSettings::Refuse;
        let seen = run(&mut state, &reserve(code, macs));
        let now = match refusal {
            Some(error) => {
                assert_eq!(seen.refusal(), error, "{before:?} {macs:?}");
                before
            }
            None => {
                expect(seen, code, macs);
                macs
            }
        };
        assert_eq!(state.reservation(), now);
    }
}
