//! Frames go to the socket that the owner of their export has on their queue.

use crate::harness::*;
use xblade_ebpf::{Counter, Settings, first_lane};
use xblade_kit::{apply, needs_root};

/// A request for an export.
fn to(shelf: u16, slot: u8, tags: &[u16]) -> Vec<u8> {
    let [high, low] = shelf.to_be_bytes();
    let aoe = [0x10, 0, high, low, slot, 0, 1, 2, 3, 4];
    frame(OWN, HOST, tags, AOE, &aoe, 60)
}

fn three_workers() -> Xdp {
    let xdp = Xdp::load();
    xdp.set(Settings { own: OWN, acl_on: false, workers: WORKERS });
    xdp
}

/// The test runner sends every frame to queue 0, and reports whether there was a socket
/// at the index that the program used.
#[apply(needs_root!)]
fn a_frame_goes_to_the_socket_of_the_owner_and_to_no_other() {
    for worker in 0..u32::from(WORKERS) {
        let xdp = three_workers();
        xdp.own((0x0102, 3), worker);
        xdp.own((0x0201, 3), (worker + 1) % u32::from(WORKERS));
        let _socket = socket_at(&xdp, first_lane(0, WORKERS) + 1 + worker);
        for tags in TAG_STACKS {
            let what = format!("worker {worker}, tags {tags:x?}");
            expect(&xdp, &what, &to(0x0102, 3, tags), XDP_REDIRECT, Some(Counter::Redirected));
            for (shelf, slot) in [(0x0201, 3), (0x0102, 4), (0xffff, 0xff), (0x0103, 0x02)] {
                let what = format!("{what}, {shelf}.{slot}");
                expect(&xdp, &what, &to(shelf, slot, tags), XDP_PASS, Some(Counter::NoSocket));
            }
        }
    }
}

#[apply(needs_root!)]
fn what_has_no_owner_or_an_owner_without_a_socket_goes_to_the_first() {
    let xdp = three_workers();
    let first = socket_at(&xdp, first_lane(0, WORKERS));
    xdp.own((0, 1), 1);
    xdp.own((0, 2), WORKERS.into());
    xdp.own((0, 3), u32::MAX);
    for slot in [1, 2, 3, 4, 0xff] {
        expect(&xdp, &format!("{slot}"), &to(0, slot, &[]), XDP_REDIRECT, Some(Counter::Redirected));
    }
    drop(first);
    // The indices after these belong to the next queue.
    let _next = socket_at(&xdp, first_lane(1, WORKERS));
    for slot in [1, 2, 3, 4, 0xff] {
        expect(&xdp, &format!("{slot}"), &to(0, slot, &[]), XDP_PASS, Some(Counter::NoSocket));
    }
}

#[apply(needs_root!)]
fn without_workers_to_choose_from_owners_are_not_looked_at() {
    let xdp = Xdp::load();
    xdp.own((0, 1), 0);
    let _second = socket_at(&xdp, 1);
    expect(&xdp, "owned", &to(0, 1, &[]), XDP_PASS, Some(Counter::NoSocket));
    let _first = socket_on_queue_0(&xdp);
    expect(&xdp, "owned", &to(0, 1, &[]), XDP_REDIRECT, Some(Counter::Redirected));
}
