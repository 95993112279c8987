//! Lanes of several sockets on one queue.

use super::*;

fn several(lanes: usize, chunks: u32) -> Vec<(Lane<FakeRings>, FakeWire)> {
    FakeRings::open_several(lanes, chunks, CHUNK, 64).unwrap()
}

/// Asserts that every chunk is exactly once free or with the kernel for receiving.
fn all_at_rest(lanes: &[(Lane<FakeRings>, FakeWire)], chunks: u32) {
    let own: u32 = lanes.iter().map(|(lane, _)| lane.chunk_counts().own).sum();
    let ChunkCounts { shared, filled, sending, .. } = lanes[0].0.chunk_counts();
    assert_eq!((own + shared + filled, sending), (chunks, 0));
    for (lane, _) in lanes {
        lane.check(0).unwrap();
    }
}

#[test]
fn lanes_of_one_queue_receive_and_send_by_themselves() {
    let mut lanes = several(3, 128);
    for round in 0..100 {
        for (at, (lane, wire)) in lanes.iter_mut().enumerate() {
            let sent = pattern(60 + at + 3 * round);
            assert!(wire.deliver(&sent), "round {round}: the fill ring is empty");
            let mut frame = receive(lane).pop().unwrap();
            assert_eq!(bytes(lane, &frame), sent);
            lane.resize(&mut frame, 8228).unwrap();
            lane.transmit(frame).unwrap();
            lane.flush().unwrap();
            assert_eq!(wire.sent().unwrap().len(), 8228);
        }
        // One lane takes back what all have sent, and fills for all.
        let (lane, _) = &mut lanes[round % 3];
        lane.reclaim();
        lane.refill();
    }
    for (lane, _) in &mut lanes {
        lane.refill();
    }
    all_at_rest(&lanes, 128);
}

#[test]
fn what_one_lane_has_held_reaches_the_others_again() {
    let mut lanes = several(2, 64);
    let mut held = Vec::new();
    // The first lane takes as many chunks as it can, by extending received frames.
    for _ in 0..200 {
        let (lane, wire) = &mut lanes[0];
        wire.deliver(&pattern(60));
        for mut frame in receive(lane) {
            let _ = lane.resize(&mut frame, 4000);
            held.push(frame);
        }
        lane.reclaim();
        lane.refill();
    }
    assert!(lanes[0].0.counters().no_chunks > 0);
    held.into_iter().for_each(|frame| lanes[0].0.release(frame));
    lanes[0].0.refill();
    let (lane, wire) = &mut lanes[1];
    assert!(wire.deliver(&pattern(60)), "nothing to receive into");
    let mut frame = receive(lane).pop().unwrap();
    lane.resize(&mut frame, 8 * 1572).unwrap();
    lane.release(frame);
    lanes.iter_mut().for_each(|(lane, _)| lane.refill());
    all_at_rest(&lanes, 64);
}

#[test]
fn a_lane_that_stands_still_does_not_keep_the_others_from_receiving() {
    let mut lanes = several(3, 512);
    while lanes[1].1.deliver(&pattern(60)) || lanes[2].1.deliver(&pattern(60)) {
        lanes[0].0.refill();
    }
    for round in 0..1000 {
        let (lane, wire) = &mut lanes[0];
        assert!(wire.deliver(&pattern(60)), "round {round}: nothing to receive into");
        for mut frame in receive(lane) {
            lane.resize(&mut frame, 8228).unwrap();
            lane.transmit(frame).unwrap();
        }
        at_rest(lane, wire);
    }
    for (lane, _) in &mut lanes[1..] {
        let mut frames = Vec::new();
        while lane.receive(&mut frames) > 0 {}
        assert_eq!(frames.len(), 64, "as many as the rx ring holds");
        frames.into_iter().for_each(|frame| lane.release(frame));
        lane.refill();
    }
    all_at_rest(&lanes, 512);
}

