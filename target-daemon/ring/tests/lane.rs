//! The lane over fake rings: frames in, frames out, hostile descriptors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use xblade_ring::*;
use xblade_sim::{FakeRings, FakeWire};

#[path = "lane/several.rs"]
mod several;

const CHUNK: u32 = 2048;

fn lane(chunks: u32) -> (Lane<FakeRings>, FakeWire) {
    FakeRings::open(chunks, CHUNK, 64).unwrap()
}

fn receive(lane: &mut Lane<FakeRings>) -> Vec<Frame> {
    let mut frames = Vec::new();
    lane.receive(&mut frames);
    frames
}

fn bytes(lane: &Lane<FakeRings>, frame: &Frame) -> Vec<u8> {
    let mut out = vec![0; frame.len()];
    assert_eq!(lane.umem().copy_out(frame, &mut out), frame.len());
    out
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn a_frame_goes_round() {
    for len in [1, 60, 1514, 1572, 1573, 9000, 9022] {
        let (mut lane, wire) = lane(64);
        assert!(wire.deliver(&pattern(len)), "{len}");
        let frame = receive(&mut lane).pop().unwrap();
        assert_eq!(bytes(&lane, &frame), pattern(len), "{len}");
        lane.check(frame.pieces() as u32).unwrap();
        lane.transmit(frame).unwrap();
        lane.flush().unwrap();
        assert_eq!(wire.sent().unwrap(), pattern(len), "{len}");
        lane.reclaim();
        lane.refill();
        lane.check(0).unwrap();
        assert_eq!(lane.sending(), 0);
    }
}

#[test]
fn a_reply_grows_in_place_and_shrinks_again() {
    let (mut lane, wire) = lane(64);
    wire.deliver(&pattern(60));
    let mut frame = receive(&mut lane).pop().unwrap();
    lane.resize(&mut frame, 8228).unwrap();
    assert_eq!((frame.len(), frame.pieces()), (8228, 6));
    assert_eq!(lane.umem().piece(&frame, 0).get(..60).unwrap(), pattern(60), "kept");
    lane.check(6).unwrap();
    lane.resize(&mut frame, 60).unwrap();
    assert_eq!((frame.len(), frame.pieces()), (60, 1));
    lane.check(1).unwrap();
    lane.resize(&mut frame, 0).unwrap();
    assert!(frame.is_empty());
    lane.release(frame);
    lane.check(0).unwrap();
}

#[test]
fn a_short_frame_moves_to_where_a_reply_was_sent_from() {
    let (mut lane, wire) = lane(64);
    let mut sent_from = Vec::new();
    for round in 0..3 {
        wire.deliver(&pattern(60));
        let mut frame = receive(&mut lane).pop().unwrap();
        lane.move_to_hot_chunk(&mut frame);
        assert_eq!(bytes(&lane, &frame), pattern(60), "round {round}");
        sent_from.push(frame.piece(0).unwrap().0);
        lane.transmit(frame).unwrap();
        lane.flush().unwrap();
        assert_eq!(wire.sent().unwrap(), pattern(60));
        lane.reclaim();
        lane.refill();
        lane.check(0).unwrap();
    }
    assert!(sent_from.iter().all(|addr| *addr == sent_from[0]), "{sent_from:?}");
}

#[test]
fn a_frame_with_data_or_in_pieces_stays_where_it_is_and_so_does_one_without_a_free_chunk() {
    let (mut lane, wire) = lane(64);
    for (len, chunks) in [(129, 0), (1573, 0), (60, 64)] {
        wire.deliver(&pattern(len));
        let mut frame = receive(&mut lane).pop().unwrap();
        let taken: Vec<Frame> = (0..chunks).map_while(|_| lane.allocate(1).ok()).collect();
        let before = frame.piece(0);
        lane.move_to_hot_chunk(&mut frame);
        assert_eq!((frame.piece(0), bytes(&lane, &frame)), (before, pattern(len)), "{len}");
        taken.into_iter().chain([frame]).for_each(|frame| lane.release(frame));
        lane.check(0).unwrap();
    }
}

#[test]
fn growing_moves_no_byte_of_a_scattered_frame() {
    // A driver may leave unused room after every piece.
    let (mut lane, wire) = lane(64);
    for (len, more) in [(100, true), (50, true), (10, false)] {
        let addr = wire.take_fill().unwrap();
        wire.deliver_descriptor(Descriptor { addr, len, more });
    }
    let mut frame = receive(&mut lane).pop().unwrap();
    lane.resize(&mut frame, 3000).unwrap();
    let lens: Vec<_> = (0..frame.pieces()).map(|at| lane.umem().piece(&frame, at).len()).collect();
    assert_eq!(lens, [100, 50, 1572, 1278]);
    lane.resize(&mut frame, 120).unwrap();
    assert_eq!((frame.len(), frame.pieces()), (120, 2));
    lane.release(frame);
    lane.check(0).unwrap();
}

#[test]
fn without_free_chunks_a_frame_stays_as_it_is() {
    // Half of the chunks are in the fill ring, so three are left to grow into.
    let (mut lane, wire) = lane(6);
    wire.deliver(&pattern(60));
    let mut frame = receive(&mut lane).pop().unwrap();
    assert_eq!(lane.resize(&mut frame, 5 * 2048), Err(NoChunks));
    assert_eq!(lane.counters().no_chunks, 1);
    lane.release(frame);
    lane.check(0).unwrap();
}

#[test]
fn a_dropped_frame_is_reported() {
    let (mut lane, wire) = lane(8);
    wire.deliver(&pattern(60));
    drop(receive(&mut lane));
    let imbalance = lane.check(0).unwrap_err();
    assert_eq!(imbalance.counted[2], 1);
}

#[test]
fn a_chain_may_end_in_a_later_batch() {
    let (mut lane, wire) = lane(16);
    let first = wire.take_fill().unwrap();
    let second = wire.take_fill().unwrap();
    wire.deliver_descriptor(Descriptor { addr: first, len: 1572, more: true });
    assert!(receive(&mut lane).is_empty());
    lane.check(0).unwrap();
    wire.deliver_descriptor(Descriptor { addr: second, len: 8, more: false });
    let frame = receive(&mut lane).pop().unwrap();
    assert_eq!((frame.len(), frame.pieces()), (1580, 2));
    lane.release(frame);
}

#[test]
fn a_chain_longer_than_a_frame_is_recycled() {
    let (mut lane, wire) = lane(64);
    assert!(wire.deliver(&pattern(1792 * (FRAGMENTS_MAX + 3))));
    wire.deliver(&pattern(60));
    let frames = receive(&mut lane);
    assert_eq!(frames.len(), 1, "only the frame behind it");
    assert_eq!(lane.counters().too_long, 1);
    for frame in frames {
        lane.release(frame);
    }
    lane.refill();
    lane.check(0).unwrap();
}

#[test]
fn hostile_descriptors_are_counted_and_not_followed() {
    type Make = fn(u64) -> Descriptor;
    let rows: [(&str, Make); 5] = [
        ("outside the area", |_| Descriptor { addr: 1 << 20, len: 60, more: false }),
        ("beyond 4 GiB", |a| Descriptor { addr: a + (1 << 32), len: 60, more: false }),
        ("over the end of its chunk", |a| Descriptor { addr: a, len: 1793, more: false }),
        ("a length that wraps", |a| Descriptor { addr: a, len: u32::MAX, more: false }),
        ("a chunk that the kernel does not have", |a| Descriptor {
            addr: a + 32 * 2048,
            len: 60,
            more: false,
        }),
    ];
    for (name, make) in rows {
        let (mut lane, wire) = lane(64);
        let addr = wire.take_fill().unwrap();
        wire.deliver_descriptor(make(addr));
        assert!(receive(&mut lane).is_empty(), "{name}");
        assert_eq!(lane.counters().bad_descriptors, 1, "{name}");
        lane.check(0).unwrap();
    }
}

#[test]
fn the_same_chunk_twice_is_one_frame() {
    let (mut lane, wire) = lane(8);
    let addr = wire.take_fill().unwrap();
    wire.deliver_descriptor(Descriptor { addr, len: 60, more: false });
    wire.deliver_descriptor(Descriptor { addr, len: 60, more: false });
    let frames = receive(&mut lane);
    assert_eq!((frames.len(), lane.counters().bad_descriptors), (1, 1));
    lane.check(1).unwrap();
    for frame in frames {
        lane.release(frame);
    }
}

#[test]
fn completions_out_of_nowhere_are_counted() {
    let (mut lane, wire) = lane(8);
    for addr in [0, 7 * 2048, 1 << 40] {
        wire.complete_address(addr);
    }
    // `reclaim` looks at the ring only if something has been sent.
    let frame = lane.allocate(60).unwrap();
    lane.transmit(frame).unwrap();
    lane.flush().unwrap();
    wire.sent().unwrap();
    lane.reclaim();
    assert_eq!(lane.counters().bad_completions, 3);
    assert_eq!(lane.sending(), 0);
    lane.check(0).unwrap();
}

#[test]
fn a_full_tx_ring_gives_the_frame_back() {
    let (mut lane, wire) = lane(512);
    wire.set_down(true);
    let mut refused = 0;
    for _ in 0..200 {
        let frame = lane.allocate(60).unwrap();
        if let Err(TxFull(frame)) = lane.transmit(frame) {
            refused += 1;
            lane.release(frame);
        }
    }
    assert!(refused > 0);
    assert_eq!(lane.counters().tx_full, refused);
    lane.check(0).unwrap();
    wire.set_down(false);
    let mut sent = 0;
    for _ in 0..3 {
        lane.flush().unwrap();
        while wire.sent().is_some() {
            sent += 1;
        }
        lane.reclaim();
    }
    assert_eq!(sent + refused, 200);
    lane.check(0).unwrap();
}

#[test]
fn a_frame_opens_no_other_memory() {
    let (mut ours, wire) = lane(8);
    let (other, _) = lane(8);
    wire.deliver(&pattern(60));
    let frame = receive(&mut ours).pop().unwrap();
    assert!(other.umem().piece(&frame, 0).is_empty());
    ours.release(frame);
}

type Step = (u8, u64, u32, bool);

fn step() -> impl Strategy<Value = Step> {
    (0u8..6, any::<u64>(), any::<u32>(), any::<bool>())
}

/// Delivers something, or does something with the held frames.
fn act(lane: &mut Lane<FakeRings>, wire: &FakeWire, held: &mut Vec<Frame>, (what, a, b, more): Step) {
    match what {
        0 => {
            wire.deliver(&pattern(b as usize % 20_000));
        }
        1 => wire.deliver_descriptor(Descriptor { addr: a % (70 * 2048), len: b % 2200, more }),
        2 => held.extend(receive(lane)),
        3 => {
            if let Some(mut frame) = held.pop() {
                let _ = lane.resize(&mut frame, b as usize % 9100);
                lane.release(frame);
            }
        }
        4 => {
            if let Some(frame) = held.pop()
                && let Err(TxFull(frame)) = lane.transmit(frame)
            {
                held.push(frame);
            }
        }
        _ => at_rest(lane, wire),
    }
}

/// Sends what is queued, then reclaims and refills.
fn at_rest(lane: &mut Lane<FakeRings>, wire: &FakeWire) {
    lane.flush().unwrap();
    while wire.sent().is_some() {}
    lane.reclaim();
    lane.refill();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever arrives and whatever is done with it, no chunk is lost or owned twice,
    /// and a good frame still gets through afterwards.
    #[test]
    fn chunks_are_conserved(steps in prop::collection::vec(step(), 0..200)) {
        let (mut lane, wire) = lane(64);
        let mut held: Vec<Frame> = Vec::new();
        for step in steps {
            act(&mut lane, &wire, &mut held, step);
            let pieces: usize = held.iter().map(Frame::pieces).sum();
            prop_assert!(lane.check(pieces as u32).is_ok());
        }
    }
}
