//! The mask list.

use super::*;

const ADD: u8 = 1;
const DELETE: u8 = 2;

fn mac(number: usize) -> Mac {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    Mac([2, 0, 0, 1, high, low])
}

fn mask(code: u8, directives: &[(u8, Mac)]) -> Vec<u8> {
    let mut argument = vec![0xEE, code, 0xEE, u8::try_from(directives.len()).unwrap()];
    for (directive, mac) in directives {
        argument.extend([0xEE, *directive]);
        argument.extend(mac.0);
    }
    frame(2, &argument)
}

/// Checks a whole list reply.
fn expect(seen: Seen, code: u8, macs: &[Mac]) {
    let reply = seen.reply();
    assert_eq!(reply[14..16], [0x18, 0]);
    assert_eq!(reply[24..28], [0, code, 0, u8::try_from(macs.len()).unwrap()]);
    let mut list = Vec::new();
    for mac in macs {
        list.extend([0, 0]);
        list.extend(mac.0);
    }
    list.resize(list.len().max(32), 0);
    assert_eq!(reply[28..], list);
}

/// Checks a reply that reports a failed directive and the reason.
fn expect_stop(seen: Seen, error: u8, index: u8) {
    let reply = seen.reply();
    assert_eq!(reply[14..16], [0x18, 0], "the error flag is not set");
    assert_eq!(reply[24..28], [0, 1, error, index]);
    assert_eq!(reply[28..], [0; 32]);
}

#[test]
fn edits_follow_in_order_and_may_be_repeated() {
    let mut state = state();
    expect(run(&mut state, &mask(0, &[])), 0, &[]);
    let edit = mask(1, &[(ADD, HOST), (ADD, mac(1)), (0, mac(9)), (ADD, mac(2)), (DELETE, mac(1))]);
    for _ in 0..2 {
        expect(run(&mut state, &edit), 1, &[HOST, mac(2)]);
    }
    expect(run(&mut state, &mask(1, &[(DELETE, mac(7))])), 1, &[HOST, mac(2)]);
    expect(run(&mut state, &mask(0, &[])), 0, &[HOST, mac(2)]);
}

#[test]
fn edit_that_drops_the_requester_is_answered_and_the_next_is_not() {
    let mut state = state();
    expect(run(&mut state, &mask(1, &[(ADD, OTHER)])), 1, &[OTHER]);
    assert_eq!(run(&mut state, &mask(0, &[])), Seen::Ignored(DropReason::Mask));
    let back = from(OTHER, mask(1, &[(DELETE, OTHER)]));
    expect(run(&mut state, &back), 1, &[]);
    expect(run(&mut state, &mask(0, &[])), 0, &[]);
}

#[test]
fn bad_directive_stops_and_the_earlier_ones_stay() {
    let mut state = state();
    let edit = mask(1, &[(ADD, HOST), (0, mac(1)), (3, mac(1)), (ADD, mac(2))]);
    expect_stop(run(&mut state, &edit), 2, 2);
    assert_eq!(state.mask(), [HOST]);
}

#[test]
fn full_list_stops_at_entry_180() {
    let mut state = state();
    let first: Vec<_> = std::iter::once((ADD, HOST)).chain((1..180).map(|n| (ADD, mac(n)))).collect();
    let reply = run(&mut state, &mask(1, &first)).reply();
    assert_eq!((reply[27], reply.len()), (180, 28 + 180 * 8));
    assert!(reply.len() - 14 <= 1500, "fits the MTU");
    expect_stop(run(&mut state, &mask(1, &[(ADD, mac(5)), (ADD, mac(999))])), 3, 1);
    assert_eq!(state.mask().len(), 180);
    let edit = mask(1, &[(DELETE, mac(5)), (ADD, mac(999))]);
    assert_eq!(run(&mut state, &edit).reply()[27], 180);
}

#[test]
fn directives_beyond_the_frame_are_a_bad_argument_and_none_is_followed() {
    let mut edit = mask(1, &[(ADD, HOST), (ADD, OTHER)]);
    edit.pop();
    let mut state = state();
    assert_eq!(run(&mut state, &edit).refusal(), 2);
    assert_eq!(state.mask(), []);
}

#[test]
fn unknown_code_is_a_bad_argument() {
    for code in [2, 3, 255] {
        assert_eq!(run(&mut state(), &mask(code, &[])).refusal(), 2, "{code}");
    }
}

#[test]
fn reservation_does_not_block_the_list() {
    let mut state = state();
    state.set_reservation([OTHER].into_iter()).unwrap();
    expect(run(&mut state, &mask(1, &[(ADD, HOST)])), 1, &[HOST]);
}

#[test]
fn a_host_that_may_not_changes_no_entry() {
    let mut state = with_settings(|settings| settings.host_settings = HostSettings::Refuse);
    expect_stop(run(&mut state, &mask(1, &[(ADD, HOST)])), 1, 0);
    for listed in [HOST, mac(1)] {
        state.add_to_mask(listed).unwrap();
    }
    let list = [HOST, mac(1)];
    expect(run(&mut state, &mask(1, &[(ADD, HOST), (DELETE, mac(2)), (0, mac(3))])), 1, &list);
    expect_stop(run(&mut state, &mask(1, &[(ADD, HOST), (ADD, mac(2)), (DELETE, mac(1))])), 1, 1);
    expect_stop(run(&mut state, &mask(1, &[(DELETE, mac(1))])), 1, 0);
    expect_stop(run(&mut state, &mask(1, &[(9, mac(1)), (DELETE, mac(1))])), 2, 0);
    expect(run(&mut state, &mask(0, &[])), 0, &list);
}
