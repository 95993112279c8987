//! Chunks of a UMEM that several lanes share.

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use xblade_model::ring::Memory;
use xblade_model::ring::ledger::{Holder, Ledger, Place};
use xblade_model::ring::pool::Pool;
use xblade_model::ring::rings::Supply;
use xblade_model::ring::stock::Stock;
use xblade_model::sync::Mistake;

use crate::{caught, run};

fn lane(index: usize) -> Holder {
    Holder::lane(index).unwrap()
}

/// Two lanes are given the same descriptor, by a kernel or driver that is wrong.
fn one_chunk_for_two_lanes() {
    let ledger = Arc::new(Ledger::new(1, 2, lane(0)));
    ledger.shift(0, lane(0), Place::Free, Place::Fill).unwrap();
    let receive = |index| {
        let ledger = Arc::clone(&ledger);
        move || ledger.shift(0, lane(index), Place::Fill, Place::User).is_ok()
    };
    let other = thread::spawn(receive(1));
    let got = [receive(0)(), other.join().unwrap()];
    assert!(got[0] != got[1], "one of them has it: {got:?}");
}

#[test]
fn a_chunk_is_received_by_one_lane() {
    run(one_chunk_for_two_lanes);
}

#[test]
fn a_move_in_two_steps_is_caught() {
    caught(Mistake::TornUpdate, one_chunk_for_two_lanes);
}

/// A chunk is filled by one lane, received and sent by another, and its end seen
/// by the first; a third one looks at the counters at any time. What the kernel
/// passes on, it passes on after what came before.
fn counters_of_a_journey() {
    let ledger = Arc::new(Ledger::new(1, 3, lane(0)));
    let [rx, completion] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let receiver = {
        let (ledger, rx, completion) = (Arc::clone(&ledger), Arc::clone(&rx), Arc::clone(&completion));
        thread::spawn(move || {
            if rx.load(Ordering::Acquire) {
                ledger.shift(0, lane(1), Place::Fill, Place::User).unwrap();
                ledger.note_received(lane(1), 1);
                ledger.shift(0, lane(1), Place::User, Place::Tx).unwrap();
                ledger.note_posted(lane(1), 1);
                completion.store(true, Ordering::Release);
            }
        })
    };
    let watcher = {
        let ledger = Arc::clone(&ledger);
        thread::spawn(move || {
            let (filled, sending) = (ledger.filled(), ledger.sending());
            assert!(filled <= 1 && sending <= 1, "{filled} to receive, {sending} to send");
        })
    };
    ledger.shift(0, lane(0), Place::Free, Place::Fill).unwrap();
    ledger.note_filled(1);
    rx.store(true, Ordering::Release);
    if completion.load(Ordering::Acquire) {
        ledger.shift(0, lane(0), Place::Tx, Place::Free).unwrap();
        ledger.note_completed(1);
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

/// Counters have one writer at a time, who has the lock.
#[test]
fn counting_without_the_lock_is_caught() {
    caught(None, || {
        let ledger = Arc::new(Ledger::new(2, 2, lane(0)));
        let other = Arc::clone(&ledger);
        let other = thread::spawn(move || other.note_filled(1));
        ledger.note_filled(1);
        other.join().unwrap();
        assert_eq!(ledger.filled(), 2);
    });
}

/// Fill and completion ring: what is filled is received by nobody, what is to be
/// sent has been sent.
#[derive(Clone, Debug, Default)]
struct Kernel(Arc<Mutex<[VecDeque<u64>; 2]>>);

impl Supply for Kernel {
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

    fn fill_size(&self) -> u32 {
        2
    }

    fn fill_room(&mut self) -> u32 {
        2 - self.0.lock().unwrap()[0].len() as u32
    }

    fn asks(&self) -> bool {
        false
    }
}

const CHUNKS: u32 = 4;

/// Two lanes with these stocks take back what was sent, fill what is missing, and
/// draw chunks. Then every chunk is in one place, and counted there.
fn lanes_over(stocks: impl FnOnce(&Kernel) -> [Arc<Stock<Kernel>>; 2]) {
    let ledger = std::sync::Arc::new(Ledger::new(CHUNKS, 2, lane(0)));
    let kernel = Kernel::default();
    let [first, second] = stocks(&kernel);
    let mut pools = [0, 1].map(|index| Pool::new(std::sync::Arc::clone(&ledger), lane(index)));
    // One chunk has been sent.
    let sent = pools[0].take(Place::Tx).unwrap();
    pools[0].note_posted(1);
    kernel.0.lock().unwrap()[1].push_back(sent.into());
    let [pool, other] = pools;
    let other = {
        let second = Arc::clone(&second);
        thread::spawn(move || turn(&second, other))
    };
    let pools = [turn(&first, pool), other.join().unwrap()];
    let filled = kernel.0.lock().unwrap()[0].len() as u32;
    assert_eq!((ledger.filled(), ledger.sending()), (filled, 0));
    assert_eq!(ledger.count(Place::Fill, Holder::NOBODY), filled);
    let free = [0, 1].map(|index| ledger.count(Place::Free, lane(index)));
    assert_eq!(free, [pools[0].free(), pools[1].free()]);
    assert_eq!(first.check(&ledger), Ok(()));
    assert_eq!(filled + free[0] + free[1] + first.free(), CHUNKS);
}

/// What a lane does with its stock in a turn.
fn turn(stock: &Stock<Kernel>, mut pool: Pool) -> Pool {
    let memory = Memory { chunks: CHUNKS };
    assert_eq!(stock.reclaim(&mut pool, &memory), 0);
    stock.refill(&mut pool, &memory);
    if pool.free() == 0 {
        stock.draw(&mut pool);
    }
    pool
}

fn one_stock() {
    lanes_over(|kernel| {
        let stock = Arc::new(Stock::new(kernel.clone(), CHUNKS, 2));
        [Arc::clone(&stock), stock]
    });
}

#[test]
fn lanes_that_share_a_stock_lose_no_chunk() {
    run(one_stock);
}

/// Each lane has a lock of its own: none.
#[test]
fn a_stock_without_a_common_lock_is_caught() {
    caught(None, || {
        lanes_over(|kernel| [(); 2].map(|()| Arc::new(Stock::new(kernel.clone(), CHUNKS, 2))));
    });
}