#[test]
fn a_chunk_that_the_kernel_gives_to_two_lanes_is_one_frame() {
    let mut lanes = several(2, 16);
    let addr = lanes[0].1.take_fill().unwrap();
    for (_, wire) in &lanes {
        wire.deliver_descriptor(Descriptor { addr, len: 60, more: false });
    }
    let frames: Vec<usize> = lanes
        .iter_mut()
        .map(|(lane, _)| {
            let frames = receive(lane);
            let count = frames.len();
            frames.into_iter().for_each(|frame| lane.release(frame));
            count
        })
        .collect();
    assert_eq!(frames, [1, 0]);
    assert_eq!(lanes[1].0.counters().bad_descriptors, 1);
}

/// The lanes of a queue on one thread each, as in the workers, with a kernel that
/// delivers frames to all of them.
#[test]
fn lanes_on_threads_of_their_own_lose_no_chunk() {
    let chunks = 96;
    let lanes = several(3, chunks);
    let start = std::sync::Barrier::new(lanes.len());
    let run = |(mut lane, wire): (Lane<FakeRings>, FakeWire)| {
        start.wait();
        let (mut done, mut frames) = (0u32, Vec::new());
        while done < 20_000 {
            wire.deliver(&pattern(60 + done as usize % 2000));
            lane.receive(&mut frames);
            for mut frame in frames.drain(..) {
                let first = lane.umem().piece(&frame, 0).first().copied();
                assert_eq!(first, Some(0), "a chunk that another lane owns, too");
                lane.move_to_hot_chunk(&mut frame);
                if lane.resize(&mut frame, 4000).is_err() {
                    lane.release(frame);
                    continue;
                }
                lane.umem().piece_mut(&mut frame, 1)[0] = 7;
                lane.transmit(frame).unwrap();
            }
            lane.flush().unwrap();
            while let Some(sent) = wire.sent() {
                assert_eq!(sent.len(), 4000);
                done += 1;
            }
            lane.reclaim();
            lane.refill();
            // Another lane may hold all free chunks at the moment.
            done += 1;
        }
        (lane, wire)
    };
    let mut lanes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = lanes.into_iter().map(|lane| scope.spawn(|| run(lane))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (lane, _) in &mut lanes {
        lane.reclaim();
        lane.refill();
        assert_eq!((lane.counters().bad_descriptors, lane.counters().bad_completions), (0, 0));
    }
    all_at_rest(&lanes, chunks);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// As above, for lanes that share a queue; in the end each gets its share.
    #[test]
    fn chunks_of_a_shared_queue_are_conserved(
        steps in prop::collection::vec((0usize..3, step()), 0..200)
    ) {
        let mut lanes = several(3, 64);
        let mut held: [Vec<Frame>; 3] = Default::default();
        for (at, step) in steps {
            let (lane, wire) = &mut lanes[at];
            let held = &mut held[at];
            act(lane, wire, held, step);
            let pieces: usize = held.iter().map(Frame::pieces).sum();
            prop_assert!(lane.check(pieces as u32).is_ok());
        }
        let mut in_frames = 0;
        for ((lane, _), held) in lanes.iter_mut().zip(held) {
            held.into_iter().for_each(|frame| lane.release(frame));
            in_frames += lane.chunk_counts().partial;
        }
        for (lane, wire) in &mut lanes {
            at_rest(lane, wire);
        }
        let own: u32 = lanes.iter().map(|(lane, _)| lane.chunk_counts().own).sum();
        let ChunkCounts { shared, filled, sending, .. } = lanes[0].0.chunk_counts();
        prop_assert_eq!(own + shared + filled + in_frames, 64);
        prop_assert_eq!(sending, 0);
    }
}

/// Some drivers never recover from a receive ring without buffers.
#[test]
fn full_rx_rings_leave_the_nic_some_chunks() {
    for lanes in [1, 2, 4] {
        let lanes = FakeRings::open_several(lanes, 1024, CHUNK, 64).unwrap();
        for (_, wire) in &lanes {
            let delivered = (0..100).filter(|_| wire.deliver(&pattern(60))).count();
            assert_eq!(delivered, 64);
        }
        assert!(lanes[0].1.take_fill().is_some(), "{} lanes", lanes.len());
    }
}
