//! Frames that reach a socket or the stack.

use crate::harness::*;
use xblade_ebpf::Counter;
use xblade_kit::{apply, needs_root};

#[apply(needs_root!)]
fn requests_reach_the_socket_of_their_queue() {
    let xdp = Xdp::load();
    let socket = socket_on_queue_0(&xdp);
    for tags in TAG_STACKS {
        for to in [OWN, BROADCAST] {
            let what = format!("tags {tags:x?} to {to:x?}");
            expect(&xdp, &what, &request(to, HOST, tags), XDP_REDIRECT, Some(Counter::Redirected));
        }
    }
    drop(socket);
}

#[apply(needs_root!)]
fn a_queue_without_socket_passes_and_says_so() {
    let xdp = Xdp::load();
    for tags in TAG_STACKS {
        let what = format!("tags {tags:x?}");
        expect(&xdp, &what, &request(OWN, HOST, tags), XDP_PASS, Some(Counter::NoSocket));
    }
    let socket = socket_on_queue_0(&xdp);
    expect(&xdp, "socket", &request(OWN, HOST, &[]), XDP_REDIRECT, Some(Counter::Redirected));
    drop(socket); // the kernel takes a closed socket out of the map
    expect(&xdp, "closed", &request(OWN, HOST, &[]), XDP_PASS, Some(Counter::NoSocket));
}

#[apply(needs_root!)]
fn reserved_flags_and_the_error_flag_alone_are_user_space_s() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    for flags in [0x11, 0x12, 0x13, 0x14] {
        let bytes = with_flags(&[], flags);
        expect(&xdp, &format!("{flags:x}"), &bytes, XDP_REDIRECT, Some(Counter::Redirected));
    }
}

#[apply(needs_root!)]
fn everything_else_passes_untouched_and_uncounted() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    let noise: Vec<u8> = (0..46).map(|byte| byte ^ 0x5a).collect();
    // AoE's EtherType where it means nothing: as a tag's own value, or in a body.
    let body_of_aoe = [AOE.to_be_bytes(), AOE.to_be_bytes(), AOE.to_be_bytes()].concat();
    for ty in [0x0800, 0x0806, 0x86dd, 0x88a1, 0x88a3, 0xa288, 0x9100, 0x0000, 0x05dc, 0xffff] {
        for tags in TAG_STACKS {
            for body in [&noise, &body_of_aoe] {
                let what = format!("{ty:x} behind {tags:x?}");
                expect(&xdp, &what, &frame(OWN, HOST, tags, ty, body, 80), XDP_PASS, None);
            }
        }
    }
    for tags in [[CTAG; 3], [STAG; 3], [STAG, CTAG, CTAG]] {
        expect(&xdp, "three tags", &request(OWN, HOST, &tags), XDP_PASS, None);
    }
}

#[apply(needs_root!)]
fn a_jumbo_frame_in_fragments_is_judged_by_its_head() {
    let xdp = Xdp::load();
    let _socket = socket_on_queue_0(&xdp);
    let mut body = QUERY.to_vec();
    body.extend((0..8192_u32).map(|byte| (byte % 251) as u8));
    for len in [4132, 8228, 9014] {
        let good = frame(OWN, HOST, &[CTAG], AOE, &body, len);
        let what = format!("{len} bytes");
        expect(&xdp, &what, &good, XDP_REDIRECT, Some(Counter::Redirected));
        let foreign = frame(OWN, HOST, &[CTAG], 0x0800, &body, len);
        expect(&xdp, &what, &foreign, XDP_PASS, None);
    }
}
