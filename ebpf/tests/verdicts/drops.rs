//! Frames dropped in the kernel, and the exact boundaries.

use crate::harness::*;
use xblade_ebpf::{Counter, Settings};
use xblade_kit::{apply, needs_root};

#[apply(needs_root!)]
fn frames_that_no_target_answers_are_dropped_and_counted() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    let other = [0x02, 0, 0, 0, 0, 0x09];
    let group = [0x03, 0, 0, 0, 0, 0x02];
    for tags in TAG_STACKS {
        let rows = [
            ("version 0", with_flags(tags, 0x00), Counter::Version),
            ("version 2", with_flags(tags, 0x20), Counter::Version),
            ("version 0x91", with_flags(tags, 0x91), Counter::Version),
            ("reply", with_flags(tags, 0x18), Counter::Response),
            ("error reply", with_flags(tags, 0x1c), Counter::Response),
            ("from broadcast", request(OWN, BROADCAST, tags), Counter::SourceMulticast),
            ("from a group", request(OWN, group, tags), Counter::SourceMulticast),
            ("from zero", request(OWN, [0; 6], tags), Counter::SourceZero),
            ("from ourselves", request(BROADCAST, OWN, tags), Counter::SourceOwn),
            ("to another host", request(other, HOST, tags), Counter::Destination),
            ("to a group", request(group, HOST, tags), Counter::Destination),
            ("to zero", request([0; 6], HOST, tags), Counter::Destination),
        ];
        for (what, bytes, counter) in rows {
            expect(&xdp, &format!("{what}, tags {tags:x?}"), &bytes, XDP_DROP, Some(counter));
        }
    }
}

#[apply(needs_root!)]
fn every_byte_of_an_address_counts() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    for byte in 0..6 {
        let mut near_own = OWN;
        near_own[byte] ^= 0x40;
        let mut near_broadcast = BROADCAST;
        near_broadcast[byte] ^= 0x40;
        let mut near_zero = [0; 6];
        near_zero[byte] = 0x40;
        for to in [near_own, near_broadcast] {
            let bytes = request(to, HOST, &[]);
            expect(&xdp, &format!("to {to:x?}"), &bytes, XDP_DROP, Some(Counter::Destination));
        }
        for from in [near_own, near_zero] {
            let bytes = request(OWN, from, &[]);
            expect(&xdp, &format!("from {from:x?}"), &bytes, XDP_REDIRECT, Some(Counter::Redirected));
        }
    }
}

#[apply(needs_root!)]
fn of_several_faults_the_first_in_the_enum_is_counted() {
    let xdp = Xdp::load();
    xdp.set(Settings { own: OWN, acl_on: true, workers: 0 });
    let body = |flags| [flags, 0, 0, 7, 3, 1, 0, 0, 0, 0];
    let far = [0x02, 0, 0, 0, 0, 0x09];
    let rows = [
        (frame(far, BROADCAST, &[], AOE, &[0x08], 23), Counter::Short),
        (frame(far, BROADCAST, &[], AOE, &body(0x28), 60), Counter::Version),
        (frame(far, BROADCAST, &[], AOE, &body(0x18), 60), Counter::Response),
        (frame(far, BROADCAST, &[], AOE, &body(0x10), 60), Counter::SourceMulticast),
        (frame(far, [0; 6], &[], AOE, &body(0x10), 60), Counter::SourceZero),
        (frame(far, OWN, &[], AOE, &body(0x10), 60), Counter::SourceOwn),
        (frame(far, HOST, &[], AOE, &body(0x10), 60), Counter::Destination),
        (frame(OWN, HOST, &[], AOE, &body(0x10), 60), Counter::Acl),
    ];
    for (bytes, counter) in rows {
        expect(&xdp, counter.name(), &bytes, XDP_DROP, Some(counter));
    }
}

#[apply(needs_root!)]
fn the_access_list_holds_for_requests_and_discovery() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    let stranger = [0x02, 0, 0, 0, 0, 0x03];
    xdp.allow(HOST);
    let off = request(OWN, stranger, &[]);
    expect(&xdp, "list off", &off, XDP_REDIRECT, Some(Counter::Redirected));
    xdp.set(Settings { own: OWN, acl_on: true, workers: 0 });
    for tags in TAG_STACKS {
        for to in [OWN, BROADCAST] {
            let listed = request(to, HOST, tags);
            expect(&xdp, "listed", &listed, XDP_REDIRECT, Some(Counter::Redirected));
            let unlisted = request(to, stranger, tags);
            expect(&xdp, "stranger", &unlisted, XDP_DROP, Some(Counter::Acl));
        }
    }
}

#[apply(needs_root!)]
fn a_changed_address_is_obeyed_at_once() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    let new = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee];
    xdp.set(Settings { own: new, acl_on: false, workers: 0 });
    expect(&xdp, "new", &request(new, HOST, &[]), XDP_REDIRECT, Some(Counter::Redirected));
    expect(&xdp, "old", &request(OWN, HOST, &[]), XDP_DROP, Some(Counter::Destination));
    expect(&xdp, "from new", &request(BROADCAST, new, &[]), XDP_DROP, Some(Counter::SourceOwn));
    expect(&xdp, "from old", &request(new, OWN, &[]), XDP_REDIRECT, Some(Counter::Redirected));
}

#[apply(needs_root!)]
fn frames_cut_at_any_length_get_the_right_verdict() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    for tags in TAG_STACKS {
        let whole = request(OWN, HOST, tags);
        let (type_end, header_end) = (14 + 4 * tags.len(), 24 + 4 * tags.len());
        for len in 0..=40 {
            let what = format!("{len} bytes, tags {tags:x?}");
            let cut = &whole[..len];
            if len < 14 {
                // Shorter than an Ethernet header: no driver delivers such a frame, and
                // the test runner refuses it.
                assert!(xdp.try_run(cut).is_err(), "{what}");
            } else if len < type_end {
                expect(&xdp, &what, cut, XDP_PASS, None);
            } else if len < header_end {
                expect(&xdp, &what, cut, XDP_DROP, Some(Counter::Short));
            } else {
                expect(&xdp, &what, cut, XDP_REDIRECT, Some(Counter::Redirected));
            }
        }
    }
}
