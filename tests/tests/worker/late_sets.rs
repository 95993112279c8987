//! Late duplicates of requests that set a reservation, a mask list or a config string.

use xblade_sim::store::Order;
use xblade_tests::frame::{Ask, MASK, QUERY, RESERVE, mac, mask, query, query_done, reserve};
use xblade_tests::{FakeTarget, HOST, OTHER_HOST, pattern};

use crate::{DISK, read, store, target, write};

const SET: u8 = 1;
const FORCE_SET: u8 = 2;

fn ask(tag: u32, command: u8, argument: Vec<u8>) -> Ask {
    Ask { tag, ..Ask::new(DISK, command, argument) }
}

fn replies(target: &mut FakeTarget, ask: &Ask) -> Vec<Vec<u8>> {
    target.channels(0, &ask.bytes())
}

/// A host reserves, releases and reserves again. A duplicate of the release does not let
/// others in; it is answered with the current reservation.
#[test]
pub fn a_late_copy_of_a_release_does_not_release() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let release = ask(2, RESERVE, reserve(SET, 0, &[]));
    for ask in [ask(1, RESERVE, reserve(SET, 1, &[HOST])), release.clone()] {
        assert_eq!(replies(&mut target, &ask), [ask.reply(DISK, &ask.argument)]);
    }
    let again = ask(3, RESERVE, reserve(SET, 1, &[HOST]));
    assert_eq!(replies(&mut target, &again), [again.reply(DISK, &again.argument)]);
    let held = release.reply(DISK, &reserve(SET, 1, &[HOST]));
    assert_eq!(replies(&mut target, &release), [held], "the list in force");
    let foreign = write(DISK, 9, 0, &pattern(1, 0, 1)).from(OTHER_HOST);
    assert_eq!(replies(&mut target, &foreign), [foreign.refusal(DISK, 6)]);
    assert_eq!(target.count(|c| (c.repeated, c.late_sets).0), 1);
    // After 4 s it is an ordinary request.
    target.clock.0.set(target.clock.0.get() + 4_100_000_000);
    assert_eq!(replies(&mut target, &release), [release.reply(DISK, &release.argument)]);
    target.assert_at_rest();
}

/// A request that was refused does not succeed later, when its host no longer waits for
/// it.
#[test]
pub fn a_late_copy_of_a_refused_request_is_not_executed() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let refused = ask(1, RESERVE, reserve(SET, 1, &[OTHER_HOST])).from(OTHER_HOST);
    for ask in [ask(1, RESERVE, reserve(SET, 1, &[HOST])), ask(2, RESERVE, reserve(SET, 0, &[]))] {
        assert_eq!(replies(&mut target, &ask).len(), 1);
        if ask.tag == 1 {
            assert_eq!(replies(&mut target, &refused), [refused.refusal(DISK, 6)]);
        }
    }
    assert_eq!(replies(&mut target, &refused), [] as [Vec<u8>; 0]);
    assert_eq!(target.count(|c| c.late_sets), 1);
    let read = read(DISK, 7, 0, 1);
    assert_eq!(replies(&mut target, &read)[0][27], 0x40, "there is no reservation");
    target.assert_at_rest();
}

#[test]
pub fn late_copies_of_config_strings_and_masks_are_not_executed() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let old = ask(1, QUERY, query(4, b"old"));
    let new = ask(2, QUERY, query(4, b"new"));
    for ask in [&old, &new] {
        assert_eq!(replies(&mut target, ask).len(), 1);
    }
    let in_force = old.reply(DISK, &query_done(64, 16, 4, b"new"));
    assert_eq!(replies(&mut target, &old), [in_force]);
    // Add, delete; the duplicate of the first does not lock others out.
    let add = ask(3, MASK, mask(1, 0, 1, &[(1, HOST)]));
    let delete = ask(4, MASK, mask(1, 0, 1, &[(2, HOST)]));
    for ask in [&add, &delete, &add] {
        assert_eq!(replies(&mut target, ask).len(), 1);
    }
    let foreign = read(DISK, 9, 0, 1).from(OTHER_HOST);
    assert_eq!(replies(&mut target, &foreign).len(), 1, "the mask list is empty");
    target.assert_at_rest();
}

/// Requests of tools that use the same tag for everything are not taken for duplicates.
#[test]
fn a_tool_with_one_tag_is_obeyed() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    for round in 0..3 {
        for macs in [&[HOST][..], &[]] {
            let ask = ask(7, RESERVE, reserve(FORCE_SET, macs.len() as u8, macs));
            assert_eq!(replies(&mut target, &ask), [ask.reply(DISK, &ask.argument)], "round {round}");
        }
    }
    target.assert_at_rest();
}

/// After a request, in the room for its reply, there are bytes of earlier frames: they
/// are not part of it.
#[test]
pub fn a_copy_is_known_whatever_lies_behind_it() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |plan| (plan.chunks, plan.ring) = (128, 64));
    let (old, new) = (ask(1, QUERY, query(4, b"old")), ask(2, QUERY, query(4, b"new")));
    for ask in [&old, &new] {
        assert_eq!(replies(&mut target, ask).len(), 1);
    }
    for tag in 10..100 {
        assert_eq!(replies(&mut target, &write(DISK, tag, 0, &pattern(tag as u8, 0, 16))).len(), 1);
    }
    let in_force = old.reply(DISK, &query_done(64, 16, 4, b"new"));
    assert_eq!(replies(&mut target, &old), [in_force]);
    assert_eq!(target.count(|c| c.repeated), 1);
    target.assert_at_rest();
}

/// What sets nothing takes no place of what does.
#[test]
fn queries_are_not_remembered() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |_| {});
    let (old, new) = (ask(1, QUERY, query(4, b"old")), ask(2, QUERY, query(4, b"new")));
    let queries = (10..110).map(|tag| ask(tag, QUERY, query(0, b"")));
    for ask in [old.clone(), new].into_iter().chain(queries) {
        assert_eq!(replies(&mut target, &ask).len(), 1);
    }
    assert_eq!(replies(&mut target, &old), [old.reply(DISK, &query_done(64, 16, 4, b"new"))]);
    target.assert_at_rest();
}

/// With 255 directives it does not fit into a chunk of 2 KiB.
#[test]
fn a_mask_list_in_two_pieces_is_read_to_its_end() {
    let store = store(Order::Submitted, 64);
    let mut target = target(&store, |plan| plan.chunk_bytes = 2048);
    // To add the first and the last; between them nothing.
    let directive = |host| (u8::from(host % 254 == 0), mac(host));
    let edit = ask(1, MASK, mask(1, 0, 255, &(0..255).map(directive).collect::<Vec<_>>()));
    assert_eq!(replies(&mut target, &edit).len(), 1);
    for (host, answers) in [(0, 1), (254, 1), (1, 0)] {
        let read = read(DISK, 7, 0, 1).from(mac(host));
        assert_eq!(replies(&mut target, &read).len(), answers, "host {host}");
    }
    target.assert_at_rest();
}
