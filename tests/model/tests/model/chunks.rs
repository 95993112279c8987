//! Chunks of a UMEM shared by several lanes.

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use xblade_model::ring::Umem;
use xblade_model::ring::chunk_table::{ChunkOwner, ChunkState, ChunkTable};
use xblade_model::ring::pool::Pool;
use xblade_model::ring::rings::FillCompletion;
use xblade_model::ring::shared_queues::SharedQueues;
use xblade_model::sync::{Mistake, updates};

use crate::{caught, run};

fn lane(index: usize) -> ChunkOwner {
    ChunkOwner::lane(index).unwrap()
}

/// Two lanes are given the same descriptor by a faulty kernel or driver.
fn one_chunk_for_two_lanes() {
    let table = Arc::new(ChunkTable::new(1, 2, lane(0)));
    table.shift(0, lane(0), ChunkState::Free, ChunkState::Fill).unwrap();
    let receive = |index| {
        let table = Arc::clone(&table);
        move || table.shift(0, lane(index), ChunkState::Fill, ChunkState::User).is_ok()
    };
    let other = thread::spawn(receive(1));
    let got = [receive(0)(), other.join().unwrap()];
    assert!(got[0] != got[1], "one of them has it: {got:?}");
}

/// The path of a read request: received, moved to a hot chunk, sent from there. Apart from
/// the lock of the fill and completion rings, once per batch, only receiving from several
/// lanes needs a read-modify-write.
#[test]
fn a_frame_of_a_lane_that_is_alone_needs_no_read_modify_write() {
    for (lanes, expected) in [(1, 0), (2, 1)] {
        loom::model(move || {
            let mut pool = Pool::new(std::sync::Arc::new(ChunkTable::new(2, lanes, lane(0))), lane(0));
            let before = updates();
            let cold = pool.take(ChunkState::Fill).unwrap();
            pool.table().note_filled(1);
            pool.shift(cold, ChunkState::Fill, ChunkState::User).unwrap();
            pool.note_received(1);
            let hot = pool.exchange(cold).unwrap();
            pool.shift(hot, ChunkState::User, ChunkState::Tx).unwrap();
            pool.note_posted(1);
            pool.give(hot, ChunkState::Tx).unwrap();
            pool.table().note_completed(1);
            assert_eq!(updates() - before, expected, "{lanes} lanes");
        });
    }
}

#[test]
fn a_chunk_is_received_by_one_lane() {
    run(one_chunk_for_two_lanes);
}

#[test]
fn a_move_in_two_steps_is_caught() {
    caught(Mistake::TornUpdate, one_chunk_for_two_lanes);
}

/// One lane fills a chunk, another receives and sends it, and the first sees its
/// completion; a third one reads the counters at any time. What the kernel passes on
/// happens after what came before.
fn counters_of_a_journey() {
    let table = Arc::new(ChunkTable::new(1, 3, lane(0)));
    let [rx, completion] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let receiver = {
        let (table, rx, completion) = (Arc::clone(&table), Arc::clone(&rx), Arc::clone(&completion));
        thread::spawn(move || {
            if rx.load(Ordering::Acquire) {
                table.shift(0, lane(1), ChunkState::Fill, ChunkState::User).unwrap();
                table.note_received(lane(1), 1);
                table.shift(0, lane(1), ChunkState::User, ChunkState::Tx).unwrap();
                table.note_posted(lane(1), 1);
                completion.store(true, Ordering::Release);
            }
        })
    };
    let watcher = {
        let table = Arc::clone(&table);
        thread::spawn(move || {
            let (filled, sending) = (table.filled(), table.sending());
            assert!(filled <= 1 && sending <= 1, "{filled} to receive, {sending} to send");
        })
    };
    table.shift(0, lane(0), ChunkState::Free, ChunkState::Fill).unwrap();
    table.note_filled(1);
    rx.store(true, Ordering::Release);
    if completion.load(Ordering::Acquire) {
        table.shift(0, lane(0), ChunkState::Tx, ChunkState::Free).unwrap();
        table.note_completed(1);
    }
    receiver.join().unwrap();
    watcher.join().unwrap();
}

#[test]
fn no_counter_runs_behind_another() {
    run(counters_of_a_journey);
}

