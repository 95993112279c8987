//! Sleeping workers, and the threads that wake them.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use xblade_model::asleep::Asleep;
use xblade_model::sync::Mistake;

use crate::{caught, run};

/// A worker, its eventfd, and a channel to it. All that matters of the channel is that
/// sending changes a number in one step, and that `is_empty` loads it, as in crossbeam's
/// channels.
#[derive(Default)]
struct Shared {
    asleep: Asleep,
    rung: AtomicBool,
    sent: AtomicUsize,
    /// Senders that have nothing more to do.
    gone: AtomicUsize,
}

impl Shared {
    /// `WorkerChannels::hand_over`, and `Waker::wake`.
    fn send(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        self.wake();
        self.gone.fetch_add(1, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.asleep.must_notify() {
            self.rung.swap(true, Ordering::AcqRel);
        }
    }

    fn is_empty(&self, taken: usize) -> bool {
        self.sent.load(Ordering::SeqCst) == taken
    }

    /// Waits for the eventfd. Blocks forever if no sender is left to signal it.
    fn wait(&self, senders: usize) {
        loop {
            let all_gone = self.gone.load(Ordering::SeqCst) == senders;
            if self.rung.swap(false, Ordering::AcqRel) {
                return;
            }
            assert!(!all_gone, "a wake-up is lost");
            thread::yield_now();
        }
    }
}

/// A worker that receives one message each from `senders` senders, and sleeps whenever
/// there is nothing.
fn worker(senders: usize, send: fn(&Shared), sleep: fn(&Shared, usize, usize)) {
    let shared = Arc::new(Shared::default());
    for _ in 0..senders {
        let shared = Arc::clone(&shared);
        thread::spawn(move || send(&shared));
    }
    let mut taken = 0;
    while taken < senders {
        if shared.is_empty(taken) {
            sleep(&shared, taken, senders);
        } else {
            taken += 1;
        }
    }
}

/// `Waiter::sleep`.
fn sleep(shared: &Shared, taken: usize, senders: usize) {
    shared.asleep.sleep(|| !shared.is_empty(taken), || shared.wait(senders));
}

fn one_sender() {
    worker(1, Shared::send, sleep);
}

fn two_senders() {
    worker(2, Shared::send, sleep);
}

#[test]
fn no_wake_up_is_lost() {
    run(one_sender);
    run(two_senders);
}

#[test]
fn a_relaxed_flag_is_caught() {
    caught(Mistake::RelaxedUpdate, one_sender);
}

/// A load and a store are not a single step, whatever their ordering.
#[test]
fn a_flag_that_is_set_in_two_steps_is_caught() {
    caught(Mistake::TornUpdate, one_sender);
}

#[test]
fn a_look_before_the_flag_is_caught() {
    caught(None, || {
        worker(1, Shared::send, |shared, taken, senders| {
            if shared.is_empty(taken) {
                shared.asleep.sleep(|| false, || shared.wait(senders));
            }
        });
    });
}

#[test]
fn a_wake_up_before_the_message_is_caught() {
    caught(None, || {
        worker(
            1,
            |shared| {
                shared.wake();
                shared.sent.fetch_add(1, Ordering::SeqCst);
                shared.gone.fetch_add(1, Ordering::SeqCst);
            },
            sleep,
        );
    });
}