#[test]
fn relaxed_counters_are_caught() {
    caught(Mistake::RelaxedStore, counters_of_a_journey);
    caught(Mistake::RelaxedLoad, counters_of_a_journey);
}

/// Counters have one writer at a time, which holds the lock.
#[test]
fn counting_without_the_lock_is_caught() {
    caught(None, || {
        let table = Arc::new(ChunkTable::new(2, 2, lane(0)));
        let other = Arc::clone(&table);
        let other = thread::spawn(move || other.note_filled(1));
        table.note_filled(1);
        other.join().unwrap();
        assert_eq!(table.filled(), 2);
    });
}

/// Fill and completion ring: filled chunks are never received, and chunks to be completed
/// are already in the completion ring.
#[derive(Clone, Debug, Default)]
struct Kernel(Arc<Mutex<[VecDeque<u64>; 2]>>);

impl FillCompletion for Kernel {
    fn fill(&mut self, addrs: &[u64]) -> usize {
        self.0.lock().unwrap()[0].extend(addrs);
        addrs.len()
    }

    fn complete(&mut self, out: &mut [u64]) -> usize {
        let sent = &mut self.0.lock().unwrap()[1];
        let n = out.len().min(sent.len());
        out.iter_mut().zip(sent.drain(..n)).for_each(|(out, addr)| *out = addr);
        n
    }

    fn fill_target(&self) -> u32 {
        2
    }

    fn fill_room(&mut self) -> u32 {
        2 - self.0.lock().unwrap()[0].len() as u32
    }

    fn needs_wakeup(&self) -> bool {
        false
    }
}

const CHUNKS: u32 = 4;

/// Two lanes with these shared queues reclaim what was sent, refill, and take chunks.
/// Afterwards every chunk is in one state, and counted there.
fn lanes_over(stocks: impl FnOnce(&Kernel) -> [Arc<SharedQueues<Kernel>>; 2]) {
    let table = std::sync::Arc::new(ChunkTable::new(CHUNKS, 2, lane(0)));
    let kernel = Kernel::default();
    let [first, second] = stocks(&kernel);
    let mut pools = [0, 1].map(|index| Pool::new(std::sync::Arc::clone(&table), lane(index)));
    // One chunk has been sent.
    let sent = pools[0].take(ChunkState::Tx).unwrap();
    pools[0].note_posted(1);
    kernel.0.lock().unwrap()[1].push_back(sent.into());
    let [pool, other] = pools;
    let other = {
        let second = Arc::clone(&second);
        thread::spawn(move || turn(&second, other))
    };
    let pools = [turn(&first, pool), other.join().unwrap()];
    let filled = kernel.0.lock().unwrap()[0].len() as u32;
    assert_eq!((table.filled(), table.sending()), (filled, 0));
    assert_eq!(table.count(ChunkState::Fill, ChunkOwner::SHARED), filled);
    let free = [0, 1].map(|index| table.count(ChunkState::Free, lane(index)));
    assert_eq!(free, [pools[0].free(), pools[1].free()]);
    assert_eq!(first.check(&table), Ok(()));
    assert_eq!(filled + free[0] + free[1] + first.free(), CHUNKS);
}

/// What a lane does with the shared queues in one turn.
fn turn(queues: &SharedQueues<Kernel>, mut pool: Pool) -> Pool {
    let umem = Umem { chunks: CHUNKS };
    assert_eq!(queues.reclaim(&mut pool, &umem), 0);
    queues.refill(&mut pool, &umem);
    if pool.free() == 0 {
        queues.refill_from_shared(&mut pool);
    }
    pool
}

fn shared_queues() {
    lanes_over(|kernel| {
        let queues = Arc::new(SharedQueues::new(kernel.clone(), CHUNKS, 2));
        [Arc::clone(&queues), queues]
    });
}

#[test]
fn lanes_that_share_queues_lose_no_chunk() {
    run(shared_queues);
}

/// Each lane has its own lock, which is like having none.
#[test]
fn queues_without_a_common_lock_is_caught() {
    caught(None, || {
        lanes_over(|kernel| [(); 2].map(|()| Arc::new(SharedQueues::new(kernel.clone(), CHUNKS, 2))));
    });
}
